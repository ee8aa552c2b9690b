"""Batch scripts with which Slurm runs a sweep, again and again until it is complete.

Two kinds: one job of some nodes, with a Dask cluster of its own inside; and an array of jobs of one
node each, which know nothing of each other and take their shares of the chunks.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from cubie_dask.clusters.settings import exports
from cubie_kernels.checks import count
from cubie_kernels.errors import InputError
from cubie_kernels.version import __version__

__all__ = ["SlurmJob", "seconds_of", "slurm_script"]

_MOST = 100_000
_NOTICE_SECONDS = 120
_WORD = r"[A-Za-z0-9_.,:@%+*/=()\[\]-]+"
_TIMES = (
    r"(?P<m>\d+)",
    r"(?P<m>\d+):(?P<s>\d+)",
    r"(?P<h>\d+):(?P<m>\d+):(?P<s>\d+)",
    r"(?P<d>\d+)-(?P<h>\d+)",
    r"(?P<d>\d+)-(?P<h>\d+):(?P<m>\d+)",
    r"(?P<d>\d+)-(?P<h>\d+):(?P<m>\d+):(?P<s>\d+)",
)
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class SlurmJob:
    """What to ask Slurm for.

    Attributes
    ----------
    sweep : str
        The sweep file, an absolute path that all nodes see.
    store : str
        The store, an absolute path that all nodes see, or a URL.
    time : str
        Wall time of a job as Slurm writes it: ``"30"`` (minutes), ``"12:00:00"``, ``"2-00"`` …
    nodes : int
        Nodes of the job; of an array, each job has one.
    array : int, optional
        Number of jobs of an array; None is one job.
    partition, account : str, optional
        Where it is queued, and who pays.
    gpus : int
        GPUs of each node, one worker for each; 0 is one worker a node.
    cpus : int, optional
        Cores of each node; None is whole nodes that are shared with nobody.
    memory : str, optional
        Memory of each node, such as ``"64G"``.
    interface : str, optional
        Network interface of Dask's connections; None is the address by which Slurm knows a node.
    folder : str
        A folder that all nodes see. A job keeps its certificates in a folder of its own there.
    directives : tuple of str
        More options of sbatch, such as ``"constraint=a100"``.
    max_time : int, optional
        Seconds after which a job takes no more chunks. Default: 4 minutes before its time is over,
        or a third of it if that is less.
    python : str
        The interpreter, by default this one.

    Raises
    ------
    InputError
        For anything that can't be used; nothing in it can reach a shell as more than a value.
    """

    sweep: str
    store: str
    time: str
    nodes: int = 1
    array: int | None = None
    partition: str | None = None
    account: str | None = None
    gpus: int = 0
    cpus: int | None = None
    memory: str | None = None
    interface: str | None = None
    folder: str = "."
    directives: tuple[str, ...] = ()
    max_time: int | None = None
    python: str = sys.executable

    def __post_init__(self) -> None:
        """Check every value."""
        seconds_of(self.time)
        for name in ("nodes", "array", "cpus", "max_time"):
            value = getattr(self, name)
            if value is not None:
                count(name, value, _MOST if name != "max_time" else 10**8)
        if self.gpus:
            count("gpus", self.gpus, _MOST)
            if self.cpus is not None and self.cpus < self.gpus:
                raise InputError(
                    f"{self.gpus} GPUs of a node need {self.gpus} cores or more, not {self.cpus}."
                )
        if self.array is not None and self.nodes != 1:
            raise InputError("The jobs of an array have one node each: leave nodes out.")
        for name in ("partition", "account", "memory", "interface"):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(_WORD, value):
                raise InputError(f"{name} can't be {value!r}: Slurm's names have no such signs.")
        for line in self.directives:
            if not re.fullmatch(rf"[a-z][a-z-]*(={_WORD})?", line):
                raise InputError(
                    f"A directive is an option of sbatch as in constraint=a100, not {line!r}."
                )


def seconds_of(time: str) -> int:
    """Return the seconds of a time as Slurm writes it.

    Raises
    ------
    InputError
        If it is none.
    """
    for pattern in _TIMES:
        found = re.fullmatch(pattern, time, re.ASCII)
        if found is not None:
            seconds = sum(_UNITS[unit] * int(part) for unit, part in found.groupdict().items())
            if 0 < seconds < 10**8:
                return seconds
    raise InputError(
        f"time must be as Slurm writes it, not {time!r}: minutes, hours:minutes:seconds, or "
        "days-hours."
    )


def slurm_script(job: SlurmJob) -> str:
    """Return the batch script of a job or an array of jobs, for sbatch."""
    seconds = seconds_of(job.time)
    notice = max(1, min(_NOTICE_SECONDS, seconds // 6))
    values = {
        "python": job.python,
        "sweep": job.sweep,
        "store": job.store,
        "parent": job.folder,
        "interface": job.interface or "",
        "limit": str(job.max_time or seconds - 2 * notice),
    }
    again = "it queues itself again until the sweep is complete"
    return "\n".join(
        [
            "#!/bin/bash",
            f"# Written by cubie-dask {__version__}. Submit it with sbatch: {again}.",
            *(f"#SBATCH --{line}" for line in _directives(job, notice)),
            "",
            *(f"{name}={shlex.quote(value)}" for name, value in values.items()),
            _BEGIN,
            _one_job(job) if job.array is None else _ARRAY,
            _END,
        ]
    )


def _directives(job: SlurmJob, notice: int) -> Iterator[str]:
    tasks = job.gpus or 1
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", re.split(r"[\\/]", job.sweep)[-1].removesuffix(".toml"))
    yield f"job-name={name or 'sweep'}"
    yield f"time={job.time}"
    if job.array is not None:
        yield f"array=0-{job.array - 1}"
    yield f"nodes={job.nodes}"
    # Of an array each job is one process, on all that it is given.
    yield f"ntasks-per-node={tasks if job.array is None else 1}"
    if job.cpus is None:
        yield "exclusive"
        yield f"mem={job.memory or 0}"
    else:
        yield f"cpus-per-task={job.cpus // tasks if job.array is None else job.cpus}"
        if job.memory is not None:
            yield f"mem={job.memory}"
    if job.gpus:
        yield f"gpus-per-node={job.gpus}"
    for key in ("partition", "account"):
        value = getattr(job, key)
        if value is not None:
            yield f"{key}={value}"
    yield f"signal=B:TERM@{notice}"
    yield "requeue"
    yield "open-mode=append"
    yield from job.directives


def _one_job(job: SlurmJob) -> str:
    return _ONE_JOB.replace("@STEP@", _step(job)).replace("@SETTINGS@", exports())


def _step(job: SlurmJob) -> str:
    """Return the options of srun for the workers."""
    options = ["--overlap", "--kill-on-bad-exit=0"]
    if job.cpus is not None:
        options.append(f"--cpus-per-task={job.cpus // (job.gpus or 1)}")
    else:
        options.append("--cpu-bind=none")
    if job.gpus:
        options.append("--gpus-per-task=1")
    return " ".join(options)


_BEGIN = r"""
set -u

cubie() { "$python" -m cubie_dask.cli "$@"; }

finished() {  # the number of finished chunks
    cubie status "$store" --json 2>/dev/null | sed -n 's/.*"chunks_finished": \([0-9]*\).*/\1/p'
}

# Shortly before the wall time is over, Slurm sends TERM to this shell alone.
driver= asked=
trap 'asked=1; [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null' TERM

drive() {  # drive ARGUMENTS…: compute what the store lacks; the exit code is in $code
    # Not the function: $! would be a shell, which signals end without its child.
    "$python" -m cubie_dask.cli run "$sweep" --store "$store" \
        --max-time "$((limit - SECONDS))" "$@" &
    driver=$!
    [ -z "$asked" ] || kill -TERM "$driver"
    code=127
    while :; do
        asked=
        wait "$driver"
        last=$?
        # 127: it was waited for before.
        [ "$last" = 127 ] || code=$last
        [ -n "$asked" ] || break
    done
    driver=
}

before=$(finished)
"""

_ONE_JOB = r"""
folder=$(mktemp -d "$parent/cubie-$SLURM_JOB_ID.XXXXXXXX") || exit 2
scheduler= workers=
stop() {
    # Workers leave when their scheduler does.
    [ -z "$scheduler" ] || kill "$scheduler" 2>/dev/null
    for _ in $(seq 50); do
        [ -n "$workers" ] && kill -0 "$workers" 2>/dev/null || break
        sleep 0.2
    done
    [ -z "$workers" ] || kill "$workers" 2>/dev/null
    wait
    rm -rf "$folder"
}
trap stop EXIT

# Who has no certificate of this folder is not let in.
cubie tls "$folder/tls" || exit
export python folder interface
@SETTINGS@
export DASK_LOGGING__DISTRIBUTED=warning
part='
    if [ -n "$interface" ]; then
        place=(--interface "$interface")
    else
        name=$(scontrol show node "$SLURMD_NODENAME" --oneliner)
        name=$(sed -n "s/.* NodeAddr=\([^ ]*\).*/\1/p" <<< "$name")
        place=(--host "$(getent ahosts "$name" | sed -n "1s/ .*//p")")
    fi
    exec "$python" -m dask "$@" --protocol tls --tls-ca-file "$folder/tls/ca.pem" \
        --tls-cert "$folder/tls/cert.pem" --tls-key "$folder/tls/key.pem" "${place[@]}" \
        --scheduler-file "$folder/scheduler.json" --no-dashboard --dashboard-address 127.0.0.1:0
'
bash -c "$part" scheduler scheduler --port 0 &
scheduler=$!
# Slurm bounds the memory of a job by itself.
srun @STEP@ bash -c "$part" worker worker --nworkers 1 --nthreads 1 --memory-limit 0 \
    --death-timeout 120 &
workers=$!
for _ in $(seq 600); do
    [ ! -s "$folder/scheduler.json" ] && kill -0 "$scheduler" 2>/dev/null || break
    sleep 0.2
done
drive --scheduler-file "$folder/scheduler.json" --tls "$folder/tls"
"""

_ARRAY = r"""
drive --share "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
"""

_END = r"""
# 0 complete, 1 complete with failed runs, 2 and 70 would come again; all else can be resumed.
case $code in 0 | 1 | 2 | 70) exit "$code" ;; esac
# Asked to stop when all was done: 0 and 1 again.
cubie status "$store" >/dev/null 2>&1
complete=$?
case $complete in 0 | 1) exit "$complete" ;; esac
after=$(finished)
# The number of an array's last job is that of the array too.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
if [ "$(squeue --noheader --jobs "$job" --format %T)" != RUNNING ]; then
    echo "This job was cancelled: submit it again to do the rest." >&2
elif [ "${after:-0}" -gt "${before:-0}" ]; then
    echo "${after} chunks are finished; the job is queued again to do the rest."
    scontrol requeue "$job"
else
    echo "No chunk was finished in this job, so it is not queued again." >&2
fi
exit "$code"
"""
