"""Each worker launches kernels in its own way: with as many threads as it has cores for.

Workers may be unlike each other, and tasks go to whichever is free. So the driver tells every
worker its number once, also those that join later, and a task asks the worker that it came to.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from dask.system import CPU_COUNT
from distributed import Client, WorkerPlugin, get_worker

__all__ = ["KernelThreads", "launched", "shared_cores"]

_NAME = "cubie-kernel-threads"

Result = TypeVar("Result")


class _KernelThreads(WorkerPlugin):
    """What a worker was told."""

    def __init__(self, threads: int) -> None:
        self.threads = threads


class KernelThreads:
    """Shares out the cores of a cluster, whose workers may come and go.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    threads : int, optional
        The number for all workers, in place of their cores.
    """

    def __init__(self, client: Client, threads: int | None = None) -> None:
        # Any: a client's methods are typed as if each might be a coroutine.
        self._client: Any = client
        self._given = threads
        self._cores: dict[str, tuple[str, list[int]]] = {}
        self._told: dict[str, int] = {}
        self._following: threading.Thread | None = None

    def least(self) -> int:
        """Return the least number of any worker."""
        return min(self._told.values(), default=self._given or 1)

    def follow(self, nthreads: dict[str, int]) -> None:
        """Tell workers their numbers, if others are there than before.

        Parameters
        ----------
        nthreads : dict of str to int
            Number of tasks that each worker runs at once.
        """
        if nthreads.keys() == self._told.keys():
            return
        # Only those are asked and told that need be: a worker that hangs holds up nobody else.
        if self._given is None:
            known = {worker: self._cores[worker] for worker in nthreads if worker in self._cores}
            self._cores = known | self._ask([worker for worker in nthreads if worker not in known])
            shares = shared_cores(self._cores, nthreads)
        else:
            shares = dict.fromkeys(nthreads, self._given)
        changed = {one: number for one, number in shares.items() if self._told.get(one) != number}
        if changed:
            self._client.run(partial(_keep, changed), workers=list(changed), on_error="ignore")
        self._told = shares

    def keep_up(self, nthreads: dict[str, int]) -> None:
        """Do as `follow` does, in a thread: a worker that dies while it is told holds up nobody."""
        is_busy = self._following is not None and self._following.is_alive()
        if not is_busy and nthreads.keys() != self._told.keys():
            self._following = threading.Thread(
                target=self._followed, args=(nthreads,), name="cubie-threads", daemon=True
            )
            self._following.start()

    def _followed(self, nthreads: dict[str, int]) -> None:
        # Workers that were not told take the least number of the others; a lost cluster shows in
        # its tasks.
        with suppress(Exception):
            self.follow(nthreads)

    def _ask(self, workers: list[str]) -> dict[str, tuple[str, list[int]]]:
        return self._client.run(_cores, workers=workers, on_error="ignore") if workers else {}


def launched(work: Callable[..., Result], url: str, run_id: str, task: Any, threads: int) -> Result:
    """Do a task in a worker, with the threads that this worker was told of.

    Parameters
    ----------
    work : callable
        What does it; called as ``work(url, run_id, task, threads)``.
    url, run_id, task
        Handed on.
    threads : int
        For a worker that was not told anything yet.
    """
    told = get_worker().plugins.get(_NAME)
    own = told.threads if isinstance(told, _KernelThreads) else threads
    return work(url, run_id, task, own)


def shared_cores(
    cores: dict[str, tuple[str, list[int]]], nthreads: dict[str, int]
) -> dict[str, int]:
    """Share out the cores of each machine among the tasks that run on it.

    Parameters
    ----------
    cores : dict of str to (str, list of int)
        Of each worker, its machine and the cores that it may run on.
    nthreads : dict of str to int
        Number of tasks that each worker runs at once.

    Returns
    -------
    dict of str to int
        For each worker its cores, divided by the number of tasks on its machine that may use some
        of them; at least 1.
    """
    shares: dict[str, int] = {}
    for worker, (host, mine) in cores.items():
        tasks = sum(
            nthreads.get(other, 0)
            for other, (other_host, theirs) in cores.items()
            if other_host == host and not set(mine).isdisjoint(theirs)
        )
        shares[worker] = max(1, len(mine) // max(1, tasks))
    return shares


async def _keep(threads: dict[str, int], dask_worker: Any) -> None:
    await dask_worker.plugin_add(_KernelThreads(threads[dask_worker.address]), name=_NAME)


def _cores() -> tuple[str, list[int]]:
    """Return the machine and the cores of the process that calls this."""
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = list(range(os.cpu_count() or 1))
    # A container may be given fewer cores than it sees.
    return socket.gethostname(), cores[:CPU_COUNT]
