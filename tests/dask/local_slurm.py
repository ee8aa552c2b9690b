"""A real Slurm for tests: two nodes on this machine, on loopback, gone afterwards.

Everything it needs (keys, sockets, state, logs) lies in one folder. It needs root and Debian's
packages slurmctld, slurmd, slurm-client and munge. GPUs are devices that take everything and give
nothing: Slurm hands them out, and sets CUDA_VISIBLE_DEVICES, as on a node that has them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol")
_REFUSED_SECONDS = 2.0
_CPUS, _MEGABYTES, _GPUS = 2, 4096, 2
_OVER = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


def why_not() -> str | None:
    """Return why no Slurm can be started here, or None."""
    lacking = [name for name in _PROGRAMS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"Slurm is not installed: {', '.join(lacking)} not found"
    if os.geteuid() != 0:
        return "starting Slurm's daemons needs root"
    return None


@dataclass
class LocalSlurm:
    """A Slurm of some nodes.

    Attributes
    ----------
    folder : Path
        For all its files; a short path, since sockets are in it.
    nodes : int
        Number of nodes.
    """

    folder: Path
    nodes: int = 2

    def __post_init__(self) -> None:
        """Choose ports."""
        self._waiting: dict[str, float] = {}
        self.environment = os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": _path(),
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the daemons and wait until the nodes are free."""
        for name in ("keys", "state", "log", "run"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        (self.folder / "keys").chmod(0o700)
        key = self.folder / "keys" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._configure()
        keys = ("key-file=key", "seed-file=seed", "log-file=log")
        self._run(
            "munged",
            "--foreground",
            "--force",
            f"--socket={self.folder}/run/munge",
            f"--pid-file={self.folder}/run/munge.pid",
            *(f"--{option.replace('=', f'={self.folder}/keys/')}" for option in keys),
        )
        self._wait(lambda: (self.folder / "run" / "munge").exists())
        self._run("slurmctld", "-D", "-c")
        for node in self._names():
            self._run("slurmd", "-D", "-c", "-N", node)
        self._wait(lambda: self("sinfo", "-h", "-t", "idle", "-o", "%D") == str(self.nodes))

    def stop(self) -> None:
        """End all jobs and daemons."""
        subprocess.run(["scancel", "--user=root"], env=self.environment, timeout=30, check=False)
        until = time.monotonic() + 15
        while self.jobs() and time.monotonic() < until:
            time.sleep(0.2)
        # The keys last: without them nothing can be told to anyone.
        for daemon in reversed(self._running):
            daemon.terminate()
        for daemon in reversed(self._running):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.send_signal(signal.SIGKILL)
                daemon.wait()

    def __call__(self, *command: str, text: str | None = None) -> str:
        """Run one of Slurm's commands and return what it prints."""
        ended = subprocess.run(
            command, env=self.environment, input=text, capture_output=True, text=True, timeout=60
        )
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {ended.stderr}")
        return ended.stdout.strip()

    def jobs(self) -> list[str]:
        """Return the states of all jobs that are not over, also of those between two states."""
        states = self("squeue", "--noheader", "--array", "--states=all", "--format=%T").split()
        return [state for state in states if state not in _OVER]

    def hurry(self) -> None:
        """Let jobs that were queued again begin now: Slurm makes each wait for two minutes.

        A node refuses a job that it killed within the same second.
        """
        now, before = time.monotonic(), self._waiting
        jobs = self("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        waiting = [number for number, state in map(str.split, jobs) if state == "PENDING"]
        self._waiting = {number: before.get(number, now) for number in waiting}
        for number, since in self._waiting.items():
            if now - since > _REFUSED_SECONDS:
                # It may have begun meanwhile.
                with contextlib.suppress(RuntimeError):
                    self("scontrol", "update", f"JobId={number}", "StartTime=now")

    def pids(self) -> list[int]:
        """Return the processes of the daemons."""
        return [daemon.pid for daemon in self._running]

    def _names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def _configure(self) -> None:
        folder, host = self.folder, socket.gethostname().split(".")[0]
        ports = _free_ports(self.nodes + 1)
        settings = {
            "ClusterName": "here",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": ports[0],
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "CredType": "cred/munge",
            "AuthInfo": f"socket={folder}/run/munge",
            # Without these the daemons listen on all interfaces.
            "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
            "StateSaveLocation": folder / "state",
            "SlurmdSpoolDir": folder / "spool-%n",
            "SlurmctldPidFile": folder / "run" / "slurmctld.pid",
            "SlurmdPidFile": folder / "run" / "slurmd-%n.pid",
            "SlurmctldLogFile": folder / "log" / "slurmctld",
            "SlurmdLogFile": folder / "log" / "slurmd-%n",
            # No control groups, no accounting; more cores than there are.
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "AccountingStorageType": "accounting_storage/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "SlurmdParameters": "config_overrides",
            "SchedulerType": "sched/backfill",
            "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,bf_interval=1",
            "GresTypes": "gpu",
            "MpiDefault": "none",
            "ReturnToService": 2,
            "MailProg": "/bin/true",
            "KillWait": 5,
        }
        lines = [f"{name}={value}" for name, value in settings.items()]
        devices = []
        for node, port in zip(self._names(), ports[1:], strict=True):
            (folder / f"spool-{node}").mkdir()
            (folder / "dev" / node).mkdir(parents=True)
            for number in range(_GPUS):
                # A twin of /dev/null; Slurm takes nothing but devices.
                os.mknod(folder / "dev" / node / f"gpu{number}", 0o020666, os.makedev(1, 3))
            lines.append(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={_CPUS} "
                f"RealMemory={_MEGABYTES} Gres=gpu:{_GPUS} State=UNKNOWN"
            )
            devices.append(
                f"NodeName={node} Name=gpu File={folder}/dev/{node}/gpu[0-{_GPUS - 1}] "
                "Flags=nvidia_gpu_env"
            )
        lines.append(
            f"PartitionName=main Nodes={','.join(self._names())} Default=YES MaxTime=60 State=UP "
            f"DefMemPerCPU={_MEGABYTES // _CPUS}"
        )
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        (folder / "gres.conf").write_text("\n".join(devices) + "\n")

    def _run(self, *command: str) -> None:
        log = (self.folder / "log" / f"{command[0]}-{len(self._running)}.out").open("wb")
        with log:
            self._running.append(
                subprocess.Popen(
                    command,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _wait(self, condition) -> None:
        until = time.monotonic() + 60
        while True:
            for daemon in self._running:
                if daemon.poll() is not None:
                    raise RuntimeError(f"{daemon.args} ended: see {self.folder}/log")
            try:
                if condition():
                    return
            except RuntimeError:
                pass  # slurmctld does not answer yet.
            if time.monotonic() > until:
                raise RuntimeError(f"Slurm did not come up: see {self.folder}/log")
            time.sleep(0.2)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _path() -> str:
    # Daemons lie where the path of a user need not lead.
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
