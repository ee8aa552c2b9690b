"""What a worker does in a round of retries: the chosen runs of one chunk, computed and replaced."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cubie_dask.execution.pieces import integrate
from cubie_dask.execution.policy import Task
from cubie_dask.grids.grid import Block, ZipGrid
from cubie_dask.recipe import Recipe
from cubie_dask.repairs.rounds import Round
from cubie_dask.stores.labelled import results
from cubie_dask.stores.ledger import Record, record_of
from cubie_dask.stores.patching import Patch, apply_patch, check_intact, read_runs, save_patch
from cubie_dask.stores.store import SweepStore
from cubie_kernels.labels import run_records
from cubie_kernels.run.batch import Outcome
from cubie_kernels.solver import Solver

__all__ = ["chosen_runs", "retry_chunk", "retry_recipe"]


def retry_chunk(
    store: SweepStore, begun: Round, solver: Solver, task: Task, threads: int | None = None
) -> Record:
    """Compute the runs of a chunk that a round takes, and replace their results.

    Parameters
    ----------
    store : SweepStore
        The sweep.
    begun : Round
        The round.
    solver : Solver
        What integrates its runs.
    task : Task
        The chunk. Its boxes are of one dimension: the numbers among the chosen runs.
    threads : int, optional
        Threads of the kernel. Default: one for each core that this process may use.

    Returns
    -------
    Record
        Of the chosen runs alone; that of the chunk is in the ledger.

    Raises
    ------
    StoreError
        If the chunk is damaged.
    """
    chunk = task.chunk
    # Of a process that was killed.
    was_left = apply_patch(store, chunk)
    runs = chosen_runs(store, begun, chunk)
    if not runs.size or (was_left and store.storage.versioned):
        return record_of(
            chunk,
            np.zeros(0, np.uint8),
            solver.target,
            steps=(),
            compute_seconds=0.0,
            write_seconds=0.0,
            attempt=task.attempt,
        )
    check_intact(store, chunk)
    start = time.perf_counter()
    whole = Block((0,), (len(runs),))
    recipe = retry_recipe(store, solver, chunk, runs)
    outcome = integrate(recipe, whole, task.boxes or (whole,), threads)
    seconds = time.perf_counter() - start
    values = dict(results(store.recipe, _completed(outcome, store.recipe.solver.kind, solver.kind)))
    block, names = store.recipe.plan.block(chunk), store.history
    rounds = read_runs(store, names["round"], block)[runs]
    status = read_runs(store, store.recipe.names["status"], block)[runs]
    first = read_runs(store, names["first_status"], block)[runs]
    history = {
        names["first_status"]: np.where(rounds == 0, status, first),
        names["round"]: np.full(len(runs), begun.number, np.int16),
    }
    start = time.perf_counter()
    save_patch(store, Patch(chunk, begun.number, seconds, runs, history | values))
    apply_patch(store, chunk)
    return record_of(
        chunk,
        outcome.status,
        solver.target,
        steps=(outcome.accepted, outcome.rejected),
        compute_seconds=seconds,
        write_seconds=time.perf_counter() - start,
        attempt=task.attempt,
    )


def chosen_runs(store: SweepStore, begun: Round, chunk: int) -> NDArray[np.int64]:
    """Return the runs of a chunk that a round has yet to take, as places within the chunk."""
    block = store.recipe.plan.block(chunk)
    status = read_runs(store, store.recipe.names["status"], block)
    rounds = read_runs(store, store.history["round"], block)
    return np.flatnonzero(np.isin(status, begun.codes) & (rounds != begun.number))


def retry_recipe(store: SweepStore, solver: Solver, chunk: int, runs: NDArray[np.int64]) -> Recipe:
    """Return some runs of a chunk as a sweep of one dimension."""
    recipe = store.recipe
    columns = recipe.grid.columns(recipe.plan.block(chunk))
    grid = ZipGrid({name: column.at(runs) for name, column in columns.items()})
    return replace(recipe, solver=solver, grid=grid)


def _completed(outcome: Outcome, kind: str, done_by: str) -> Outcome:
    """Fill in what the sweep's method records of runs and that of the retry doesn't."""
    runs = len(outcome.status)
    missing: dict[str, Any] = {
        record.field: np.full(runs, record.field == "stiff" and done_by == "implicit", record.dtype)
        for record in run_records(kind)
        if getattr(outcome, record.field) is None
    }
    return replace(outcome, **missing)
