"""Values of swept quantities: arrays in memory, or on disk and read block by block."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cubie_dask.errors import GridError
from cubie_kernels.checks import numbers

__all__ = ["LongValues", "StoredValues", "Survey", "checked_values", "is_stored", "survey"]

_BLOCK = 1 << 22


@dataclass(frozen=True, eq=False)
class StoredValues:
    """Numbers in a ``.npy`` file or a zarr array, of which slices are read when needed.

    It is sent to another process as its path alone.

    Parameters
    ----------
    url : str
        Path of the file, or path or URL of the array.
    """

    url: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return tuple(self._array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""
        return np.dtype(self._array.dtype)

    def __getitem__(self, part: slice) -> np.ndarray:
        """Read a slice."""
        return np.asarray(self._array[part])

    def __getstate__(self) -> dict[str, str]:
        """Leave the open file behind."""
        return {"url": self.url}

    def __setstate__(self, state: dict[str, str]) -> None:
        """Take the path."""
        self.__dict__.update(state)

    @cached_property
    def _array(self) -> Any:
        if self.url.endswith(".npy"):
            return np.load(self.url, mmap_mode="r", allow_pickle=False)
        import zarr

        from cubie_dask.stores.storage import open_storage

        return zarr.open_array(open_storage(self.url).zarr(read_only=True), mode="r")


class LongValues:
    """A long array of zarr, of which the part that was read last is kept.

    To read a few values zarr unpacks a whole chunk of them, and blocks of runs follow one another.

    Parameters
    ----------
    array : zarr.Array, shape (k,)
        The array.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.chunks: tuple[int, ...] = array.chunks
        self._kept = (0, np.empty(0))

    def __getitem__(self, part: slice) -> np.ndarray:
        """Return a slice; one of the part that is kept is read-only."""
        start, stop, step = part.indices(self.shape[0])
        size = self.chunks[0]
        if stop - start > size:
            return self._array[part]
        first, values = self._kept
        if not first <= start <= stop <= first + len(values):
            first = start - start % size
            values = np.asarray(self._array[first : -(-stop // size) * size])
            values.flags.writeable = False
            self._kept = first, values
        return values[start - first : stop - first : step]


@dataclass(frozen=True)
class Survey:
    """What is known of values once all were looked at.

    Attributes
    ----------
    low, high : float
        The least and the largest.
    identity : str
        Their number, the first and the last, and a hash of all.
    """

    low: float
    high: float
    identity: str


def is_stored(values: Any) -> bool:
    """Return whether something is an array that is not in memory as a whole."""
    if isinstance(values, StoredValues | np.memmap):
        return True
    # Of zarr, Dask, h5py, and of xarray where it holds those.
    return hasattr(values, "dtype") and getattr(values, "chunks", None) is not None


def checked_values(what: str, name: str, given: Any) -> Any:
    """Return 1-D values: those on disk as they are, others as a new read-only array.

    Parameters
    ----------
    what : str
        The kind of grid, for messages.
    name : str
        The swept quantity.
    given : array_like, or path or URL of a ``.npy`` file or zarr array
        Numbers; those on disk are looked at later, see `survey`.

    Raises
    ------
    GridError
        If they are not 1-D, none at all, or in a file that can't be used.
    InputError
        If they are not finite numbers.
    """
    if isinstance(given, str | os.PathLike):
        given = _opened(name, os.fspath(given))
    if is_stored(given):
        if given.dtype.kind not in "biuf":
            raise GridError(f"{name!r} needs real numbers, and the file has {given.dtype}.")
        array = given
    else:
        array = np.array(numbers(f"Grid.{what}({name}=…)", given), dtype=np.float64)
        array.flags.writeable = False
    if len(array.shape) != 1:
        raise GridError(
            f"Grid.{what} needs 1-D values; {name!r} has the shape {tuple(array.shape)}. A value "
            "that all runs share is no part of the grid: give it to the sweep as fixed={…}."
        )
    if not array.shape[0]:
        raise GridError(f"{name!r} has no values, so the grid is empty: give at least one.")
    return array


def survey(name: str, values: Any) -> Survey:
    """Look at all values once, a block at a time.

    Raises
    ------
    InputError
        If one of them is not finite.
    """
    length = values.shape[0]
    digest = hashlib.sha256()
    low, high, ends = np.inf, -np.inf, [0.0, 0.0]
    for start, block in _blocks(values):
        numbers(f"{name!r} from number {start:,} on", block)
        digest.update(block.data)
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        ends = [block[0] if start == 0 else ends[0], block[-1]]
    identity = f"{length} values {ends[0]!s}…{ends[1]!s}, sha256 {digest.hexdigest()[:16]}"
    return Survey(low, high, identity)


def _blocks(values: Any) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, values.shape[0], _BLOCK):
        part = values[start : start + _BLOCK]
        yield start, np.ascontiguousarray(np.asarray(part), dtype="<f8")


def _opened(name: str, url: str) -> StoredValues:
    where = url if "://" in url else str(Path(url).absolute())
    values = StoredValues(where)
    try:
        values.shape  # noqa: B018
    except Exception as fault:
        raise GridError(
            f"The values of {name!r} can't be read from {url} ({type(fault).__name__}: {fault}): "
            "give the path of a .npy file that numpy.save wrote, or of a zarr array."
        ) from fault
    return values
