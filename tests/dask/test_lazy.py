"""Datasets that integrate what a computation touches."""

import multiprocessing
import threading
from collections import Counter

import dask
import numpy as np
import pytest
import xarray as xr
from counting_grid import counted, integrated, processes
from distributed.protocol import dumps, loads
from processes import dask_workers
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import Grid, open_sweep
from cubie_dask.analysis.lazy import kernel_share
from cubie_kernels import InputError
from cubie_kernels.run.execute import available_threads

GRIDS = {
    "product": None,
    "zip": Grid.zip(rho=np.linspace(0, 21, 200), x=np.linspace(-1, 1, 200)),
    "sample": Grid.sample(200, rho=(0, 21), x=("log", 0.1, 1.0)),
}
PRODUCT = Grid.product(rho=np.linspace(1, 21, 7), sigma=np.linspace(8, 12, 11), y=[-1.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def client():
    with dask_workers() as client:
        yield client


@pytest.fixture
def counting(tmp_path):
    """Return a sweep of 7 x 2 chunks, and the notes of those that were integrated."""
    grid, notes = counted(PRODUCT, tmp_path)
    sweep = lorenz_sweep(18, grid)
    assert sweep.plan().counts == (7, 2, 1)
    return sweep, notes


@pytest.mark.parametrize(
    ("grid", "saves"),
    [(grid, {}) for grid in GRIDS.values()] + [(GRIDS["sample"], {"save_every": None})],
    ids=[*GRIDS, "ends"],
)
def test_the_dataset_is_that_of_the_store(tmp_path, grid, saves):
    sweep = lorenz_sweep(80, grid, **saves)
    sweep.run(tmp_path / "a", progress="none")
    stored, lazy = open_sweep(tmp_path / "a"), sweep.dataset()
    assert list(lazy.data_vars) == list(stored.data_vars)
    for name in stored.variables:
        assert lazy[name].attrs == stored[name].attrs
    for name in stored.data_vars:
        assert lazy[name].chunks == stored[name].chunks
        assert dask.is_dask_collection(lazy[name].data)
    assert_same_results(lazy.compute(), stored.compute())
    # A store that has no ledger is none of a sweep, and must not say so.
    differ = {k for k in {*stored.attrs, *lazy.attrs} if stored.attrs.get(k) != lazy.attrs.get(k)}
    assert differ - {"created"} == {"cubie_format"}


def test_a_selection_integrates_one_chunk(counting):
    sweep, notes = counting
    dataset = sweep.dataset()
    chosen = dataset.sel(rho=15, sigma=9, method="nearest")
    assert dict(chosen.sizes) == {"time": 5, "y_0": 3}
    assert integrated(notes) == []
    found = chosen.compute()
    assert integrated(notes) == ["(4, 0, 0)"]
    assert_same_results(found, dataset.compute().sel(rho=15, sigma=9, method="nearest"))


def test_variables_share_the_integration_of_a_chunk(counting):
    sweep, notes = counting
    dataset = sweep.dataset()
    chunks = {str(sweep.plan().block(i).start) for i in range(14)}
    dataset.compute()
    assert Counter(integrated(notes)) == dict.fromkeys(chunks, 1)
    # So does what is made of several of them.
    (dataset.x * dataset.z + dataset.status).mean().compute(scheduler="synchronous")
    assert Counter(integrated(notes)) == dict.fromkeys(chunks, 2)
    kept = dataset[["x", "y"]].persist()
    kept.x.sum().compute()
    kept.y.sum().compute()
    assert Counter(integrated(notes)) == dict.fromkeys(chunks, 3)


def test_chunks_can_be_cut_anew(counting):
    sweep, notes = counting
    whole = sweep.dataset()
    fine = sweep.dataset(chunk_runs=1, threads=1)
    assert fine.x.data.numblocks == (1, 7, 11, 3)
    one = fine.x.isel(rho=2, sigma=3, y_0=1).compute()
    assert integrated(notes) == ["(2, 3, 1)"]
    assert one.values.tobytes() == whole.x.isel(rho=2, sigma=3, y_0=1).compute().values.tobytes()
    assert sweep.chunk_runs == 18
    with pytest.raises(InputError, match="chunk_runs"):
        sweep.dataset(chunk_runs=0)
    with pytest.raises(InputError, match="threads"):
        sweep.dataset(threads=0)


def test_it_composes(tmp_path, counting):
    sweep, notes = counting
    dataset = sweep.dataset()
    known = dataset.compute()
    notes.write_bytes(b"")

    peaks = xr.map_blocks(
        lambda part: part.x.max("time"), dataset, template=dataset.x[0].drop_vars("time")
    )
    assert_same_results(
        peaks.to_dataset(name="peak").compute(), known.x.max("time").to_dataset(name="peak")
    )
    assert len(integrated(notes)) == 14
    groups = dataset.x.isel(time=-1).groupby(dataset.rho > 10).mean()
    expected = known.x.isel(time=-1).groupby(known.rho > 10).mean()
    np.testing.assert_allclose(groups, expected, rtol=1e-12)
    part = dataset[["x", "status"]].sel(rho=slice(1, 9))
    part.to_zarr(tmp_path / "some.zarr", zarr_format=3, consolidated=False)
    some = xr.open_zarr(tmp_path / "some.zarr", consolidated=False)
    assert_same_results(some.compute(), known[["x", "status"]].sel(rho=slice(1, 9)))


def test_it_plots(counting):
    from matplotlib.figure import Figure

    sweep, notes = counting
    axes = Figure().subplots()
    sweep.dataset().x.sel(rho=15, sigma=9, y_0=0, method="nearest").plot(ax=axes)
    assert axes.lines[0].get_xydata().shape == (5, 2)
    assert len(integrated(notes)) == 1


def test_samples_are_known_without_integrating():
    # No machine integrates these runs in the time of this test.
    sweep = lorenz_sweep(100, Grid.sample(10**6, rho=(0, 21)), t_span=(0, 1e4), save_every=None)
    dataset = sweep.dataset(chunk_runs=50_000)
    assert "x" in dataset
    chosen = dataset.rho.isel(run=slice(123_456, 123_556))
    expected = sweep.grid.columns(sweep.plan().block(0))
    assert chosen.compute().shape == expected["rho"].values.shape
    assert 0 < float(dataset.rho.min()) < 1e-3


def test_a_grid_of_many_runs_costs_nothing_to_describe(tmp_path):
    axes = {"rho": np.linspace(0, 21, 100_000), "x": np.linspace(-1, 1, 10_000)}
    grid, notes = counted(Grid.product(axes), tmp_path)
    dataset = lorenz_sweep(None, grid, save_every=None).dataset(chunk_runs=10_000)
    assert dataset.x.size == 10**9
    assert dataset.x.data.npartitions == 100_000
    point = dataset.sel(rho=15, x_0=0.3, method="nearest").compute()
    assert integrated(notes) == [f"({abs(axes['rho'] - 15).argmin()}, 0)"]
    assert point.status == 1


def test_names_of_tasks_follow_from_the_content():
    def names(*arguments, chunk=None, **options):
        dataset = lorenz_sweep(*arguments, **options).dataset(chunk)
        return {name: dataset[name].data.name for name in dataset.data_vars}

    first = names(80)
    assert len(set(first.values())) == len(first)
    assert names(80) == first
    assert names(40, chunk=80) == first
    others = [names(40), names(80, rtol=1e-7), names(80, Grid.product(rho=[1.0, 2.0]))]
    others += [names(80, save_every=0.5), names(80, fixed={"beta": 2.0})]
    for other in others:
        assert not set(other.values()) & set(first.values())


def test_a_cluster_gives_the_same_bits(client, counting):
    sweep, notes = counting
    dataset = sweep.dataset()
    spread = client.compute(dataset, sync=True)
    assert sorted(integrated(notes)) == sorted(str(sweep.plan().block(i).start) for i in range(14))
    workers = client.run(lambda dask_worker: dask_worker.nanny and __import__("os").getpid())
    assert processes(notes) == set(workers.values())
    assert_same_results(spread, dataset.compute())
    one = client.compute(dataset.sel(rho=15, sigma=9, method="nearest"), sync=True)
    assert len(integrated(notes)) == 14 + 14 + 1
    assert one.x.shape == (5, 3)


def test_a_worker_has_the_threads_that_it_was_given(client):
    assert set(client.run(lambda: len(multiprocessing.active_children())).values()) == {0}
    asked = [client.submit(kernel_share, None, key=f"share-{i}") for i in range(4)]
    assert client.gather(asked) == [1] * 4
    assert client.submit(kernel_share, 5).result() == 5
    assert kernel_share() == available_threads()
    assert kernel_share(3) == 3
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(kernel_share) == 1


def test_a_graph_carries_the_recipe_once():
    # 4,000 values are 32 kB, which each of the 50 chunks would repeat.
    grid = Grid.zip(rho=np.linspace(0, 21, 2000), x=np.linspace(-1, 1, 2000))
    dataset = lorenz_sweep(None, grid).dataset(chunk_runs=40)
    array = dataset.x.data
    assert array.npartitions == 50
    graph = dict(array.__dask_graph__())
    frames = dumps(graph)
    assert sum(len(bytes(frame)) for frame in frames) < 50 * 32_000 / 8
    again = loads(frames)
    key = next(iter(dask.core.flatten(array.__dask_keys__())))
    found = dask.get(again, key)
    assert found.tobytes() == array.blocks[0, 0].compute().tobytes()


def test_one_kernel_runs_at_a_time():
    sweep = lorenz_sweep(2000, Grid.sample(40_000, rho=(0, 21), x=(0, 1)), save_every=None)
    dataset = sweep.dataset(threads=2)
    seen, over = [0], threading.Event()

    def watch():
        while not over.wait(0.001):
            seen.append(sum("(work)" in thread.name for thread in threading.enumerate()))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        dataset.compute(scheduler="threads", num_workers=6)
    finally:
        over.set()
        watching.join()
    assert max(seen) == 2
