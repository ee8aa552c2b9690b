"""The command ``export``: a store as one file of another format."""

from __future__ import annotations

from pathlib import Path

from cubie_dask.analysis.export import to_netcdf, to_parquet
from cubie_dask.cli.exits import Exit, exit_of
from cubie_dask.cli.output import say
from cubie_dask.progress.report import sweep_report
from cubie_kernels.errors import InputError, nearest

__all__ = ["export"]

_SUFFIXES = {".nc": "netcdf", ".nc4": "netcdf", ".parquet": "parquet", ".pq": "parquet"}


def export(store: str, path: Path, kind: str | None, overwrite: bool) -> Exit:
    """Write the results of a store into a file, and say how far the sweep was."""
    kind = kind or _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path} has the ending {path.suffix!r}, which names no format."
            f"{nearest(path.suffix.lower(), _SUFFIXES)} Use one of {', '.join(_SUFFIXES)}, or say "
            "--format netcdf or --format parquet."
        )
    report = sweep_report(store)
    write = to_netcdf if kind == "netcdf" else to_parquet
    write(store, path, overwrite=overwrite)
    say(report)
    say(f"{path}: {path.stat().st_size:,} bytes of {kind}")
    return exit_of(report)
