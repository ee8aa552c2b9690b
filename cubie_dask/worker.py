"""What a worker does: compute one chunk, write it, add its record to the ledger."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from cubie_dask.grid import Block
from cubie_dask.ledger import Record
from cubie_dask.store import SweepStore, open_store
from cubie_kernels.run.batch import Column, Outcome
from cubie_kernels.status import Status
from cubie_kernels.version import __version__

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


def compute_chunk(store: SweepStore, chunk: int, threads: int | None = None) -> Computed:
    """Integrate the runs of a chunk.

    Parameters
    ----------
    store : SweepStore
        The sweep.
    chunk : int
        Number of the chunk.
    threads : int, optional
        Threads of the kernel. Default: one for each core that this process may use.
    """
    start = time.perf_counter()
    block = store.recipe.plan.block(chunk)
    columns = store.recipe.grid.columns(block)
    outcome = store.recipe.solver.run(columns, block.runs, threads)
    return Computed(chunk, block, columns, outcome, time.perf_counter() - start)


def write_chunk(store: SweepStore, computed: Computed, attempt: int = 1) -> Record:
    """Write the results of a chunk, then the record that makes it count as finished."""
    start = time.perf_counter()
    size, checksum = store.write(computed.block, computed.columns, computed.outcome)
    outcome = computed.outcome
    counts = np.bincount(outcome.status, minlength=len(Status))
    record = Record(
        chunk=computed.chunk,
        runs=computed.block.runs,
        statuses={status.name: int(counts[status]) for status in Status if counts[status]},
        steps=int(outcome.accepted.sum(dtype=np.int64) + outcome.rejected.sum(dtype=np.int64)),
        compute_seconds=round(computed.seconds, 6),
        write_seconds=round(time.perf_counter() - start, 6),
        bytes=size,
        crc32=checksum,
        attempt=attempt,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
    )
    store.ledger.write(record)
    return record


def run_chunk(url: str, run_id: str, chunk: int, attempt: int, threads: int) -> Record:
    """Compute and write a chunk in a worker process that keeps the opened sweep for the next one.

    Parameters
    ----------
    url : str
        The store, as this process sees it: a path or URL.
    run_id : str
        Name of this pass over the sweep: with another one the store is opened anew.
    chunk, attempt, threads : int
        The chunk, how often it has been begun, and the threads of the kernel.
    """
    with _opening:
        store = _opened(url, run_id)
    return write_chunk(store, compute_chunk(store, chunk, threads), attempt)


@lru_cache(maxsize=4)
def _opened(url: str, run_id: str) -> SweepStore:
    del run_id
    store = open_store(url)
    store.recipe.solver.build()
    return store
