"""Whole chunks of a zarr array, put into a folder without zarr's way through an event loop.

That costs a millisecond and more of a core for each array, as much as computing a short chunk of
runs does. The files are those that zarr would write: packed by the same codec, padded at the edges
with the fill value, and put in place by a rename.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from cubie_dask.stores.part_files import replace_file

__all__ = ["Packing", "packing_of"]

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


class Packing:
    """How the chunks of an array are packed and where they go.

    Parameters
    ----------
    array : zarr.Array
        An array with one Blosc codec and no shards.
    folder : Path
        The folder of the array.
    """

    def __init__(self, array: Any, folder: Path) -> None:
        from numcodecs import Blosc

        (codec,) = array.compressors
        self._codec: Any = Blosc(
            codec.cname.value, codec.clevel, _SHUFFLES[codec.shuffle.value], codec.blocksize
        )
        self._key: Any = array.metadata.encode_chunk_key
        self._chunk: tuple[int, ...] = array.chunks
        self._fill, self._dtype, self._folder = array.fill_value, array.dtype, folder

    def write(self, start: tuple[int, ...], values: np.ndarray) -> None:
        """Write values that begin where a chunk does, and end where one does or the array.

        Parameters
        ----------
        start : tuple of int
            Where they begin.
        values : ndarray
            As many dimensions as the array has.
        """
        counts = (-(-n // c) for n, c in zip(values.shape, self._chunk, strict=True))
        for place in itertools.product(*(range(count) for count in counts)):
            corner = [k * c for k, c in zip(place, self._chunk, strict=True)]
            part = values[
                tuple(slice(a, a + c) for a, c in zip(corner, self._chunk, strict=True))
            ].astype(self._dtype, copy=False)
            if part.shape != self._chunk:
                whole = np.full(self._chunk, self._fill, self._dtype)
                whole[tuple(slice(n) for n in part.shape)] = part
                part = whole
            chunk = ((a + s) // c for a, s, c in zip(corner, start, self._chunk, strict=True))
            data = self._codec.encode(np.ascontiguousarray(part))
            replace_file(f"{self._folder}/{self._key(tuple(chunk))}", data, to_disk=False)


def packing_of(array: Any, folder: Path) -> Packing | None:
    """Return the packing of an array that can be written without zarr, or None.

    Parameters
    ----------
    array : zarr.Array
        The array.
    folder : Path
        The folder of its store.
    """
    from zarr.codecs import BloscCodec, BytesCodec

    is_plain = (
        array.shards is None
        and len(array.compressors) == 1
        and isinstance(array.compressors[0], BloscCodec)
        and not array.filters
        and isinstance(array.serializer, BytesCodec)
        and array.dtype.isnative
    )
    return Packing(array, folder / array.path) if is_plain else None
