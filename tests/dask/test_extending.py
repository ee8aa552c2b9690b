"""Points that are added to the grid of a store, which then holds what one of full size does."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from killed_extension import OLD, RHO, SIGMA, small_sweep
from killed_retry import failing_sweep
from killed_writes import killed_at_writes
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import (
    ChangedSweepError,
    Grid,
    GridError,
    StoreError,
    extend_sweep,
    open_sweep,
    resume_sweep,
    retry_failed,
    sweep_report,
    verify_sweep,
)
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.stores.store import EXTENDING, change_attributes, open_store
from cubie_kernels import InputError


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    store = tmp_path_factory.mktemp("full") / "a.zarr"
    small_sweep().run(store, progress="none")
    return store


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    store = tmp_path_factory.mktemp("short") / "a.zarr"
    small_sweep(*OLD).run(store, progress="none")
    assert open_store(store).recipe.plan.chunk == (2, 3)
    return store


@pytest.fixture
def store(short, tmp_path):
    return shutil.copytree(short, tmp_path / "a.zarr")


def complete(store):
    """Compute what is missing, and return the chunks that were computed."""
    events = []
    assert resume_sweep(store, progress=events.append).complete
    assert verify_sweep(store).whole
    return [event.record.chunk for event in events if isinstance(event, ChunkFinished)]


def test_longer_axes_give_the_store_of_full_size(store, full):
    report = extend_sweep(store, rho=RHO[5:], sigma=SIGMA[3:])
    assert report.plan.shape == (7, 5)
    # Chunks of 2 x 3: two of the three that there were are whole still.
    assert (report.chunks, report.plan.chunks) == (2, 8)
    assert report.runs_finished == 12
    found = verify_sweep(store)
    assert found.whole
    assert found.finished == 2
    assert len(complete(store)) == 6
    assert_same_results(open_sweep(store), open_sweep(full))
    assert small_sweep().run(store, progress="none").complete
    (step,) = json.loads(open_sweep(store).attrs["cubie_extensions"])
    assert (step["from"], step["to"]) == ([5, 3], [7, 5])


def test_one_axis_after_the_other_and_along_whole_chunks(store, full):
    extend_sweep(store, {"sigma": SIGMA[3:4]})
    # The chunks are 3 long along sigma, so nothing is computed twice.
    assert sweep_report(store).chunks == 3
    complete(store)
    extend_sweep(store, sigma=float(SIGMA[4]))
    extend_sweep(store, rho=RHO[5:])
    complete(store)
    assert_same_results(open_sweep(store), open_sweep(full))


@pytest.mark.parametrize(
    ("made", "points"),
    [
        (lambda n: Grid.zip(rho=RHO[:n], y=-RHO[:n]), {"rho": RHO[5:], "y_0": -RHO[5:]}),
        (lambda n: Grid.sample(n, rho=(1, 20), y=(-1, 1)), {"n": len(RHO)}),
        (lambda n: Grid.sample(n, rho=(1, 20), kind="uniform", seed=3), {"n": len(RHO)}),
    ],
)
def test_zips_and_samples_get_more_runs(tmp_path, made, points):
    for name, runs in (("long", len(RHO)), ("grown", 5)):
        lorenz_sweep(3, made(runs), saved=["x"]).run(tmp_path / name, progress="none")
    extend_sweep(tmp_path / "grown", points)
    # One chunk was whole, and one cut off.
    assert sorted(complete(tmp_path / "grown")) == [1, 2]
    assert_same_results(open_sweep(tmp_path / "grown"), open_sweep(tmp_path / "long"))
    lorenz_sweep(3, made(len(RHO)), saved=["x"]).run(tmp_path / "grown", progress="none")


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=4, max_size=4), st.integers(1, 7))
def test_any_shape_and_chunk(tmp_path_factory, lengths, chunk_runs):
    folder = tmp_path_factory.mktemp("any")

    def sweep(rho, sigma):
        grid = Grid.product(rho=np.arange(rho) + 1.0, sigma=np.arange(sigma) + 9.0)
        return lorenz_sweep(chunk_runs, grid, saved=["x"], save_every=None, target="numpy")

    a, b, more_a, more_b = lengths
    sweep(a, b).run(folder / "grown", progress="none")
    extend_sweep(folder / "grown", {"rho": np.arange(a, a + more_a) + 1.0})
    extend_sweep(folder / "grown", {"sigma": np.arange(b, b + more_b) + 9.0})
    complete(folder / "grown")
    sweep(a + more_a, b + more_b).run(folder / "long", progress="none")
    assert_same_results(open_sweep(folder / "grown"), open_sweep(folder / "long"))


def test_retried_runs_in_chunks_that_were_cut_off_keep_their_results(tmp_path):
    store = tmp_path / "a.zarr"
    failing_sweep(chunk_runs=8).run(store, progress="none")
    before = retry_failed(store, max_steps=10_000, progress="none")
    assert before.runs_failed == 0
    history = open_sweep(store).load()
    extend_sweep(store, rho=[40.0])
    # That has 3 of the 7 old values of rho, and failed runs among them.
    assert complete(store) == [1]
    assert not open_sweep(store).load()["round"].isel(rho=7).any()
    found = open_sweep(store).load().isel(rho=slice(7))
    assert_same_results(found, history)
    # The new runs failed as the first ones did; the same retry takes them.
    assert retry_failed(store, max_steps=10_000, progress="none").runs_failed == 0
    assert verify_sweep(store).whole


def test_a_sweep_that_goes_on_says_how(store, tmp_path):
    with pytest.raises(ChangedSweepError, match=r"first values of rho: .*--axis rho=…") as refused:
        small_sweep(7, 3).run(store, progress="none")
    assert refused.value.fields == ("grid.rho",)
    changed = lorenz_sweep(6, Grid.product(rho=RHO[1:], sigma=SIGMA[:3]), saved=["x"])
    with pytest.raises(ChangedSweepError, match="Give a new store"):
        changed.run(store, progress="none")
    sample = tmp_path / "sample.zarr"
    lorenz_sweep(3, Grid.sample(4, rho=(1, 20))).run(sample, progress="none")
    with pytest.raises(ChangedSweepError, match="--axis n=…"):
        lorenz_sweep(3, Grid.sample(9, rho=(1, 20))).run(sample, progress="none")


def test_wrong_points_are_told(store):
    for points, error, words in (
        ({}, InputError, "Nothing was given"),
        ({"rhoo": [22]}, GridError, "no axis 'rhoo'. Did you mean 'rho'"),
        ({"rho": [RHO[3], 22]}, GridError, "has 10.5 already"),
        ({"rho": [22, 22]}, GridError, "22 twice"),
        ({"rho": [23, 22]}, GridError, "rise"),
        ({"rho": [0.5]}, GridError, "above 13.6667"),
        ({"rho": [np.nan]}, InputError, "finite"),
        ({"rho": []}, GridError, "one or more"),
        ({"beta": [3]}, GridError, "no axis 'beta'"),
    ):
        with pytest.raises(error, match=words):
            extend_sweep(store, points)
    assert sweep_report(store).complete


def test_samples_that_cannot_grow_are_told(tmp_path):
    for kind in ("latin-hypercube", "sobol"):
        grid = Grid.sample(4, rho=(1, 20), kind=kind)
        lorenz_sweep(3, grid).run(tmp_path / kind, progress="none")
    with pytest.raises(GridError, match="depends on their number"):
        extend_sweep(tmp_path / "latin-hypercube", n=8)
    for points, words in (
        ({"n": 4}, "has 4 runs already"),
        ({"rho": [3]}, "not of 'rho'"),
        ({"n": 2**31}, "other digits"),
    ):
        with pytest.raises(GridError, match=words):
            extend_sweep(tmp_path / "sobol", points)


def test_a_store_in_the_middle_is_opened_by_nobody_else(store):
    opened = open_store(store)
    change_attributes(opened.storage, {EXTENDING: "{}"})
    for use in (open_sweep, sweep_report, verify_sweep, resume_sweep, open_store):
        with pytest.raises(StoreError, match=r"cubie-dask extend .* does the rest"):
            use(store)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_9_at_any_write_and_the_same_again(short, full, tmp_path, step):
    made = killed_at_writes("killed_extension", short, tmp_path, step)
    assert len(made) > 10 // step
    for store in made:
        assert sweep_report(store).plan.shape == (7, 5)
        complete(store)
        assert_same_results(open_sweep(store), open_sweep(full))
        assert len(json.loads(open_sweep(store).attrs["cubie_extensions"])) == 1
