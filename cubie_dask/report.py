"""How far a sweep is and how its runs ended, read from the ledger of its store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cubie_dask.plan import Plan
from cubie_dask.storage import Storage, StorePath
from cubie_dask.store import SweepStore, open_store, open_sweep
from cubie_kernels.status import Status

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Report", "report_of", "sweep_report"]


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
    records, plan = opened.records(), opened.recipe.plan
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record.statuses)
    missing = plan.runs - sum(record.runs for record in records)
    if missing:
        counts[Status.NOT_RUN.name] += missing
    return Report(
        store=opened.storage.url,
        name=opened.recipe.solver.system.name,
        plan=plan,
        chunks=len(records),
        statuses={Status[name]: count for name, count in counts.items()},
        steps=sum(record.steps for record in records),
        compute_seconds=sum(record.compute_seconds for record in records),
        write_seconds=sum(record.write_seconds for record in records),
        workers=tuple(sorted({record.worker for record in records})),
        last=max((record.finished for record in records), default=None),
    )
