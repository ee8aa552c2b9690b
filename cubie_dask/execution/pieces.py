"""The results of a chunk that is integrated in pieces, with runs that can't be computed marked."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from cubie_dask.execution.policy import halves, out_of_memory
from cubie_dask.grids.grid import Block
from cubie_dask.recipe import Recipe
from cubie_kernels.labels import run_records
from cubie_kernels.run.batch import Outcome
from cubie_kernels.status import Status

__all__ = ["integrate", "lost_outcome"]


def integrate(
    recipe: Recipe, block: Block, boxes: Sequence[Block], threads: int | None = None
) -> Outcome:
    """Integrate boxes of runs one after the other.

    A box that needs more memory than there is, on this machine or its device, is halved until it
    fits.

    Parameters
    ----------
    recipe : Recipe
        The sweep.
    block : Block
        All runs that results are made for.
    boxes : sequence of Block
        Parts of the block that don't overlap. Runs in none of them are marked as lost.
    threads : int, optional
        Threads of the kernel. Default: one for each core that this process may use.

    Returns
    -------
    Outcome
        Results of the block's runs, the same bits however it is cut.

    Raises
    ------
    MemoryError
        If a single run doesn't fit, or the results of the block.
    """
    waiting, whole = deque(boxes), None
    while waiting:
        box = waiting.popleft()
        try:
            part = recipe.solver.run(recipe.grid.columns(box), box.runs, threads)
        except Exception as error:
            if box.runs == 1 or not out_of_memory(error):
                raise
            waiting.extendleft(reversed(halves(box)))
            continue
        if box == block:
            return part
        whole = whole or lost_outcome(recipe, block.runs)
        _place(whole, block, part, box)
    return whole or lost_outcome(recipe, block.runs)


def lost_outcome(recipe: Recipe, runs: int) -> Outcome:
    """Return the results of runs that no process survived: NaN, and the status of it.

    Parameters
    ----------
    recipe : Recipe
        The sweep.
    runs : int
        Number of runs.
    """
    solver = recipe.solver
    dtype = np.dtype(solver.precision)
    n, m = len(solver.saved_states), len(solver.saved_observables)
    saves = () if solver.times is None else (len(solver.times),)

    def nan(*shape: int) -> NDArray[np.floating]:
        return np.full((*shape, runs), np.nan, dtype)

    counts = {
        record.field: np.zeros(runs, record.dtype)
        for record in run_records(solver.kind)
        if record.field not in ("status", "final_time")
    }
    return Outcome(
        final_state=nan(n),
        final_observables=nan(m),
        final_time=np.full(runs, np.nan),
        states=nan(n, *saves) if saves else None,
        observables=nan(m, *saves) if saves else None,
        status=np.full(runs, Status.WORKER_LOST, np.uint8),
        **counts,
    )


def _place(whole: Outcome, block: Block, part: Outcome, box: Block) -> None:
    where = tuple(
        slice(start - first, start - first + length)
        for start, first, length in zip(box.start, block.start, box.shape, strict=True)
    )
    for field in fields(Outcome):
        into, values = getattr(whole, field.name), getattr(part, field.name)
        if into is None or values is None:
            continue
        target = into.reshape(*into.shape[:-1], *block.shape)
        target[(..., *where)] = values.reshape(*values.shape[:-1], *box.shape)
