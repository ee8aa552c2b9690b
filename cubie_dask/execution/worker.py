"""What a worker does: compute one chunk, write it, add its record to the ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from cubie_dask.execution.pieces import integrate
from cubie_dask.execution.policy import Probed, Task
from cubie_dask.grids.grid import Block, SampleGrid
from cubie_dask.stores.ledger import Record, record_of
from cubie_dask.stores.store import SweepStore, open_store
from cubie_dask.stores.versioned import Pending, forked
from cubie_kernels.run.batch import Column, Outcome

__all__ = ["Computed", "compute_chunk", "run_chunk", "write_chunk"]

_opening = threading.Lock()


@dataclass(frozen=True, eq=False)
class Computed:
    """The results of a chunk that are not written yet."""

    chunk: int
    block: Block
    columns: dict[str, Column]
    outcome: Outcome
    seconds: float


def compute_chunk(
    store: SweepStore,
    chunk: int,
    threads: int | None = None,
    boxes: tuple[Block, ...] | None = None,
) -> Computed:
    """Integrate the runs of a chunk, in pieces if they need more memory than there is.

    Parameters
    ----------
    store : SweepStore
        The sweep.
    chunk : int
        Number of the chunk.
    threads : int, optional
        Threads of the kernel. Default: one for each core that this process may use.
    boxes : tuple of Block, optional
        Parts of the chunk, to integrate one after the other; runs in none of them are marked as
        lost. Default: the whole.
    """
    start = time.perf_counter()
    recipe = store.recipe
    block = recipe.plan.block(chunk)
    outcome = integrate(recipe, block, (block,) if boxes is None else boxes, threads)
    # Those of a sample are written with the results.
    columns = recipe.grid.columns(block) if isinstance(recipe.grid, SampleGrid) else {}
    return Computed(chunk, block, columns, outcome, time.perf_counter() - start)


def write_chunk(store: SweepStore, computed: Computed, attempt: int = 1) -> Record:
    """Write the results of a chunk, then the record that makes it count as finished.

    In a store of Icechunk it counts once the driver has committed what the record carries.
    """
    start = time.perf_counter()
    target, session = forked(store)
    size, checksum = target.write(computed.block, computed.columns, computed.outcome)
    outcome = computed.outcome
    record = record_of(
        computed.chunk,
        outcome.status,
        store.recipe.solver.target,
        steps=(outcome.accepted, outcome.rejected),
        compute_seconds=computed.seconds,
        write_seconds=time.perf_counter() - start,
        attempt=attempt,
        bytes=size,
        crc32=checksum,
    )
    if session is not None:
        return Pending.of(record, session)
    store.ledger.write(record)
    return record


def run_chunk(
    url: str, run_id: str, task: Task, threads: int
) -> Record | Probed | Callable[[], Record]:
    """Do a task in a worker of a cluster, which keeps the opened sweep for the next one.

    Parameters
    ----------
    url : str
        The store, as this process sees it: a path or URL.
    run_id : str
        Name of this pass over the sweep: with another one the store is opened anew.
    task : Task
        What to do.
    threads : int
        Threads of the kernel.

    Returns
    -------
    Record, Probed or callable
        A function writes what was computed.
    """
    if task.probe:
        from cubie_dask.execution.probing import probe_chunk

        return probe_chunk(url, task.chunk, threads)
    with _opening:
        store = _opened(url, run_id)
    for _, record in store.ledger.read([task.chunk]):
        # Its worker died, or lost the scheduler, when all was done.
        if isinstance(record, Record):
            return record
    computed = compute_chunk(store, task.chunk, threads, task.boxes)
    return partial(write_chunk, store, computed, task.attempt)


@lru_cache(maxsize=4)
def _opened(url: str, run_id: str) -> SweepStore:
    del run_id
    store = open_store(url)
    store.recipe.solver.build()
    return store
