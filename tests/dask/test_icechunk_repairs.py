"""Retries and extensions of sweeps in Icechunk repositories: commits of the driver alone."""

import json
import shutil
import signal

import numpy as np
import pytest
import xarray as xr
import zarr
from killed_extension import NEW, OLD, RHO, SIGMA, small_sweep
from killed_retry import FEW_STEPS, failing_sweep
from processes import in_python
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import (
    Grid,
    StoreError,
    SweepInterrupted,
    extend_sweep,
    local_cluster,
    open_sweep,
    resume_sweep,
    retry_failed,
    sweep_report,
    verify_sweep,
)
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.stores.patching import pending_patches
from cubie_dask.stores.storage import open_storage
from cubie_dask.stores.store import open_store

icechunk = pytest.importorskip("icechunk")

MADE = ["the sweep is described", "Repository initialized"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Return stores of Icechunk, and what plain ones become of their sweeps."""
    folder = tmp_path_factory.mktemp("stores")
    failing_sweep().run(f"icechunk://{folder}/failed", progress="none")
    small_sweep(*OLD).run(f"icechunk://{folder}/short", progress="none")
    failing_sweep().run(folder / "retried", progress="none")
    retry_failed(folder / "retried", max_steps=10_000, progress="none")
    small_sweep(*NEW).run(folder / "long", progress="none")
    return folder


@pytest.fixture
def copied(stores, tmp_path):
    """Return a function that copies one of the stores and returns the URL of the copy."""

    def copy(name):
        shutil.copytree(stores / name, tmp_path / name)
        return f"icechunk://{tmp_path}/{name}"

    return copy


def messages(url):
    return [one.message for one in open_storage(url).repository.ancestry(branch="main")]


def retry(url, *arguments, **options):
    return retry_failed(url, *arguments, **{"max_steps": 10_000, "progress": "none"} | options)


def longer(url):
    return extend_sweep(url, rho=RHO[OLD[0] :], sigma=SIGMA[OLD[1] :])


def assert_retried(url, stores):
    """Check results, history and records against those of a plain store."""
    plain = open_sweep(stores / "retried")
    found = open_sweep(url).load()
    assert_same_results(found, plain)
    rounds, expected = (json.loads(one.attrs["cubie_rounds"]) for one in (found, plain))
    assert [one | {"began": ""} for one in rounds] == [one | {"began": ""} for one in expected]
    ours, theirs = (open_store(one).records() for one in (url, stores / "retried"))
    for one, other in zip(ours, theirs, strict=True):
        assert (one.statuses, one.crc32, one.round) == (other.statuses, other.crc32, other.round)
    assert not pending_patches(open_store(url))
    assert verify_sweep(url).whole
    # The attributes beside the repository are a copy of those in it.
    in_it = xr.open_zarr(open_storage(url).zarr(read_only=True), consolidated=False)
    assert in_it.attrs["cubie_rounds"] == found.attrs["cubie_rounds"]


def test_a_round_is_one_commit(copied, stores):
    url = copied("failed")
    assert retry(url).runs_failed == 0
    assert_retried(url, stores)
    after = ["runs of 2 chunks are retried", "round 1 of retries begins", "2 chunks", *MADE]
    assert messages(url) == after
    # The sweep is the same one, and complete; the same retry has nothing to do.
    assert failing_sweep().run(url, progress="none").complete
    retry(url)
    assert messages(url) == after


def test_rounds_go_on_where_the_last_one_stopped(copied):
    url = copied("failed")

    def stop(event):
        if isinstance(event, ChunkFinished):
            raise KeyboardInterrupt

    with pytest.raises(SweepInterrupted, match="the same command does the rest"):
        retry(url, progress=stop)
    assert messages(url)[:2] == ["runs of 1 chunks are retried", "round 1 of retries begins"]
    assert verify_sweep(url).whole
    events = []
    retry(url, max_steps=FEW_STEPS + 1, progress=events.append)
    assert retry(url, rtol=1e-5).runs_failed == 0
    found = open_sweep(url).load()
    assert [one["number"] for one in json.loads(found.attrs["cubie_rounds"])] == [1, 2, 3]
    assert set(np.unique(found["round"])) >= {1, 3}
    assert (found.first_status.values[found["round"].values > 0] != 0).all()
    assert verify_sweep(url).whole


def test_more_points_are_one_commit(copied, stores):
    url = copied("short")
    report = longer(url)
    assert not report.complete
    assert messages(url)[0] == "more points"
    # Old results are seen until their chunk is computed again.
    assert (open_sweep(url)["status"] == 1).sum() == OLD[0] * OLD[1]
    assert verify_sweep(url).whole
    resume_sweep(url, progress="none")
    assert_same_results(open_sweep(url), open_sweep(stores / "long"))
    assert len(json.loads(open_sweep(url).attrs["cubie_extensions"])) == 1
    assert small_sweep(*NEW).run(url, progress="none").complete
    assert verify_sweep(url).whole
    assert messages(url) == ["6 chunks", "more points", "3 chunks", *MADE]


def test_retried_runs_in_chunks_that_were_cut_off_keep_their_results(copied):
    url = copied("failed")
    retry(url)
    history = open_sweep(url).load()
    extend_sweep(url, rho=[40.0])
    assert len(pending_patches(open_store(url))) == 1
    resume_sweep(url, progress="none")
    assert not pending_patches(open_store(url))
    assert_same_results(open_sweep(url).load().isel(rho=slice(7)), history)
    assert not open_sweep(url)["round"].isel(rho=7).any()
    assert retry(url).runs_failed == 0
    assert verify_sweep(url).whole


def test_a_zip_and_a_sample_get_longer(tmp_path):
    values = np.linspace(1, 20, 7)
    for kind, grid, points in (
        ("zip", lambda n: Grid.zip(rho=values[:n]), {"rho": values[4:]}),
        ("sample", lambda n: Grid.sample(n, rho=(1, 20), kind="sobol"), {"n": 7}),
    ):
        url = f"icechunk://{tmp_path}/{kind}"
        lorenz_sweep(3, grid(4), saved=["x"]).run(url, progress="none")
        extend_sweep(url, points)
        resume_sweep(url, progress="none")
        lorenz_sweep(3, grid(7), saved=["x"]).run(tmp_path / f"{kind}.zarr", progress="none")
        assert_same_results(open_sweep(url), open_sweep(tmp_path / f"{kind}.zarr"))
        assert verify_sweep(url).whole


def test_another_committer_is_noticed(copied, stores):
    url = copied("failed")
    meddled = []

    def meddle(event=None):
        if event is None or (isinstance(event, ChunkFinished) and not meddled):
            meddled.append(len(meddled))
            session = open_storage(url).repository.writable_session("main")
            zarr.open_group(session.store, mode="r+").attrs["note"] = meddled[-1]
            session.commit("someone else's")

    # Nothing is open while runs are computed, so that nothing is lost.
    retry(url, progress=meddle)
    assert messages(url)[1] == "someone else's"
    assert_retried(url, stores)

    def change():
        with open_storage(url).changing("late") as changed:
            meddle()
            zarr.open_group(changed.zarr(), mode="r+").attrs["note"] = "late"

    with pytest.raises(StoreError, match=r"nothing has changed\. Nothing else may commit"):
        change()
    assert messages(url)[0] == "someone else's"


KILLED = """
import os, signal, sys
from icechunk import Session
import test_icechunk_repairs as tests

act, url, last, when = sys.argv[1:]
plain, count = Session.commit, 0

def killed(*arguments, **options):
    global count
    count += 1
    if count == int(last) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    made = plain(*arguments, **options)
    if count == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
    return made

Session.commit = killed
getattr(tests, act)(url)
"""


@pytest.mark.parametrize(
    ("act", "name", "commit", "when"),
    [
        pytest.param("retry", "failed", 1, "after", marks=pytest.mark.slow),
        ("retry", "failed", 2, "before"),
        ("retry", "failed", 2, "after"),
        pytest.param("longer", "short", 1, "before", marks=pytest.mark.slow),
        ("longer", "short", 1, "after"),
    ],
)
def test_kill_9_at_a_commit_and_the_same_again(copied, stores, act, name, commit, when):
    url = copied(name)
    before = messages(url)
    child = in_python(KILLED, act, url, commit, when)
    assert child.wait(120) == -signal.SIGKILL
    child.stdout.close()
    made = len(messages(url)) - len(before)
    assert made == commit - (when == "before")
    if act == "retry":
        assert verify_sweep(url).whole
        assert len(pending_patches(open_store(url))) == (2 if commit == 2 else 0)
        # Whoever comes next, brings to its end what was committed.
        failing_sweep().run(url, progress="none")
        retry(url)
        assert_retried(url, stores)
        return
    with pytest.raises(StoreError, match=r"cubie-dask extend .* does the rest"):
        sweep_report(url)
    extend_sweep(url)
    resume_sweep(url, progress="none")
    assert_same_results(open_sweep(url), open_sweep(stores / "long"))
    assert len(json.loads(open_sweep(url).attrs["cubie_extensions"])) == 1
    assert verify_sweep(url).whole


@pytest.mark.slow
def test_workers_of_a_cluster_do_the_same(copied, stores):
    url = copied("failed")
    with local_cluster(2) as client:
        assert retry(url, client).runs_failed == 0
    assert_retried(url, stores)
    assert messages(url)[0] == "runs of 2 chunks are retried"
