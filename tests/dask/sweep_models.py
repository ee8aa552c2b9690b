"""Models and comparisons that several tests of sweeps share."""

from pathlib import Path

import numpy as np

from cubie_dask import Grid, Sweep
from cubie_kernels import System

LORENZ = System.from_equations(
    """
    dx = sigma*(y - x)
    dy = x*(rho - z) - y
    dz = x*y - beta*z
    energy = x**2 + y**2 + z**2
    """,
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"rho": 28.0, "sigma": 10.0, "beta": 8.0 / 3.0},
    observables=["energy"],
    name="lorenz",
)


def lorenz_sweep(chunk_runs=None, grid=None, **options):
    """Return a sweep of 7 x 11 x 13 runs with traces, unless told otherwise."""
    grid = grid or Grid.product(
        rho=np.linspace(1, 21, 7), sigma=np.linspace(8, 12, 11), y=np.linspace(-1, 1, 13)
    )
    options = {"t_span": (0.0, 1.0), "save_every": 0.25, "rtol": 1e-6, "atol": 1e-8} | options
    return Sweep(LORENZ, grid, chunk_runs=chunk_runs, **options)


def assert_same_results(first, second):
    """Check that two datasets hold the same variables bit for bit."""
    assert set(first.variables) == set(second.variables)
    for name in first.variables:
        a, b = first[name], second[name]
        assert (a.dims, a.dtype) == (b.dims, b.dtype)
        assert a.values.tobytes() == b.values.tobytes(), name


def assert_same_files(first, second):
    """Check that two stores have the same files, but for the records and what says when."""
    contents = [
        {
            str(path.relative_to(store)): path.read_bytes()
            for path in sorted(Path(store).rglob("*"))
            if path.is_file() and not _tells_when(path) and path.parent != Path(store)
        }
        for store in (first, second)
    ]
    odd = contents[0].keys() ^ contents[1].keys()
    assert not odd, odd
    assert len(contents[0]) > 10
    for name, data in contents[0].items():
        assert data == contents[1][name], name


def _tells_when(path):
    """Tell whether a file is a record, or one of those that driving processes leave."""
    return {"ledger", "drivers"} & {*path.parts} or path.name.startswith("progress")
