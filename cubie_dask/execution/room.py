"""Room for results: looked for before a pass begins, and told of when there is none left."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from cubie_dask.errors import CapacityError, StorageFullError
from cubie_dask.grids.grid import Block
from cubie_dask.plans.capacity import less_to_save
from cubie_dask.plans.plan import Plan, boxes, size_text
from cubie_dask.recipe import Recipe
from cubie_dask.stores.full_disk import is_full
from cubie_dask.stores.labelled import results
from cubie_dask.stores.layout import codec
from cubie_dask.stores.storage import Storage

__all__ = ["check_room", "full_disk_told", "runs_in"]

_PLACES = 4
_FIRST_RUNS = 16
_ENOUGH_SECONDS, _MOST_SECONDS = 0.5, 5.0
_MOST_BYTES = 16 << 20
# Less than this compresses worse than a chunk does.
_LEAST_BYTES = 1 << 16
_MARGIN = 2.0


def check_room(
    storage: Storage,
    recipe: Recipe,
    chunks: Sequence[int],
    threads: int | None = None,
    *,
    is_new: bool,
) -> None:
    """Refuse to begin what surely doesn't fit on the disk; warn where that isn't sure.

    Where there is room for the results as they are, nothing else is looked at. Otherwise a few of
    their runs are integrated and compressed, here.

    Parameters
    ----------
    storage : Storage
        The store; one that is not in a folder isn't looked at.
    recipe : Recipe
        The sweep.
    chunks : sequence of int
        The chunks that are to be computed, in their order.
    threads : int, optional
        Threads of the kernel. Default: one for each core that this process may use.
    is_new : bool
        Whether the store is not there yet, so that the sweep may still be changed.

    Raises
    ------
    CapacityError
        If there would not be room if all results compressed twice as well as the best of the runs
        that were tried.
    """
    free = storage.free()
    plan = recipe.plan
    if free is None or not chunks or plan.runs * plan.run_bytes <= free:
        return
    needed = runs_in(plan, chunks) * plan.run_bytes
    if needed <= free:
        return
    ratio = None
    # A device that isn't here, or memory: workers may have it.
    with suppress(Exception):
        ratio = _compressed(recipe, chunks, threads)
    told = f"{size_text(needed)} before compression, and {storage} has {size_text(free)} free"
    if ratio is not None and needed * ratio / _MARGIN > free:
        fewer = less_to_save(plan, free / (needed * ratio))
        changes = f", give a store with more of it, {fewer}, or round with keepbits=…"
        raise CapacityError(
            f"The results that are missing take {told}. Of their runs some were tried, which "
            f"compress to {ratio:.0%}: if all did to half of that, it would still be "
            f"{size_text(needed * ratio / _MARGIN)}. Make room there"
            f"{changes if is_new else ', and give the same command again'}."
        )
    logging.getLogger("cubie_dask").warning(
        "The results that are missing take %s: that is enough if they compress to %.0f %%%s. A "
        "sweep that fills the disk stops, keeps what is finished, and goes on once there is room.",
        told,
        100 * free / needed,
        "" if ratio is None else f"; some of their runs do to {ratio:.0%}",
    )


def runs_in(plan: Plan, chunks: Sequence[int] | set[int]) -> int:
    """Return the number of runs in some chunks, of which there may be 10^5."""
    numbers = np.fromiter(chunks, np.int64, len(chunks))
    runs = np.ones(len(chunks), np.int64)
    for at, length, size in zip(
        np.unravel_index(numbers, plan.counts), plan.shape, plan.chunk, strict=True
    ):
        runs *= np.minimum(size, length - np.asarray(at) * size)
    return int(runs.sum())


@contextmanager
def full_disk_told(storage: Storage) -> Iterator[None]:
    """Say of a disk that has no room left what that means for the sweep.

    Raises
    ------
    StorageFullError
        In place of the system's error.
    """
    try:
        yield
    except Exception as fault:
        if not is_full(fault):
            raise
        raise StorageFullError(
            f"No room left for {storage}. All finished chunks are kept: make room and give the "
            "same command again to do the rest."
        ) from fault


def _compressed(recipe: Recipe, chunks: Sequence[int], threads: int | None) -> float | None:
    """Return to what part the best of some samples compresses; None if they are too small."""
    # Before the first sample, so that its time is that of its runs.
    recipe.solver.build()
    runs, best = _FIRST_RUNS, None
    for place in range(_PLACES):
        block = recipe.plan.block(chunks[place * len(chunks) // _PLACES])
        while True:
            part = Block(block.start, boxes(block.shape, runs, runs)[1])
            start = time.perf_counter()
            size, stored = _sizes(recipe, part, threads)
            seconds = time.perf_counter() - start
            patience = _ENOUGH_SECONDS if size >= _LEAST_BYTES else _MOST_SECONDS
            is_enough = seconds > patience or 8 * size > _MOST_BYTES
            if place or is_enough or part.shape == block.shape:
                break
            runs *= 8
        if size >= _LEAST_BYTES:
            best = min(stored / size, best or 1.0)
    return best


def _sizes(recipe: Recipe, part: Block, threads: int | None) -> tuple[int, int]:
    """Return the bytes of some runs' results, as they are and compressed as in a store."""
    import zarr
    from zarr.storage import MemoryStore

    outcome = recipe.solver.run(recipe.grid.columns(part), part.runs, threads)
    size, packed = 0, {}
    group = zarr.create_group(MemoryStore(packed), zarr_format=3)
    for name, values in results(recipe, outcome):
        is_rounded = recipe.keepbits is not None and name in recipe.plan.variables
        array = group.create_array(
            name, shape=values.shape, chunks=values.shape, dtype=values.dtype, **codec(is_rounded)
        )
        array[...] = values
        size += values.nbytes
    return size, sum(len(data) for key, data in packed.items() if not key.endswith("zarr.json"))
