"""Replaces the results of some runs of a finished chunk, so that a kill at any time does no harm.

The new results lie in a small file beside the arrays, a patch, before the first of them is written.
Whoever finds the patch carries it out from the start, to the same end, and then deletes it.
"""

from __future__ import annotations

import io
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cubie_dask.errors import StoreError
from cubie_dask.grids.grid import Block
from cubie_dask.stores.ledger import Record, record_of
from cubie_dask.stores.store import SweepStore, open_store

__all__ = [
    "Patch",
    "apply_patch",
    "check_intact",
    "finish_patches",
    "pending_patches",
    "read_runs",
    "save_patch",
]

_META = "meta"


@dataclass(frozen=True, eq=False)
class Patch:
    """New results of some runs of a chunk.

    Attributes
    ----------
    chunk : int
        Number of the chunk.
    number : int
        The round they are of.
    seconds : float
        How long they took to compute.
    runs : ndarray, shape (k,)
        Places of the runs within the chunk, the last dimension fastest.
    values : dict of str to ndarray, shape ([T,] k)
        What comes into the arrays, by their names.
    """

    chunk: int
    number: int
    seconds: float
    runs: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]


def save_patch(store: SweepStore, patch: Patch) -> None:
    """Keep a patch in the store; from then on it will be carried out."""
    file = io.BytesIO()
    meta = np.array([patch.number, patch.seconds])
    # With a prefix, since a variable of a model may have any name.
    arrays = {f"v_{name}": values for name, values in patch.values.items()}
    np.savez(file, allow_pickle=False, **{_META: meta, "runs": patch.runs}, **arrays)
    store.storage.write(_name(store, patch.chunk), file.getvalue())


def pending_patches(store: SweepStore) -> tuple[int, ...]:
    """Return the chunks that have a patch, from the names of the files alone."""
    found = store.storage.names(_folder(store))
    ledger = store.ledger
    numbers = (ledger.chunk(f"{name[:-4]}.json") for name in found if name.endswith(".npz"))
    return tuple(sorted(number for number in numbers if number is not None))


def finish_patches(store: SweepStore) -> int:
    """Carry out all patches of finished chunks, and return their number.

    Those of chunks that are to be computed wait until these are finished.
    """
    done = store.finished()
    waiting = [chunk for chunk in pending_patches(store) if chunk in done]
    if not store.storage.versioned:
        return sum(apply_patch(store, chunk) for chunk in waiting)
    if not waiting:
        return 0
    # Records and patches once all is committed: a patch may be carried out twice.
    with store.storage.changing(f"runs of {len(waiting):,} chunks are retried") as storage:
        changed = open_store(storage)
        records = [record for chunk in waiting if (record := _carried_out(changed, chunk))]
    for record in records:
        _settle(store, record)
    return len(records)


def apply_patch(store: SweepStore, chunk: int) -> bool:
    """Carry out the patch of a finished chunk, and return whether there was one.

    In a store of Icechunk it waits for `finish_patches`, which only the driver calls.

    Raises
    ------
    StoreError
        If the record of the chunk is missing or damaged.
    """
    if store.storage.versioned:
        return _load(store, chunk) is not None
    record = _carried_out(store, chunk)
    if record is not None:
        _settle(store, record)
    return record is not None


def _settle(store: SweepStore, record: Record) -> None:
    store.ledger.write(record)
    store.storage.delete(_name(store, record.chunk))


def _carried_out(store: SweepStore, chunk: int) -> Record | None:
    """Write what a patch has to the arrays, and return the chunk's new record; None without one."""
    patch = _load(store, chunk)
    if patch is None:
        return None
    start = time.perf_counter()
    old = _record(store, chunk)
    block = store.recipe.plan.block(chunk)
    patch = _without_later(store, patch, block)
    names = store.recipe.names
    counted = (names["accepted_steps"], names["rejected_steps"])
    for name in patch.values:
        if name not in store.written:
            _write(store, name, block, _patched(store, name, block, patch))
    size, checksum, status, steps = 0, 0, np.zeros(0, np.uint8), list[NDArray[Any]]()
    for name in store.written:
        values = _patched(store, name, block, patch)
        if name in patch.values:
            _write(store, name, block, values)
        size += values.nbytes
        checksum = zlib.crc32(values.data, checksum)
        if name == names["status"]:
            status = values
        elif name in counted:
            steps.append(values)
    made = record_of(
        chunk,
        status,
        store.recipe.solver.target,
        steps=steps,
        compute_seconds=old.compute_seconds + patch.seconds,
        write_seconds=old.write_seconds + time.perf_counter() - start,
        attempt=old.attempt,
        bytes=size,
        crc32=checksum,
    )
    return replace(made, device=old.device, round=max(old.round, patch.number))


def check_intact(store: SweepStore, chunk: int) -> None:
    """Hold a chunk against its record: a new checksum must not make damage look whole.

    Raises
    ------
    StoreError
        If it isn't what was written, or has no record.
    """
    record, block, checksum = _record(store, chunk), store.recipe.plan.block(chunk), 0
    for name in store.written:
        checksum = zlib.crc32(read_runs(store, name, block).data, checksum)
    if checksum != record.crc32:
        raise StoreError(
            f"Chunk {chunk} of {store.storage} is damaged: its checksum is {checksum:08x}, and "
            f"the record says {record.crc32:08x}. cubie-dask verify {store.storage} --repair "
            "marks it as missing; run the sweep again before this."
        )


def read_runs(store: SweepStore, name: str, block: Block) -> NDArray[Any]:
    """Return a block of an array, the runs as its last axis."""
    array = store.arrays[name]
    values = np.asarray(array[_where(array, block)])
    lead = values.shape[: values.ndim - len(block.shape)]
    return np.ascontiguousarray(values).reshape(*lead, block.runs)


def _without_later(store: SweepStore, patch: Patch, block: Block) -> Patch:
    """Leave out runs that a later round took: a worker that lost its driver may be late."""
    name = store.history["round"]
    is_due = read_runs(store, name, block)[patch.runs] <= patch.values[name]
    values = {name: values[..., is_due] for name, values in patch.values.items()}
    return replace(patch, runs=patch.runs[is_due], values=values)


def _patched(store: SweepStore, name: str, block: Block, patch: Patch) -> NDArray[Any]:
    values = read_runs(store, name, block)
    if name in patch.values:
        values = np.array(values)
        values[..., patch.runs] = patch.values[name]
    return values


def _write(store: SweepStore, name: str, block: Block, values: NDArray[Any]) -> None:
    array = store.arrays[name]
    array[_where(array, block)] = values.reshape(*values.shape[:-1], *block.shape)


def _where(array: Any, block: Block) -> tuple[slice, ...]:
    return (slice(None),) * (array.ndim - len(block.shape)) + block.slices


def _record(store: SweepStore, chunk: int) -> Record:
    for _, record in store.ledger.read([chunk]):
        if isinstance(record, StoreError):
            raise record
        return record
    raise StoreError(f"Chunk {chunk} of {store.storage} is not finished: run the sweep first.")


def _load(store: SweepStore, chunk: int) -> Patch | None:
    name = _name(store, chunk)
    try:
        data = store.storage.read(name)
    except FileNotFoundError:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            number, seconds = found[_META].tolist()
            values = {key[2:]: found[key] for key in found.files if key.startswith("v_")}
            return Patch(chunk, int(number), seconds, found["runs"], values)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, zlib.error) as fault:
        raise StoreError(
            f"The file {name} of {store.storage} is damaged ({fault}). Delete it; then cubie-dask "
            f"verify {store.storage} --repair, run the sweep, and repeat the command."
        ) from fault


def _folder(store: SweepStore) -> str:
    return f"{store.folder}/patches"


def _name(store: SweepStore, chunk: int) -> str:
    place = store.ledger.name(chunk).rpartition("/")[2].removesuffix(".json")
    return f"{_folder(store)}/{place}.npz"
