"""One small file for each finished chunk: what a resumed sweep trusts.

The records lie in ``status/ledger`` inside the store. Zarr looks for nothing within the folder of
an array but its own chunks, so neither it nor xarray sees them. A record is named by the place of
its chunk along each dimension, ``3-0-5.json``, which stays when a dimension is made longer.
"""

from __future__ import annotations

import json
import os
import socket
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cubie_dask.errors import StoreError
from cubie_dask.stores.storage import Storage
from cubie_kernels.status import Status
from cubie_kernels.version import __version__

__all__ = ["Ledger", "Record", "record_of"]

_CHECK = b',"check":'


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
        Checksum over the bytes of all written arrays before compression, in the order of writing.
    attempt : int
        1 unless the chunk had failed before.
    worker : str
        Machine and process that did it.
    finished : str
        When, in UTC.
    version : str
        Version of this package.
    device : str
        What computed it: the target of the kernel and the processor. A retry of some of its runs
        leaves this as it is, and sets `worker`, `finished` and `version` anew.
    round : int
        The last round of `retry_failed` that replaced results of some of its runs; 0 for none.
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
    device: str = ""
    round: int = 0


def record_of(
    chunk: int,
    status: NDArray[np.uint8],
    target: str,
    *,
    steps: Sequence[NDArray[np.int32]],
    compute_seconds: float,
    write_seconds: float,
    attempt: int,
    bytes: int = 0,
    crc32: int = 0,
) -> Record:
    """Return the record of what this process has finished just now.

    Parameters
    ----------
    chunk : int
        Number of the chunk.
    status : ndarray of uint8, shape (R,)
        How its runs ended.
    target : str
        Target of the kernel that computed them.
    steps : sequence of ndarray of int32, shape (R,)
        Numbers of their steps: accepted ones, rejected ones.
    compute_seconds, write_seconds, attempt, bytes, crc32
        As in `Record`.
    """
    counts = np.bincount(status, minlength=len(Status))
    return Record(
        chunk=chunk,
        runs=len(status),
        statuses={one.name: int(counts[one]) for one in Status if counts[one]},
        steps=sum(int(numbers.sum(dtype=np.int64)) for numbers in steps),
        compute_seconds=round(compute_seconds, 6),
        write_seconds=round(write_seconds, 6),
        bytes=bytes,
        crc32=crc32,
        attempt=attempt,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        device=_device_of(target),
    )


@lru_cache(maxsize=4)
def _device_of(target: str) -> str:
    """Return the target of a kernel and the processor that it runs on here."""
    from cubie_kernels.build.cpu import host

    return f"{target} {host().cpu}"


_FIELDS = frozenset(field.name for field in fields(Record))


@dataclass(frozen=True)
class Ledger:
    """The records of a store.

    Parameters
    ----------
    storage : Storage
        Where they are.
    folder : str
        In which folder.
    counts : tuple of int
        Number of chunks along each dimension.
    """

    storage: Storage
    folder: str
    counts: tuple[int, ...]

    def name(self, chunk: int) -> str:
        """Return the name of a chunk's record, the folder included."""
        place: list[int] = []
        for count in reversed(self.counts):
            chunk, along = divmod(chunk, count)
            place.append(along)
        return f"{self.folder}/{'-'.join(map(str, reversed(place)))}.json"

    def finished(self) -> set[int]:
        """Return the numbers of all finished chunks, from the names of the records alone."""
        found = (self.chunk(name) for name in self.storage.names(self.folder))
        return {chunk for chunk in found if chunk is not None}

    def read(self, chunks: Iterable[int]) -> Iterator[tuple[int, Record | StoreError]]:
        """Return the records of some chunks, or what is wrong with them; without those that lack.

        Parameters
        ----------
        chunks : iterable of int
            The chunks.
        """
        named = {self.name(chunk): chunk for chunk in chunks}
        for name, data in self.storage.read_all(named):
            try:
                yield named[name], _decoded(data, named[name])
            except (ValueError, TypeError, AttributeError) as fault:
                yield (
                    named[name],
                    StoreError(
                        f"The record {name} of {self.storage} is damaged ({fault}). Delete it and "
                        "run the sweep again: that chunk is computed anew."
                    ),
                )

    def records(self) -> list[Record]:
        """Return all records in the order of their chunks.

        Raises
        ------
        StoreError
            If a record is damaged.
        """
        records: list[Record] = []
        for _, record in self.read(sorted(self.finished())):
            if isinstance(record, StoreError):
                raise record
            records.append(record)
        return records

    def write(self, record: Record) -> None:
        """Add a record; from then on its chunk counts as finished."""
        self.storage.write(self.name(record.chunk), _encoded(record))

    def delete(self, chunk: int) -> None:
        """Take a record away; from then on its chunk is to be computed."""
        self.storage.delete(self.name(chunk))

    def chunk(self, name: str) -> int | None:
        """Return the chunk that a file is the record of; its name is without the folder."""
        stem, dot, kind = name.rpartition(".")
        parts = stem.split("-")
        if not dot or kind != "json" or len(parts) != len(self.counts):
            return None
        chunk = 0
        for part, count in zip(parts, self.counts, strict=True):
            if not part.isdecimal() or (along := int(part)) >= count:
                return None
            chunk = chunk * count + along
        return chunk


def _encoded(record: Record) -> bytes:
    """Return a record as JSON with a checksum of its own; the chunk is in the name."""
    content = asdict(record)
    del content["chunk"]
    text = json.dumps(content, separators=(",", ":")).encode()[:-1]
    return text + _CHECK + b"%d}" % zlib.crc32(text)


def _decoded(data: bytes, chunk: int) -> Record:
    text, found, check = data.rpartition(_CHECK)
    if not found or check != b"%d}" % zlib.crc32(text):
        raise ValueError("its checksum is wrong")
    content: dict[str, Any] = json.loads(f"{text.decode()}}}")
    if not content.keys() <= _FIELDS:
        content = {name: value for name, value in content.items() if name in _FIELDS}
    return Record(chunk, **content)
