"""The arguments of the command, and what each exit code comes from."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cubie_dask.cli.arguments import (
    add_changes,
    add_cluster,
    add_file,
    add_running,
    add_store,
    positive,
)
from cubie_dask.cli.exits import Exit
from cubie_dask.errors import ChunkError, ClusterError, StorageFullError, StoreBusyError
from cubie_kernels.errors import BuildError, CubieError, nearest
from cubie_kernels.version import __version__

__all__ = ["main"]

_Add = Callable[[str, str], argparse.ArgumentParser]
_STOPS = (ChunkError, ClusterError, StorageFullError, StoreBusyError)


class _Parser(argparse.ArgumentParser):
    """A parser that calls an unknown option by its nearest name."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            legal = [option for action in self._actions for option in action.option_strings]
            self.error(f"unknown argument {unknown[0]!r}.{nearest(unknown[0], legal)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(Exit.WRONG_USE, f"{self.prog}: {message}\nSee {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; ``docs/cli.md`` describes both.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    given = _parser().parse_args(arguments)
    # Batch systems announce the end with SIGTERM: stop as on Ctrl-C.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _guarded(lambda: given.command(given))
    finally:
        signal.signal(signal.SIGTERM, before)


def _guarded(command: Callable[[], Exit]) -> Exit:
    try:
        return command()
    except KeyboardInterrupt as stop:
        return _said(Exit.STOPPED, str(stop) or "Stopped. The same command goes on from here.")
    except _STOPS as fault:
        return _said(Exit.STOPPED, str(fault))
    except BuildError as fault:
        return _said(Exit.BROKEN, str(fault))
    except CubieError as fault:
        return _said(Exit.WRONG_USE, str(fault))
    except OSError as fault:
        full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
        return _said(Exit.STOPPED if full else Exit.WRONG_USE, str(fault))
    except Exception:
        traceback.print_exc()
        return _said(
            Exit.BROKEN, "This is a fault in cubie: please report it with the lines above."
        )


def _said(code: Exit, message: str) -> Exit:
    sys.stderr.write(f"cubie-dask: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code:>3}  {code.meaning}" for code in Exit)
    layout: dict[str, Any] = {
        "allow_abbrev": False,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "epilog": f"exit codes:\n{codes}",
    }
    parser = _Parser(
        prog="cubie-dask",
        description="Parameter sweeps of differential equations, described by a TOML file, into a "
        "labelled store.",
        **layout,
    )
    parser.add_argument("--version", action="version", version=f"cubie-dask {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, **layout)

    for add_command in (
        _add_run,
        _add_resume,
        _add_plan,
        _add_status,
        _add_verify,
        _add_retry,
        _add_extend,
        _add_export,
        _add_slurm,
        _add_tls,
    ):
        add_command(add)
    return parser


def _add_run(add: _Add) -> None:
    run = add("run", "compute what the store lacks")
    run.set_defaults(command=_run)
    add_file(run)
    add_running(run)


def _add_resume(add: _Add) -> None:
    resume = add("resume", "compute what a store lacks, without its sweep file")
    resume.set_defaults(command=_resume)
    add_store(resume)
    add_running(resume)


def _add_plan(add: _Add) -> None:
    plan = add("plan", "show size and cost without computing")
    plan.set_defaults(command=_plan)
    add_file(plan)
    plan.add_argument(
        "--workers", type=positive, metavar="N", help="worker processes; default: this one alone"
    )
    plan.add_argument("--memory", metavar="M", help="what each may use, such as 8GB")
    time = plan.add_mutually_exclusive_group()
    time.add_argument(
        "--pilot", action="store_true", help="time a small sample of the runs on this machine"
    )
    time.add_argument(
        "--run-seconds", type=float, metavar="S", help="seconds that a worker takes for a run"
    )
    plan.add_argument("--json", action="store_true", help="print one JSON object")


def _add_status(add: _Add) -> None:
    status = add("status", "show how far a sweep is")
    status.set_defaults(command=_status)
    add_store(status)
    status.add_argument("--json", action="store_true", help="print one JSON object")
    status.add_argument(
        "--watch", action="store_true", help="look again and again, until it is complete or Ctrl-C"
    )
    status.add_argument(
        "--every",
        type=positive,
        metavar="S",
        help="seconds between looks; default: 2 on a terminal, 30 elsewhere",
    )


def _add_verify(add: _Add) -> None:
    verify = add("verify", "check all that was written")
    verify.set_defaults(command=_verify)
    add_store(verify)
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    verify.add_argument(
        "--repair", action="store_true", help="let the next run compute damaged chunks again"
    )


def _add_retry(add: _Add) -> None:
    retry = add("retry-failed", "compute failed runs again with other settings")
    retry.set_defaults(command=_retry)
    add_store(retry)
    add_changes(retry)
    add_cluster(retry)
    retry.add_argument("--quiet", action="store_true", help="print errors only")


def _add_extend(add: _Add) -> None:
    extend = add("extend", "add points to the grid of a store")
    extend.set_defaults(command=_extend)
    add_store(extend)
    extend.add_argument(
        "--axis",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="new values: 22,23,24 or 22:30:9 (start:stop:count), or as a sweep file has them",
    )
    extend.add_argument("--runs", type=positive, metavar="N", help="new number of runs of a sample")


def _add_export(add: _Add) -> None:
    export = add("export", "write a store into one other file")
    export.set_defaults(command=_export)
    add_store(export)
    export.add_argument("path", type=Path, metavar="PATH", help="the file to write")
    export.add_argument(
        "--format", choices=["netcdf", "parquet"], help="default: what the ending of PATH names"
    )
    export.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def _add_slurm(add: _Add) -> None:
    slurm = add("slurm", "make a batch script for Slurm")
    slurm.set_defaults(command=_slurm)
    add_file(slurm)
    slurm.add_argument("--time", required=True, metavar="T", help="wall time, as Slurm writes it")
    slurm.add_argument("--nodes", type=positive, default=1, metavar="N", help="default: 1")
    slurm.add_argument(
        "--array", type=positive, metavar="N", help="N jobs of one node that share the chunks"
    )
    slurm.add_argument("--partition", metavar="P", help="where to queue it")
    slurm.add_argument("--account", metavar="A", help="who pays")
    slurm.add_argument("--gpus", type=positive, metavar="N", help="GPUs of each node")
    slurm.add_argument(
        "--cpus", type=positive, metavar="N", help="cores of each node; default: whole nodes"
    )
    slurm.add_argument("--mem", metavar="M", help="memory of each node, such as 64G")
    slurm.add_argument("--interface", metavar="IF", help="network interface of Dask, such as ib0")
    slurm.add_argument(
        "--directive", action="append", default=[], metavar="KEY=VALUE", help="another #SBATCH line"
    )
    slurm.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="a folder all nodes see, for certificates; default: this one",
    )
    where = slurm.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, metavar="FILE", help="write the script to a new file")
    where.add_argument("--submit", action="store_true", help="hand the script to sbatch")


def _add_tls(add: _Add) -> None:
    tls = add("tls", "make certificates for a cluster")
    tls.set_defaults(command=_tls)
    tls.add_argument("folder", type=Path, metavar="DIR", help="the folder to make")


def _run(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.running import run

    return run(given)


def _resume(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.running import resume

    return resume(given)


def _retry(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.repairing import retry

    return retry(given)


def _extend(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.repairing import extend

    return extend(given.store, given.axis, given.runs)


def _plan(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.showing import plan

    return plan(given)


def _status(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.standing import status, watch

    if given.watch:
        return watch(given.store, given.json, given.every)
    return status(given.store, given.json)


def _verify(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.verifying import verify

    return verify(given.store, given.json, given.repair)


def _export(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.exporting import export

    return export(given.store, given.path, given.format, given.overwrite)


def _slurm(given: argparse.Namespace) -> Exit:
    from cubie_dask.cli.batch import slurm

    return slurm(given)


def _tls(given: argparse.Namespace) -> Exit:
    from cubie_dask.clusters.encryption import write_tls_files

    write_tls_files(given.folder)
    return Exit.COMPLETE
