"""How far a sweep is and how its runs ended, read from the ledger of its store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cubie_dask.plans.plan import Plan
from cubie_dask.stores.ledger import Record
from cubie_dask.stores.storage import Storage, StorePath
from cubie_dask.stores.store import SweepStore, open_store, open_sweep
from cubie_kernels.status import Status

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Report", "Totals", "Worker", "report_of", "sweep_report"]


@dataclass(frozen=True)
class Report:
    """How far a sweep is and how its runs ended.

    Attributes
    ----------
    store : str
        The store: an absolute path or a URL.
    name : str
        Name of the model.
    plan : Plan
        The chunks of the sweep.
    chunks : int
        Number of finished chunks.
    statuses : dict of Status to int
        Number of runs by how they ended, those that were not computed yet included.
    steps : int
        Number of steps of all runs, rejected ones included.
    compute_seconds, write_seconds : float
        Sums over the chunks, which may have been in hand at the same time.
    workers : tuple of str
        Machines and processes that did chunks.
    last : str or None
        When the last chunk was finished, in UTC.
    """

    store: str
    name: str
    plan: Plan
    chunks: int
    statuses: dict[Status, int]
    steps: int
    compute_seconds: float
    write_seconds: float
    workers: tuple[str, ...]
    last: str | None

    @property
    def complete(self) -> bool:
        """Whether all chunks are finished."""
        return self.chunks == self.plan.chunks

    @property
    def runs_finished(self) -> int:
        """Number of runs that were computed, however they ended."""
        return self.plan.runs - self.statuses.get(Status.NOT_RUN, 0)

    @property
    def runs_failed(self) -> int:
        """Number of runs that were computed and did not succeed."""
        return self.runs_finished - self.statuses.get(Status.SUCCESS, 0)

    def dataset(self) -> xr.Dataset:
        """Return the results as a labelled dataset; see `open_sweep`."""
        return open_sweep(self.store)

    def __str__(self) -> str:
        """Return the report as text."""
        lines = [
            f"{'Complete' if self.complete else 'Incomplete'} sweep of {self.name}: "
            f"{self.chunks:,} of {self.plan.chunks:,} chunks in {self.store}"
        ]
        for status, count in sorted(self.statuses.items()):
            lines.append(f"{count:>15,}  {status.name.lower():<15} {status.sentence}")
            if status not in (Status.SUCCESS, Status.NOT_RUN):
                lines.append(f"{'':>17}{'':<15} {status.remedy}")
        lines.append(
            f"{self.steps:,} steps in {self.compute_seconds:.3g} s of computing; "
            f"{self.write_seconds:.3g} s of writing"
        )
        return "\n".join(lines)


def sweep_report(store: StorePath | Storage) -> Report:
    """Return how far the sweep in a store is; another process may be at work on it.

    Raises
    ------
    StoreError
        If there is no store, or it is not one of a sweep, or a record is damaged.
    """
    return report_of(open_store(store))


def report_of(opened: SweepStore) -> Report:
    """Return the report of an opened store."""
    totals = Totals()
    for record in opened.records():
        totals.add(record)
    return totals.report(opened)


@dataclass(frozen=True)
class Worker:
    """A machine and process, and what it did.

    Attributes
    ----------
    name : str
        Machine and process.
    chunks, runs : int
        What it finished.
    seen : str
        When it finished a chunk last, in UTC.
    """

    name: str
    chunks: int
    runs: int
    seen: str


class Totals:
    """Sums over records, taken one by one."""

    def __init__(self) -> None:
        self._statuses: Counter[str] = Counter()
        self._workers: dict[str, Worker] = {}
        self._chunks = self._runs = self._steps = 0
        self._compute_seconds = self._write_seconds = 0.0

    def add(self, record: Record) -> None:
        """Take note of a finished chunk."""
        self._statuses.update(record.statuses)
        self._chunks += 1
        self._runs += record.runs
        self._steps += record.steps
        self._compute_seconds += record.compute_seconds
        self._write_seconds += record.write_seconds
        before = self._workers.get(record.worker, Worker(record.worker, 0, 0, ""))
        self._workers[record.worker] = Worker(
            record.worker,
            before.chunks + 1,
            before.runs + record.runs,
            max(before.seen, record.finished),
        )

    def workers(self) -> tuple[Worker, ...]:
        """Return who did chunks, the one seen last first."""
        return tuple(sorted(self._workers.values(), key=lambda one: one.seen, reverse=True))

    def report(self, opened: SweepStore) -> Report:
        """Return the report of the store that the records are of."""
        plan, counts = opened.recipe.plan, Counter(self._statuses)
        if plan.runs > self._runs:
            counts[Status.NOT_RUN.name] += plan.runs - self._runs
        return Report(
            store=opened.storage.url,
            name=opened.recipe.solver.system.name,
            plan=plan,
            chunks=self._chunks,
            statuses={Status[name]: count for name, count in counts.items()},
            steps=self._steps,
            compute_seconds=self._compute_seconds,
            write_seconds=self._write_seconds,
            workers=tuple(sorted(self._workers)),
            last=max((one.seen for one in self._workers.values()), default=None),
        )
