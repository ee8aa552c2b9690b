"""The command ``run``: a sweep from a file, in this process or on a cluster."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cubie_dask.cli.exits import Exit, exit_of
from cubie_dask.cli.output import say
from cubie_dask.cli.showing import store_of
from cubie_dask.cli.sweep_file import read_sweep_file
from cubie_dask.errors import ClusterError
from cubie_dask.progress import Event, Listener, SweepStarted, listener_for
from cubie_kernels.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["run"]

_PATIENCE_SECONDS = 30


class _Told:
    """Hands events on to a listener, unless there is nothing left to compute."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.nothing_to_do = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, SweepStarted):
            self.nothing_to_do = event.chunks_before == event.chunks
        if not self.nothing_to_do:
            self._listener(event)


def run(given: argparse.Namespace) -> Exit:
    """Compute what the store lacks; print how the runs ended and what the store holds.

    Parameters
    ----------
    given : argparse.Namespace
        The arguments of the command.
    """
    file = read_sweep_file(given.file)
    store = store_of(file, given.store)
    if given.plot is not None:
        from cubie_dask.cli.picture import check_picture

        check_picture(given.plot)
    told = _Told(listener_for("none" if given.quiet else "auto"))
    with _cluster(given) as client:
        report = file.sweep.run(store, client, progress=told, threads=given.threads)
    if given.plot is not None:
        from cubie_dask.cli.picture import draw

        draw(report, given.plot)
    if not given.quiet:
        if told.nothing_to_do:
            say("Nothing to do: all chunks were finished before.")
        say(report)
        say(report.dataset())
        if given.plot is not None:
            say(f"Picture: {given.plot}")
    return exit_of(report)


@contextmanager
def _cluster(given: argparse.Namespace) -> Iterator[Client | None]:
    """Connect to the cluster that the arguments name, or start one; None for this process."""
    if given.workers is None and given.address is None and given.scheduler_file is None:
        yield None
        return
    # Workers that go away are told of by the sweep itself.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if given.workers is not None:
        with _local_cluster(given.workers) as client:
            yield client
        return
    with _connected(given.address or _address_in(given.scheduler_file)) as client:
        yield client


@contextmanager
def _local_cluster(workers: int) -> Iterator[Client]:
    """Start worker processes that Ctrl-C passes by: this process stops them in order."""
    import signal
    from multiprocessing import resource_tracker

    from distributed import Client, LocalCluster

    # Started later, it would let the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with cluster, Client(cluster) as client:
        yield client


def _address_in(path: Path) -> str:
    """Return the address in a scheduler file."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"The scheduler file {path} can't be used ({fault}). A cluster writes it: dask "
            "scheduler --scheduler-file FILE, then dask worker --scheduler-file FILE."
        ) from fault


def _connected(address: str) -> Client:
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port, normalize_address

    try:
        get_address_host_port(normalize_address(address), strict=True)
    except (ValueError, NotImplementedError) as fault:
        raise InputError(
            f"{address!r} is no address of a scheduler ({fault}). It is written "
            "tcp://127.0.0.1:8786."
        ) from fault
    try:
        return Client(address, timeout=_PATIENCE_SECONDS, set_as_default=False)
    except OSError as fault:
        raise ClusterError(
            f"No scheduler answers at {address} ({fault}): start the cluster, then give the same "
            "command again."
        ) from fault
