"""Grids: values, distributions, block-wise generation."""

import pickle
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from cubie_dask.errors import GridError
from cubie_dask.grids.grid import Block, Grid
from cubie_dask.grids.sampling import sobol
from cubie_kernels.errors import InputError

KINDS = ("sobol", "latin-hypercube", "uniform")


def values(grid, block=None):
    """Return name -> value of each run of a block, written out."""
    block = block or Block((0,) * len(grid.shape), grid.shape)
    return {name: column.block(0, block.runs) for name, column in grid.columns(block).items()}


def test_product_blocks_match_meshgrid():
    grid = Grid.product(a=np.arange(5.0), b=np.linspace(-1, 1, 4), c=[7.0, 8.0, 9.0])
    assert (grid.shape, grid.runs, grid.names) == ((5, 4, 3), 60, ("a", "b", "c"))
    mesh = np.meshgrid(np.arange(5.0), np.linspace(-1, 1, 4), [7.0, 8.0, 9.0], indexing="ij")
    block = Block((1, 2, 0), (3, 2, 2))
    for name, whole in zip(grid.names, mesh, strict=True):
        np.testing.assert_array_equal(values(grid, block)[name], whole[block.slices].ravel())


def test_zip_blocks_are_slices():
    x, y = np.random.default_rng(1).random((2, 50))
    grid = Grid.zip({"x": x}, y=y)
    got = values(grid, Block((7,), (20,)))
    np.testing.assert_array_equal(got["x"], x[7:27])
    np.testing.assert_array_equal(got["y"], y[7:27])


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 300),
    cuts=st.lists(st.integers(0, 300), max_size=5),
    seed=st.integers(0, 2**63),
    d=st.integers(1, 4),
)
def test_samples_do_not_depend_on_blocks(kind, n, cuts, seed, d):
    ranges = {f"p{i}": ("log", 1e-3, 10.0 + i) if i % 2 else (-1.0, i + 1.0) for i in range(d)}
    grid = Grid.sample(n, ranges, kind=kind, seed=seed)
    whole = values(grid)
    edges = sorted({0, n, *(c for c in cuts if c < n)})
    for start, stop in pairwise(edges):
        part = values(grid, Block((start,), (stop - start,)))
        for name in grid.names:
            np.testing.assert_array_equal(part[name], whole[name][start:stop])


def test_sobol_is_scipys_sequence():
    got = values(Grid.sample(64, a=(0, 1), b=(0, 1), seed=5))
    engine = qmc.Sobol(2, scramble=True, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(np.column_stack([got["a"], got["b"]]), engine.random(64))


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(1, 10**6),
    length=st.integers(1, 20_000),
    d=st.integers(1, 12),
    seed=st.integers(0, 2**63),
)
def test_sobol_blocks_are_scipys(start, length, d, seed):
    engine = qmc.Sobol(d, scramble=True, rng=np.random.default_rng(seed)).fast_forward(start)
    got = sobol(start, start + length, d, 2**30, seed)
    np.testing.assert_array_equal(got.T, engine.random(length))


def test_sobol_points_near_a_billion_are_scipys():
    engine = qmc.Sobol(3, scramble=True, rng=np.random.default_rng(4)).fast_forward(10**9 - 50)
    np.testing.assert_array_equal(sobol(10**9 - 50, 10**9, 3, 10**9, 4).T, engine.random(50))


def test_sobol_points_beyond_a_billion_are_scipys():
    # More than 2**30 points need more bits. SciPy can't go that far in them, so from the start on,
    # and beyond by what makes points of a sequence net: one in each of the 2**k slices.
    engine = qmc.Sobol(2, scramble=True, bits=52, rng=np.random.default_rng(4))
    total = 2**40
    np.testing.assert_array_equal(sobol(0, 2**16, 2, total, 4).T, engine.random(2**16))
    for start in (2**33, 5 * 2**36, total - 2**12):
        points = sobol(start, start + 2**12, 2, total, 4)
        for row in points:
            np.testing.assert_array_equal(np.sort(np.floor(row * 2**12)), np.arange(2**12))
        assert len(np.unique(points)) == points.size


@pytest.mark.parametrize("n", [1, 2, 3, 1000, 4097])
def test_latin_hypercube_has_one_point_in_each_slice(n):
    got = values(Grid.sample(n, a=(0, 1), b=(0, 1), c=(0, 1), kind="latin-hypercube", seed=3))
    for column in got.values():
        np.testing.assert_array_equal(np.sort(np.floor(column * n)), np.arange(n))


def test_latin_hypercube_is_as_even_as_scipys():
    def discrepancies(make):
        return [qmc.discrepancy(make(seed)) for seed in range(8)]

    def scipys(seed):
        return qmc.LatinHypercube(3, rng=np.random.default_rng(seed)).random(512)

    def ours(seed):
        grid = Grid.sample(512, a=(0, 1), b=(0, 1), c=(0, 1), kind="latin-hypercube", seed=seed)
        return np.column_stack(list(values(grid).values()))

    mine = discrepancies(ours)
    theirs = discrepancies(
        lambda s: qmc.LatinHypercube(3, rng=np.random.default_rng(s)).random(512)
    )
    assert np.mean(mine) < 1.5 * np.mean(theirs)
    assert abs(np.corrcoef(ours(0).T)[np.triu_indices(3, 1)]).max() < 0.15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", ["even", "log"])
def test_distributions(kind, scale):
    low, high = 0.01, 100.0
    given = (low, high) if scale == "even" else ("log", low, high)
    got = values(Grid.sample(4096, k=given, other=(0, 1), kind=kind, seed=11))["k"]
    assert low <= got.min() <= got.max() <= high
    expected = stats.uniform(low, high - low) if scale == "even" else stats.loguniform(low, high)
    assert stats.kstest(got, expected.cdf).pvalue > 0.01


def test_seeds_give_other_samples():
    for kind in KINDS:
        first, second = (values(Grid.sample(100, k=(0, 1), kind=kind, seed=s))["k"] for s in (1, 2))
        assert not np.array_equal(first, second)


def test_equal_grids():
    a = Grid.product(x=[1.0, 2.0], y=[3.0])
    assert a == Grid.product(x=np.array([1, 2]), y=[3])
    assert hash(a) == hash(Grid.product(x=[1.0, 2.0], y=[3.0]))
    assert a != Grid.product(y=[3.0], x=[1.0, 2.0])
    assert a != Grid.zip(x=[1.0, 2.0], y=[3.0, 4.0])
    assert Grid.sample(8, x=(0, 1)) != Grid.sample(8, x=(0, 1), seed=1)


def test_names_that_are_also_arguments():
    assert Grid.sample(4, {"kind": (0, 1), "seed": (0, 1)}, n=(0, 1)).names == ("kind", "seed", "n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Grid.product(), "at least one swept quantity"),
        (lambda: Grid.product(a=[]), "'a' has no values"),
        (lambda: Grid.product(a=3.0), "fixed="),
        (lambda: Grid.product({"a": [1.0]}, a=[2.0]), "'a' twice"),
        (lambda: Grid.product([1.0, 2.0]), "mapping"),
        (lambda: Grid.product({k: np.zeros(2**14) for k in "abc"}), "Grid.sample"),
        (lambda: Grid.zip(a=[1.0, 2.0], b=[1.0]), "a: 2, b: 1"),
        (lambda: Grid.sample(10, a=(1.0,)), "low, high"),
        (lambda: Grid.sample(10, a=3.0), "low, high"),
        (lambda: Grid.sample(10, a=(2.0, 1.0)), "below the high"),
        (lambda: Grid.sample(10, a=("log", 0.0, 1.0)), "above 0"),
        (lambda: Grid.sample(10, a=("lin", 0.0, 1.0)), "'lin' is unknown"),
        (lambda: Grid.sample(10), "at least one swept quantity"),
    ],
)
def test_grid_errors(make, words):
    with pytest.raises(GridError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Grid.product(a=[1.0, np.nan]), "index 1"),
        (lambda: Grid.zip(a=["x"]), "real numbers"),
        (lambda: Grid.sample(0, a=(0, 1)), "n must be 1"),
        (lambda: Grid.sample(10, a=(0, 1), kind="sobbol"), "Did you mean 'sobol'"),
        (lambda: Grid.sample(10, a=(0, 1), seed=-1), "seed must be"),
        (lambda: Grid.sample(10, a=(0, np.inf)), "finite"),
    ],
)
def test_input_errors(make, words):
    with pytest.raises(InputError, match=words):
        make()


def stored(folder, kind, values):
    """Write values to the disk, and return them as something that a grid takes."""
    path = folder / f"{kind}.npy"
    if kind in ("npy", "memmap"):
        np.save(path, values)
        return path if kind == "npy" else np.load(path, mmap_mode="r")
    array = zarr.create_array(folder / "a.zarr", data=values, chunks=(1000,))
    if kind == "zarr path":
        return str(folder / "a.zarr")
    return array if kind == "zarr" else xr.DataArray(values, dims="run").chunk(run=1000)


@pytest.mark.parametrize("kind", ["npy", "memmap", "zarr path", "zarr", "xarray"])
def test_zips_of_values_on_disk_are_those_in_memory(tmp_path, kind):
    x, y = np.random.default_rng(2).random((2, 5000))
    plain = Grid.zip(x=x, y=y)
    grid = Grid.zip({"x": stored(tmp_path, kind, x)}, y=y)
    assert grid == plain
    assert grid.limits() == plain.limits()
    block = Block((1990,), (20,))
    for name, found in values(grid, block).items():
        np.testing.assert_array_equal(found, values(plain, block)[name])
    again = pickle.loads(pickle.dumps(grid))
    assert again == plain
    if kind in ("npy", "zarr path"):
        assert len(pickle.dumps(grid.values["x"])) < 500
    # As an axis of a product they are read at once.
    axes = Grid.product(x=grid.values["x"])
    np.testing.assert_array_equal(axes.axes["x"], x)


def test_zips_of_values_on_disk_are_read_by_block(tmp_path):
    # 800 MB in a file that takes no room, of which little is read.
    path = tmp_path / "x.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype="f8", shape=(10**8,))[-3:] = [1, 2, 3]
    grid = Grid.zip(x=path)
    tracemalloc.start()
    found = values(grid, Block((10**8 - 5,), (5,)))["x"]
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    np.testing.assert_array_equal(found, [0, 0, 1, 2, 3])


def test_values_on_disk_that_are_no_values(tmp_path):
    np.save(tmp_path / "bad.npy", [1.0, np.nan])
    np.save(tmp_path / "text.npy", ["a"])
    np.save(tmp_path / "square.npy", np.ones((2, 2)))
    with pytest.raises(InputError, match="'x' from number 0 on needs finite"):
        Grid.zip(x=tmp_path / "bad.npy").limits()
    for name, words in (
        ("text.npy", "real numbers"),
        ("square.npy", "1-D"),
        ("gone.npy", "can't be read from .*gone.npy"),
        ("gone.zarr", "path of a .npy file"),
    ):
        with pytest.raises(GridError, match=words):
            Grid.zip(x=tmp_path / name)
