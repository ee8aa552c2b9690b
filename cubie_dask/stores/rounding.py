"""Rounds floating-point numbers to fewer bits, so that they compress well for any reader."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie_kernels.checks import count
from cubie_kernels.errors import InputError

__all__ = ["check_keepbits", "rounded"]


def rounded(values: np.ndarray, keepbits: int) -> np.ndarray:
    """Return the nearest numbers whose mantissas end in zeros after some bits.

    Halves go to the even neighbour, so the error is at most ``2**-(keepbits + 1)`` of a normal
    number. NaN, infinities, zeros and signs stay; what would be rounded up to infinity is cut off
    instead, and remains finite.

    Parameters
    ----------
    values : ndarray of float32 or float64
        The numbers.
    keepbits : int
        Bits of the mantissa to keep, not counting the leading one that isn't stored.

    Returns
    -------
    ndarray
        Of the same shape and type.

    Notes
    -----
    As in M. Klöwer et al., "Compressing atmospheric data into its real information content",
    Nature Computational Science 1, 713-724 (2021).
    """
    drop = np.finfo(values.dtype).nmant - keepbits
    if drop <= 0:
        return values
    # Any: NumPy has no type for an array of either width.
    kind: Any = np.uint32 if values.dtype.itemsize == 4 else np.uint64
    bits = np.ascontiguousarray(values).view(kind)
    kept = kind(np.iinfo(kind).max >> drop << drop)
    found = bits >> kind(drop)
    found &= kind(1)
    found += kind((1 << (drop - 1)) - 1)
    found += bits
    found &= kept
    result = found.view(values.dtype)
    if np.isfinite(result).all() and np.isfinite(values).all():
        return result
    cut = (bits & kept).view(values.dtype)
    result = np.where(np.isfinite(result), result, cut)
    return np.where(np.isfinite(values), result, values)


def check_keepbits(keepbits: Any, precision: Any) -> int | None:
    """Return a number of bits that can be kept, None for all.

    Raises
    ------
    InputError
        For anything but a whole number of 1 up to the bits that the type has.
    """
    if keepbits is None:
        return None
    dtype = np.dtype(precision)
    most = int(np.finfo(dtype).nmant)
    try:
        return count("keepbits", keepbits, most)
    except InputError as fault:
        raise InputError(
            f"{fault} {dtype.name} has a mantissa of {most} bits; 12 keep three to four digits."
        ) from fault
