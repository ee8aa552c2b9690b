"""Sweeps under a real Slurm of this machine: one job, an array, jobs as workers; stopped, resumed.

Each process that runs tests has a Slurm of its own, with its own ports.
"""

import json
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from cli_sweeps import LORENZ, cubie_dask, environment, write
from local_slurm import LocalSlurm, why_not
from sockets import beyond_loopback, listening
from sweep_models import assert_same_files

from cubie_dask import slurm_cluster
from cubie_dask.cli.sweep_file import read_sweep_file
from cubie_dask.clusters.slurm import SlurmJob, slurm_script
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.progress.watching import Watcher

pytestmark = pytest.mark.slow

SLOW = LORENZ.replace("count = 22", "count = 300").replace("chunk_runs = 12", "chunk_runs = 2")
# Chunks of some 20 ms, so that jobs can be stopped in the middle.
SLOW = SLOW.replace("t_span = [0, 1]\nsave_every = 0.5", "t_span = [0, 400]\nsave_every = 200")
SLOW = SLOW.replace("max_steps = 10_000", "max_steps = 1_000_000\ndt_max = 0.004")
CHUNKS = 600


@pytest.fixture(scope="session")
def slurm():
    reason = why_not()
    if reason is not None:
        pytest.skip(f"SLURM IS NOT TESTED: {reason}")
    # A short path: the name of a socket may have 107 letters.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    here = LocalSlurm(folder)
    before = dict(os.environ)
    os.environ.update(environment() | here.environment)
    here.environment = dict(os.environ)
    try:
        here.start()
        yield here
    finally:
        here.stop()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert cubie_dask("run", write(folder, SLOW), "--quiet").returncode == 0
    return folder / "results" / "lorenz.zarr"


def finished(store):
    try:
        return len(os.listdir(store / "status" / "ledger"))
    except FileNotFoundError:
        return 0


def until(condition, slurm, logs):
    """Wait for something to come true, while jobs that were queued again needn't wait."""
    end = time.monotonic() + 150
    while not condition():
        assert time.monotonic() < end, "\n".join(p.read_text() for p in logs.glob("slurm-*.out"))
        slurm.hurry()
        time.sleep(0.1)


def submitted(slurm, folder, **options):
    """Submit a job with a script of our own making."""
    job = SlurmJob(
        sweep=str(folder / "sweep.toml"),
        store=str(folder / "results" / "lorenz.zarr"),
        time="10",
        folder=str(folder),
        **options,
    )
    return slurm("sbatch", "--parsable", f"--chdir={folder}", text=slurm_script(job))


def of_job(job):
    """Return the processes of a job."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_JOB_ID") == job:
                found.append(process)
        except psutil.Error:
            continue
    return found


def places(store):
    """Return the node and the visible GPUs of each worker that finished a chunk."""
    pids = [int(worker.name.split(":")[1]) for worker in Watcher(store).look().workers]
    environments = [psutil.Process(pid).environ() for pid in pids]
    return sorted(
        (own["SLURMD_NODENAME"], own.get("CUDA_VISIBLE_DEVICES", "")) for own in environments
    )


def driving(store):
    """Return the jobs whose drivers are at work."""
    drivers = [json.loads(path.read_text()) for path in (store / "status" / "drivers").iterdir()]
    return {psutil.Process(driver["pid"]).environ()["SLURM_JOB_ID"] for driver in drivers}


def log_of(folder):
    return "\n".join(path.read_text() for path in sorted(folder.glob("slurm-*.out")))


def test_the_daemons_listen_on_loopback_alone(slurm):
    found = listening(*slurm.pids())
    assert len(found) >= 3
    assert not beyond_loopback(found)


def test_one_job_with_a_cluster_of_its_own(slurm, tmp_path, undisturbed):
    write(tmp_path, SLOW)
    store = tmp_path / "results" / "lorenz.zarr"
    job = submitted(slurm, tmp_path, nodes=2, cpus=1, memory="1G")
    until(lambda: finished(store) >= 20 and len(places(store)) == 2, slurm, tmp_path)
    running = of_job(job)
    assert {node for node, _ in places(store)} == {"n1", "n2"}
    found = {one for process in running for one in listening(process.pid)}
    assert len(found) >= 5
    assert not beyond_loopback(found), [(p.cmdline(), listening(p.pid)) for p in running]
    (folder,) = tmp_path.glob(f"cubie-{job}.*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert json.loads((folder / "scheduler.json").read_text())["address"].startswith("tls://127.")
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("tls/*")} == {0o600}

    # As Slurm does before the wall time is over.
    slurm("scancel", "--batch", "--signal=TERM", job)
    until(lambda: "PENDING" in slurm.jobs() or not slurm.jobs(), slurm, tmp_path)
    assert 20 <= finished(store) < CHUNKS, log_of(tmp_path)
    assert "Stopped (" in log_of(tmp_path)
    until(lambda: not slurm.jobs(), slurm, tmp_path)
    assert finished(store) == CHUNKS, log_of(tmp_path)
    assert "the job is queued again to do the rest" in log_of(tmp_path)
    assert not list(tmp_path.glob("cubie-*")), "certificates are left behind"
    assert not of_job(job)
    assert_same_files(store, undisturbed)


def test_an_array_of_jobs_without_communication(slurm, tmp_path, undisturbed):
    write(tmp_path, SLOW)
    store = tmp_path / "results" / "lorenz.zarr"
    submitted(slurm, tmp_path, array=3, cpus=1, memory="1G")
    until(lambda: finished(store) >= 20, slurm, tmp_path)
    # Those that have not begun to compute would not come back.
    slurm("scancel", "--batch", "--signal=TERM", *driving(store))
    until(lambda: not slurm.jobs(), slurm, tmp_path)
    assert finished(store) == CHUNKS, log_of(tmp_path)
    assert "queued again" in log_of(tmp_path)
    assert_same_files(store, undisturbed)


def test_a_job_that_was_cancelled_does_not_come_back(slurm, tmp_path):
    write(tmp_path, SLOW)
    store = tmp_path / "results" / "lorenz.zarr"
    job = submitted(slurm, tmp_path, nodes=1, gpus=2, cpus=2)
    until(lambda: finished(store) >= 20 and len(places(store)) == 2, slurm, tmp_path)
    # A worker for each GPU of the node, which sees no other.
    assert {gpu for _, gpu in places(store)} == {"0", "1"}
    slurm("scancel", job)
    until(lambda: not slurm.jobs(), slurm, tmp_path)
    assert "JobState=CANCELLED" in slurm("scontrol", "show", "job", job)
    assert "Restarts=0" in slurm("scontrol", "show", "job", job)
    assert finished(store) < CHUNKS
    # Killed in the middle or not: what is there is whole, and a last job finds nothing damaged.
    assert cubie_dask("run", tmp_path / "sweep.toml", "--quiet").returncode == 0


def test_jobs_as_workers(slurm, tmp_path, undisturbed):
    sweep = read_sweep_file(write(tmp_path, SLOW)).sweep
    cancelled = []

    def cancel(event):
        if isinstance(event, ChunkFinished) and not cancelled:
            cancelled.append(slurm("squeue", "--noheader", "--format=%A").split()[0])
            slurm("scancel", cancelled[0])

    with slurm_cluster(
        2,
        cores=1,
        memory="1 GB",
        interface="lo",
        folder=tmp_path,
        directives=["--gres=gpu:1"],
        options={"walltime": "00:10:00", "log_directory": str(tmp_path)},
    ) as client:
        (folder,) = tmp_path.glob("cubie-*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        report = sweep.run(tmp_path / "a", client, progress=cancel)
        assert not beyond_loopback(listening(os.getpid()))
    assert not list(tmp_path.glob("cubie-*")), "certificates are left behind"
    assert report.complete
    assert cancelled
    until(lambda: not slurm.jobs(), slurm, tmp_path)
    assert_same_files(tmp_path / "a", undisturbed)
