"""The plan of a sweep: its chunks and, where that is asked for, what they cost."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cubie_dask.errors import StoreBusyError
from cubie_dask.grids.grid import Grid, ProductGrid
from cubie_dask.plans.capacity import Workers, are_few, check_disk, make_plan
from cubie_dask.plans.estimate import estimate, known_workers
from cubie_dask.plans.pilot import run_pilot
from cubie_dask.plans.plan import Plan
from cubie_dask.recipe import Recipe
from cubie_dask.stores.storage import Storage, StorePath, open_storage
from cubie_dask.stores.store import is_vacant, open_store, read_attributes
from cubie_kernels.checks import count, number
from cubie_kernels.errors import InputError
from cubie_kernels.labels import result_names, run_labels

if TYPE_CHECKING:
    from distributed import Client

    from cubie_dask.sweep import Sweep
    from cubie_kernels.solver import Solver

__all__ = ["chunks_of", "estimated_plan", "plan_to_run"]

_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{infix}{end}": base**power
    for power, prefix in enumerate("kmgtp", 1)
    for infix, base in (("", 1000), ("i", 1024))
    for end in ("", "b")
}


def chunks_of(
    solver: Solver, grid: Grid, chunk_runs: int | None, workers: Workers | None = None
) -> tuple[Plan, str]:
    """Return the chunks of a sweep, and what their size comes from; see `make_plan`."""
    labels = run_labels(solver.system, grid.names)
    is_product = isinstance(grid, ProductGrid)
    return make_plan(
        dims=tuple(labels.values()) if is_product else (result_names(solver.system)["run"],),
        shape=grid.shape,
        saves=0 if solver.times is None else len(solver.times),
        variables=(*solver.saved_states, *solver.saved_observables),
        dtype=np.dtype(solver.precision).name,
        chunk_runs=chunk_runs,
        kind=solver.kind,
        swept=0 if is_product else len(grid.names),
        workers=workers,
    )


def estimated_plan(
    sweep: Sweep,
    *,
    workers: int | None = None,
    memory: int | str | None = None,
    run_seconds: float | None = None,
    store: StorePath | Storage | None = None,
    pilot: bool = False,
) -> Plan:
    """Return the chunks of a sweep and what they cost; see :meth:`cubie_dask.Sweep.plan`."""
    if workers is not None:
        workers = count("workers", workers, 1_000_000)
    if run_seconds is not None:
        run_seconds = number("run_seconds", run_seconds)
        if run_seconds <= 0:
            raise InputError(f"run_seconds must be above 0, not {run_seconds!r}.")
    is_pilot = pilot and run_seconds is None
    if is_pilot:
        run_seconds = run_pilot(sweep.solver, sweep.grid, _threads_of(workers)).run_seconds
    known = known_workers(
        sweep.solver,
        sweep.grid,
        workers=workers,
        memory=None if memory is None else _checked_bytes("memory", memory),
        run_seconds=run_seconds,
    )
    plan, reason = chunks_of(sweep.solver, sweep.grid, sweep.chunk_runs, known)
    free = None
    if store is not None:
        recipe = Recipe(sweep.solver, sweep.grid, plan, sweep.keepbits)
        plan, reason, free = _in_store(store, recipe, reason)
    return replace(
        plan, estimate=estimate(plan, sweep.solver, known, reason, is_pilot=is_pilot, free=free)
    )


def plan_to_run(
    sweep: Sweep, store: StorePath | Storage, client: Client | None, threads: int | None
) -> tuple[Plan, list[int] | None]:
    """Return the chunks for a pass: for a new store sized by how long a sample of the runs takes.

    The second is the order to do them in, None for their own: of chunks that are few for each
    worker costly ones come first, so that no worker is left with one when the others have ended.

    Parameters
    ----------
    sweep : Sweep
        The sweep. Where it says how large chunks are, nothing is timed.
    store : path, str or Storage
        The store; one that is there keeps its own chunks.
    client : distributed.Client or None
        The cluster.
    threads : int or None
        Threads of the kernel in each task.
    """
    try:
        is_new = is_vacant(open_storage(store))
    except StoreBusyError:
        is_new = False
    if sweep.chunk_runs is not None or not is_new:
        return chunks_of(sweep.solver, sweep.grid, sweep.chunk_runs)[0], None
    workers = None
    if client is not None:
        from cubie_dask.execution.dask_executor import check_client, cluster_size

        workers, threads = cluster_size(check_client(client), threads)
    if threads is not None:
        threads = count("threads", threads, 4096)
    pilot = run_pilot(sweep.solver, sweep.grid, threads)
    known = known_workers(
        sweep.solver, sweep.grid, workers=workers or None, run_seconds=pilot.run_seconds
    )
    plan, _ = chunks_of(sweep.solver, sweep.grid, None, known)
    return plan, pilot.costly_first(plan) if are_few(plan, known.count) else None


def _checked_bytes(what: str, given: int | str) -> int:
    """Return a number of bytes that was given as one, or as a text such as ``"8 GB"``.

    Raises
    ------
    InputError
        If it is neither.
    """
    if not isinstance(given, str):
        return count(what, given, 2**60)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", given.lower())
    if found is None or found[2] not in _UNITS or float(found[1]) * _UNITS[found[2]] < 1:
        raise InputError(
            f'{what} must be a number of bytes such as 8000000000, "8GB" or "7.5GiB", not '
            f"{given!r}."
        )
    return round(float(found[1]) * _UNITS[found[2]])


def _threads_of(workers: int | None) -> int:
    """Return the threads of a worker's kernel, if all workers are on this machine."""
    from cubie_kernels.run.execute import available_threads

    return max(1, available_threads() // (workers or 1))


def _in_store(
    store: StorePath | Storage, recipe: Recipe, reason: str
) -> tuple[Plan, str, int | None]:
    """Return the plan that a store has or would have, checked against the room on its disk."""
    storage = open_storage(store)
    plan, done = recipe.plan, 0
    if storage.exists() and not is_vacant(storage):
        recipe.check_same(read_attributes(storage), str(storage))
        opened = open_store(storage)
        plan, reason = opened.recipe.plan, "the store, which was made with it"
        done = sum(plan.block(chunk).runs for chunk in opened.finished())
    free = storage.free()
    if free is not None:
        check_disk(plan, (plan.runs - done) * plan.run_bytes, free, str(storage))
    return plan, reason, free
