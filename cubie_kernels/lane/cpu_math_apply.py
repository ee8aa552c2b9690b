"""Apply functions of the lane language to NumPy arrays: to test, to time and to look at them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from cubie_kernels.lane import cpu_math
from cubie_kernels.lane.cpu_types import FLAGS, Real

__all__ = ["apply", "sweep"]


def _register(real: Real) -> tuple[Callable, Callable]:
    """Return functions that load and store a register at ``array[row, column]``."""

    def address(context, builder, kind, array, row, column):
        array = context.make_array(kind)(context, builder, array)
        columns = cgutils.unpack_tuple(builder, array.shape, 2)[1]
        place = builder.gep(array.data, [builder.add(builder.mul(row, columns), column)])
        return builder.bitcast(place, real.vector.as_pointer())

    @intrinsic
    def load(typing, array, row, column):
        def emit(context, builder, sig, args):
            place = address(context, builder, sig.args[0], *args)
            return builder.load(place, align=real.bits // 8)

        return real(array, types.intp, types.intp), emit

    @intrinsic
    def store(typing, array, row, column, value):
        def emit(context, builder, sig, args):
            place = address(context, builder, sig.args[0], *args[:3])
            builder.store(args[3], place, align=real.bits // 8)
            return ir.Constant(ir.IntType(8).as_pointer(), None)

        return types.void(array, types.intp, types.intp, real), emit

    return load, store


@functools.cache
def sweep(
    names: tuple[str, ...], variant: str, bits: int, width: int, flags: tuple[str, ...] = FLAGS
) -> Callable[[np.ndarray, np.ndarray, np.ndarray, int], None]:
    """Compile a loop that applies each function to a row of registers.

    Parameters
    ----------
    names : tuple of str
        The functions, of which row ``i`` of the arguments meets the ``i``-th.
    variant : str
        How they are computed: see `cubie_kernels.lane.cpu_math.namespace`.
    bits, width : int
        Precision and number of lanes.
    flags : tuple of str
        LLVM's fast-math flags of the loop, as a kernel would have them.

    Returns
    -------
    callable
        ``run(x, y, out, times)`` over C-contiguous arrays ``(len(names), n)`` of the precision,
        ``n`` a multiple of ``width``; ``y`` is the second argument where a function has one.
    """
    functions = cpu_math.namespace(variant)
    load, store = _register(Real(bits, width))
    scope: dict[str, Callable] = {"load": load, "store": store}
    lines = [
        "def run(x, y, out, times):",
        "    for _ in range(times):",
        f"        for i in range(0, x.shape[1], {width}):",
    ]
    for row, name in enumerate(names):
        scope[f"f_{name}"] = functions[name]
        second = f", load(y, {row}, i)" if cpu_math.FUNCTIONS[name] == 2 else ""
        lines.append(f"            store(out, {row}, i, f_{name}(load(x, {row}, i){second}))")
    exec("\n".join(lines), scope)
    return njit(scope["run"], fastmath=set(flags), error_model="numpy", nogil=True)


def apply(
    names: Sequence[str],
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    variant: str = "auto",
    width: int | None = None,
    flags: tuple[str, ...] = FLAGS,
) -> np.ndarray:
    """Return the values of functions of the lane language as kernels compute them.

    Parameters
    ----------
    names : sequence of str
        Functions of `cubie_kernels.lane.cpu_math.FUNCTIONS`.
    x, y : ndarray
        Arguments, one row of numbers per function, float32 or float64: ``(len(names), n)``.
    variant : str
        ``auto``, ``inline``, ``libmvec`` or ``portable``.
    width : int, optional
        Number of lanes; a register of 64 bytes if not given.
    flags : tuple of str
        LLVM's fast-math flags of the calling code.

    Returns
    -------
    ndarray
        The values, ``(len(names), n)``.
    """
    x = np.atleast_2d(x)
    y = x if y is None else np.atleast_2d(y)
    bits = 8 * x.dtype.itemsize
    width = width or 512 // bits
    n = x.shape[1]
    padding = ((0, 0), (0, -n % width))
    padded = [np.ascontiguousarray(np.pad(a, padding, mode="edge")) for a in (x, y)]
    out = np.empty_like(padded[0])
    sweep(tuple(names), variant, bits, width, flags)(*padded, out, 1)
    return out[:, :n]
