"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = [
    "add_changes",
    "add_cluster",
    "add_file",
    "add_running",
    "add_store",
    "positive",
    "share",
]

_CHANGED_TEXTS = ("method", "controller", "linear_solver", "preconditioner", "newton")
_CHANGED_NUMBERS = ("dt", "dt_min", "dt_max")


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add what computes: threads, a cluster, and how long."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads of each task's kernel"
    )
    cluster = parser.add_mutually_exclusive_group()
    cluster.add_argument(
        "--scheduler-file", type=Path, metavar="FILE", help="use the Dask cluster of this file"
    )
    cluster.add_argument("--address", metavar="A", help="use the Dask cluster with this scheduler")
    cluster.add_argument(
        "--workers", type=positive, metavar="N", help="start N processes on this machine"
    )
    parser.add_argument(
        "--tls", type=Path, metavar="DIR", help="certificates for that cluster, from cubie-dask tls"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="use a cluster on a network without encryption"
    )
    parser.add_argument(
        "--max-time", metavar="T", help="stop in order before T is over, such as 3300, 55m or 1d12h"
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add how to compute what a store lacks, and what to show of it."""
    add_cluster(parser)
    parser.add_argument(
        "--share",
        type=share,
        default=(0, 1),
        metavar="K/N",
        help="do the chunks whose number leaves K when divided by N",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the results into a PNG, SVG or PDF file"
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add which runs are retried, and what is changed for them."""
    parser.add_argument(
        "--status", metavar="S,…", help="runs that ended so; default: all that failed"
    )
    for name in _CHANGED_TEXTS:
        parser.add_argument(
            f"--{name.replace('_', '-')}", metavar="NAME", help="in place of the sweep's"
        )
    for name in ("rtol", "atol"):
        parser.add_argument(
            f"--{name}",
            type=_tolerance,
            metavar="X",
            help="a number, or X for states: x=1e-6,y=1e-9",
        )
    for name in _CHANGED_NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="DT", help="a step")
    parser.add_argument("--max-steps", type=positive, metavar="N", help="steps of a run")


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the store that a command is about."""
    parser.add_argument("store", metavar="STORE", help="path or URL of a store")


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the sweep file, and where its results are."""
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="what to sweep")
    parser.add_argument(
        "--store", metavar="PATH", help="path or URL of the results, in place of [store] path"
    )


def positive(text: str) -> int:
    """Return a number of things."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number of 1 or more, not {text!r}")
    return value


def share(text: str) -> tuple[int, int]:
    """Return a share of the chunks."""
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal() and int(k) < int(n)):
        raise argparse.ArgumentTypeError(f"needs K/N with K below N, such as 0/4, not {text!r}")
    return int(k), int(n)


def _tolerance(text: str) -> float | dict[str, float]:
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"needs a number, or numbers for states such as x=1e-6,y=1e-9, not {text!r}"
        ) from None
