"""Several chunks as one task of a worker: each is written while the next is computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

from distributed import get_worker, secede
from distributed.protocol.serialize import deserialize, serialize

from cubie_dask.clusters.profiler import stop_profiler
from cubie_dask.execution.launching import launched
from cubie_dask.execution.policy import Probed, Task
from cubie_dask.stores.ledger import Record

__all__ = ["End", "Work", "do_tasks"]

End = Record | Probed | Exception
Work = Callable[[str, str, Task, int], Record | Probed | Callable[[], Record]]

_LEAST_WRITERS = 2


def do_tasks(work: Work, url: str, run_id: str, tasks: Sequence[Task], threads: int) -> list[End]:
    """Do tasks one after the other in a worker, and return how each ended.

    Once all are computed the worker begins its next tasks, while the last ones are written.

    Parameters
    ----------
    work : callable
        What does a task; called as ``work(url, run_id, task, threads)``. It may return a function
        that does the rest of it, the writing.
    url, run_id, tasks
        Handed on.
    threads : int
        Threads of the kernel, for a worker that was not told of its own.
    """
    stop_profiler()
    pool, free = _writers()
    ends: list[End | Future[Record]] = []
    for task in tasks:
        try:
            done = launched(work, url, run_id, task, threads)
        except Exception as error:
            ends.append(_sendable(error))
            continue
        if isinstance(done, Record | Probed):
            ends.append(done)
            continue
        # Taken before the next chunk can begin: so few results are in memory at a time.
        free.acquire()
        ends.append(pool.submit(_written, done, free))
    if any(isinstance(end, Future) and not end.done() for end in ends):
        secede()
    return [_end(end) for end in ends]


def _written(write: Callable[[], Record], free: threading.Semaphore) -> Record:
    try:
        return write()
    finally:
        free.release()


def _end(end: End | Future[Record]) -> End:
    if not isinstance(end, Future):
        return end
    error = end.exception()
    if error is None:
        return end.result()
    return _sendable(error)


def _sendable(error: BaseException) -> Exception:
    """Return an exception that another process can be told of."""
    try:
        deserialize(*serialize(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


@lru_cache(maxsize=1)
def _writers() -> tuple[ThreadPoolExecutor, threading.Semaphore]:
    """Return the threads of this worker that write, and a count of those that are free."""
    count = max(_LEAST_WRITERS, get_worker().state.nthreads)
    return ThreadPoolExecutor(count, thread_name_prefix="cubie-write"), threading.Semaphore(count)
