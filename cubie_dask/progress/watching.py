"""How a sweep stands and who is at work on it, seen from outside: any machine that sees the store.

No scheduler is asked. What is finished comes from the ledger, and what only a living process knows
from the small files that drivers keep beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cubie_dask.errors import StoreError
from cubie_dask.execution.driver import is_gone
from cubie_dask.progress.heartbeat import Heartbeat, read_heartbeats
from cubie_dask.progress.report import Report, Totals, Worker
from cubie_dask.stores.storage import Storage, StorePath
from cubie_dask.stores.store import open_store

__all__ = ["Driver", "Standing", "Watcher"]

_SILENT_SECONDS = 60.0


@dataclass(frozen=True)
class Driver:
    """A process that drives a sweep.

    Attributes
    ----------
    host, pid : str, int
        The process.
    share : tuple of int
        ``(k, n)``: it does the chunks whose number leaves k when divided by n.
    began : str
        Since when, in UTC.
    age : float
        Seconds since it last showed itself, by the clock of the storage.
    """

    host: str
    pid: int
    share: tuple[int, int]
    began: str
    age: float


@dataclass(frozen=True)
class Standing:
    """How a sweep stands.

    Attributes
    ----------
    report : Report
        What is finished, from the ledger.
    workers : tuple of Worker
        Who did chunks, the one seen last first.
    drivers : tuple of Driver
        Who is at work on it now.
    last_driver : Driver or None
        Who was, if nobody is.
    state : str
        ``"complete"``; ``"running"``; ``"stopped"``, with a word; ``"silent"``: the last driver
        ended, or hangs, without one; or ``"idle"``: nothing is known of any.
    rate : float or None
        Runs per second of all drivers together, if they told.
    """

    report: Report
    workers: tuple[Worker, ...]
    drivers: tuple[Driver, ...]
    last_driver: Driver | None
    state: str
    rate: float | None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate."""
        missing = self.report.plan.runs - self.report.runs_finished
        return missing / self.rate if self.rate else None


class Watcher:
    """Looks at a store again and again, and reads what is new in it.

    Parameters
    ----------
    store : path, str or Storage
        The store.

    Raises
    ------
    StoreError
        If there is no store, or it is not one of a sweep.
    """

    def __init__(self, store: StorePath | Storage) -> None:
        self._store = open_store(store)
        self._folder = self._store.recipe.names["status"]
        self._known: set[int] = set()
        self._totals = Totals()

    def look(self) -> Standing:
        """Return how the sweep stands now.

        Raises
        ------
        StoreError
            If a record is damaged.
        """
        finished = self._store.finished()
        if not self._known <= finished:
            # Chunks were taken back to be computed again.
            self._known, self._totals = set(), Totals()
        for chunk, record in self._store.ledger.read(sorted(finished - self._known)):
            if isinstance(record, StoreError):
                raise record
            self._known.add(chunk)
            self._totals.add(record)
        report = self._totals.report(self._store)
        told = read_heartbeats(self._store.storage, self._folder)
        drivers = self._drivers()
        return Standing(
            report=report,
            workers=self._totals.workers(),
            drivers=drivers,
            last_driver=None if drivers or not told else _driver(*told[0]),
            state=_state(report, drivers, told),
            rate=_rate(drivers, told),
        )

    def _drivers(self) -> tuple[Driver, ...]:
        """Return the drivers that showed themselves lately."""
        storage, folder = self._store.storage, f"{self._folder}/drivers"
        found: list[Driver] = []
        for name in storage.names(folder):
            try:
                given = json.loads(storage.read(f"{folder}/{name}"))
                k, n = given["share"]
                age = storage.age(f"{folder}/{name}")
                found.append(Driver(given["host"], given["pid"], (k, n), given["began"], age))
            except (OSError, ValueError, TypeError, KeyError):
                # It ended meanwhile.
                continue
        alive = (d for d in found if d.age <= _SILENT_SECONDS and not is_gone(d.host, d.pid))
        return tuple(sorted(alive, key=lambda driver: driver.share))


def _driver(told: Heartbeat, age: float) -> Driver:
    return Driver(told.host, told.pid, told.share, told.started, age)


def _state(report: Report, drivers: tuple[Driver, ...], told: list[tuple[Heartbeat, float]]) -> str:
    if report.complete:
        return "complete"
    if drivers:
        return "running"
    if not told:
        return "idle"
    return "silent" if told[0][0].state == "running" else "stopped"


def _rate(drivers: tuple[Driver, ...], told: list[tuple[Heartbeat, float]]) -> float | None:
    alive = {(driver.host, driver.pid) for driver in drivers}
    rates = [one.runs_per_second for one, _ in told if (one.host, one.pid) in alive]
    return sum(rates) if any(rates) else None
