"""Chunks as tasks on any ``distributed`` cluster."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, KilledWorker

from cubie_dask.errors import ClusterError
from cubie_dask.execution.batches import End, Work, do_tasks
from cubie_dask.execution.launching import KernelThreads
from cubie_dask.execution.policy import Attempt, Probed, Task
from cubie_dask.execution.worker import run_chunk
from cubie_dask.plans.capacity import least_lost

__all__ = ["DaskExecutor", "check_client", "cluster_size"]

_TASKS_A_THREAD = 3
_REFRESH_SECONDS = 2.0
_PATIENCE_SECONDS = 60
_WAIT_SECONDS = 1.0
_MOST_SECONDS = 1.0
_MOST_TOGETHER = 64
_SEEN_CHUNKS = 64


class DaskExecutor:
    """Keeps a small window of chunks on a cluster, which follows workers as they come and go.

    Tasks carry the store's URL and a few numbers; they write results themselves and return a
    record. The kernel's threads are shared out so that the tasks of a machine use each core once;
    workers may be unlike each other.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    url : str
        The store, a path or URL that means the same on all workers.
    run_id : str
        Name of this pass over the sweep. It is part of each task's key, since a scheduler returns
        what it has when it meets a key again.
    threads : int, optional
        Threads of the kernel in each task; by default shared out as said.
    work : callable
        What does a task in a worker; called as `run_chunk`.
    clock : callable
        Seconds that only grow.

    Raises
    ------
    ClusterError
        If the client is not connected, or no worker comes within a minute.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        run_id: str,
        threads: int | None = None,
        work: Work = run_chunk,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Any: a client's methods are typed as if each might be a coroutine.
        self._client: Any = client
        self._url, self._run_id, self._work = url, run_id, work
        self._clock, self._begun = clock, math.inf
        self._new: list[Task] = []
        self._tasks: dict[Any, tuple[Task, ...]] = {}
        self._seconds: deque[float] = deque(maxlen=_SEEN_CHUNKS)
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
        except TimeoutError as fault:
            raise ClusterError(
                f"No worker joined {client!r} within {_PATIENCE_SECONDS} s: start workers, then "
                "run the sweep again."
            ) from fault
        self._threads = KernelThreads(client, threads)
        nthreads = self._client.nthreads()
        self._nthreads, self._seen = sum(nthreads.values()), self._clock()
        self._threads.follow(nthreads)
        self._ended: SimpleQueue[tuple[Any, list[End], BaseException | None]] = SimpleQueue()

    def slots(self) -> int:
        """Return the chunks of three tasks for each thread of the workers there are now."""
        now = self._clock()
        if now - self._seen > _REFRESH_SECONDS:
            self._seen = now
            # A lost scheduler shows in the tasks. Without any worker one task waits for the next.
            with contextlib.suppress(OSError):
                nthreads = self._client.nthreads()
                self._nthreads = sum(nthreads.values())
                self._threads.keep_up(nthreads)
        return max(1, _TASKS_A_THREAD * self._nthreads) * self._together()

    def ahead(self) -> int:
        """Return twice the chunks of a task: a worker may have one more task than it does."""
        return 2 * self._together()

    def submit(self, task: Task) -> None:
        """Take a task, to be sent with others."""
        self._begun = min(self._begun, self._clock())
        self._new.append(task)

    def wait(self) -> list[Attempt]:
        """Wait for a task, for a second at most, and return all that ended, releasing them."""
        self._send()
        attempts: list[Attempt] = []
        try:
            attempts += self._attempts(*self._ended.get(timeout=_WAIT_SECONDS))
            while True:
                attempts += self._attempts(*self._ended.get_nowait())
        except Empty:
            return attempts

    async def _follow(self, future: Any) -> None:
        """Fetch what a future becomes, whatever that is.

        Dask's ``as_completed`` never returns a future whose result was lost with its worker before
        it was fetched, and whose task can't be done again.
        """
        ends: list[End] = []
        error: BaseException | None = None
        try:
            ends = await future.result()
        except BaseException as fault:
            error = fault
        self._ended.put((future, ends, error))

    def _together(self) -> int:
        """Return how many chunks make a task: one, unless they take a fraction of a second.

        What remains isn't known here, so tasks are as long as suits a sweep that ends now.
        """
        if not self._seconds:
            return 1
        mean = sum(self._seconds) / len(self._seconds)
        seconds = min(_MOST_SECONDS, least_lost(self._clock() - self._begun))
        return max(1, min(_MOST_TOGETHER, int(seconds / max(mean, 1e-6))))

    def _send(self) -> None:
        """Send what was taken: fresh chunks together, one in trouble by itself.

        Chunks that are too few for a task wait for others while each thread has another task ready.
        """
        for task in self._new:
            if task.attempt > 1:
                self._send_task((task,))
        fresh = [task for task in self._new if task.attempt == 1]
        size = self._together()
        enough = max(1, (_TASKS_A_THREAD - 1) * self._nthreads)
        while len(fresh) >= size or (fresh and len(self._tasks) < enough):
            self._send_task(tuple(fresh[:size]))
            del fresh[:size]
        self._new = fresh

    def _send_task(self, tasks: tuple[Task, ...]) -> None:
        future = self._client.submit(
            do_tasks,
            self._work,
            self._url,
            self._run_id,
            tasks,
            self._threads.least(),
            key=(f"cubie-{self._run_id}", tasks[0].chunk, tasks[0].attempt),
            pure=False,
        )
        self._tasks[future] = tasks
        self._client.loop.add_callback(self._follow, future)

    def _attempts(self, future: Any, ends: list[End], error: BaseException | None) -> list[Attempt]:
        tasks = self._tasks.pop(future, None)
        if tasks is None:
            return []  # They were dropped.
        if error is None:
            return [self._attempt(*pair) for pair in zip(tasks, ends, strict=True)]
        if isinstance(error, KilledWorker):
            # The scheduler has begun the task anew for all of them but the last. Of several
            # chunks it isn't known which was in hand: each is begun again by itself.
            deaths = error.allowed_failures + 1 if len(tasks) == 1 else 0
            return [Attempt(task, deaths=deaths) for task in tasks]
        if future.status == "error":
            return [Attempt(task, error=error) for task in tasks]
        if self._client.status == "running":
            # Someone restarted the workers, or the last one that had the result is gone.
            return [Attempt(task, deaths=1) for task in tasks]
        error = ClusterError(
            f"The cluster gave up {len(tasks)} chunks ({future.status}): its scheduler went away "
            "or the client was closed. All finished chunks are kept: run the same sweep on "
            "the same store, with a new client, to do the rest."
        )
        return [Attempt(task, error=error) for task in tasks]

    def _attempt(self, task: Task, end: End) -> Attempt:
        if isinstance(end, Probed):
            return Attempt(task, probed=end)
        if isinstance(end, Exception):
            return Attempt(task, error=end)
        self._seconds.append(end.compute_seconds)
        return Attempt(task, record=end)

    def drop(self) -> int:
        """Take back the tasks that no worker has."""
        count = len(self._new)
        self._new.clear()
        try:
            begun = {key for keys in self._client.processing().values() for key in keys}
        except OSError:
            return count
        waiting = [future for future in self._tasks if future.key not in begun]
        for future in waiting:
            count += len(self._tasks.pop(future))
        if waiting:
            self._client.cancel(waiting)
        return count

    def close(self) -> None:
        """Take back the tasks that have not begun; those that run end by themselves."""
        if self._tasks and self._client.status == "running":
            self._client.cancel(list(self._tasks))
        self._tasks.clear()


def check_client(client: Any) -> Client:
    """Return a connected, synchronous client.

    Raises
    ------
    ClusterError
        If it is anything else.
    """
    if not isinstance(client, Client):
        raise ClusterError(
            f"client must be a distributed.Client, or None to compute in this process, not "
            f"{type(client).__name__}: Client(cluster) makes one from a cluster or an address."
        )
    if client.asynchronous:
        raise ClusterError("client is asynchronous: make it with Client(…, asynchronous=False).")
    if client.status != "running":
        raise ClusterError(f"client is {client.status}: make a new one.")
    return client


def cluster_size(client: Client, threads: int | None = None) -> tuple[int, int]:
    """Return how many tasks the workers run at once, and the least threads of a kernel."""
    # Any: a client's methods are typed as if each might be a coroutine.
    known: Any = client
    nthreads = known.nthreads()
    shares = KernelThreads(client, threads)
    shares.follow(nthreads)
    return sum(nthreads.values()), shares.least()
