"""The lane language in plain NumPy: a real is an array of lanes.

The reference for the other targets, and the way to look inside a kernel: it runs in the
interpreter, where every intermediate value can be printed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie_kernels.lane.abi import Control

__all__ = ["lanes"]

_DTYPES = {16: np.float16, 32: np.float32, 64: np.float64}


class Buffer:
    """Scratch memory: element ``i`` is an array of lanes. Reading it gives a copy."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[i].copy()

    def __setitem__(self, i: int, value: Any) -> None:
        self.values[i] = value


def offset(array: Buffer, start: int) -> Buffer:
    """Return the part of ``array`` that begins at element ``start``."""
    return Buffer(array.values[start:])


def select(mask: np.ndarray, a: Any, b: Any) -> np.ndarray:
    """Return ``a`` in the lanes of ``mask`` and ``b`` in the others."""
    if np.ndim(a) == 0 and np.ndim(b) > 0:
        a = np.asarray(a, b.dtype)
    elif np.ndim(b) == 0 and np.ndim(a) > 0:
        b = np.asarray(b, a.dtype)
    return np.where(mask, a, b)


def any_lane(mask: np.ndarray) -> bool:
    """Tell whether the mask holds in any lane."""
    return bool(np.any(mask))


def count_if(count: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return ``count`` with one added in the lanes of ``mask``."""
    return count + mask


def look_up(array, index):
    """Read ``array[index]`` in all lanes; every index must be a place in the array."""
    return array[index]


def gather_cyclic(array, first, stride, length, index, mask, default):
    """Read ``array[first + (index // stride) % length]`` in the lanes of ``mask``."""
    result = default.copy()
    result[mask] = array[first + (index[mask] // stride) % length]
    return result


def scatter(array, index, mask, value):
    """Write ``value`` to ``array[index]`` in the lanes of ``mask``."""
    array[index[mask]] = value[mask] if np.ndim(value) else value


def scatter_rows(array, step, index, mask, values, count):
    """Write ``values[v]``, v < ``count``, to ``array[v * step + index]`` in the masked lanes."""
    for v in range(count):
        scatter(array, v * step + index, mask, values[v])


def run_queue() -> None:
    """Return nothing: all runs are handed out at once."""


def refill_now(idle, active, waited) -> bool:
    """Tell whether the lanes of ``idle`` should begin their next run: at once."""
    return any_lane(idle)


def stop_requested(control) -> bool:
    """Tell whether the caller has asked the kernel to stop."""
    return bool(control[Control.STOP])


def take_runs(run, mask, control, queue):
    """Give the lanes of ``mask`` their next run, or the number of runs when none is left."""
    wanted = int(np.count_nonzero(mask))
    start = int(control[Control.NEXT])
    result = run.copy()
    result[mask] = np.minimum(np.arange(start, start + wanted), control[Control.RUNS])
    control[Control.NEXT] = start + wanted
    return result


def exponent_mantissa(x):
    """Split a positive normal number into exponent (a real) and mantissa in [1, 2).

    Infinity and NaN, of either sign, have an exponent larger than that of any number.
    """
    if x.dtype == np.float16:
        mantissa, exponent = np.frexp(x)
        number = np.isfinite(x)
        return np.where(number, exponent - 1, 16).astype(x.dtype), np.where(
            number, mantissa + mantissa, x.dtype.type(1)
        )
    # From the bits, the sign among them, so that NaN gives what it gives on the other targets.
    whole, mantissa, bias = (np.uint64, 52, 1023) if x.dtype == np.float64 else (np.uint32, 23, 127)
    bits = x.view(whole)
    fraction = (bits & whole((1 << mantissa) - 1)) | whole(bias << mantissa)
    exponent = (bits >> whole(mantissa)).astype(x.dtype) - x.dtype.type(bias)
    return exponent, fraction.view(x.dtype)


def power_of_two(x):
    """Return 2 to the integer-valued ``x``."""
    return np.ldexp(np.ones_like(x), x.astype(np.int32))


def reciprocal_seed(x):
    """Return 1 / x to 5.1 %, for a positive normal number; from the bits, as other targets do."""
    if x.dtype == np.float64:
        return (np.int64(0x7FDE623822FC16E6) - x.view(np.int64)).view(np.float64)
    if x.dtype == np.float32:
        return (np.int32(0x7EF311C7) - x.view(np.int32)).view(np.float32)
    return (1.0 / x).astype(x.dtype)


def lanes(bits: int, shared: int, width: int) -> dict[str, Any]:
    """Return the names of the language for reals of ``bits`` bits.

    Parameters
    ----------
    bits : int
        Size of a real: 16, 32 or 64.
    shared : int
        Reals of a lane in the shared arena.
    width : int
        Number of lanes.

    Returns
    -------
    dict
        The primitives by name.
    """
    dtype = _DTYPES[bits]

    def convert(to: type) -> Any:
        def real(x: Any) -> np.ndarray:
            return np.broadcast_to(np.asarray(x).astype(to), (width,)).copy()

        return real

    def private(size: int) -> Buffer:
        return Buffer(np.zeros((size, width), dtype))

    def integers(value: int) -> np.ndarray:
        return np.full(width, value, np.int64)

    def open_arena(arena: np.ndarray) -> tuple[Buffer, Buffer]:
        return Buffer(arena[:shared]), Buffer(arena[shared:])

    def device(function: Any = None, *, inline: bool = True) -> Any:
        return function if function is not None else lambda made: made

    return {
        "any_lane": any_lane,
        "both": np.logical_and,
        "copysign": np.copysign,
        "counts": integers,
        "count_if": count_if,
        "device": device,
        "either": np.logical_or,
        "exponent_mantissa": exponent_mantissa,
        "fabs": np.abs,
        "finite": np.isfinite,
        "floor": np.floor,
        "gather_cyclic": gather_cyclic,
        "integers": integers,
        "look_up": look_up,
        "maximum": np.fmax,
        "minimum": np.fmin,
        "negate": np.logical_not,
        "offset": offset,
        "open_arena": open_arena,
        "power_of_two": power_of_two,
        "private": private,
        "real": convert(dtype),
        "reciprocal_seed": reciprocal_seed,
        "refill_now": refill_now,
        "run_queue": run_queue,
        "scatter": scatter,
        "scatter_rows": scatter_rows,
        "select": select,
        "sqrt": np.sqrt,
        "stop_requested": stop_requested,
        "take_runs": take_runs,
        "uniform": dtype,
        "wide": convert(np.float64),
    }
