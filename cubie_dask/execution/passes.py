"""One pass over a sweep: all chunks that the store lacks, or as many as there is time for."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cubie_dask.errors import StoreBusyError, SweepInterrupted
from cubie_dask.execution.driver import WHOLE, check_share, driving
from cubie_dask.execution.execute import Executor, InProcess, drive
from cubie_dask.execution.room import check_room, full_disk_told, runs_in
from cubie_dask.execution.stopping import Stopping, check_max_time, heeding_signals
from cubie_dask.progress.events import Event, Listener, SweepEnded, SweepStarted
from cubie_dask.progress.heartbeat import StoreProgress
from cubie_dask.recipe import Recipe
from cubie_dask.stores.patching import finish_patches, pending_patches
from cubie_dask.stores.storage import Storage, StorePath, open_storage
from cubie_dask.stores.store import SweepStore, is_vacant, prepare_store
from cubie_dask.stores.versioned import committing

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["PassOptions", "run_pass"]

_LEFTOVER_SECONDS = 3600.0
_MAKING_SECONDS = 90.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class PassOptions:
    """What a pass is given beside the sweep; see :meth:`cubie_dask.Sweep.run`.

    Chunks are begun in the `order`, by default that of their numbers.
    """

    threads: int | None = None
    max_time: float | None = None
    share: tuple[int, int] = WHOLE
    order: Sequence[int] | None = None

    def __post_init__(self) -> None:
        """Check what is given."""
        check_max_time(self.max_time)
        check_share(self.share)


def run_pass(
    recipe: Recipe,
    store: StorePath | Storage,
    client: Client | None,
    listener: Listener,
    options: PassOptions,
) -> SweepStore:
    """Compute what a store lacks of a share of a sweep.

    Parameters
    ----------
    recipe : Recipe
        The sweep.
    store : path, str or Storage
        Where its store is or shall be.
    client : distributed.Client or None
        The cluster; None for this process.
    listener : callable
        Told of what happens.
    options : PassOptions
        Threads, time and share.

    Returns
    -------
    SweepStore
        With all chunks of the share finished.

    Raises
    ------
    As `Sweep.run` says.
    """
    make_executor = _executor_for(client, options.threads)
    stopping = Stopping(options.max_time)
    storage = open_storage(store)
    with full_disk_told(storage):
        is_new = _is_new(storage)
        if is_new:
            # Before the store is made, which would stay.
            k, n = options.share
            whole = range(k, recipe.plan.chunks, n)
            check_room(storage, recipe, whole, options.threads, is_new=True)
        opened = _prepared(storage, recipe)
        done = opened.finished()
        todo = _missing(opened.recipe.plan.chunks, options.share, done)
        if not is_new:
            check_room(storage, opened.recipe, todo, options.threads, is_new=False)
        return _passed(opened, done, make_executor, listener, options, stopping)


def _passed(
    opened: SweepStore,
    done: set[int],
    make_executor: Callable[[SweepStore], Executor],
    listener: Listener,
    options: PassOptions,
    stopping: Stopping,
) -> SweepStore:
    """Compute what an opened store lacks."""
    began = time.perf_counter()
    plan, share = opened.recipe.plan, options.share
    todo = _missing(plan.chunks, share, done)
    if options.order is not None:
        place = {chunk: place for place, chunk in enumerate(options.order)}
        # A store that another driver has made meanwhile may have more chunks.
        todo.sort(key=lambda chunk: place.get(chunk, plan.chunks))
    started = SweepStarted(
        str(opened.storage), plan.runs, plan.chunks, runs_in(plan, done), len(done)
    )
    reason, left = None, todo
    patched = pending_patches(opened)
    with ExitStack() as stack:
        if todo or patched:
            folder = opened.recipe.names["status"]
            stack.enter_context(driving(opened.storage, f"{folder}/drivers", share, stopping))
            listener = _all_of(listener, StoreProgress(opened.storage, folder, share))
        stack.enter_context(heeding_signals(stopping))
        listener(started)
        try:
            if todo:
                opened.storage.sweep(0.0 if share == WHOLE else _LEFTOVER_SECONDS)
                where = str(opened.storage)
                with committing(opened, listener, share) as tell:
                    reason = drive(make_executor(opened), todo, tell, where, stopping)
                if share == WHOLE:
                    # What dead workers left half written: a scheduler needn't tell of them.
                    opened.storage.sweep()
            if patched:
                finish_patches(opened)
        except KeyboardInterrupt as stop:
            raise _interrupted(opened, "at once") from stop
        finally:
            left = _missing(plan.chunks, share, opened.finished())
            listener(SweepEnded(not left, time.perf_counter() - began))
    if left:
        raise _interrupted(opened, reason or "chunks vanished from the ledger")
    return opened


def _is_new(storage: Storage) -> bool:
    try:
        return is_vacant(storage)
    except StoreBusyError:
        return False


def _prepared(storage: Storage, recipe: Recipe) -> SweepStore:
    """Make or open a store, which drivers of other shares may be making at the same time."""
    until = time.monotonic() + _MAKING_SECONDS
    while True:
        try:
            return prepare_store(storage, recipe)
        except StoreBusyError:
            if time.monotonic() > until:
                raise
            time.sleep(_POLL_SECONDS)


def _executor_for(client: Client | None, threads: int | None) -> Callable[[SweepStore], Executor]:
    if client is None:
        return lambda opened: InProcess(opened, threads)
    from cubie_dask.execution.dask_executor import DaskExecutor, check_client

    checked = check_client(client)
    return lambda opened: DaskExecutor(checked, opened.storage.url, uuid.uuid4().hex[:12], threads)


def _all_of(*listeners: Listener) -> Listener:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _missing(chunks: int, share: tuple[int, int], done: set[int]) -> list[int]:
    return [chunk for chunk in range(share[0], chunks, share[1]) if chunk not in done]


def _interrupted(opened: SweepStore, reason: str) -> SweepInterrupted:
    return SweepInterrupted(
        f"Stopped ({reason}) with {len(opened.finished()):,} of {opened.recipe.plan.chunks:,} "
        f"chunks finished in {opened.storage}. Run the same sweep on the same store to do the rest."
    )
