"""Holds every finished chunk of a store against its record."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from cubie_dask.errors import StoreError
from cubie_dask.grids.grid import Block
from cubie_dask.stores.ledger import Record
from cubie_dask.stores.part_files import PARTIAL
from cubie_dask.stores.patching import pending_patches
from cubie_dask.stores.storage import Storage, StorePath, open_storage
from cubie_dask.stores.store import SweepStore, open_store, read_attributes
from cubie_kernels.checks import count
from cubie_kernels.errors import InputError
from cubie_kernels.status import Status

__all__ = ["Damage", "Verification", "repair_sweep", "verify_sweep"]

_AT_ONCE = 256
_MOST_READERS = 8
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Damage:
    """Something that isn't as it was written.

    Attributes
    ----------
    chunk : int or None
        The chunk, None for what all chunks share.
    what : str
        What is wrong.
    """

    chunk: int | None
    what: str

    def __str__(self) -> str:
        """Return it as a line of text."""
        return self.what if self.chunk is None else f"chunk {self.chunk}: {self.what}"


@dataclass(frozen=True)
class Verification:
    """What `verify_sweep` found.

    Attributes
    ----------
    store : str
        The store: an absolute path or a URL.
    chunks : int
        Number of chunks of the sweep.
    finished : int
        Number of those that have a record.
    checked : int
        Number of those that were looked at.
    bytes : int
        What was read of the arrays, before compression.
    damages : tuple of Damage
        What is wrong.
    leftovers : tuple of str
        Files that nothing needs: of processes that were killed, or strange to the ledger. They do
        no harm.
    retrying : tuple of int
        Chunks that were not looked at, since a retry of runs in them was cut off.
    """

    store: str
    chunks: int
    finished: int
    checked: int
    bytes: int
    damages: tuple[Damage, ...]
    leftovers: tuple[str, ...]
    retrying: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged; chunks that aren't computed yet are no damage."""
        return not self.damages

    @property
    def damaged_chunks(self) -> tuple[int, ...]:
        """The chunks that have to be computed again."""
        return tuple(sorted({d.chunk for d in self.damages if d.chunk is not None}))

    def __str__(self) -> str:
        """Return what was found as text."""
        lines = [
            f"{self.store}: {self.checked:,} of {self.finished:,} finished chunks checked (the "
            f"sweep has {self.chunks:,}), {self.bytes:,} bytes read"
        ]
        lines += _listed([str(damage) for damage in self.damages])
        if self.retrying:
            lines.append(
                f"{len(self.retrying):,} chunks were not checked, since a retry of their runs was "
                f"cut off: cubie-dask resume {self.store}, or the retry again, does the rest."
            )
        if self.leftovers:
            lines.append(f"Files that nothing needs: {len(self.leftovers):,}")
            lines += _listed([f"  {name}" for name in self.leftovers])
        if self.damaged_chunks:
            lines.append(
                f"Damaged chunks: {len(self.damaged_chunks):,}. To compute them again, "
                f"cubie-dask verify {self.store} --repair, or repair_sweep, takes their records "
                "away; then run the same sweep on the same store."
            )
        if any(damage.chunk is None for damage in self.damages):
            lines.append("Some of this is shared by all chunks: run the sweep into a new store.")
        if self.whole:
            lines.append("Nothing is damaged.")
        return "\n".join(lines)


def verify_sweep(
    store: StorePath | Storage,
    chunks: Iterable[int] | None = None,
    *,
    tell: Callable[[int, int], None] | None = None,
) -> Verification:
    """Check chunks of a store: that all files are there, and hold what was written.

    Everything is read. Of each chunk its record must be readable and fit its place in the grid;
    the files of all arrays must be there; size and checksum of what they hold, the number of runs
    by status and that of steps must be those of the record, and no run of a finished chunk may be
    without a status. The coordinates must be those that the sweep was made with.

    Parameters
    ----------
    store : path or str
        The store: a path or a URL. Nothing is changed. While a sweep is at work on it, what it
        finishes after the beginning is left out.
    chunks : iterable of int, optional
        The chunks to check, as far as they are finished. Default: all.
    tell : callable, optional
        Told now and then how many chunks are checked, and of how many.

    Raises
    ------
    StoreError
        If there is no store, it is not one of a sweep, or its description can't be read.
    InputError
        For chunks that the sweep doesn't have.

    Examples
    --------
    >>> found = verify_sweep("lorenz.zarr")                                     # doctest: +SKIP
    >>> found.damaged_chunks                                                    # doctest: +SKIP
    (5, 77)
    """
    opened = _opened(open_storage(store))
    finished = opened.finished()
    asked = finished if chunks is None else finished & _checked(chunks, opened)
    retrying = asked & set(pending_patches(opened))
    wanted = sorted(asked - retrying)
    shared = list(_shared_damages(opened))
    arrays = [name for name in opened.written if name in opened.arrays]
    missing, leftovers = _files(opened, arrays, wanted)
    damages, total, done = shared, 0, 0
    with ThreadPoolExecutor(_readers(), thread_name_prefix="cubie-verify") as pool:
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            records = dict(opened.ledger.read(part))
            jobs = [(chunk, records.get(chunk), missing.get(chunk, [])) for chunk in part]
            for faults, size in pool.map(lambda job: _chunk_damages(opened, arrays, *job), jobs):
                damages += faults
                total += size
            done += len(part)
            if tell is not None:
                tell(done, len(wanted))
    return Verification(
        store=opened.storage.url,
        chunks=opened.recipe.plan.chunks,
        finished=len(finished),
        checked=len(wanted),
        bytes=total,
        damages=tuple(damages),
        leftovers=tuple(leftovers),
        retrying=tuple(sorted(retrying)),
    )


def repair_sweep(store: StorePath | Storage, found: Verification) -> int:
    """Take away the records of damaged chunks, so that the next run computes these again.

    Parameters
    ----------
    store : path or str
        The store.
    found : Verification
        What `verify_sweep` returned for it.

    Returns
    -------
    int
        Number of the chunks.
    """
    ledger = open_store(store).ledger
    for chunk in found.damaged_chunks:
        ledger.delete(chunk)
    return len(found.damaged_chunks)


def _opened(storage: Storage) -> SweepStore:
    attributes = read_attributes(storage)
    try:
        return open_store(storage)
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        made = attributes.get("created", "an unknown day")
        raise StoreError(
            f"The description of the sweep in {storage}, made {made}, can't be read "
            f"({type(fault).__name__}: {fault}): its zarr.json or that of an array is damaged. Run "
            "the sweep into a new store."
        ) from fault


def _checked(chunks: Iterable[int], opened: SweepStore) -> set[int]:
    most = opened.recipe.plan.chunks
    found = set(chunks)
    for chunk in found:
        if chunk != 0:
            count("chunks", chunk, max(1, most - 1))
    if not found:
        raise InputError("chunks is empty: give numbers of chunks, or nothing to check all.")
    return found


def _readers() -> int:
    from cubie_kernels.run.execute import available_threads

    return max(1, min(_MOST_READERS, available_threads()))


def _shared_damages(opened: SweepStore) -> Iterator[Damage]:
    recipe = opened.recipe
    for name in opened.written:
        if name not in opened.arrays:
            yield Damage(None, f"{name}/zarr.json is missing or damaged")
    try:
        found = recipe.grid.identity()
        told = json.loads(read_attributes(opened.storage)["cubie_grid"])["identity"]
    except Exception as fault:
        yield Damage(None, f"the values of the grid can't be read ({fault!r})")
        return
    for name in told:
        if found.get(name) != told[name]:
            yield Damage(None, f"the values of {name} are {found.get(name)}, not {told[name]}")


def _files(
    opened: SweepStore, arrays: list[str], chunks: list[int]
) -> tuple[dict[int, list[str]], list[str]]:
    """Return the files that chunks lack, and those that nothing needs."""
    missing: dict[int, list[str]] = {}
    leftovers: list[str] = []
    storage, plan = opened.storage, opened.recipe.plan
    for name in arrays:
        array, sizes = opened.arrays[name], storage.sizes(name)
        leftovers += [file for file in sizes if file.endswith(PARTIAL)]
        for chunk in chunks:
            files = (f"{name}/{key}" for key in _keys(array, plan.block(chunk)))
            lost = [file for file in files if not sizes.get(file)]
            if lost:
                missing.setdefault(chunk, []).extend(lost)
    ledger = opened.ledger
    strange = set(storage.names(ledger.folder)) - {
        ledger.name(chunk).rpartition("/")[2] for chunk in ledger.finished()
    }
    return missing, leftovers + [f"{ledger.folder}/{name}" for name in sorted(strange)]


def _keys(array: Any, block: Block) -> Iterator[str]:
    """Return the names of the files that hold a block of an array, within the array's folder."""
    lengths = array.shards or array.chunks
    ahead = len(lengths) - len(block.shape)
    spans = [range(-(-n // c)) for n, c in zip(array.shape[:ahead], lengths, strict=False)]
    for part, length in zip(block.slices, lengths[ahead:], strict=True):
        spans.append(range(part.start // length, (part.stop - 1) // length + 1))
    for place in product(*spans):
        yield array.metadata.encode_chunk_key(place)


def _chunk_damages(
    opened: SweepStore, arrays: list[str], chunk: int, record: Any, missing: list[str]
) -> tuple[list[Damage], int]:
    """Return what is wrong with a chunk, and how many bytes were read."""
    if record is None:
        return [], 0
    if isinstance(record, StoreError):
        return [Damage(chunk, str(record))], 0
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        return [Damage(chunk, f"files that are missing or empty: {len(missing):,}, {shown}")], 0
    block = opened.recipe.plan.block(chunk)
    size, checksum, status, steps = 0, 0, np.zeros(0, np.uint8), 0
    names = opened.recipe.names
    for name in arrays:
        array = opened.arrays[name]
        try:
            values = array[(slice(None),) * (array.ndim - len(block.shape)) + block.slices]
        except Exception as fault:
            return [Damage(chunk, f"{name} can't be read ({type(fault).__name__}: {fault})")], size
        size += values.nbytes
        checksum = zlib.crc32(np.ascontiguousarray(values).data, checksum)
        if name == names["status"]:
            status = values
        elif name in (names["accepted_steps"], names["rejected_steps"]):
            steps += int(values.sum(dtype=np.int64))
    told = _differences(record, block, size, checksum, status, steps)
    return [Damage(chunk, text) for text in told], size


def _differences(
    record: Record, block: Block, size: int, checksum: int, status: np.ndarray, steps: int
) -> Iterator[str]:
    """Return in which ways a record isn't that of what was read."""
    for what, found, told in (
        ("runs", block.runs, record.runs),
        ("bytes", size, record.bytes),
        ("steps", steps, record.steps),
    ):
        if found != told:
            yield f"there are {found:,} {what}, and the record says {told:,}"
    if checksum != record.crc32:
        yield f"its checksum is {checksum:08x}, and the record says {record.crc32:08x}"
    known = {int(one): one.name for one in Status}
    values, numbers = np.unique(status, return_counts=True)
    counts = {
        known.get(int(value), str(value)): int(number)
        for value, number in zip(values, numbers, strict=True)
    }
    if counts != record.statuses:
        yield f"its runs ended {_told(counts)}, and the record says {_told(record.statuses)}"
    if Status.NOT_RUN.name in counts:
        yield f"{counts[Status.NOT_RUN.name]:,} of its runs are not computed"


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _listed(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_SHOWN
    return lines if more <= 0 else [*lines[:_MOST_SHOWN], f"… and {more:,} more"]
