"""Chunks as tasks on any ``distributed`` cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from distributed import Client, KilledWorker, as_completed

from cubie_dask.errors import ClusterError
from cubie_dask.launching import KernelThreads, launched
from cubie_dask.ledger import Record
from cubie_dask.policy import Attempt, Probed, Task
from cubie_dask.worker import run_chunk

__all__ = ["DaskExecutor", "check_client", "cluster_size"]

_TASKS_A_THREAD = 3
_REFRESH_SECONDS = 2.0
_PATIENCE_SECONDS = 60
_WAIT_SECONDS = 1.0


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
        work: Callable[[str, str, Task, int], Record | Probed] = run_chunk,
    ) -> None:
        # Any: a client's methods are typed as if each might be a coroutine.
        self._client: Any = client
        self._url, self._run_id, self._work = url, run_id, work
        self._tasks: dict[Any, Task] = {}
        self._slots, self._seen = 1, float("-inf")
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
        except TimeoutError as fault:
            raise ClusterError(
                f"No worker joined {client!r} within {_PATIENCE_SECONDS} s: start workers, then "
                "run the sweep again."
            ) from fault
        self._threads = KernelThreads(client, threads)
        self._threads.follow(self._client.nthreads())
        self._ended = as_completed(loop=client.loop, with_results=True, raise_errors=False)

    def slots(self) -> int:
        """Return three tasks for each thread of the workers there are now."""
        now = time.monotonic()
        if now - self._seen > _REFRESH_SECONDS:
            self._seen = now
            # A lost scheduler shows in the tasks. Without any worker one task waits for the next.
            with contextlib.suppress(OSError):
                nthreads = self._client.nthreads()
                self._slots = max(1, _TASKS_A_THREAD * sum(nthreads.values()))
                self._threads.follow(nthreads)
        return self._slots

    def ahead(self) -> int:
        """Return 2: a worker may have one more task than it does."""
        return 2

    def submit(self, task: Task) -> None:
        """Send a task to the cluster."""
        future = self._client.submit(
            launched,
            self._work,
            self._url,
            self._run_id,
            task,
            self._threads.least(),
            key=(f"cubie-{self._run_id}", task.chunk, task.attempt),
            pure=False,
        )
        self._tasks[future] = task
        self._ended.add(future)

    def wait(self) -> list[Attempt]:
        """Wait for a task, for a second at most, and return all that ended, releasing them."""
        ended = self._ended
        # As its own wait is, but for the limit.
        with ended.thread_condition:
            if not ended.thread_condition.wait_for(ended.has_ready, _WAIT_SECONDS):
                return []
        attempts = (self._attempt(*pair) for pair in ended.next_batch(block=False))
        return [attempt for attempt in attempts if attempt is not None]

    def _attempt(self, future: Any, result: Any) -> Attempt | None:
        task = self._tasks.pop(future, None)
        if task is None:
            return None  # It was dropped.
        if future.status == "finished":
            if isinstance(result, Probed):
                return Attempt(task, probed=result)
            return Attempt(task, record=result)
        if future.status == "error":
            error = result[1]
            if isinstance(error, KilledWorker):
                # The scheduler has begun the task anew for all of them but the last.
                return Attempt(task, deaths=error.allowed_failures + 1)
            return Attempt(task, error=error)
        if self._client.status == "running":
            # Someone restarted the workers, or the last one that had the result is gone.
            return Attempt(task, deaths=1)
        error = ClusterError(
            f"The cluster gave up chunk {task.chunk} ({future.status}): its scheduler went away "
            "or the client was closed. All finished chunks are kept: run the same sweep on "
            "the same store, with a new client, to do the rest."
        )
        return Attempt(task, error=error)

    def drop(self) -> int:
        """Take back the tasks that no worker has."""
        try:
            begun = {key for keys in self._client.processing().values() for key in keys}
        except OSError:
            return 0
        waiting = [future for future in self._tasks if future.key not in begun]
        for future in waiting:
            del self._tasks[future]
        if waiting:
            self._client.cancel(waiting)
        return len(waiting)

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
