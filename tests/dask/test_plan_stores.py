"""Plans in stores: several zarr chunks in a chunk, shards, a store's own plan, costs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import CapacityError, Grid, Sweep, ensemble_statistics, open_sweep, to_netcdf
from cubie_dask.grids.values import LongValues
from cubie_dask.planning import plan_to_run
from cubie_dask.plans.pilot import more_runs
from cubie_dask.plans.plan import Plan
from cubie_dask.recipe import Recipe
from cubie_dask.stores.store import create_store, open_store
from cubie_kernels import System
from cubie_kernels.errors import InputError

SAMPLE = Grid.sample(143, rho=(1, 21), sigma=(8, 12), seed=3)
ZIP = Grid.zip(rho=np.linspace(1, 21, 143), sigma=np.linspace(8, 12, 143))


def with_plan(sweep, store, **changes):
    """Make a store with a plan of its own, and run the sweep into it."""
    plan = replace(sweep.plan(), estimate=None, **changes)
    create_store(store, Recipe(sweep.solver, sweep.grid, plan))
    report = sweep.run(store, progress="none")
    assert report.complete
    assert report.plan == plan
    return report


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(
    ("grid", "chunk", "zarr_chunk"),
    [(None, (3, 8, 13), (1, 4, 13)), (SAMPLE, (60,), (15,)), (ZIP, (150,), (50,))],
)
def test_results_do_not_depend_on_zarr_chunks(tmp_path, grid, chunk, zarr_chunk, sharded):
    sweep = lorenz_sweep(None, grid)
    whole = sweep.run(tmp_path / "whole.zarr", progress="none")
    store = tmp_path / "cut.zarr"
    report = with_plan(sweep, store, chunk=chunk, zarr_chunk=zarr_chunk, sharded=sharded)
    assert_same_results(whole.dataset().load(), report.dataset().load())
    arrays = dict(zarr.open_group(store, mode="r").arrays())
    assert arrays["x"].chunks[1:] == zarr_chunk
    assert arrays["x"].shards == ((5, *chunk) if sharded else None)
    # What is recorded of each run is one zarr chunk, so that the status comes in one step.
    assert arrays["status"].chunks == chunk
    files = [path for path in Path(store, "x", "c").rglob("*") if path.is_file()]
    assert len(files) == (report.plan.chunks if sharded else report.plan.zarr_chunks)


def test_datasets_of_cut_chunks_can_be_analysed(tmp_path):
    sweep = lorenz_sweep()
    store = tmp_path / "a.zarr"
    with_plan(sweep, store, chunk=(3, 8, 13), zarr_chunk=(1, 4, 13), sharded=True)
    dataset = open_sweep(store)
    # All variables have the same chunks.
    assert dataset.chunksizes["sigma"] == (8, 3)
    found = ensemble_statistics(dataset, ("rho", "sigma"))
    expected = dataset["x"].load().mean(("rho", "sigma"))
    np.testing.assert_allclose(found["x_mean"], expected, rtol=1e-12)
    to_netcdf(store, tmp_path / "a.nc")
    assert (tmp_path / "a.nc").stat().st_size > 10_000


def test_a_large_chunk_has_several_zarr_chunks_of_its_own(tmp_path):
    grid = Grid.product(rho=np.linspace(1, 21, 1500))
    options = {"save_every": None, "save_at": np.linspace(0, 1, 2001), "saved": ["x"]}
    sweep = lorenz_sweep(1500, grid, **options)
    plan = sweep.plan()
    assert (plan.chunks, plan.zarr_chunks) == (1, 3)
    report = sweep.run(tmp_path / "a.zarr", progress="none")
    outcome = sweep.solver.run(grid.columns(plan.block(0)), grid.runs)
    np.testing.assert_array_equal(report.dataset()["x"], outcome.states[0])


def test_a_store_keeps_the_plan_it_was_made_with(tmp_path):
    store = tmp_path / "a.zarr"
    lorenz_sweep(100).run(store, progress="none")
    plan = lorenz_sweep(500).plan(store=store)
    assert plan == lorenz_sweep(100).plan()
    assert plan.estimate.limited_by == "the store, which was made with it"
    assert plan.estimate.disk_free > 0
    assert "free" in str(plan)


def test_values_on_disk_make_the_same_store(tmp_path):
    for name, values in ZIP.values.items():
        np.save(tmp_path / f"{name}.npy", values)
    grid = Grid.zip({name: tmp_path / f"{name}.npy" for name in ZIP.names})
    plain = lorenz_sweep(30, ZIP).run(tmp_path / "a.zarr", progress="none")
    found = lorenz_sweep(30, grid).run(tmp_path / "b.zarr", progress="none")
    assert_same_results(plain.dataset().load(), found.dataset().load())
    assert_same_results(found.dataset().load(), lorenz_sweep(30, grid).dataset().load())
    # And the one goes on with the other's.
    assert lorenz_sweep(30, grid).run(tmp_path / "a.zarr", progress="none").complete


def test_long_axes_are_read_by_block(tmp_path):
    grid = Grid.product(sigma=[9.0, 11.0], rho=np.linspace(0, 21, 2**21))
    sweep = lorenz_sweep(None, grid, save_every=None)
    create_store(tmp_path / "a.zarr", Recipe(sweep.solver, grid, sweep.plan(), None))
    stored = open_store(tmp_path / "a.zarr").recipe
    assert isinstance(stored.grid.axes["rho"], LongValues)
    assert isinstance(stored.grid.axes["sigma"], np.ndarray)
    block = stored.plan.block(stored.plan.chunks - 1)
    for name, column in stored.grid.columns(block).items():
        expected = grid.columns(block)[name]
        np.testing.assert_array_equal(column.values, expected.values)
        assert column.stride == expected.stride
    assert stored.grid == grid


def test_long_axes_are_unpacked_once_for_many_blocks(tmp_path):
    numbers = np.arange(1000.0)
    array = Noted(zarr.create_array(str(tmp_path / "a"), data=numbers, chunks=(100,)))
    values = LongValues(array)
    for start in range(0, 1000, 25):
        np.testing.assert_array_equal(values[start : start + 25], numbers[start : start + 25])
    assert array.notes == [slice(first, first + 100) for first in range(0, 1000, 100)]
    # Over the border of two chunks, the rest at the end, and more than a chunk.
    for part in (slice(190, 210), slice(990, None), slice(0, 500, 2), slice(5, 5)):
        np.testing.assert_array_equal(values[part], numbers[part])
    with pytest.raises(ValueError, match="read-only"):
        values[190:210][0] = 1.0


class Noted:
    """An array that notes what is read of it."""

    def __init__(self, array):
        self.array, self.notes = array, []
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks

    def __getitem__(self, part):
        self.notes.append(part)
        return self.array[part]


def test_too_little_disk_is_told_before(tmp_path):
    grid = Grid.sample(10**12, rho=(0, 21))
    sweep = lorenz_sweep(None, grid)
    with pytest.raises(CapacityError, match=r"results take .* TB before compression"):
        sweep.plan(store=tmp_path / "not" / "there.zarr")
    assert not (tmp_path / "not").exists()


def test_what_a_plan_costs():
    sweep = lorenz_sweep(None, Grid.product(rho=np.linspace(0, 21, 10**6)))
    plain = sweep.plan()
    assert plain.estimate.seconds is None
    assert plain == Plan.from_dict(plain.to_dict())
    plan = sweep.plan(workers=4, run_seconds=1e-3, memory="1 GB")
    known = plan.estimate
    assert known.chunk_seconds == pytest.approx(plan.chunk_runs * 1e-3)
    assert 250 <= known.seconds <= 270
    assert known.memory == 10**9
    results = plan.chunk_runs * plan.run_bytes
    assert 3 * results < known.memory_needed < 3 * results + 400e6
    assert known.device_bytes > results
    # The buffers of tsit5: seven derivatives, the states and the like of four numbers.
    assert 7 * 3 * 8 < known.scratch_bytes < 10_000
    assert "rests on what was given" in str(plan)
    # Of an implicit method there is a matrix more.
    stiff = lorenz_sweep(None, sweep.grid, method="rodas4").plan().estimate
    assert stiff.scratch_bytes > known.scratch_bytes


@pytest.mark.parametrize(
    ("runs", "seconds", "whole", "least", "most"),
    [
        # Sixteen runs fill two vectors: they tell nothing of thousands.
        (16, 0.006, 10**6, 256, 256),
        (16, 0.006, 20_000, 200, 200),
        (16, 0.006, 300, None, None),
        (256, 0.006, 10**9, None, None),
        # Too short to be told.
        (16, 2e-4, 10**6, 256, 600),
        (256, 4e-3, 10**6, 512, 512),
        (20_000, 4.9e-3, 100, 40_000, 40_000),
        # A second is enough of waiting, and a million of runs.
        (16, 1.0, 10**9, None, None),
        (10**6, 1e-4, 10**9, None, None),
    ],
)
def test_a_pilot_has_enough_runs_for_a_time_that_holds_of_many(runs, seconds, whole, least, most):
    found = more_runs(runs, seconds, whole)
    assert found is None if least is None else least <= found <= most


def test_a_pilot_times_runs_without_a_store():
    sweep = lorenz_sweep(None, Grid.product(rho=np.linspace(0, 21, 50)))
    seconds = sweep.pilot(threads=1)
    assert 1e-9 < seconds < 1
    plan = sweep.plan(pilot=True)
    assert plan.estimate.basis == "a pilot"
    assert 1e-9 < plan.estimate.run_seconds < 1
    assert sweep.plan(pilot=True, run_seconds=0.5).estimate.basis == "what was given"


def test_a_pilot_does_not_take_compiling_for_integrating(tmp_path, monkeypatch):
    # Nobody has this phase, so that the kernel for stiff runs is compiled when the first one is.
    model = System.from_equations(
        "dx = -k*(x - cos(t + 0.8139))", states={"x": 1.0}, parameters={"k": 1e5}
    )
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    grid = Grid.product(k=np.linspace(1.0, 1e6, 1000))
    # Of a fifth of a second for each run, it would be more than a hundred.
    assert Sweep(model, grid, t_span=(0, 10), method="auto").plan(pilot=True).chunks < 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory": "8 GBB"}, r'"8GB" or "7.5GiB", not \'8 GBB\''),
        ({"memory": "lots"}, "number of bytes"),
        ({"memory": 0}, "memory must be 1"),
        ({"memory": "100 MB"}, "give each worker"),
        ({"workers": 0}, "workers must be 1"),
        ({"run_seconds": -1.0}, "above 0"),
        ({"run_seconds": float("nan")}, "finite"),
    ],
)
def test_plan_errors(options, words):
    with pytest.raises(InputError, match=words):
        lorenz_sweep().plan(**options)


def test_a_new_store_gets_chunks_by_the_time_of_its_runs(tmp_path):
    # Two million steps a run: in one chunk they would take a minute or so.
    slow = {"t_span": (0, 1000), "method": "rk4", "adaptive": False, "dt": 5e-4}
    slow["max_steps"] = 10**7
    grid = Grid.product(rho=np.linspace(1, 21, 4000))
    sweep = lorenz_sweep(None, grid, save_every=None, **slow)
    assert sweep.plan().chunks == 1
    plan, order = plan_to_run(sweep, tmp_path / "a.zarr", None, None)
    assert plan.chunks > 2
    # For one worker it makes no difference which come first.
    assert order is None
    # Where the user or a store says how large chunks are, that holds.
    said = lorenz_sweep(4000, grid, save_every=None, **slow)
    assert plan_to_run(said, tmp_path / "a.zarr", None, None)[0].chunks == 1
    create_store(tmp_path / "b.zarr", Recipe(said.solver, said.grid, said.plan(), None))
    assert plan_to_run(sweep, tmp_path / "b.zarr", None, None)[0].chunks == 1
