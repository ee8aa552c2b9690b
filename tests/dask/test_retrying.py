"""Failed runs that are computed again, with other settings, into their places."""

import json
import os
import socket
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from killed_retry import FEW_STEPS, failing_sweep
from killed_writes import killed_at_writes
from sweep_models import assert_same_results

from cubie_dask import (
    Grid,
    StoreError,
    Sweep,
    SweepInterrupted,
    local_cluster,
    open_sweep,
    repair_sweep,
    resume_sweep,
    retry_failed,
    sweep_report,
    verify_sweep,
)
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.stores.patching import pending_patches
from cubie_dask.stores.store import open_store
from cubie_kernels import InputError, System
from cubie_kernels.status import Status
from cubie_kernels.version import __version__

HISTORY = ["first_status", "round"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Return a store with failed runs, and one of the same runs with steps enough."""
    folder = tmp_path_factory.mktemp("stores")
    for name, max_steps in (("failed", FEW_STEPS), ("enough", 10_000)):
        failing_sweep(max_steps).run(folder / name, progress="none")
    return folder


@pytest.fixture
def failed(stores, tmp_path):
    """Return a copy of the store with failed runs."""
    store = tmp_path / "a.zarr"
    subprocess.run(["cp", "-r", str(stores / "failed"), str(store)], check=True)
    return store


def quiet(store, *arguments, **options):
    return retry_failed(store, *arguments, progress="none", **options)


def test_retried_runs_are_those_of_a_sweep_with_the_new_settings(failed, stores):
    before = open_sweep(failed).load()
    lost = (before.status == Status.STEP_BUDGET).values
    assert 0 < lost.sum() < lost.size
    events = []
    report = retry_failed(failed, max_steps=10_000, progress=events.append)
    assert report.runs_failed == 0
    retried = [event.record for event in events if isinstance(event, ChunkFinished)]
    assert sum(record.runs for record in retried) == lost.sum()

    after = open_sweep(failed).load()
    assert_same_results(after.drop_vars(HISTORY), open_sweep(stores / "enough"))
    assert (after.first_status.values == np.where(lost, before.status, 0)).all()
    assert (after["round"].values == lost).all()
    assert verify_sweep(failed).whole
    # The sweep is the same one, and complete.
    assert failing_sweep().run(failed, progress="none").complete
    xr.testing.assert_identical(open_sweep(failed).load(), after)


def test_records_tell_who_replaced_runs_and_keep_what_computed_the_chunk(failed):
    store = open_store(failed)
    for one in store.records():
        store.ledger.write(replace(one, device="cpu old", worker="old:1", version="0"))
    events = []
    retry_failed(failed, max_steps=10_000, progress=events.append)
    retried = [event.record for event in events if isinstance(event, ChunkFinished)]
    assert retried
    assert all(one.device.startswith("cpu ") and one.device != "cpu old" for one in retried)
    patched = [one for one in store.records() if one.round]
    assert [one.chunk for one in patched] == [one.chunk for one in retried]
    for one in patched:
        assert (one.device, one.attempt) == ("cpu old", 1)
        assert one.worker == f"{socket.gethostname()}:{os.getpid()}"
        assert one.version == __version__
        assert one.runs == sum(one.statuses.values())


def test_rounds_are_kept_in_their_order(failed):
    still = quiet(failed, max_steps=FEW_STEPS + 1)
    assert still.runs_failed
    quiet(failed, max_steps=10_000, rtol=1e-5)
    found = open_sweep(failed).load()
    rounds = json.loads(found.attrs["cubie_rounds"])
    assert [one["number"] for one in rounds] == [1, 2]
    assert [one["settings"]["max_steps"] for one in rounds] == [FEW_STEPS + 1, 10_000]
    assert rounds[1]["settings"]["rtol"] == [1e-5] * 3
    assert (found.status == Status.SUCCESS).all()
    taken = found["round"].values
    assert set(np.unique(taken)) <= {0, 1, 2}
    assert (taken == 2).any()
    # The first status is that of the sweep, not that of the first round.
    assert (found.first_status.values[taken > 0] == Status.STEP_BUDGET).all()
    assert found.first_status.attrs["flag_meanings"] == found.status.attrs["flag_meanings"]
    records = open_store(failed).records()
    assert max(record.round for record in records) == 2


def test_the_same_again_does_nothing(failed):
    quiet(failed, max_steps=FEW_STEPS + 1)
    before = {path: path.read_bytes() for path in failed.rglob("*") if path.is_file()}
    events = []
    report = retry_failed(failed, max_steps=FEW_STEPS + 1, progress=events.append)
    assert report.runs_failed
    assert not events
    assert {path: path.read_bytes() for path in failed.rglob("*") if path.is_file()} == before


def test_only_the_chosen_statuses_are_retried(tmp_path):
    # For k = 1 and x0 = 2 the solution ends at t = 0.5; others need too many steps.
    system = System.from_equations(
        "dx = k*x**2 - w*x", states={"x": 1.0}, parameters={"k": 0.0, "w": 1.0}
    )
    grid = Grid.zip(k=[0.0, 1.0, 0.0, 1.0], w=[1.0, 0.0, 5000.0, 0.0], x=[1.0, 2.0, 1.0, 3.0])
    sweep = Sweep(system, grid, t_span=(0.0, 1.0), max_steps=500, target="numpy", chunk_runs=2)
    store = tmp_path / "a.zarr"
    sweep.run(store, progress="none")
    first = open_sweep(store).load()
    ended = [Status(code) for code in first.status.values.tolist()]
    assert ended[0] == Status.SUCCESS
    assert ended[2] == Status.STEP_BUDGET
    assert {ended[1], ended[3]}.isdisjoint({Status.SUCCESS, Status.STEP_BUDGET})
    # An implicit method for one run of a sweep with an explicit one.
    quiet(store, status="step-budget", method="rodas4")
    second = open_sweep(store).load()
    assert second["round"].values.tolist() == [0, 0, 1, 0]
    assert second.status.values[2] == Status.SUCCESS
    assert abs(second.x.values[2]) < 1e-6
    assert "newton_iterations" not in second
    rest = [0, 1, 3]
    assert_same_results(first.isel(run=rest), second.drop_vars(HISTORY).isel(run=rest))
    # A run that fails again has the status and the last good state of the retry.
    quiet(store, status=ended[1], max_steps=7)
    third = open_sweep(store).load()
    assert third.status.values[1] in (Status.STEP_BUDGET, ended[1])
    assert third.accepted_steps.values[1] <= 7
    assert third.first_status.values[1] == ended[1]
    assert np.isfinite(third.x.values[1])


def test_wrong_use_is_told(failed):
    for options, words in (
        ({}, "Nothing is changed"),
        ({"max_steps": 99, "status": "STEP_BUGDET"}, "Did you mean 'STEP_BUDGET'"),
        ({"max_steps": 99, "status": ["success"]}, "no success is ever replaced"),
        ({"max_steps": 99, "status": []}, "status is empty"),
        ({"t_span": (0, 2)}, "can't change 't_span'"),
        ({"method": "radau"}, "method"),
    ):
        with pytest.raises(InputError, match=words):
            quiet(failed, **options)
    # Runs whose worker was lost may be tried as they were; here there are none.
    assert quiet(failed, status=Status.WORKER_LOST).runs_failed
    assert "cubie_rounds" not in open_sweep(failed).attrs


def test_damage_is_not_made_to_look_whole(failed):
    record = next(r for r in open_store(failed).records() if r.statuses.get("STEP_BUDGET"))
    array = open_store(failed).arrays["final_time"]
    block = open_store(failed).recipe.plan.block(record.chunk)
    array[block.slices] = 0.125
    with pytest.raises(StoreError, match=r"--repair"):
        quiet(failed, max_steps=10_000)
    found = verify_sweep(failed)
    assert found.damaged_chunks == (record.chunk,)
    repair_sweep(failed, found)
    resume_sweep(failed, progress="none")
    assert quiet(failed, max_steps=10_000).runs_failed == 0


def test_a_chunk_that_is_computed_anew_has_no_history(failed, stores):
    quiet(failed, max_steps=10_000)
    store = open_store(failed)
    for chunk in store.finished():
        store.ledger.delete(chunk)
    resume_sweep(failed, progress="none")
    found = open_sweep(failed).load()
    assert not found["round"].any()
    assert not found.first_status.any()
    assert_same_results(found.drop_vars(HISTORY), open_sweep(stores / "failed"))
    # The same round takes them again.
    assert quiet(failed, max_steps=10_000).runs_failed == 0
    assert_same_results(open_sweep(failed).drop_vars(HISTORY), open_sweep(stores / "enough"))


def test_a_time_limit_ends_it_in_order(failed):
    with pytest.raises(SweepInterrupted, match="max_time"):
        quiet(failed, max_steps=10_000, max_time=1e-9)
    assert verify_sweep(failed).whole
    assert quiet(failed, max_steps=10_000).runs_failed == 0


def test_values_of_samples_and_rounding_stay(tmp_path):
    grid = Grid.sample(24, rho=(1.0, 30.0))
    stores = []
    for max_steps in (FEW_STEPS, 10_000):
        stores.append(tmp_path / f"{max_steps}.zarr")
        sweep = failing_sweep(max_steps)
        sweep = Sweep(
            sweep.solver.system, grid, t_span=(0, 1), rtol=1e-6, atol=1e-8, chunk_runs=7,
            max_steps=max_steps, saved=["x"], save_every=0.25, keepbits=12,
        )  # fmt: skip
        sweep.run(stores[-1], progress="none")
    assert sweep_report(stores[0]).runs_failed
    quiet(stores[0], max_steps=10_000)
    assert verify_sweep(stores[0]).whole
    assert_same_results(open_sweep(stores[0]).drop_vars(HISTORY), open_sweep(stores[1]))


def test_workers_of_a_cluster_do_the_same(failed, stores):
    with local_cluster(1) as client:
        assert quiet(failed, client, max_steps=10_000).runs_failed == 0
    assert_same_results(open_sweep(failed).drop_vars(HISTORY), open_sweep(stores / "enough"))
    assert verify_sweep(failed).whole


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_9_at_any_write_and_the_same_again(stores, tmp_path, step):
    made = killed_at_writes("killed_retry", stores / "failed", tmp_path, step)
    assert len(made) > 20 // step
    quiet(tmp_path / f"{step}.zarr", max_steps=10_000)
    history = open_sweep(made[-1]).load()[HISTORY]
    for store in made:
        found = open_sweep(store).load()
        assert_same_results(found.drop_vars(HISTORY), open_sweep(stores / "enough"))
        assert_same_results(found[HISTORY], history)
        assert len(json.loads(found.attrs["cubie_rounds"])) == 1
        assert not pending_patches(open_store(store))
        assert verify_sweep(store).whole
