"""Clusters that are started or found: where they listen, who is let in."""

import contextlib
import os
import re
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import dask.config
import pytest
from cli_sweeps import LORENZ, command, cubie_dask, environment, write
from distributed import Client, Security
from sockets import beyond_loopback, listening
from sweep_models import assert_same_files, lorenz_sweep

from cubie_dask import ClusterError, TlsFiles, connect, local_cluster, write_tls_files
from cubie_kernels.errors import InputError

# Without a dashboard there still is a port on all interfaces, which tells of the process's health.
LOOPBACK_HEALTH = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return write_tls_files(tmp_path_factory.mktemp("tls") / "keys")


@contextlib.contextmanager
def started(folder: Path, *arguments: str, tls: TlsFiles | None = None):
    """Run a scheduler and a worker as a site does, by Dask's own commands; give their processes."""
    known = [] if tls is None else ["--tls-ca-file", tls.ca, "--tls-cert", tls.cert]
    known += [] if tls is None else ["--tls-key", tls.key, "--protocol", "tls"]
    common = ["--scheduler-file", str(folder / "scheduler.json"), *LOOPBACK_HEALTH, *known]
    commands = (
        ["scheduler", "--host", "127.0.0.1", "--port", "0", *common, *arguments],
        ["worker", "--host", "127.0.0.1", "--nthreads", "1", "--death-timeout", "60", *common],
    )
    running = []
    try:
        for given in commands:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *map(str, given)],
                    env=environment(),
                    cwd=folder,
                    stderr=subprocess.DEVNULL,
                )
            )
            until = time.monotonic() + 60
            while not (folder / "scheduler.json").exists():
                assert running[0].poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
        yield running
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(60)


def test_a_local_cluster_listens_on_loopback_alone(tmp_path):
    before = listening(os.getpid())
    with local_cluster(1), local_cluster(1):
        found = listening(os.getpid()) - before
        assert not beyond_loopback(found)
        assert 8787 not in {port for _, port in found}
    with local_cluster(2, dashboard=True) as client:
        found = listening(os.getpid()) - before
        assert len(found) >= 4
        assert not beyond_loopback(found)
        assert re.match(r"http://127\.0\.0\.1:\d+/status", client.dashboard_link)
        with urllib.request.urlopen(client.dashboard_link.replace("status", "health")) as answer:
            assert answer.status == 200
        saturation = client.run_on_scheduler(
            lambda dask_scheduler: dask_scheduler.WORKER_SATURATION
        )
        assert saturation == 1.0
        assert set(client.run(_profiled).values()) == {True}
        limits = {info["memory_limit"] for info in client.scheduler_info()["workers"].values()}
        assert len(limits) == 1
        sweep = lorenz_sweep(200)
        report = sweep.run(tmp_path / "a", client, progress="none")
        assert report.complete
    assert listening(os.getpid()) <= before


def test_threads_are_not_looked_at_for_nobody():
    with local_cluster(1) as client:
        assert client.run(_profiled).popitem()[1] is False


def _profiled():
    return dask.config.get("distributed.worker.profile.enabled")


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_how_many_workers(workers):
    with pytest.raises(InputError, match="workers"), local_cluster(workers):
        pass


def test_keys_are_for_their_owner_alone(tmp_path, tls):
    for path, mode in ((tls.key.parent, 0o700), (tls.ca, 0o600), (tls.cert, 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(tls.key.stat().st_mode) == 0o600
    before = tls.key.read_bytes()
    assert b"PRIVATE KEY" in before
    with pytest.raises(InputError, match="is there already"):
        write_tls_files(tls.key.parent)
    assert tls.key.read_bytes() == before
    with pytest.raises(InputError, match="can't be made"):
        write_tls_files(tmp_path / "not" / "there")
    with pytest.raises(InputError, match=r"ca\.pem can't be read: No such file.*cubie-dask tls"):
        TlsFiles.in_folder(tmp_path).security()


def test_the_command_makes_keys_whatever_the_umask(tmp_path):
    ended = subprocess.run(
        ["sh", "-c", 'umask 0; exec "$@"', "sh", *command("tls", tmp_path / "keys")],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
    assert modes == {0o600}
    assert cubie_dask("tls", tmp_path / "keys").returncode == 2


def test_tls_lets_in_who_has_the_certificate(tmp_path, tls):
    with started(tmp_path, tls=tls) as running:
        with connect(scheduler_file=tmp_path / "scheduler.json", security=tls.security()) as client:
            address = client.scheduler.address
            assert address.startswith("tls://127.0.0.1:")
            client.wait_for_workers(1, timeout=60)
            assert not beyond_loopback(listening(*(process.pid for process in running)))
        file = write(tmp_path, LORENZ)
        arguments = ("run", file, "--quiet", "--scheduler-file", tmp_path / "scheduler.json")
        ended = cubie_dask(*arguments, "--tls", tls.key.parent)
        assert ended.returncode == 0, ended.stderr
        assert cubie_dask("run", file, "--quiet", "--store", tmp_path / "b").returncode == 0
        assert_same_files(tmp_path / "results" / "lorenz.zarr", tmp_path / "b")
        # Nobody else: not in the clear, not with another certificate, not without one.
        with pytest.raises(OSError, match=r"[Tt]imed out|[Cc]onnect"):
            Client(address.replace("tls://", "tcp://"), timeout=2)
        for stranger in (Security.temporary(), None):
            with pytest.raises(ClusterError, match="No scheduler answers at tls://"):
                connect(address, security=stranger)


def test_a_cluster_in_the_clear_on_this_machine(tmp_path, tls):
    with started(tmp_path), connect(scheduler_file=tmp_path / "scheduler.json") as client:
        address = client.scheduler.address
        assert address.startswith("tcp://127.0.0.1:")
        with pytest.raises(InputError, match="doesn't encrypt, so that certificates are of no use"):
            connect(address, security=tls.security())


@pytest.mark.parametrize(
    "address", ["tcp://10.11.12.13:8786", "10.11.12.13:8786", "tcp://[fd00::1]:1"]
)
def test_a_network_in_the_clear_is_refused(address):
    with pytest.raises(InputError, match=r"run code in your name.*--tls DIR.*--insecure"):
        connect(address)


def test_what_is_no_address(tmp_path):
    with pytest.raises(InputError, match="either an address or a scheduler_file"):
        connect()
    with pytest.raises(InputError, match="is no address of a scheduler"):
        connect("tcp://127.0.0.1")
    (tmp_path / "scheduler.json").write_text("{}")
    with pytest.raises(InputError, match=r"scheduler file .* can't be used"):
        connect(scheduler_file=tmp_path / "scheduler.json")


def test_options_of_the_command(tmp_path):
    file = write(tmp_path, LORENZ)
    refused = cubie_dask("run", file, "--address", "tcp://10.11.12.13:8786")
    assert refused.returncode == 2
    assert "run code in your name" in refused.stderr
    for option in (["--tls", str(tmp_path)], ["--insecure"]):
        refused = cubie_dask("run", file, *option)
        assert refused.returncode == 2
        assert "are for --scheduler-file or --address" in refused.stderr
