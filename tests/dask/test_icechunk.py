"""Sweeps in Icechunk repositories: seen once the driver has committed, and resumed from there."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from s3_server import s3_server
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import (
    StoreError,
    extend_sweep,
    open_sweep,
    repair_sweep,
    resume_sweep,
    sweep_report,
    verify_sweep,
)
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.stores.storage import open_storage
from cubie_kernels.errors import InputError

icechunk = pytest.importorskip("icechunk")

CHUNK_RUNS = 60

CHILD = """
import sys
from sweep_models import lorenz_sweep
from cubie_dask.stores import versioned

versioned._COMMIT_SECONDS = float(sys.argv[2])

def tell(event):
    print(type(event).__name__, flush=True)

lorenz_sweep({chunk_runs}).run(sys.argv[1], progress=tell)
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "a.zarr"
    lorenz_sweep(CHUNK_RUNS).run(path, progress="none")
    return open_sweep(path).load()


def messages(url):
    return [one.message for one in open_storage(url).repository.ancestry(branch="main")]


def killed(url, chunks, commit_seconds):
    """Run a sweep in a process of its own, which is killed once some chunks are told of."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(chunk_runs=CHUNK_RUNS), url, str(commit_seconds)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))},
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(chunks + 1):
        assert child.stdout.readline().strip() in ("SweepStarted", "ChunkFinished")
    child.send_signal(signal.SIGKILL)
    child.communicate()


def test_the_bits_are_those_of_a_plain_store(tmp_path, plain):
    url = f"icechunk://{tmp_path}/a"
    events = []
    report = lorenz_sweep(CHUNK_RUNS).run(url, progress=events.append)
    assert (report.store, report.complete) == (url, True)
    records = [event.record for event in events if isinstance(event, ChunkFinished)]
    assert len(records) == report.plan.chunks
    assert not any(hasattr(record, "changes") for record in records)
    assert_same_results(open_sweep(url).load(), plain)
    assert verify_sweep(url).whole
    assert messages(url)[:2] == [f"{report.plan.chunks} chunks", "the sweep is described"]
    lorenz_sweep(CHUNK_RUNS).run(url, progress="none")
    assert len(messages(url)) == 3


def test_what_was_not_committed_is_computed_again(tmp_path, plain):
    url = f"icechunk://{tmp_path}/a"
    killed(url, 6, commit_seconds=30)
    assert sweep_report(url).chunks == 0
    assert (open_sweep(url)["status"] == 0).all()
    killed(url, 6, commit_seconds=0)
    before = sweep_report(url)
    assert 5 <= before.chunks < before.plan.chunks
    assert verify_sweep(url).whole
    events = []
    lorenz_sweep(CHUNK_RUNS).run(url, progress=events.append)
    done = [event for event in events if isinstance(event, ChunkFinished)]
    assert len(done) == before.plan.chunks - before.chunks
    assert_same_results(open_sweep(url).load(), plain)


def test_ctrl_c_commits_what_is_finished(tmp_path, plain):
    url = f"icechunk://{tmp_path}/a"

    def stop(event):
        if isinstance(event, ChunkFinished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lorenz_sweep(CHUNK_RUNS).run(url, progress=stop)
    assert sweep_report(url).chunks >= 1
    assert verify_sweep(url).whole


def test_another_committer_is_noticed(tmp_path, plain):
    url = f"icechunk://{tmp_path}/a"
    meddled = []

    def meddle(event):
        if isinstance(event, ChunkFinished) and not meddled:
            import zarr

            session = open_storage(url).repository.writable_session("main")
            zarr.open_group(session.store, mode="r+")["x"][:] = 1.0
            meddled.append(session.commit("someone else's"))

    with pytest.raises(StoreError, match="Nothing else may commit"):
        lorenz_sweep(CHUNK_RUNS).run(url, progress=meddle)
    assert sweep_report(url).chunks == 0
    assert lorenz_sweep(CHUNK_RUNS).run(url, progress="none").complete
    assert_same_results(open_sweep(url).load(), plain)


def test_damage_is_found(tmp_path, plain):
    url = f"icechunk://{tmp_path}/a"
    lorenz_sweep(CHUNK_RUNS).run(url, progress="none")
    shutil.rmtree(tmp_path / "a" / "icechunk" / "chunks")
    found = verify_sweep(url)
    assert len(found.damaged_chunks) > 10
    assert "can't be read" in str(found)
    repair_sweep(url, found)
    lorenz_sweep(CHUNK_RUNS).run(url, progress="none")
    assert verify_sweep(url).whole
    assert_same_results(open_sweep(url).load(), plain)


def test_what_is_refused(tmp_path):
    url = f"icechunk://{tmp_path}/a"
    sweep = lorenz_sweep(400)
    with pytest.raises(InputError, match="can't be computed in shares"):
        sweep.run(url, progress="none", share=(0, 2))
    with pytest.raises(StoreError, match="give a path or s3://"):
        open_storage("icechunk://memory://a")


@pytest.mark.slow
def test_workers_of_a_cluster_commit_nothing(tmp_path, plain):
    url = f"icechunk://{tmp_path}/a"
    victims = []
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):

        def kill(event):
            if isinstance(event, ChunkFinished) and not victims:
                victims.append(int(event.record.worker.split(":")[1]))
                os.kill(victims[0], signal.SIGKILL)

        report = lorenz_sweep(CHUNK_RUNS).run(url, client, progress=kill)
    assert report.complete
    assert victims
    assert len(messages(url)) == 3
    assert verify_sweep(url).whole
    assert_same_results(open_sweep(url).load(), plain)


@pytest.mark.slow
def test_on_s3(monkeypatch, plain):
    with s3_server(monkeypatch) as bucket:
        url = f"icechunk://{bucket}/a"
        assert lorenz_sweep(CHUNK_RUNS).run(url, progress="none").complete
        assert_same_results(open_sweep(url).load(), plain)
        assert verify_sweep(url).whole
        extend_sweep(url, rho=[22.0])
        assert resume_sweep(url, progress="none").complete
        assert_same_results(open_sweep(url).load().isel(rho=slice(7)), plain)
        assert verify_sweep(url).whole
