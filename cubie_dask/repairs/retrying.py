"""Computes failed runs of a finished sweep again, with other settings, into their places."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from cubie_dask.errors import SweepInterrupted
from cubie_dask.execution.driver import WHOLE, driving
from cubie_dask.execution.execute import Executor, drive
from cubie_dask.execution.policy import Attempt, Probed, Task
from cubie_dask.execution.room import full_disk_told
from cubie_dask.execution.stopping import Stopping, check_max_time, heeding_signals
from cubie_dask.progress.events import (
    Listener,
    Progress,
    SweepEnded,
    SweepStarted,
    listener_for,
)
from cubie_dask.progress.report import Report, report_of
from cubie_dask.repairs.retried import chosen_runs, retry_chunk
from cubie_dask.repairs.rounds import (
    Round,
    begin_round,
    changed_settings,
    chosen_statuses,
    read_rounds,
)
from cubie_dask.stores.ledger import Record
from cubie_dask.stores.patching import finish_patches
from cubie_dask.stores.storage import Storage, StorePath
from cubie_dask.stores.store import SweepStore, open_store
from cubie_kernels.checks import Tolerance
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.kernels.controllers import Controller
from cubie_kernels.status import Status

if TYPE_CHECKING:
    from distributed import Client

    from cubie_kernels.build.krylov_source import KrylovConfig

__all__ = ["RetryOptions", "retry_failed"]


class RetryOptions(TypedDict, total=False):
    """The options of `Solver` that a retry may change; None is as the sweep has it."""

    method: str | None
    rtol: Tolerance | None
    atol: Tolerance | None
    dt: float | None
    adaptive: bool | None
    dt_min: float | None
    dt_max: float | None
    max_steps: int | None
    controller: str | Controller | None
    linear_solver: str | KrylovConfig | None
    preconditioner: str | None


def retry_failed(
    store: StorePath | Storage,
    client: Client | None = None,
    *,
    status: Status | str | Iterable[Status | str] | None = None,
    progress: Progress = "auto",
    threads: int | None = None,
    max_time: float | None = None,
    **options: Unpack[RetryOptions],
) -> Report:
    """Compute the failed runs of a sweep again, with other settings, into their places.

    Only these runs are integrated. Whatever comes of it takes their place; runs that succeeded are
    never touched. What the sweep itself had, and in which round a run was retried, is kept: see
    ``first_status``, ``round`` and ``cubie_rounds`` in ``docs/repair.md``.

    A call that is ended in the middle, in any way, leaves a sound store, and the same call again
    does the rest.

    Parameters
    ----------
    store : path or str
        Folder or URL of the store.
    client : distributed.Client, optional
        The cluster to compute on; by default this process, on all its cores.
    status : Status, str or several of these, optional
        Which runs: those that ended so. Default: all that were computed and did not succeed.
    progress, threads, max_time
        As for :meth:`cubie_dask.Sweep.run`.
    **options
        What is changed: ``method``, ``rtol``, ``atol``, ``max_steps``, ``dt``, ``dt_min``,
        ``dt_max``, ``adaptive``, ``controller``, ``linear_solver``, ``preconditioner``, as for
        :class:`~cubie_kernels.Solver`. All else is as in the sweep; but another method comes with
        its own controller and linear solver.

    Returns
    -------
    Report
        How all runs of the sweep ended.

    Raises
    ------
    InputError
        For an option that isn't usable, a status of runs that did not fail, or if nothing is
        changed.
    StoreError
        If there is no store, or a chunk in it is damaged; StoreBusyError if another process is at
        work on it.
    StorageFullError
        If the disk gets full.
    SweepInterrupted
        On Ctrl-C, SIGTERM or `max_time`; and further errors as `Sweep.run` raises.
    """
    for name in options:
        if name not in RetryOptions.__annotations__:
            legal = RetryOptions.__annotations__
            raise InputError(
                f"retry_failed can't change {name!r}.{nearest(name, legal)} It can change "
                f"{', '.join(legal)}: all else is the same for all runs of a store."
            )
    changes = {name: value for name, value in options.items() if value is not None}
    listener, stopping = listener_for(progress), Stopping(check_max_time(max_time))
    opened = open_store(store)
    statuses = chosen_statuses(status)
    settings = changed_settings(opened, changes, statuses)
    make_executor = _executor_for(client, threads)
    folder = f"{opened.folder}/drivers"
    with (
        full_disk_told(opened.storage),
        driving(opened.storage, folder, WHOLE, stopping),
        heeding_signals(stopping),
    ):
        if finish_patches(opened):
            opened = open_store(opened.storage)
        todo = _chunks(opened, statuses, settings)
        if not todo:
            return report_of(opened)
        opened.storage.sweep()
        opened, begun = begin_round(opened, statuses, settings)
        _drive_round(opened, begun, todo, listener, stopping, make_executor)
        opened.storage.sweep()
    return report_of(opened)


def _chunks(
    store: SweepStore, statuses: tuple[str, ...], settings: dict[str, Any]
) -> dict[int, int]:
    """Return the chunks that have such runs, but for those that this round took, with how many."""
    rounds = read_rounds(store)
    is_same = bool(rounds) and (rounds[-1].statuses, rounds[-1].settings) == (statuses, settings)
    todo: dict[int, int] = {}
    for record in store.records():
        count = sum(record.statuses.get(name, 0) for name in statuses)
        if count and is_same and record.round == rounds[-1].number:
            # Of these it took some, or all.
            count = len(chosen_runs(store, rounds[-1], record.chunk))
        if count:
            todo[record.chunk] = count
    return todo


def _drive_round(
    store: SweepStore,
    begun: Round,
    todo: Mapping[int, int],
    listener: Listener,
    stopping: Stopping,
    make_executor: Callable[[SweepStore, Round], Executor],
) -> None:
    start, where = time.perf_counter(), str(store.storage)
    listener(SweepStarted(where, sum(todo.values()), len(todo), 0, 0))
    left, reason = True, None
    try:
        reason = drive(make_executor(store, begun), todo, listener, where, stopping)
        left = reason is not None
    except KeyboardInterrupt as stop:
        raise _interrupted(store, "at once") from stop
    finally:
        if store.storage.versioned:
            finish_patches(store)
        listener(SweepEnded(not left, time.perf_counter() - start))
    if reason is not None:
        raise _interrupted(store, reason)


def _interrupted(store: SweepStore, reason: str) -> SweepInterrupted:
    return SweepInterrupted(
        f"Stopped ({reason}) while runs of {store.storage} were retried: the same command does "
        "the rest."
    )


def _executor_for(
    client: Client | None, threads: int | None
) -> Callable[[SweepStore, Round], Executor]:
    if client is None:
        return lambda store, begun: _InProcess(store, begun, threads)
    from cubie_dask.execution.dask_executor import DaskExecutor, check_client

    checked = check_client(client)
    return lambda store, begun: DaskExecutor(
        checked,
        store.storage.url,
        uuid.uuid4().hex[:12],
        threads,
        work=partial(_work, begun.number),
    )


class _InProcess:
    """Retries the runs of one chunk after the other in this process."""

    def __init__(self, store: SweepStore, begun: Round, threads: int | None) -> None:
        self._store, self._begun, self._threads = store, begun, threads
        self._solver = begun.solver(store)
        # Before the first chunk, so that its time is that of its runs.
        self._solver.build()
        self._queue: deque[Task] = deque()

    def slots(self) -> int:
        return 1

    def ahead(self) -> int:
        return 1

    def submit(self, task: Task) -> None:
        self._queue.append(task)

    def wait(self) -> list[Attempt]:
        task = self._queue.popleft()
        try:
            record = retry_chunk(self._store, self._begun, self._solver, task, self._threads)
        except Exception as error:
            return [Attempt(task, error=error)]
        return [Attempt(task, record=record)]

    def drop(self) -> int:
        count = len(self._queue)
        self._queue.clear()
        return count

    def close(self) -> None:
        self._queue.clear()


def _work(number: int, url: str, run_id: str, task: Task, threads: int) -> Record | Probed:
    """Do a task in a worker of a cluster."""
    if task.probe:
        from cubie_dask.execution.probing import probe_chunk

        return probe_chunk(url, task.chunk, threads, number)
    store, begun, solver = _opened(url, run_id, number)
    return retry_chunk(store, begun, solver, task, threads)


@lru_cache(maxsize=4)
def _opened(url: str, run_id: str, number: int) -> tuple[SweepStore, Round, Any]:
    del run_id
    store = open_store(url)
    begun = read_rounds(store)[number - 1]
    solver = begun.solver(store)
    solver.build()
    return store, begun, solver
