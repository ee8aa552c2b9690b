"""Every error raised by ``cubie_dask``.

::

    CubieError
    ├── InputError (ValueError)               from cubie_kernels: an argument is not usable
    │   ├── GridError                         a grid that cannot be laid out
    │   └── CapacityError                     a sweep too large for what it is given
    └── SweepError (RuntimeError)             a sweep that cannot go on
        ├── StoreError                        the store is not there, not ours, or damaged
        │   ├── ChangedSweepError             the store holds another sweep; names the field
        │   └── StoreBusyError                another process makes it or computes it
        ├── StorageFullError                  no room left; what is written stays usable
        ├── ChunkError                        a chunk failed, more often than is retried
        └── ClusterError                      the cluster has no workers, or went away
    KeyboardInterrupt
    └── SweepInterrupted                      Ctrl-C, SIGTERM or max_time; what is written stays

All messages say what was given, what is legal and what to do.
"""

from __future__ import annotations

from cubie_kernels.errors import CubieError, InputError

__all__ = [
    "CapacityError",
    "ChangedSweepError",
    "ChunkError",
    "ClusterError",
    "GridError",
    "StorageFullError",
    "StoreBusyError",
    "StoreError",
    "SweepError",
    "SweepInterrupted",
]


class GridError(InputError):
    """A grid that cannot be laid out as asked."""


class CapacityError(InputError):
    """A sweep that is too large for its disk, its workers' memory, or its store."""


class SweepError(CubieError, RuntimeError):
    """A sweep that cannot go on."""


class StoreError(SweepError):
    """A store that is missing, was not made by a sweep, or is damaged."""


class ChangedSweepError(StoreError):
    """A store that holds another sweep.

    Parameters
    ----------
    message : str
        What differs and what to do.
    fields : tuple of str
        Names of the fields that differ.
    """

    def __init__(self, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message, fields)
        self.fields = fields

    def __str__(self) -> str:
        return str(self.args[0])


class StoreBusyError(StoreError):
    """A store that another process makes or computes just now."""


class StorageFullError(SweepError):
    """The file system of the store has no room left."""


class ChunkError(SweepError):
    """A chunk that failed more often than chunks are retried."""


class ClusterError(SweepError):
    """A cluster without workers, or one that went away."""


class SweepInterrupted(KeyboardInterrupt):
    """A sweep stopped by Ctrl-C, SIGTERM or its time limit; every finished chunk is kept."""
