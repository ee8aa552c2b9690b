"""What a kernel is handed for one buffer, and the one formula of addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cubie_kernels.errors import RegistryError

__all__ = ["Allocator", "Kind", "address"]

Kind = Literal["local", "persistent", "shared"]


def address(element_offset: Any, lane: Any, lanes: Any) -> Any:
    """Return the place of an element of one lane in a lane-interleaved arena.

    Neighbouring lanes are neighbours in memory: free of bank conflicts on a GPU, one load of a
    vector on a CPU. In an arena that mixes precisions the formula holds in the view of the arena
    by the precision of the buffer, as the offset does.

    Parameters
    ----------
    element_offset : int or array
        Offset of the buffer plus index in it, in elements of the buffer's precision.
    lane : int or array
        The lane, from 0 to ``lanes - 1``.
    lanes : int
        Lanes that share the arena.

    Returns
    -------
    int or array
        Index into the whole arena, in elements of the buffer's precision.
    """
    return element_offset * lanes + lane


@dataclass(frozen=True)
class Allocator:
    """Where one buffer lives, in the coordinates of the kernel's own arrays.

    Parameters
    ----------
    kind : {'local', 'persistent', 'shared'}
        A private array, a slice of the lane's persistent array, or a slice of the shared arena.
    offset : int
        First element in its arena, in elements of ``precision`` for one lane; 0 when local.
    size : int
        Number of elements for one lane.
    precision : str
        ``'float16'``, ``'float32'``, ``'float64'`` or ``'int32'``.
    """

    kind: Kind
    offset: int
    size: int
    precision: str = "float64"

    def __call__(self, shared: np.ndarray | None, persistent: np.ndarray | None) -> np.ndarray:
        """Return the buffer on NumPy arrays.

        Parameters
        ----------
        shared, persistent : ndarray of shape (elements,) or (elements, lanes)
            The kernel's arrays. One that this buffer does not live in may be None.

        Returns
        -------
        ndarray of shape (size,) or (size, lanes)
            A view of the array it lives in; when local or empty, a new array of zeros.

        Raises
        ------
        RegistryError
            If the array it lives in is missing, too short, or cannot be viewed in the precision.
        """
        if self.kind == "local" or not self.size:
            like = shared if shared is not None else persistent
            lanes = () if like is None else like.shape[1:]
            return np.zeros((self.size, *lanes), dtype=self.precision)
        arena = shared if self.kind == "shared" else persistent
        if arena is None:
            raise RegistryError(
                f"The buffer lives in the {self.kind} array, which is None: pass it."
            )
        view = self._typed(arena)
        stop = self.offset + self.size
        if len(view) < stop:
            raise RegistryError(
                f"The {self.kind} array holds {len(view)} elements of {self.precision} per lane; "
                f"the buffer ends at {stop}: make the array as long as the registry's size."
            )
        return view[self.offset : stop]

    def _typed(self, arena: np.ndarray) -> np.ndarray:
        """View an arena in the precision of the buffer, lanes kept apart."""
        if arena.dtype == np.dtype(self.precision):
            return arena
        if not arena.flags.c_contiguous or arena.nbytes % np.dtype(self.precision).itemsize:
            raise RegistryError(
                f"The {self.kind} array of {arena.dtype} cannot be viewed as {self.precision}: "
                "make it contiguous and a whole number of such elements."
            )
        return arena.reshape(-1).view(self.precision).reshape(-1, *arena.shape[1:])

    def expression(self, shared: str = "shared", persistent: str = "persistent") -> str:
        """Return the lane-language text that makes this buffer.

        Parameters
        ----------
        shared, persistent : str
            The names of the kernel's arrays, viewed in this buffer's precision.

        Returns
        -------
        str
            ``private(size)`` or ``offset(array, first element)``.
        """
        if self.kind == "local":
            return f"private({self.size})"
        return f"offset({shared if self.kind == 'shared' else persistent}, {self.offset})"
