"""What a driver tells of its pass while it runs: a small file in the store, replaced as a whole.

It lies beside the ledger, which stays the truth of what is finished. The file adds what no record
knows: how fast the sweep is now, who drives it, and whether that process still shows itself.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from cubie_dask.progress.events import ChunkFailed, ChunkFinished, Event, SweepEnded, SweepStarted
from cubie_dask.stores.storage import Storage

__all__ = ["Heartbeat", "StoreProgress", "read_heartbeats"]

_WINDOW_SECONDS = 120.0
_MOST_WORKERS = 256


@dataclass(frozen=True)
class Heartbeat:
    """What a driver last told.

    Attributes
    ----------
    state : str
        ``"running"``, ``"stopped"`` or, with nothing left to do in its share, ``"complete"``.
    host, pid : str, int
        The process.
    share : tuple of int
        ``(k, n)``: it does the chunks whose number leaves k when divided by n.
    started, updated : str
        When its pass began and when it told this, in UTC by the clock of its machine.
    runs, chunks : int
        Size of the whole sweep.
    runs_finished, chunks_finished : int
        Of the whole sweep as this driver knows it: earlier passes, and what it did itself.
    statuses : dict of str to int
        Runs of this pass by the name of their status.
    runs_per_second : float
        Over the last two minutes of the pass; 0 until the second chunk is finished.
    retried : int
        Attempts of this pass that failed and were begun again.
    workers : dict of str to dict
        Of each worker of this pass its ``chunks``, ``runs`` and when it was ``seen`` last, in UTC;
        the 256 that were seen last.
    """

    state: str
    host: str
    pid: int
    share: tuple[int, int]
    started: str
    updated: str
    runs: int
    chunks: int
    runs_finished: int
    chunks_finished: int
    statuses: dict[str, int]
    runs_per_second: float
    retried: int
    workers: dict[str, dict[str, Any]]


class StoreProgress:
    """A listener that keeps the heartbeat of its pass in the store.

    Parameters
    ----------
    storage : Storage
        The store.
    folder : str
        Where in the store: the name of its status array.
    share : tuple of int
        ``(k, n)`` of the driver.
    interval : float
        Seconds between two writes at least; the first and the last event are always written.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        share: tuple[int, int] = (0, 1),
        interval: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage, self._name = storage, f"{folder}/{_progress_name(share)}"
        self._share, self._interval, self._clock = share, interval, clock
        self._started, self._last = _now(), float("-inf")
        self._sizes = (0, 0)
        self._runs = self._chunks = self._retried = 0
        self._statuses: Counter[str] = Counter()
        self._workers: dict[str, dict[str, Any]] = {}
        self._samples: deque[tuple[float, int]] = deque()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, SweepStarted):
            self._started, self._sizes = _now(), (event.runs, event.chunks)
            self._runs, self._chunks = event.runs_before, event.chunks_before
            self._write("running")
        elif isinstance(event, ChunkFinished):
            self._count(event)
        elif isinstance(event, ChunkFailed):
            self._retried += event.retried
        if isinstance(event, SweepEnded):
            self._write("complete" if event.complete else "stopped")
        elif self._clock() - self._last >= self._interval:
            self._write("running")

    def _count(self, event: ChunkFinished) -> None:
        record = event.record
        self._runs += record.runs
        if not self._samples:
            # The time of the first one is that of building the kernel as well.
            self._samples.append((self._clock(), self._runs))
        self._chunks += 1
        self._statuses.update(record.statuses)
        worker = self._workers.pop(record.worker, {"chunks": 0, "runs": 0})
        # Taken out and put in again: the last one is the one that was seen last.
        self._workers[record.worker] = {
            "chunks": worker["chunks"] + 1,
            "runs": worker["runs"] + record.runs,
            "seen": record.finished,
        }
        if len(self._workers) > _MOST_WORKERS:
            del self._workers[next(iter(self._workers))]

    def _rate(self, now: float) -> float:
        if not self._samples:
            return 0.0
        self._samples.append((now, self._runs))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()
        began, before = self._samples[0]
        return (self._runs - before) / (now - began) if now > began else 0.0

    def _write(self, state: str) -> None:
        now = self._last = self._clock()
        heartbeat = Heartbeat(
            state=state,
            host=socket.gethostname(),
            pid=os.getpid(),
            share=self._share,
            started=self._started,
            updated=_now(),
            runs=self._sizes[0],
            chunks=self._sizes[1],
            runs_finished=self._runs,
            chunks_finished=self._chunks,
            statuses=dict(self._statuses),
            runs_per_second=round(self._rate(now), 3),
            retried=self._retried,
            workers=self._workers,
        )
        try:
            self._storage.write(self._name, json.dumps(asdict(heartbeat)).encode())
        except Exception as fault:
            # The sweep goes on: a full disk or a lost server shows in its chunks.
            logging.getLogger("cubie_dask").warning("No progress written: %s", fault)


def _progress_name(share: tuple[int, int]) -> str:
    """Return the name of the file of a driver with a share of the sweep."""
    k, n = share
    return "progress.json" if n == 1 else f"progress-{k}-of-{n}.json"


def read_heartbeats(storage: Storage, folder: str) -> list[tuple[Heartbeat, float]]:
    """Return what each driver last told, and how many seconds ago by the clock of the storage.

    Parameters
    ----------
    storage : Storage
        The store.
    folder : str
        The name of its status array.

    Returns
    -------
    list of (Heartbeat, float)
        The newest first. A file that can't be read is left out: the ledger is the truth.
    """
    known = {field.name for field in fields(Heartbeat)}
    found: list[tuple[Heartbeat, float]] = []
    for name in storage.names(folder):
        if not name.startswith("progress") or not name.endswith(".json"):
            continue
        path = f"{folder}/{name}"
        try:
            data = json.loads(storage.read(path))
            data["share"] = tuple(data["share"])
            heartbeat = Heartbeat(**{key: value for key, value in data.items() if key in known})
            found.append((heartbeat, storage.age(path)))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return sorted(found, key=lambda pair: pair[1])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
