"""Initial values of models with algebraic equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cubie_kernels.run.batch import Column

if TYPE_CHECKING:
    from cubie_kernels.model.system import System

__all__ = ["adjusted_states", "consistent_columns"]

_BLOCK_RUNS = 1 << 16


def adjusted_states(system: System) -> tuple[str, ...]:
    """Return the states that algebraic equations decide, whatever initial value is given."""
    from cubie_kernels.model.mass import null_spaces

    if system.mass is None:
        return ()
    free = {i for vector in null_spaces(len(system.states), system.mass).right for i in vector}
    return tuple(name for i, name in enumerate(system.states) if i in free)


def consistent_columns(
    system: System,
    t0: float,
    columns: Mapping[str, Column],
    fixed: Mapping[str, float],
    runs: int,
) -> tuple[dict[str, Column], NDArray[np.bool_]]:
    """Return values that meet the algebraic equations, for the states that these decide.

    Parameters
    ----------
    system : System
        The model.
    t0 : float
        Initial time.
    columns : mapping of str to Column
        Swept parameters and initial values.
    fixed : mapping of str to float
        All others.
    runs : int
        Number of runs.

    Returns
    -------
    dict of str to Column
        The states' values for each run; those given where none were found.
    ndarray of shape (runs,)
        For which runs there are.
    """
    from cubie_kernels.model.initial import consistent_initial

    names = adjusted_states(system)
    values = {name: np.empty(runs) for name in names}
    found = np.empty(runs, np.bool_)
    for start in range(0, runs, _BLOCK_RUNS):
        stop = min(start + _BLOCK_RUNS, runs)

        def block(wanted: tuple[str, ...], start: int = start, stop: int = stop):
            rows = np.empty((len(wanted), stop - start))
            for row, name in zip(rows, wanted, strict=True):
                row[:] = columns[name].block(start, stop) if name in columns else fixed[name]
            return rows

        start_values = consistent_initial(
            system, t0, block(system.states), block(system.parameters), check=False
        )
        found[start:stop] = start_values.found
        for name in names:
            values[name][start:stop] = start_values.y[system.states.index(name)]
    return {name: Column(column) for name, column in values.items()}, found
