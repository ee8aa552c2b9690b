"""The command ``run``: a sweep from a file, in this process or on a cluster."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    if given.scheduler_file is not None and not given.scheduler_file.is_file():
        raise InputError(
            f"There is no scheduler file {given.scheduler_file}: start the cluster with "
            "dask scheduler --scheduler-file FILE, then workers."
        )
    from distributed import Client, LocalCluster

    # Workers that go away are told of by the sweep itself.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if given.workers is not None:
        with (
            LocalCluster(
                n_workers=given.workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    with _connected(given.address, given.scheduler_file) as client:
        yield client


def _connected(address: str | None, scheduler_file: Path | None) -> Client:
    from distributed import Client

    where: dict[str, Any] = (
        {"address": address} if address is not None else {"scheduler_file": str(scheduler_file)}
    )
    try:
        return Client(**where, timeout=_PATIENCE_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as fault:
        raise ClusterError(
            f"No scheduler answers at {address or scheduler_file} ({fault}): start the cluster, "
            "then give the same command again."
        ) from fault
    except ValueError as fault:
        raise InputError(
            f"{address or scheduler_file} names no scheduler ({fault}). An address is written "
            "tcp://127.0.0.1:8786."
        ) from fault
