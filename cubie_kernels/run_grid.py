"""Arrays of parameters and initial values, put together into the runs of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels.checks import choice, numbers
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.labels import result_names, run_labels
from cubie_kernels.run.batch import Column

if TYPE_CHECKING:
    from cubie_kernels.model.system import System

__all__ = ["MOST_RUNS", "RunGrid", "run_grid"]

MOST_RUNS = 2**40


@dataclass(frozen=True, eq=False)
class RunGrid:
    """Which values each run has, and how the runs are laid out.

    Attributes
    ----------
    kind : str
        ``"product"`` or ``"zip"``.
    fixed : dict of str to float
        Parameters and initial values (by the name of the state) that all runs share.
    axes : dict of str to ndarray, each 1-D
        The swept values, by the name of the parameter or state, in the order of the dimensions.
    labels : dict of str to str
        The label of each swept quantity in the results, see
        :func:`~cubie_kernels.labels.run_labels`.
    dims : tuple of str
        Dimensions of the results: one for each swept quantity, or one for the runs.
    """

    kind: str
    fixed: dict[str, float]
    axes: dict[str, NDArray[np.float64]]
    labels: dict[str, str]
    dims: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dimensions; their product is the number of runs."""
        lengths = tuple(len(values) for values in self.axes.values())
        return lengths if self.kind == "product" else (lengths[0] if lengths else 1,)

    @property
    def runs(self) -> int:
        """Number of runs."""
        return math.prod(self.shape)

    def columns(self) -> dict[str, Column]:
        """Return each swept quantity's values over the runs, the last axis fastest."""
        if self.kind == "zip":
            return {name: Column(values) for name, values in self.axes.items()}
        strides = np.cumprod([1, *self.shape[:0:-1]]).tolist()[::-1]
        return {
            name: Column(values, stride)
            for (name, values), stride in zip(self.axes.items(), strides, strict=False)
        }

    def inputs_of(self, run: int) -> dict[str, float]:
        """Return the swept values of one run by their labels."""
        return {
            self.labels[name]: float(column.block(run, run + 1)[0])
            for name, column in self.columns().items()
        }


def run_grid(
    system: System,
    parameters: Mapping[str, ArrayLike] | None,
    initial_values: Mapping[str, ArrayLike] | None,
    grid: str = "product",
) -> RunGrid:
    """Sort what was given for parameters and initial values into fixed and swept values.

    Parameters
    ----------
    system : System
        The model; what isn't given keeps its default.
    parameters, initial_values : mapping of str to number or array_like of shape (k,)
        A number holds for all runs; an array is swept.
    grid : {"product", "zip"}
        All combinations of the swept values, or the first with the first, the second with the
        second …

    Raises
    ------
    InputError
        For an unknown name, values that aren't finite numbers, more than one dimension, no
        values, unequal lengths in a zip, or more than 2**40 runs.
    """
    choice("grid", grid, ("product", "zip"))
    fixed: dict[str, float] = {}
    axes: dict[str, NDArray[np.float64]] = {}
    for given, kind, legal, other in (
        (parameters, "parameter", system.parameters, system.states),
        (initial_values, "state", system.states, system.parameters),
    ):
        _check_names(given, kind, legal, other)
        for name, values in (given or {}).items():
            what = f"{name!r}" if kind == "parameter" else f"the initial value of {name!r}"
            array = numbers(what[0].upper() + what[1:], values)
            if array.ndim > 1:
                raise InputError(
                    f"{name!r} has the shape {array.shape}: give one number for all runs, or a "
                    "1-D array to sweep (.ravel() makes one)."
                )
            if array.ndim == 0:
                fixed[name] = float(array)
            elif array.size:
                axes[name] = np.ascontiguousarray(array)
            else:
                raise InputError(
                    f"{name!r} has no values, so the grid is empty: give at least one."
                )
    lengths = {name: len(values) for name, values in axes.items()}
    if grid == "zip":
        _check_lengths(lengths)
    elif (runs := math.prod(lengths.values())) > MOST_RUNS:
        listed = " x ".join(f"{name}: {length:,}" for name, length in lengths.items())
        raise InputError(
            f"The product {listed} makes {runs:.3g} runs, more than {MOST_RUNS:.3g}: use fewer "
            'values, or grid="zip" for values that belong together.'
        )
    labels = run_labels(system, axes)
    dims = tuple(labels.values()) if grid == "product" else (result_names(system)["run"],)
    return RunGrid(grid, fixed, axes, labels, dims)


def _check_names(
    given: Mapping[str, ArrayLike] | None,
    kind: str,
    legal: tuple[str, ...],
    other: tuple[str, ...],
) -> None:
    here, there = (
        ("parameters", "initial_values")
        if kind == "parameter"
        else ("initial_values", "parameters")
    )
    if given is not None and not isinstance(given, Mapping):
        raise InputError(
            f"{here} needs a mapping of names to values, such as {{{legal[0] if legal else 'k'!r}: "
            f"1.0}}, not {type(given).__name__}."
        )
    for name in given or {}:
        if name in legal:
            continue
        if name in other:
            swapped = "state" if kind == "parameter" else "parameter"
            raise InputError(
                f"{name!r} in {here} is a {swapped} of this model: give it in {there}."
            )
        raise InputError(
            f"{name!r} in {here} is neither a parameter nor a state of this model."
            f"{nearest(str(name), (*legal, *other))} Its {kind}s are: {', '.join(legal) or 'none'}."
        )


def _check_lengths(lengths: dict[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {length:,}" for name, length in lengths.items())
        raise InputError(
            f'grid="zip" needs arrays of one length, not {listed}. grid="product" makes all '
            "combinations; a single number holds for all runs."
        )
