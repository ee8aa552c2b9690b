"""The commands ``retry-failed`` and ``extend``: another try for runs, and more of them."""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cubie_dask.cli.exits import Exit, exit_of
from cubie_dask.cli.output import say
from cubie_dask.cli.running import cluster_of, time_limit
from cubie_dask.cli.tables import Table
from cubie_dask.cli.values import read_values
from cubie_dask.progress.events import ChunkFinished, Event, listener_for
from cubie_dask.repairs.extending import extend_sweep
from cubie_dask.repairs.retrying import RetryOptions, retry_failed
from cubie_kernels.checks import count
from cubie_kernels.errors import InputError

__all__ = ["extend", "retry"]

_MOST_VALUES = 2**24


class _Counted:
    """Hands events on to a listener, and counts how retried runs ended."""

    def __init__(self, quiet: bool) -> None:
        self._listener = listener_for("none" if quiet else "auto")
        self.ended: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        if isinstance(event, ChunkFinished):
            self.ended.update(event.record.statuses)
        self._listener(event)


def retry(given: argparse.Namespace) -> Exit:
    """Compute failed runs again; print how they end now, and how all runs of the store did.

    Parameters
    ----------
    given : argparse.Namespace
        The arguments of the command.
    """
    counted = _Counted(given.quiet)
    options: Any = {name: getattr(given, name, None) for name in RetryOptions.__annotations__}
    with cluster_of(given) as client:
        report = retry_failed(
            given.store,
            client,
            status=None if given.status is None else given.status.split(","),
            progress=counted,
            threads=given.threads,
            max_time=time_limit(given),
            **options,
        )
    if not given.quiet:
        ended = ", ".join(f"{number:,} {name.lower()}" for name, number in counted.ended.items())
        say(f"Retried: {ended or 'no runs'}")
        say(report)
    return exit_of(report)


def extend(store: str, axes: list[str], runs: int | None) -> Exit:
    """Add points to the grid of a store; print how far the longer sweep is.

    Parameters
    ----------
    store : str
        The store.
    axes : list of str
        New values, each as ``NAME=VALUES``.
    runs : int or None
        New number of runs of a sample.
    """
    points = [_values(text) for text in axes]
    twice = [name for name, number in Counter(name for name, _ in points).items() if number > 1]
    if twice:
        raise InputError(f"--axis {twice[0]}=… was given twice: give all its values at once.")
    asked: dict[str, Any] = dict(points)
    if runs is not None:
        asked["n"] = runs
    report = extend_sweep(store, asked)
    say(report)
    if not report.complete:
        say(f"cubie-dask resume {store} computes what is missing.")
    return Exit.COMPLETE


def _values(text: str) -> tuple[str, np.ndarray]:
    name, is_given, values = text.partition("=")
    name, values = name.strip(), values.strip()
    if not is_given or not name:
        raise InputError(f"--axis needs NAME=VALUES, such as rho=22,23,24, not {text!r}.")
    try:
        if values.startswith(("{", "[")):
            given = tomllib.loads(f"values = {values}")["values"]
            return name, read_values(Table("axis", {name: given}), name, Path())
        if ":" in values:
            start, stop, number = values.split(":")
            points = count(f"The count of --axis {name}", int(number), _MOST_VALUES)
            return name, np.linspace(float(start), float(stop), points)
        return name, np.array([float(value) for value in values.split(",")])
    except (ValueError, tomllib.TOMLDecodeError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(
            f"--axis {text!r} can't be read ({fault}): write 22,23,24 or 22:30:9 (from 22 to 30, 9 "
            'values), or what a sweep file has, such as {file = "values.csv", column = "rho"}.'
        ) from fault
