"""Who computes a store: each driver has a small file in it, so that no two do the same chunks.

The file is written anew every 15 seconds. A driver that hasn't done so for a minute, by the clock
of the storage, is dead, and so is one of this machine whose process is gone: another may take its
place. If it was only asleep, it finds its file gone when it wakes up, and stops.
"""

from __future__ import annotations

import json
import logging
import math
import operator
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cubie_dask.errors import StoreBusyError
from cubie_dask.execution.stopping import Stopping
from cubie_dask.stores.storage import Storage
from cubie_kernels.errors import InputError

__all__ = ["WHOLE", "check_share", "driving", "is_gone"]

WHOLE = (0, 1)
"""The share of a driver that does all chunks."""

_HEARTBEAT_SECONDS = 15.0
_DEAD_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class _Entry:
    """What a driver tells of itself."""

    host: str
    pid: int
    share: tuple[int, int]
    began: str
    claimed: bool


@contextmanager
def driving(
    storage: Storage, folder: str, share: tuple[int, int], stopping: Stopping
) -> Iterator[None]:
    """Hold a share of a store's chunks for this process.

    Parameters
    ----------
    storage : Storage
        The store.
    folder : str
        The folder of the drivers' files in it.
    share : tuple of int
        ``(k, n)``: the chunks whose number leaves k when divided by n.
    stopping : Stopping
        Asked to stop if another driver takes over.

    Raises
    ------
    StoreBusyError
        If a living driver holds some of these chunks.
    """
    lock = _Lock(storage, folder, share)
    lock.claim()
    over = threading.Event()
    beat = threading.Thread(target=lock.keep, args=(over, stopping), name="cubie-driver")
    beat.daemon = True
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with suppress(OSError):
            storage.delete(lock.name)


def check_share(given: Any) -> tuple[int, int]:
    """Return a share of the chunks.

    Raises
    ------
    InputError
        If it isn't a pair of whole numbers k, n with 0 <= k < n.
    """
    try:
        k, n = (_whole(number) for number in given)
        if 0 <= k < n:
            return k, n
    except (TypeError, ValueError):
        pass
    raise InputError(
        f"share must be two whole numbers (k, n) with 0 <= k < n, not {given!r}: "
        "share=(0, 3), (1, 3) and (2, 3) are the thirds of a sweep."
    )


def _whole(given: Any) -> int:
    if isinstance(given, bool):
        raise TypeError
    return operator.index(given)


class _Lock:
    """The file of this driver."""

    def __init__(self, storage: Storage, folder: str, share: tuple[int, int]) -> None:
        self._storage, self._folder = storage, folder
        self.name = f"{folder}/{uuid.uuid4().hex}.json"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._entry = _Entry(socket.gethostname(), os.getpid(), share, now, claimed=False)

    def claim(self) -> None:
        """Write the file, and look whether others have one.

        Of two that begin at once, neither of which has claimed the chunks yet, the one whose name
        comes later withdraws, and the other waits to see what becomes of it.
        """
        self._write()
        try:
            while not self._free():
                time.sleep(_POLL_SECONDS)
        except BaseException:
            self._storage.delete(self.name)
            raise
        self._entry = replace(self._entry, claimed=True)
        self._write()

    def keep(self, over: threading.Event, stopping: Stopping) -> None:
        """Write the file again and again, until it is gone or all is over."""
        while not over.wait(_HEARTBEAT_SECONDS):
            try:
                if self.name.rpartition("/")[2] not in self._storage.names(self._folder):
                    stopping.ask("another driver took the store over")
                    return
                self._write()
            except Exception as fault:
                # The sweep goes on: a full disk or a lost server shows in its chunks.
                logging.getLogger("cubie_dask").warning("No sign of life written: %s", fault)

    def _write(self) -> None:
        self._storage.write(self.name, json.dumps(asdict(self._entry)).encode())

    def _free(self) -> bool:
        """Return whether there is no other driver; False if one has yet to make up its mind."""
        free = True
        for file in self._storage.names(self._folder):
            name = f"{self._folder}/{file}"
            if name == self.name:
                continue
            try:
                other, age = _entry(self._storage.read(name)), self._storage.age(name)
            except FileNotFoundError:
                continue
            if other is None or age > _DEAD_SECONDS or is_gone(other.host, other.pid):
                if other is not None or age > _DEAD_SECONDS:
                    self._storage.delete(name)
                continue
            if not _intersect(other.share, self._entry.share):
                continue
            if other.claimed or name < self.name:
                raise StoreBusyError(self._refusal(other, age))
            free = False
        return free

    def _refusal(self, other: _Entry, age: float) -> str:
        k, n = other.share
        which = "" if n == 1 else f" (share {k} of {n})"
        return (
            f"{self._storage} is computed by process {other.pid} on {other.host}{which} since "
            f"{other.began}, which showed itself {age:.0f} s ago: wait for it or end it, and run "
            f"the sweep again. One that doesn't show itself for {_DEAD_SECONDS:.0f} s counts as "
            "dead. Drivers can work side by side with shares: share=(0, 2) and share=(1, 2)."
        )


def _entry(data: bytes) -> _Entry | None:
    try:
        given: dict[str, Any] = json.loads(data)
        given["share"] = check_share(given["share"])
        return _Entry(**given)
    except (ValueError, TypeError, KeyError):
        return None


def is_gone(host: str, pid: int) -> bool:
    """Tell whether a process is of this machine and has ended."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _intersect(first: tuple[int, int], second: tuple[int, int]) -> bool:
    return (first[0] - second[0]) % math.gcd(first[1], second[1]) == 0
