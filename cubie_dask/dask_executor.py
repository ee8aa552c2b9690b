"""The one file that knows Dask: chunks as tasks on any ``distributed`` cluster."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from distributed import Client, as_completed

from cubie_dask.errors import ClusterError
from cubie_dask.execute import Attempt
from cubie_dask.worker import run_chunk

__all__ = ["DaskExecutor", "check_client", "kernel_threads"]

_TASKS_A_THREAD = 3
_REFRESH_SECONDS = 2.0
_PATIENCE_SECONDS = 60


class DaskExecutor:
    """Keeps a small window of chunks on a cluster, which follows workers as they come and go.

    Tasks carry the store's URL and a few numbers; they write results themselves and return a
    record. The kernel's threads are shared out so that the tasks of a machine use each core once.

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

    Raises
    ------
    ClusterError
        If the client is not connected, or no worker comes within a minute.
    """

    def __init__(self, client: Client, url: str, run_id: str, threads: int | None = None) -> None:
        # Any: a client's methods are typed as if each might be a coroutine.
        self._client: Any = client
        self._url, self._run_id = url, run_id
        self._tasks: dict[Any, tuple[int, int]] = {}
        self._slots, self._seen = 1, float("-inf")
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
        except TimeoutError as fault:
            raise ClusterError(
                f"No worker joined {client!r} within {_PATIENCE_SECONDS} s: start workers, then "
                "run the sweep again."
            ) from fault
        self._threads = threads or kernel_threads(
            self._client.run(_cores, on_error="ignore"), self._client.nthreads()
        )
        self._ended = as_completed(loop=client.loop, with_results=True, raise_errors=False)

    def slots(self) -> int:
        """Return three tasks for each thread of the workers there are now."""
        now = time.monotonic()
        if now - self._seen > _REFRESH_SECONDS:
            self._seen = now
            # A lost scheduler shows in the tasks. Without any worker one task waits for the next.
            with contextlib.suppress(OSError):
                self._slots = max(1, _TASKS_A_THREAD * sum(self._client.nthreads().values()))
        return self._slots

    def submit(self, chunk: int, attempt: int) -> None:
        """Send a chunk to the cluster."""
        future = self._client.submit(
            run_chunk,
            self._url,
            self._run_id,
            chunk,
            attempt,
            self._threads,
            key=(f"cubie-{self._run_id}", chunk, attempt),
            pure=False,
        )
        self._tasks[future] = (chunk, attempt)
        self._ended.add(future)

    def wait(self) -> list[Attempt]:
        """Wait for at least one task, and return all that ended, releasing them."""
        attempts = []
        for future, result in self._ended.next_batch():
            chunk, attempt = self._tasks.pop(future)
            if future.status == "finished":
                attempts.append(Attempt(chunk, attempt, record=result))
            elif future.status == "error":
                attempts.append(Attempt(chunk, attempt, error=result[1]))
            else:
                error = ClusterError(
                    f"The cluster gave up chunk {chunk} ({future.status}): its scheduler went away "
                    "or the client was closed. All finished chunks are kept: run the same sweep on "
                    "the same store, with a new client, to do the rest."
                )
                attempts.append(Attempt(chunk, attempt, error=error))
        return attempts

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


def kernel_threads(cores: dict[str, tuple[str, list[int]]], nthreads: dict[str, int]) -> int:
    """Return how many threads each task's kernel may use, the same for all workers.

    Parameters
    ----------
    cores : dict of str to (str, list of int)
        Of each worker, its machine and the cores that it may run on.
    nthreads : dict of str to int
        Number of tasks that each worker runs at once.

    Returns
    -------
    int
        The cores of a worker, divided among all tasks on its machine that may use them; the least
        over the workers, and at least 1.
    """
    shares = []
    for host, mine in cores.values():
        tasks = sum(
            nthreads.get(address, 0)
            for address, (other_host, theirs) in cores.items()
            if other_host == host and not set(mine).isdisjoint(theirs)
        )
        shares.append(len(mine) // max(1, tasks))
    return max(1, min(shares, default=1))


def _cores() -> tuple[str, list[int]]:
    """Return the machine and the cores of the process that calls this."""
    import os
    import socket

    from dask.system import CPU_COUNT

    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = list(range(os.cpu_count() or 1))
    # A container may be given fewer cores than it sees.
    return socket.gethostname(), cores[:CPU_COUNT]
