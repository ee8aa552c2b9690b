"""Parameter sweeps too big for one call, into a labelled store: in this process or on a cluster.

>>> from cubie_dask import Grid, Sweep, open_sweep
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cubie_dask.analysis.export import to_netcdf as to_netcdf
    from cubie_dask.analysis.export import to_parquet as to_parquet
    from cubie_dask.analysis.statistics import Histogram as Histogram
    from cubie_dask.analysis.statistics import Quantiles as Quantiles
    from cubie_dask.analysis.statistics import ensemble_statistics as ensemble_statistics
    from cubie_dask.clusters.cluster import connect as connect
    from cubie_dask.clusters.cluster import cuda_cluster as cuda_cluster
    from cubie_dask.clusters.cluster import local_cluster as local_cluster
    from cubie_dask.clusters.cluster import slurm_cluster as slurm_cluster
    from cubie_dask.clusters.encryption import TlsFiles as TlsFiles
    from cubie_dask.clusters.encryption import write_tls_files as write_tls_files
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
    from cubie_dask.execution.resuming import resume_sweep as resume_sweep
    from cubie_dask.grids.grid import Grid as Grid
    from cubie_dask.plans.plan import Plan as Plan
    from cubie_dask.progress.report import Report as Report
    from cubie_dask.progress.report import sweep_report as sweep_report
    from cubie_dask.repairs.extending import extend_sweep as extend_sweep
    from cubie_dask.repairs.retrying import retry_failed as retry_failed
    from cubie_dask.stores.store import open_sweep as open_sweep
    from cubie_dask.stores.verifying import Verification as Verification
    from cubie_dask.stores.verifying import repair_sweep as repair_sweep
    from cubie_dask.stores.verifying import verify_sweep as verify_sweep
    from cubie_dask.sweep import Sweep as Sweep

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
    "Grid": "grids.grid",
    "Histogram": "analysis.statistics",
    "Plan": "plans.plan",
    "Quantiles": "analysis.statistics",
    "Report": "progress.report",
    "Sweep": "sweep",
    "Verification": "stores.verifying",
    "TlsFiles": "clusters.encryption",
    "connect": "clusters.cluster",
    "cuda_cluster": "clusters.cluster",
    "ensemble_statistics": "analysis.statistics",
    "extend_sweep": "repairs.extending",
    "local_cluster": "clusters.cluster",
    "open_sweep": "stores.store",
    "repair_sweep": "stores.verifying",
    "resume_sweep": "execution.resuming",
    "retry_failed": "repairs.retrying",
    "slurm_cluster": "clusters.cluster",
    "sweep_report": "progress.report",
    "to_netcdf": "analysis.export",
    "to_parquet": "analysis.export",
    "verify_sweep": "stores.verifying",
    "write_tls_files": "clusters.encryption",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"cubie_dask.{_HOMES[name]}"), name)
