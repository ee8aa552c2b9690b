"""Initial values of models with algebraic equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cubie_kernels.run.batch import Batch, Column, Outcome
from cubie_kernels.status import Status

if TYPE_CHECKING:
    from cubie_kernels.model.system import System

__all__ = ["adjusted_states", "consistent_batch", "given_values", "mark_inconsistent"]

_BLOCK_RUNS = 1 << 16


def adjusted_states(system: System) -> tuple[str, ...]:
    """Return the states that algebraic equations decide, whatever initial value is given."""
    from cubie_kernels.model.mass import null_spaces

    if system.mass is None:
        return ()
    free = {i for vector in null_spaces(len(system.states), system.mass).right for i in vector}
    return tuple(name for i, name in enumerate(system.states) if i in free)


def consistent_batch(
    system: System,
    batch: Batch,
    columns: Mapping[str, Column],
    fixed: Mapping[str, float],
    precision: str,
) -> tuple[Batch, NDArray[np.intp]]:
    """Return a batch whose initial values meet the algebraic equations.

    Parameters
    ----------
    system : System
        The model.
    batch : Batch
        The runs, with values as given.
    columns : mapping of str to Column
        Swept parameters and initial values.
    fixed : mapping of str to float
        All others.
    precision : {"float64", "float32", "float16"}
        What initial values must fit.

    Returns
    -------
    Batch
        The same runs, with values found for the states that algebraic equations decide.
    ndarray of int
        The runs for which there are none; they keep what was given.
    """
    from cubie_kernels.model.initial import consistent_initial

    names = adjusted_states(system)
    if not names:
        return batch, np.empty(0, np.intp)
    places = [system.states.index(name) for name in names]
    largest = float(np.finfo(precision).max)
    values = np.empty((len(names), batch.runs))
    found = np.empty(batch.runs, np.bool_)
    for start in range(0, batch.runs, _BLOCK_RUNS):
        stop = min(start + _BLOCK_RUNS, batch.runs)
        runs = np.arange(start, stop)
        y = given_values(system.states, runs, columns, fixed)
        p = given_values(system.parameters, runs, columns, fixed)
        begun = consistent_initial(system, batch.t0, y, p, check=False)
        fits = begun.found & (np.abs(begun.y) <= largest).all(axis=0)
        values[:, start:stop] = np.where(fits, begun.y, y)[places]
        found[start:stop] = fits
    own = {**columns, **{name: Column(row) for name, row in zip(names, values, strict=True)}}
    initial = tuple(own[name] for name in system.states if name in own)
    return replace(batch, initial=initial), np.flatnonzero(~found)


def given_values(
    names: Sequence[str],
    runs: NDArray[np.intp],
    columns: Mapping[str, Column],
    fixed: Mapping[str, float],
) -> NDArray[np.float64]:
    """Return what was given for some quantities in some runs, shape (names, runs)."""
    rows = np.empty((len(names), len(runs)))
    for row, name in zip(rows, names, strict=True):
        row[:] = columns[name].at(runs) if name in columns else fixed[name]
    return rows


def mark_inconsistent(
    outcome: Outcome, runs: NDArray[np.intp], t0: float, start: NDArray[np.float64]
) -> None:
    """Say that runs were not begun: nothing is known of them but the values given.

    Parameters
    ----------
    outcome : Outcome
        Results of all runs; changed in place.
    runs : ndarray of int
        Those that have no consistent initial values.
    t0 : float
        The initial time.
    start : ndarray, shape (saved states, runs)
        The initial values given for them.
    """
    outcome.status[runs] = Status.INCONSISTENT_START
    outcome.final_time[runs] = t0
    outcome.final_state[:, runs] = start
    outcome.final_observables[:, runs] = np.nan
    for saves in (outcome.states, outcome.observables):
        if saves is not None:
            saves[..., runs] = np.nan
    for count in (
        outcome.accepted,
        outcome.rejected,
        outcome.newton_iterations,
        outcome.linear_iterations,
    ):
        if count is not None:
            count[runs] = 0
