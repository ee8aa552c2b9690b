"""The command ``run``: a sweep from a file, in this process or on a cluster."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from cubie_dask.cli.exits import Exit, exit_of
from cubie_dask.cli.output import say
from cubie_dask.cli.showing import store_of
from cubie_dask.cli.sweep_file import read_sweep_file
from cubie_dask.clusters.encryption import TlsFiles
from cubie_dask.execution.resuming import resume_sweep
from cubie_dask.execution.stopping import seconds_in
from cubie_dask.progress.events import Event, Listener, SweepStarted, listener_for
from cubie_dask.progress.report import Report
from cubie_kernels.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["cluster_of", "resume", "run", "time_limit"]


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
    return _computed(given, partial(file.sweep.run, store_of(file, given.store)))


def resume(given: argparse.Namespace) -> Exit:
    """Do what `run` does for the sweep that a store tells of.

    Parameters
    ----------
    given : argparse.Namespace
        The arguments of the command.
    """
    return _computed(given, partial(resume_sweep, given.store))


def _computed(given: argparse.Namespace, compute: Callable[..., Report]) -> Exit:
    if given.plot is not None:
        from cubie_dask.cli.picture import check_picture

        check_picture(given.plot)
    told = _Told(listener_for("none" if given.quiet else "auto"))
    with cluster_of(given) as client:
        report = compute(
            client,
            progress=told,
            threads=given.threads,
            max_time=time_limit(given),
            share=given.share,
        )
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
    return exit_of(report, share=given.share)


def time_limit(given: argparse.Namespace) -> float | None:
    """Return the seconds of --max-time."""
    return None if given.max_time is None else seconds_in(given.max_time)


@contextmanager
def cluster_of(given: argparse.Namespace) -> Iterator[Client | None]:
    """Connect to the cluster that the arguments name, or start one; None for this process."""
    beyond = given.address is not None or given.scheduler_file is not None
    if not beyond and (given.tls is not None or given.insecure):
        raise InputError("--tls and --insecure are for --scheduler-file or --address.")
    if given.workers is None and not beyond:
        yield None
        return
    from cubie_dask.clusters.cluster import connect, local_cluster

    # Workers that go away are told of by the sweep itself.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if given.workers is not None:
        with local_cluster(given.workers) as client:
            yield client
        return
    with connect(
        given.address,
        scheduler_file=given.scheduler_file,
        security=None if given.tls is None else TlsFiles.in_folder(given.tls).security(),
        insecure=given.insecure,
    ) as client:
        yield client
