"""Parts of retries: settings, runs that no process survives, patches, and stores at URLs."""

import json
import uuid

import numpy as np
import pytest
from killed_retry import FEW_STEPS, failing_sweep
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import (
    Grid,
    StoreBusyError,
    extend_sweep,
    open_sweep,
    resume_sweep,
    retry_failed,
    sweep_report,
    to_netcdf,
    verify_sweep,
)
from cubie_dask.execution.driver import WHOLE, driving
from cubie_dask.execution.policy import Task
from cubie_dask.execution.probing import probe_chunk
from cubie_dask.execution.stopping import Stopping
from cubie_dask.grids.grid import Block
from cubie_dask.repairs.retried import chosen_runs, retry_chunk
from cubie_dask.repairs.rounds import Round, begin_round, changed_settings, chosen_statuses
from cubie_dask.stores.patching import Patch, read_runs, save_patch
from cubie_dask.stores.store import open_store
from cubie_kernels.status import Status

HISTORY = ["first_status", "round"]


@pytest.fixture
def failed(tmp_path):
    store = tmp_path / "a.zarr"
    failing_sweep().run(store, progress="none")
    return store


def begun(store, max_steps=10_000):
    """Return the store with a round that has begun, and the round."""
    statuses = chosen_statuses("STEP_BUDGET")
    settings = changed_settings(open_store(store), {"max_steps": max_steps}, statuses)
    return begin_round(open_store(store), statuses, settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "radau-iia-5"},
        {"method": "auto", "max_steps": 7},
        {"method": "rodas4", "linear_solver": "gmres", "preconditioner": "jacobi"},
        {"controller": "pid", "rtol": {"x": 1e-3, "y": 1e-4, "z": 1e-5}},
        {"adaptive": False, "dt": 0.02},
        {"dt_min": 1e-9, "dt_max": 0.1, "dt": 1e-3, "atol": [1e-3, 1e-4, 1e-5]},
    ],
)
def test_settings_of_a_round_are_kept_in_full(failed, changes):
    store, statuses = open_store(failed), chosen_statuses(None)
    settings = changed_settings(store, changes, statuses)
    told = Round(1, statuses, json.loads(json.dumps(settings)), "", "")
    found = json.loads(json.dumps(told.solver(store).settings()))
    assert {key: found[key] for key in settings} == settings
    for name, value in changes.items():
        if name in ("method", "max_steps", "adaptive", "dt", "dt_min", "dt_max"):
            assert settings[name] == value
    # What isn't given is the sweep's, but for what belongs to the method.
    if "rtol" not in changes:
        assert settings["rtol"] == [1e-6] * 3
    # The same rounds on top of another sweep.
    assert changed_settings(store, changes, statuses) == settings


def test_runs_that_no_process_survives_are_marked_and_can_be_retried(failed):
    store, now = begun(failed)
    chunk = next(r.chunk for r in store.records() if r.statuses.get("STEP_BUDGET", 0) > 2)
    count = len(chosen_runs(store, now, chunk))
    solver = now.solver(store)
    task = Task(chunk, boxes=(Block((1,), (count - 1,)),))
    told = retry_chunk(store, now, solver, task)
    assert told.statuses == {"SUCCESS": count - 1, "WORKER_LOST": 1}
    assert not chosen_runs(store, now, chunk).size
    assert verify_sweep(failed).whole
    report = retry_failed(failed, status="WORKER_LOST", max_steps=10_000, progress="none")
    assert Status.WORKER_LOST not in report.statuses
    found = open_sweep(failed).load()
    assert (found.first_status.values[found["round"].values == 2] == Status.STEP_BUDGET).all()


def test_a_probe_tries_the_chosen_runs(failed):
    store, now = begun(failed)
    chunk = next(r.chunk for r in store.records() if r.statuses.get("STEP_BUDGET"))
    whole = Block((0,), (len(chosen_runs(store, now, chunk)),))
    found = probe_chunk(str(failed), chunk, 1, now.number)
    assert (found.boxes, found.lost) == ((whole,), 0)


def test_a_patch_that_waits_is_no_damage_and_run_carries_it_out(failed, tmp_path):
    failing_sweep(10_000).run(tmp_path / "enough.zarr", progress="none")
    enough = open_store(tmp_path / "enough.zarr")
    store, now = begun(failed)
    for chunk in range(store.recipe.plan.chunks):
        block, runs = store.recipe.plan.block(chunk), chosen_runs(store, now, chunk)
        values = {name: read_runs(enough, name, block)[..., runs] for name in store.written}
        values |= {
            "first_status": np.full(len(runs), Status.STEP_BUDGET, np.uint8),
            "round": np.full(len(runs), 1, np.int16),
        }
        save_patch(store, Patch(chunk, 1, 0.5, runs, values))
        # As if it had been killed in the middle.
        store.arrays["x"][(slice(None), *block.slices)] = np.nan
        for name in ("x", "status"):
            untouched = np.setdiff1d(np.arange(block.runs), runs)
            whole = read_runs(store, name, block).copy()
            whole[..., untouched] = read_runs(enough, name, block)[..., untouched]
            where = (slice(None),) * (whole.ndim - 1) + block.slices
            store.arrays[name][where] = whole.reshape(*whole.shape[:-1], *block.shape)
    found = verify_sweep(failed)
    assert found.whole
    assert found.retrying == (0, 1)
    assert "resume" in str(found)
    assert failing_sweep().run(failed, progress="none").runs_failed == 0
    assert verify_sweep(failed).whole
    assert not verify_sweep(failed).retrying
    after = open_sweep(failed)
    assert_same_results(after.drop_vars(HISTORY), open_sweep(tmp_path / "enough.zarr"))


def test_a_late_patch_takes_nothing_from_a_later_round(failed):
    store, first = begun(failed, FEW_STEPS + 1)
    chunk = next(r.chunk for r in store.records() if r.statuses.get("STEP_BUDGET"))
    runs = chosen_runs(store, first, chunk)
    block = store.recipe.plan.block(chunk)
    late = {name: read_runs(store, name, block)[..., runs] for name in store.written}
    late |= {"round": np.full(len(runs), 1, np.int16)}
    retry_failed(failed, max_steps=10_000, progress="none")
    before = open_sweep(failed).load()
    save_patch(store, Patch(chunk, 1, 0.5, runs, late))
    resume_sweep(failed, progress="none")
    assert_same_results(open_sweep(failed), before)
    assert verify_sweep(failed).whole


def test_one_process_at_a_time(failed):
    store = open_store(failed)
    with driving(store.storage, f"{store.folder}/drivers", WHOLE, Stopping()):
        with pytest.raises(StoreBusyError):
            retry_failed(failed, max_steps=10_000, progress="none")
        with pytest.raises(StoreBusyError):
            extend_sweep(failed, rho=[40])
    assert sweep_report(failed).plan.shape == (7, 2)
    assert "cubie_rounds" not in open_sweep(failed).attrs


def test_stores_at_urls(tmp_path):
    store = f"memory://{uuid.uuid4().hex}/a.zarr"
    failing_sweep().run(store, progress="none")
    retry_failed(store, max_steps=10_000, progress="none")
    extend_sweep(store, rho=[40.0])
    resume_sweep(store, progress="none")
    retry_failed(store, max_steps=10_000, progress="none")
    assert verify_sweep(store).whole
    grid = Grid.product(rho=np.arange(1, 9) * 5.0, sigma=[9.0, 11.0])
    lorenz_sweep(8, grid, saved=["x"]).run(tmp_path / "long.zarr", progress="none")
    found = open_sweep(store).load()
    assert_same_results(found.drop_vars(HISTORY), open_sweep(tmp_path / "long.zarr"))


def test_the_history_is_exported(failed, tmp_path):
    import xarray as xr

    retry_failed(failed, max_steps=FEW_STEPS + 3, progress="none")
    to_netcdf(failed, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as exported:
        found = open_sweep(failed).load()
        for name in HISTORY:
            assert (exported[name].values == found[name].values).all()
            assert found[name].values.any()
        assert exported.attrs["cubie_rounds"] == found.attrs["cubie_rounds"]
