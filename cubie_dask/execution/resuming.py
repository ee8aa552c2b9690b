"""Goes on with the sweep in a store, without anything but the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cubie_dask.execution.passes import PassOptions, run_pass
from cubie_dask.progress.events import Progress, listener_for
from cubie_dask.progress.report import Report, report_of
from cubie_dask.stores.storage import Storage, StorePath
from cubie_dask.stores.store import open_store

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["resume_sweep"]


def resume_sweep(
    store: StorePath | Storage,
    client: Client | None = None,
    *,
    progress: Progress = "auto",
    threads: int | None = None,
    max_time: float | None = None,
    share: tuple[int, int] = (0, 1),
) -> Report:
    """Compute what a store lacks; the sweep is made anew of what the store says of it.

    Parameters
    ----------
    store : path or str
        Folder or URL of the store.
    client, progress, threads, max_time, share
        As for :meth:`cubie_dask.Sweep.run`.

    Returns
    -------
    Report
        How the runs ended; prints as a summary.

    Raises
    ------
    StoreError
        If there is no store; and whatever else `Sweep.run` raises.
    """
    listener = listener_for(progress)
    options = PassOptions(threads, max_time, share)
    opened = open_store(store)
    return report_of(run_pass(opened.recipe, opened.storage, client, listener, options))
