"""Statistics that are merged chunk by chunk, against NumPy's of all runs at once."""

import functools
import itertools
import random

import dask
import numpy as np
import pytest
import xarray as xr
from counting_grid import counted, integrated
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import dask_workers
from sweep_models import LORENZ, lorenz_sweep

from cubie_dask import Grid, Sweep, open_sweep
from cubie_dask.analysis.accumulators import Extremes, Moments
from cubie_dask.analysis.statistics import Histogram, Quantiles, ensemble_statistics
from cubie_kernels import InputError, System, solve
from cubie_kernels.status import Status

ALL = ["mean", "variance", "std", "min", "max", "quantiles", Histogram([-20, -5, 0, 5, 20])]
GRID = Grid.product(
    rho=np.linspace(1, 21, 7), sigma=np.linspace(8, 12, 11), y=np.linspace(-1, 1, 9)
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
MODERATE = st.floats(-1e100, 1e100)
PROBABILITIES = (0.0, 0.1, 0.5, 0.75, 1.0)

# Runs with k > 1 blow up at t = 1 / k, within the span.
BLOWUP = System.from_equations(
    "dx = k*x**2", states={"x": 1.0}, parameters={"k": 0.5}, name="blowup"
)


def by_pieces(statistic, values, counted_, cuts, seed):
    """Cut a table between its runs, and merge neighbours in any order."""
    edges = [0, *sorted(cut % (values.shape[1] + 1) for cut in cuts), values.shape[1]]
    pieces = itertools.pairwise(edges)
    states = [statistic.begin(values[:, a:b], counted_[:, a:b]) for a, b in pieces]
    chooser = random.Random(seed)
    while len(states) > 1:
        i = chooser.randrange(len(states) - 1)
        states[i : i + 2] = [statistic.merge(states[i], states[i + 1])]
    return statistic.finish(states[0], len(values))


@st.composite
def tables(draw, elements):
    """Return a table of cells by runs, what counts of it, cuts, and a seed."""
    cells, runs = draw(st.integers(1, 3)), draw(st.integers(1, 25))
    size = cells * runs
    values = draw(st.lists(elements, min_size=size, max_size=size))
    kept = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    values, kept = np.reshape(values, (cells, runs)), np.reshape(kept, (cells, runs))
    values = np.where(kept, values, draw(st.sampled_from([np.nan, np.inf, 1.0])))
    return values, kept, draw(st.lists(st.integers(0, 100), max_size=6)), draw(st.integers(0, 99))


@given(tables(MODERATE))
def test_mean_and_variance_agree_to_rounding(table):
    values, kept, cuts, seed = table
    found = by_pieces(Moments(), values, kept, cuts, seed)
    for cell, (row, counts) in enumerate(zip(values, kept, strict=True)):
        of_it = row[counts]
        assert found["count"][cell] == len(of_it)
        if not len(of_it):
            assert np.isnan([found[name][cell] for name in ("mean", "variance", "std")]).all()
            continue
        size, tolerance = abs(of_it).max(), 1e-14 * len(of_it)
        assert abs(found["mean"][cell] - of_it.mean()) <= tolerance * size
        assert abs(found["variance"][cell] - of_it.var()) <= tolerance * size**2
        assert found["std"][cell] == np.sqrt(found["variance"][cell])


def test_a_small_variance_far_from_zero_is_kept():
    values = 1e8 + np.random.default_rng(1).normal(size=(1, 10_000))
    found = by_pieces(Moments(), values, np.ones_like(values, bool), [10, 99, 1000, 5000], 3)
    assert found["variance"][0] == pytest.approx(values.var(), rel=1e-9)


@given(tables(FINITE))
def test_extremes_are_exact(table):
    values, kept, cuts, seed = table
    found = by_pieces(Extremes(), values, kept, cuts, seed)
    for cell, (row, counts) in enumerate(zip(values, kept, strict=True)):
        of_it = row[counts] if counts.any() else np.array([np.nan])
        np.testing.assert_array_equal(found["min"][cell], of_it.min())
        np.testing.assert_array_equal(found["max"][cell], of_it.max())


@given(tables(st.one_of(st.integers(-9, 9).map(float), FINITE)))
def test_histograms_are_those_of_numpy(table):
    values, kept, cuts, seed = table
    edges = [-5.0, -1.0, 0.0, 0.25, 7.0]
    found = by_pieces(Histogram(edges), values, kept, cuts, seed)
    for cell, (row, counts) in enumerate(zip(values, kept, strict=True)):
        of_it = row[counts]
        assert found["histogram"][cell].tolist() == np.histogram(of_it, edges)[0].tolist()
        assert found["below"][cell] == (of_it < -5).sum()
        assert found["above"][cell] == (of_it > 7).sum()


@settings(max_examples=200)
@given(tables(FINITE), st.sampled_from([0.3, 0.1, 0.01, 1e-3, 1e-6]))
def test_quantiles_hold_their_error_and_are_the_same_however_cut(table, error):
    values, kept, cuts, seed = table
    statistic = Quantiles(PROBABILITIES, error)
    found = by_pieces(statistic, values, kept, cuts, seed)["quantile"]
    assert found.tobytes() == by_pieces(statistic, values, kept, [], 0)["quantile"].tobytes()
    for cell, (row, counts) in enumerate(zip(values, kept, strict=True)):
        if not counts.any():
            assert np.isnan(found[cell]).all()
            continue
        # By rank, without the interpolation that overflows for the largest numbers.
        ordered = np.sort(row[counts])
        true = ordered[[int(q * (len(ordered) - 1)) for q in PROBABILITIES]]
        slack = np.where(abs(true) < 2.3e-308, 2.3e-308, 0.0)
        assert (abs(found[cell] - true) <= error * abs(true) * (1 + 1e-15) + slack).all()


def test_the_quantiles_of_many_values_are_those_of_numpy():
    values = np.random.default_rng(2).lognormal(0, 3, (3, 100_000)) * [[1.0], [-1.0], [1e-200]]
    found = by_pieces(
        Quantiles(PROBABILITIES), values, np.ones_like(values, bool), range(0, 99, 7), 1
    )
    true = np.quantile(values, PROBABILITIES, axis=1, method="lower").T
    assert abs(found["quantile"] / true - 1).max() <= 0.01
    # What is held does not grow with the number of values but with the range that they cover.
    bins, numbers = Quantiles().begin(values[:1], np.ones((1, 100_000), bool))
    assert len(bins) <= 64 * (np.log2(values[0].max() / values[0].min()) + 2)
    assert numbers.sum() == 100_000


@functools.cache
def known():
    """Return all runs of the sweep in memory."""
    return lorenz_sweep(80, GRID).dataset().compute()


@pytest.mark.parametrize("over", [None, "sigma", ("y_0", "rho"), ["rho", "sigma", "y_0"]])
@pytest.mark.parametrize("chunk_runs", [25, 700])
def test_statistics_of_a_sweep_are_those_of_its_runs(over, chunk_runs):
    found = ensemble_statistics(lorenz_sweep(chunk_runs, GRID), over, ALL)
    over = [over] if isinstance(over, str) else list(over or known().status.dims)
    runs = np.prod([known().sizes[dim] for dim in over])
    for name in ("x", "y", "z", "energy"):
        array = known()[name]
        assert (found[f"{name}_count"] == runs).all()
        xr.testing.assert_allclose(found[f"{name}_mean"], array.mean(over), rtol=1e-12)
        scale = float((array**2).max()) * 1e-14
        xr.testing.assert_allclose(found[f"{name}_variance"], array.var(over), atol=scale)
        xr.testing.assert_equal(found[f"{name}_min"], array.min(over))
        xr.testing.assert_equal(found[f"{name}_max"], array.max(over))
        inside = array.where((array >= -20) & (array <= 20)).count(over)
        xr.testing.assert_equal(found[f"{name}_histogram"].sum(f"{name}_bin"), inside)
        lower = array.quantile(found["quantile"].values, over, method="lower")
        worst = abs(found[f"{name}_quantile"] - lower) <= 0.01 * abs(lower)
        assert worst.all()
        assert found[f"{name}_quantile"].dims == (*found[f"{name}_mean"].dims, "quantile")
    assert found.x_mean.dims == ("time", *(d for d in known().status.dims if d not in over))
    assert (found.status_count.sel(ended="success") == runs).all()
    assert found.x_mean.attrs["long_name"] == "mean of x"


def test_chunks_change_nothing_but_the_last_bits_of_moments():
    first, second = (ensemble_statistics(lorenz_sweep(n, GRID), "sigma", ALL) for n in (20, 90))
    for name in first.variables:
        if name.endswith(("_mean", "_variance", "_std")):
            continue
        assert first[name].values.tobytes() == second[name].values.tobytes(), name


def test_the_order_of_completion_changes_no_bit(tmp_path):
    sweep = lorenz_sweep(25, GRID)
    first = ensemble_statistics(sweep, ["rho", "y_0"], ALL)
    sweep.run(tmp_path / "a", progress="none")
    with dask.config.set(scheduler="synchronous"):
        others = [ensemble_statistics(open_sweep(tmp_path / "a"), ["y_0", "rho"], ALL)]
    with dask.config.set(scheduler="threads", num_workers=8):
        others += [ensemble_statistics(sweep, ["rho", "y_0"], ALL)]
    with dask_workers(threads=2) as client:
        others += [ensemble_statistics(sweep, ["rho", "y_0"], ALL, client)]
    for other in others:
        assert set(other.variables) == set(first.variables)
        for name in first.variables:
            assert other[name].dims == first[name].dims
            assert other[name].values.tobytes() == first[name].values.tobytes(), name


def test_each_chunk_is_integrated_once_and_runs_that_are_not_wanted_never(tmp_path):
    grid, notes = counted(GRID, tmp_path)
    sweep = lorenz_sweep(25, grid)
    ensemble_statistics(sweep, "rho", ALL)
    assert len(integrated(notes)) == len(set(integrated(notes))) == sweep.plan().chunks
    notes.write_bytes(b"")
    cut = sweep.dataset().sel(sigma=[8.0, 8.4], rho=slice(0, 12))
    found = ensemble_statistics(cut, "rho")
    assert len(integrated(notes)) < sweep.plan().chunks / 3
    expected = known().sel(sigma=[8.0, 8.4], rho=slice(0, 12)).x.mean("rho")
    xr.testing.assert_allclose(found.x_mean, expected)


def test_failed_and_missing_runs_are_left_out_and_counted(tmp_path):
    grid = Grid.product(k=[0.2, 0.4, 0.6, 0.8, 1.2, 1.4, 1.6, 1.8, 2.2, 2.4], x=[1.0, 0.5])
    sweep = Sweep(BLOWUP, grid, chunk_runs=3, t_span=(0, 1), method="tsit5")
    found = ensemble_statistics(sweep, "k", ["mean", "max"])
    fails = np.array([6, 2])  # of k * x > 1
    assert found.status_count.sel(ended="success").values.tolist() == (10 - fails).tolist()
    assert found.x_count.values.tolist() == (10 - fails).tolist()
    # The end state of a failed run is finite, and far above these.
    assert found.x_max.values == pytest.approx([5.0, 5.0], rel=1e-4)

    def stop(event):
        if type(event).__name__ == "ChunkFinished":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.run(tmp_path / "a", progress=stop)
    part = ensemble_statistics(open_sweep(tmp_path / "a"), "x_0")
    left = part.status_count.sel(ended="not_run")
    assert 0 < left.sum() < 20
    assert np.isnan(part.x_mean.where(part.x_count == 0, drop=True)).all()


def test_values_that_are_not_finite_are_left_out():
    status = xr.DataArray(
        np.array([1, 1, 1, 2], np.uint8),
        dims="run",
        attrs={"flag_values": [0, 1, 2], "flag_meanings": "not_run success nonfinite"},
    )
    dataset = xr.Dataset({"v": ("run", [1.0, np.inf, 2.0, 9.0], {"units": "mV"}), "status": status})
    found = ensemble_statistics(dataset, statistics=["mean", "max", "variance"])
    assert (int(found.v_count), float(found.v_mean), float(found.v_max)) == (2, 1.5, 2.0)
    assert found.status_count.values.tolist() == [0, 3, 1]
    assert found.v_mean.attrs["units"] == "mV"
    assert "units" not in found.v_variance.attrs


def test_derived_variables_and_other_datasets():
    dataset = lorenz_sweep(80, GRID).dataset()
    dataset = dataset.assign(peak=dataset.x.max("time"))
    found = ensemble_statistics(dataset, "y_0", {"peak": ["mean"], "accepted_steps": ["max"]})
    xr.testing.assert_allclose(found.peak_mean, known().x.max("time").mean("y_0"))
    xr.testing.assert_equal(
        found.accepted_steps_max, known().accepted_steps.max("y_0").astype(float)
    )
    assert set(found.data_vars) == {
        *("status_count", "peak_count", "peak_mean", "accepted_steps_count", "accepted_steps_max")
    }
    solution = solve(LORENZ, {"rho": [1.0, 5.0, 9.0]}, t_span=(0, 1), save_every=0.25)
    table = solution.to_xarray()
    found = ensemble_statistics(table, statistics=[Quantiles([0.5], 1e-4)])
    np.testing.assert_allclose(found.x_quantile[:, 0], table.x.median("rho"), rtol=1e-4)


def test_names_that_are_taken_get_a_mark():
    names = {
        "x_mean": ("run", [1.0, 2.0]),
        "x": ("run", [3.0, 5.0]),
        "quantile": ("run", [0.0, 1.0]),
    }
    flags = {"flag_values": [0, 1], "flag_meanings": "not_run success"}
    dataset = xr.Dataset({**names, "status": ("run", np.array([1, 1], np.uint8), flags)})
    found = ensemble_statistics(dataset, statistics=["mean", Quantiles([0.5])])
    assert found["x_mean_"] == 4.0
    assert found["x_mean_mean"] == 1.5
    assert found["x_quantile"].dims == ("quantile_",)
    assert found["quantile_"].values.tolist() == [0.5]


def test_what_cannot_be_done_is_refused():
    dataset, several = known(), ["mean", Quantiles(), "quantiles"]
    refused = [
        ((dataset, "rhoo"), "no dimension of the runs. Did you mean 'rho'"),
        ((dataset, "time"), "They have: rho, sigma, y_0"),
        ((dataset, []), "dim is empty"),
        ((dataset, None, ["average"]), "There is no statistic 'average'"),
        ((dataset, None, "mean"), "must be a list"),
        ((dataset, None, several), "can have one Quantiles"),
        ((dataset, None, {"w": ["mean"]}), "'w' is no variable of all runs"),
        ((dataset.drop_vars("status"),), "no variable that says how each run ended"),
        ((dataset.x,), "needs a Sweep or an xarray.Dataset, not DataArray"),
        ((dataset[["status"]],), "no variable to make statistics of"),
        ((dataset.isel(rho=0, sigma=0, y_0=0),), "one run"),
        (
            (dataset, None, {"x": ["quantiles"], "y": [Quantiles([0.5])]}),
            "different probabilities",
        ),
    ]
    for arguments, message in refused:
        with pytest.raises(InputError, match=message):
            ensemble_statistics(*arguments)
    for make, wrong in ((Histogram, [1.0]), (Histogram, [1.0, 1.0]), (Histogram, [[0.0, 1.0]])):
        with pytest.raises(InputError, match="increasing edges"):
            make(wrong)
    for wrong in ([], [1.5], [[0.5]]):
        with pytest.raises(InputError, match="probabilities"):
            Quantiles(wrong)
    for wrong in (0.0, 0.5, 1e-7):
        with pytest.raises(InputError, match="needs an error from"):
            Quantiles([0.5], wrong)


def test_the_status_that_counts_is_success():
    assert [status.name.lower() for status in Status][1] == "success"
    assert known().status.attrs["flag_meanings"].split()[1] == "success"
