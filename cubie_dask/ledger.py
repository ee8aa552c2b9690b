"""One small file for each finished chunk: what a resumed sweep trusts.

The records lie in ``status/ledger`` inside the store. Zarr looks for nothing within the folder of
an array but its own chunks, so neither it nor xarray sees them.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cubie_dask.errors import StoreError

__all__ = [
    "Record",
    "finished",
    "read_records",
    "sweep_leftovers",
    "write_atomically",
    "write_record",
]


@dataclass(frozen=True)
class Record:
    """A finished chunk; a worker returns this and no data.

    Attributes
    ----------
    chunk : int
        Number of the chunk.
    runs : int
        Number of its runs.
    statuses : dict of str to int
        Number of runs by the name of their status.
    steps : int
        Number of steps of all runs, rejected ones included.
    compute_seconds, write_seconds : float
        Wall time of the two parts.
    bytes : int
        Size of what was written, before compression.
    crc32 : int
        Checksum over the bytes of all written arrays, in the order of writing.
    attempt : int
        1 unless the chunk had failed before.
    worker : str
        Machine and process that did it.
    finished : str
        When, in UTC.
    version : str
        Version of this package.
    """

    chunk: int
    runs: int
    statuses: dict[str, int]
    steps: int
    compute_seconds: float
    write_seconds: float
    bytes: int
    crc32: int
    attempt: int
    worker: str
    finished: str
    version: str


def finished(folder: Path) -> set[int]:
    """Return the numbers of all finished chunks, from the names of the records alone."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return set()
    return {int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()}


def read_records(folder: Path) -> list[Record]:
    """Return all records in the order of their chunks.

    Raises
    ------
    StoreError
        If a record is damaged.
    """
    known = {field.name for field in fields(Record)}
    records = []
    for chunk in sorted(finished(folder)):
        path = folder / f"{chunk}.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            records.append(Record(**{k: v for k, v in data.items() if k in known}))
        except (ValueError, TypeError, AttributeError) as fault:
            raise StoreError(
                f"The record {path} is damaged ({fault}). Delete it and run the sweep again: that "
                "chunk is computed anew."
            ) from fault
    return records


def write_record(folder: Path, record: Record) -> None:
    """Add a record; from then on its chunk counts as finished."""
    text = json.dumps(asdict(record), separators=(",", ":"))
    write_atomically(folder / f"{record.chunk}.json", text)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that any reader, at any time, sees the old or the new one whole."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sweep_leftovers(store: Path) -> int:
    """Delete partly written files of processes that were killed, and return their number."""
    count = 0
    for folder, _, names in os.walk(store):
        for name in names:
            if name.endswith(".partial"):
                Path(folder, name).unlink(missing_ok=True)
                count += 1
    return count
