"""Parameter sweeps too big for one call, into a labelled store: in this process or on a cluster.

>>> from cubie_dask import Grid, Sweep, open_sweep
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cubie_dask.cluster import connect as connect
    from cubie_dask.cluster import cuda_cluster as cuda_cluster
    from cubie_dask.cluster import local_cluster as local_cluster
    from cubie_dask.cluster import slurm_cluster as slurm_cluster
    from cubie_dask.encryption import TlsFiles as TlsFiles
    from cubie_dask.encryption import write_tls_files as write_tls_files
    from cubie_dask.errors import CapacityError as CapacityError
    from cubie_dask.errors import ChangedSweepError as ChangedSweepError
    from cubie_dask.errors import ChunkError as ChunkError
    from cubie_dask.errors import ClusterError as ClusterError
    from cubie_dask.errors import GridError as GridError
    from cubie_dask.errors import StorageFullError as StorageFullError
    from cubie_dask.errors import StoreBusyError as StoreBusyError
    from cubie_dask.errors import StoreError as StoreError
    from cubie_dask.errors import SweepError as SweepError
    from cubie_dask.errors import SweepInterrupted as SweepInterrupted
    from cubie_dask.export import to_netcdf as to_netcdf
    from cubie_dask.export import to_parquet as to_parquet
    from cubie_dask.extending import extend_sweep as extend_sweep
    from cubie_dask.grid import Grid as Grid
    from cubie_dask.plan import Plan as Plan
    from cubie_dask.report import Report as Report
    from cubie_dask.report import sweep_report as sweep_report
    from cubie_dask.resuming import resume_sweep as resume_sweep
    from cubie_dask.retrying import retry_failed as retry_failed
    from cubie_dask.statistics import Histogram as Histogram
    from cubie_dask.statistics import Quantiles as Quantiles
    from cubie_dask.statistics import ensemble_statistics as ensemble_statistics
    from cubie_dask.store import open_sweep as open_sweep
    from cubie_dask.sweep import Sweep as Sweep
    from cubie_dask.verifying import Verification as Verification
    from cubie_dask.verifying import repair_sweep as repair_sweep
    from cubie_dask.verifying import verify_sweep as verify_sweep

_HOMES = {
    "CapacityError": "errors",
    "ChangedSweepError": "errors",
    "ChunkError": "errors",
    "ClusterError": "errors",
    "GridError": "errors",
    "StorageFullError": "errors",
    "StoreBusyError": "errors",
    "StoreError": "errors",
    "SweepError": "errors",
    "SweepInterrupted": "errors",
    "Grid": "grid",
    "Histogram": "statistics",
    "Plan": "plan",
    "Quantiles": "statistics",
    "Report": "report",
    "Sweep": "sweep",
    "Verification": "verifying",
    "TlsFiles": "encryption",
    "connect": "cluster",
    "cuda_cluster": "cluster",
    "ensemble_statistics": "statistics",
    "extend_sweep": "extending",
    "local_cluster": "cluster",
    "open_sweep": "store",
    "repair_sweep": "verifying",
    "resume_sweep": "resuming",
    "retry_failed": "retrying",
    "slurm_cluster": "cluster",
    "sweep_report": "report",
    "to_netcdf": "export",
    "to_parquet": "export",
    "verify_sweep": "verifying",
    "write_tls_files": "encryption",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"cubie_dask.{_HOMES[name]}"), name)
