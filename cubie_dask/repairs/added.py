"""The points that a grid is to get, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cubie_dask.errors import GridError
from cubie_dask.grids.grid import MOST_RUNS, ProductGrid, SampleGrid, ZipGrid
from cubie_dask.recipe import Recipe
from cubie_kernels.checks import count, numbers
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.solver_checks import check_range

__all__ = ["Added", "added_points"]

_SHOWN = 5
# With more points than this, those of Sobol are other ones, of more bits.
_SOBOL_CHANGE = 1 << 30


@dataclass(frozen=True, eq=False)
class Added:
    """What a grid gets.

    Attributes
    ----------
    shape : tuple of int
        Its lengths then.
    new : dict of str to ndarray
        New values by the names of the swept quantities; of a sample its number of runs, as ``n``.
    axes : dict of str to ndarray
        The whole of each axis of a product that gets longer.
    """

    shape: tuple[int, ...]
    new: dict[str, NDArray[np.float64]]
    axes: dict[str, NDArray[np.float64]]


def added_points(recipe: Recipe, asked: Mapping[str, Any]) -> Added:
    """Return what the grid of a sweep gets.

    Parameters
    ----------
    recipe : Recipe
        The sweep.
    asked : mapping of str to array_like
        New values by the names of quantities, or by their labels in the store.

    Raises
    ------
    GridError, InputError
        As `extend_sweep` says.
    """
    grid = recipe.grid
    if isinstance(grid, SampleGrid):
        return _more_points(grid, asked)
    by_label = {label: name for name, label in recipe.labels.items()}
    new: dict[str, NDArray[np.float64]] = {}
    for given, values in asked.items():
        name = given if given in grid.names else by_label.get(given, given)
        if name not in grid.names:
            raise GridError(
                f"The sweep has no axis {given!r}.{nearest(given, grid.names)} It has "
                f"{', '.join(grid.names)}; a quantity that all its runs share can't be swept now."
            )
        if name in new:
            raise GridError(f"New values of {name!r} were given twice.")
        new[name] = _checked(name, values, recipe.solver.precision)
    if not new:
        raise InputError(f"Nothing was given to add: give new values of {' or '.join(grid.names)}.")
    if isinstance(grid, ProductGrid):
        axes = {name: _longer(name, grid.axes[name], values) for name, values in new.items()}
        return Added(ProductGrid(grid.axes | axes).shape, new, axes)
    assert isinstance(grid, ZipGrid)
    return _more_rows(grid, new)


def _checked(name: str, given: Any, precision: str) -> NDArray[np.float64]:
    values = np.atleast_1d(numbers(f"extend_sweep({name}=…)", given))
    if values.ndim != 1 or not values.size:
        raise GridError(
            f"The new values of {name!r} must be one or more in one dimension; their shape is "
            f"{values.shape}."
        )
    check_range(name, values, precision)
    return values


def _longer(name: str, old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an axis with its new values, in which no value comes twice, and in one order."""
    there = new[np.isin(new, old)]
    if there.size:
        raise GridError(
            f"{name!r} has {_listed(there)} already, among its {len(old):,} values "
            f"{old[0]:g} … {old[-1]:g}: give new values alone."
        )
    found, counts = np.unique(new, return_counts=True)
    if found.size < new.size:
        raise GridError(f"The new values of {name!r} have {_listed(found[counts > 1])} twice.")
    whole = np.concatenate([old, new])
    steps, all_steps = np.diff(old), np.diff(whole)
    for way, sign in (("above", 1), ("below", -1)):
        if len(old) > 1 and (sign * steps > 0).all() and not (sign * all_steps > 0).all():
            raise GridError(
                f"The values of {name!r} {'rise' if sign > 0 else 'fall'}, and new ones must go on "
                f"so, {way} {old[-1]:g}; {_listed(new)} don't. Values between those that are "
                "there need a sweep of their own: xarray.concat of both stores joins them."
            )
    return whole


def _more_rows(grid: ZipGrid, new: dict[str, NDArray[np.float64]]) -> Added:
    missing = [name for name in grid.names if name not in new]
    if missing:
        raise GridError(
            f"The runs of a zip need values of all its quantities; those of {missing[0]!r} are "
            "missing."
        )
    lengths = {name: len(values) for name, values in new.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {length:,}" for name, length in lengths.items())
        raise GridError(f"The new runs of a zip need values of one number, not {listed}.")
    count("the number of runs", grid.runs + len(new[grid.names[0]]), MOST_RUNS)
    return Added((grid.runs + len(new[grid.names[0]]),), new, {})


def _more_points(grid: SampleGrid, asked: Mapping[str, Any]) -> Added:
    other = [name for name in asked if name != "n"]
    if other or not asked:
        given = f"not of {other[0]!r}" if other else "and nothing was given"
        raise GridError(
            f"The sweep is a sample of {grid.n:,} runs: give the new number as n=…, {given}."
        )
    given = np.asarray(asked["n"])
    value = given.item() if given.size == 1 else asked["n"]
    n = count(
        "n", int(value) if isinstance(value, float) and value.is_integer() else value, MOST_RUNS
    )
    if grid.method == "latin-hypercube":
        raise GridError(
            "A Latin hypercube can't get more points: each of its points depends on their number. "
            "Make a new sweep, by kind='sobol' if it may grow later."
        )
    if n <= grid.n:
        raise GridError(f"The sample has {grid.n:,} runs already: give more than these as n.")
    if grid.method == "sobol" and grid.n <= _SOBOL_CHANGE < n:
        raise GridError(
            f"A Sobol sample of up to {_SOBOL_CHANGE:,} runs can't get more than these: its points "
            "would have other digits. Make a new sweep."
        )
    return Added((n,), {"n": np.array([n], np.float64)}, {})


def _listed(values: NDArray[np.float64]) -> str:
    more = " …" if len(values) > _SHOWN else ""
    return ", ".join(f"{value:g}" for value in values[:_SHOWN]) + more
