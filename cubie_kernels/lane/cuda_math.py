"""Mathematical functions of the lane language on CUDA: libdevice, in the arguments' precision."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

__all__ = ["namespace"]

_UNARY = (
    "exp exp2 expm1 sinh cosh tanh erf log log1p log2 log10 asinh acosh atanh sin cos tan asin "
    "acos atan cbrt ceil trunc rint"
)
_BINARY = "pow atan2 hypot fmod"


def _result_type(typing, *kinds: types.Type) -> types.Type | None:
    """Return the precision that all arguments fit in, or None if one is no real."""
    if not all(isinstance(kind, types.Float) and kind.bitwidth >= 32 for kind in kinds):
        return None
    return typing.unify_types(*kinds)


def _libdevice(name: str, arity: int) -> Callable:
    def emit(context, builder, sig, args):
        element = args[0].type
        symbol = f"__nv_{name}{'f' if isinstance(element, ir.FloatType) else ''}"
        function = builder.module.globals.get(symbol)
        if function is None:
            kind = ir.FunctionType(element, [element] * len(args))
            function = ir.Function(builder.module, kind, symbol)
        return builder.call(function, args)

    def unary(typing, a):
        result = _result_type(typing, a)
        return None if result is None else (result(result), emit)

    def binary(typing, a, b):
        result = _result_type(typing, a, b)
        return None if result is None else (result(result, result), emit)

    function = unary if arity == 1 else binary
    function.__name__ = function.__qualname__ = name
    return intrinsic(function)


@intrinsic
def sign(typing, a):
    """Return -1, 0 or 1 (NaN for NaN)."""
    if _result_type(typing, a) is None:
        return None

    def emit(context, builder, sig, args):
        (x,) = args
        zero, one, minus = (ir.Constant(x.type, value) for value in (0.0, 1.0, -1.0))
        # Adding zero makes -0.0 a zero as on the other targets, and leaves a NaN.
        rest = builder.fadd(x, zero)
        below = builder.select(builder.fcmp_ordered("<", x, zero), minus, rest)
        return builder.select(builder.fcmp_ordered(">", x, zero), one, below)

    return a(a), emit


@functools.cache
def namespace() -> Mapping[str, Callable]:
    """Return the functions by their names in the lane language, to be used in CUDA kernels.

    Returns
    -------
    mapping of str to callable
        Intrinsics of ``numba-cuda`` for float32 and float64 scalars, which compute in the wider
        precision of their arguments.
    """
    functions = {name: _libdevice(name, 1) for name in _UNARY.split()}
    functions |= {name: _libdevice(name, 2) for name in _BINARY.split()}
    return {**functions, "sign": sign}
