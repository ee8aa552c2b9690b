"""Each process of a sweep killed with -9 in each phase of a chunk; resumed to the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sabotage import orders, wait_for
from sweep_models import assert_same_files, lorenz_sweep

from cubie_dask import local_cluster, sweep_report
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.stores.store import open_store

CHUNK_RUNS = 40
DRIVER = """
import sys
from distributed import Client
from sweep_models import lorenz_sweep
from cubie_dask import ClusterError

client = Client(scheduler_file=sys.argv[2])
try:
    lorenz_sweep(int(sys.argv[3])).run(sys.argv[1], client, progress="lines")
except ClusterError as error:
    print(error, flush=True)
    sys.exit(75)
"""
SETTINGS = {
    "PYTHONFAULTHANDLER": "1",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    lorenz_sweep(CHUNK_RUNS).run(store, progress="none")
    return store


class Job:
    """A scheduler, two workers with their nannies, and a driver: one process group."""

    def __init__(self, folder, phase):
        self.folder, self.store = folder, folder / "a.zarr"
        self.notes = folder / "notes"
        self.group, self.children = 0, []
        self._environment = (
            os.environ | SETTINGS | orders(notes=str(self.notes), phase=phase, folder=str(folder))
        )
        file = folder / "scheduler.json"
        here = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        found = ["--scheduler-file", str(file)]
        self.scheduler = self._start(
            "-m", "distributed.cli.dask_scheduler", "--port", "0", *here, *found
        )
        alone = ["--nthreads", "1", "--nworkers", "1", "--local-directory", str(folder)]
        for _ in range(2):
            self._start("-m", "distributed.cli.dask_worker", *alone, *here, *found)
        wait_for(file.exists)
        self.driver = self._start("-c", DRIVER, self.store, file, CHUNK_RUNS)

    def _start(self, *arguments):
        with open(self.folder / "log", "ab") as log:
            child = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                env=self._environment,
                cwd=Path(__file__).parent,
                stdout=log,
                stderr=log,
                process_group=self.group,
            )
        self.group = self.group or child.pid
        self.children.append(child)
        return child

    def ended(self):
        """Return the driver's exit code; if it hangs, the log tells where every process is."""
        try:
            return self.driver.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.group, signal.SIGABRT)
            return self.driver.wait()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def kill(self):
        """End what is left of the job."""
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        for child in self.children:
            child.wait()


def computed(notes):
    """Return how often each chunk was begun, by where it starts."""
    return Counter(tuple(json.loads(line)) for line in notes.read_text().splitlines())


def test_what_processes_note(tmp_path):
    (tmp_path / "notes").write_text("[0, 1]\n[2, 3]\n[0, 1]\n")
    assert computed(tmp_path / "notes") == {(0, 1): 2, (2, 3): 1}


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["compute", "write", "record"])
@pytest.mark.parametrize("victim", ["worker", "nanny", "scheduler", "client", "job"])
def test_killed(tmp_path, undisturbed, victim, phase):
    job = Job(tmp_path, phase)
    try:
        mark = tmp_path / phase
        wait_for(lambda: mark.exists() and mark.read_text().endswith("\n"))
        worker = int(mark.read_text())
        before = {record.chunk for record in open_store(job.store).records()}
        strike(job, victim, worker)
        (tmp_path / "go").touch()
        if victim in ("worker", "nanny"):
            assert job.ended() == 0, job.log()
        elif victim == "scheduler":
            assert job.ended() == 75, job.log()
            assert "run the same sweep on the same store, with a new client" in job.log()
    finally:
        job.kill()
    after = {record.chunk: record for record in open_store(job.store).records()}
    assert before <= set(after)
    if victim in ("worker", "nanny"):
        check_attempts(job, after)
    events = []
    report = lorenz_sweep(CHUNK_RUNS).run(job.store, progress=events.append)
    assert report.complete
    # What was finished is not done again.
    again = {event.record.chunk for event in events if isinstance(event, ChunkFinished)}
    assert again == set(range(report.plan.chunks)) - set(after)
    assert not again or not list(job.store.rglob("*.partial"))
    assert_same_files(job.store, undisturbed)


def strike(job, victim, worker):
    if victim == "worker":
        os.kill(worker, signal.SIGKILL)
    elif victim == "nanny":
        psutil.Process(worker).parent().kill()
    elif victim == "scheduler":
        job.scheduler.kill()
    elif victim == "client":
        job.driver.kill()
    else:
        os.killpg(job.group, signal.SIGKILL)


def check_attempts(job, records):
    """Check that no chunk was computed more often than its record says."""
    plan = sweep_report(job.store).plan
    begun = computed(job.notes)
    assert len(records) == plan.chunks
    for chunk, record in records.items():
        assert begun[plan.block(chunk).start] <= record.attempt


@pytest.mark.slow
def test_workers_killed_again_and_again(tmp_path, monkeypatch):
    for name, value in orders(notes=str(tmp_path / "notes")).items():
        monkeypatch.setenv(name, value)
    # 91 chunks of 11 runs with a million steps, so that there is time to kill.
    steps = {"dt_max": 1e-4, "max_steps": 2_000_000, "save_every": None}
    sweep = lorenz_sweep(11, t_span=(0.0, 100.0), **steps)
    killed, last = [], time.monotonic()

    def kill(event):
        nonlocal last
        if isinstance(event, ChunkFinished) and time.monotonic() - last > 1.0 and len(killed) < 5:
            last = time.monotonic()
            pid = int(event.record.worker.rpartition(":")[2])
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    with local_cluster(2) as client:
        report = sweep.run(tmp_path / "a.zarr", client, progress=kill)
    assert report.complete
    assert killed
    begun = computed(tmp_path / "notes")
    for record in open_store(tmp_path / "a.zarr").records():
        assert begun[report.plan.block(record.chunk).start] <= record.attempt
    sweep.run(tmp_path / "b.zarr", progress="none")
    assert_same_files(tmp_path / "a.zarr", tmp_path / "b.zarr")
