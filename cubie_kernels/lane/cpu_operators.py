"""Operators of the lane language on the CPU: arithmetic, comparisons, elements of buffers."""

from __future__ import annotations

import operator

from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from cubie_kernels.lane.cpu_types import (
    FLAGS,
    Array,
    Index,
    Mask,
    Real,
    is_real,
    lift,
    splat,
    the_real,
)


def lift_index(context, builder, kind, value, lane):
    """Return ``value`` of Numba type ``kind`` as lanes of the integer type ``lane``."""
    if isinstance(kind, Index):
        return value
    return splat(builder, context.cast(builder, value, kind, lane.scalar), lane.w)


# ---------------------------------------------------------------- operators on reals and indices
def _operator(op, emit, to_mask=False):
    @infer_global(op)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            real = the_real(args)
            if real is None or kws or not all(is_real(kind, real) for kind in args):
                return None
            result = Mask(real.w) if to_mask else real
            return signature(
                result, *[kind if isinstance(kind, Real) else types.float64 for kind in args]
            )

    def lower(context, builder, sig, args):
        real = the_real(sig.args)
        return emit(
            builder,
            *[lift(context, builder, k, v, real) for k, v in zip(sig.args, args, strict=True)],
        )

    if op is operator.neg:
        lower_builtin(op, Real)(lower)
        return
    for left, right in ((Real, Real), (Real, types.Float), (types.Float, Real)):
        lower_builtin(op, left, right)(lower)


for _op, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_op, lambda builder, a, b, name=_name: getattr(builder, name)(a, b, flags=FLAGS))
_operator(operator.neg, lambda builder, a: builder.fneg(a, flags=FLAGS))
for _op, _name in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _operator(_op, lambda builder, a, b, name=_name: builder.fcmp_ordered(name, a, b), to_mask=True)
_operator(operator.ne, lambda builder, a, b: builder.fcmp_unordered("!=", a, b), to_mask=True)


def _index_operator(op, emit, to_mask=False):
    @infer_global(op)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            found = {kind for kind in args if isinstance(kind, Index)}
            others = [kind for kind in args if not isinstance(kind, Index)]
            if len(found) != 1 or kws or not all(isinstance(k, types.Integer) for k in others):
                return None
            lane = found.pop()
            kinds = [kind if isinstance(kind, Index) else types.int64 for kind in args]
            return signature(Mask(lane.w) if to_mask else lane, *kinds)

    def lower(context, builder, sig, args):
        lane = next(kind for kind in sig.args if isinstance(kind, Index))
        vectors = [
            lift_index(context, builder, kind, value, lane)
            for kind, value in zip(sig.args, args, strict=True)
        ]
        return emit(builder, *vectors)

    for left, right in ((Index, Index), (Index, types.Integer), (types.Integer, Index)):
        lower_builtin(op, left, right)(lower)


_index_operator(operator.add, lambda builder, a, b: builder.add(a, b))
_index_operator(operator.sub, lambda builder, a, b: builder.sub(a, b))
_index_operator(operator.mul, lambda builder, a, b: builder.mul(a, b))
for _op, _name in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _index_operator(
        _op, lambda builder, a, b, name=_name: builder.icmp_signed(name, a, b), to_mask=True
    )


# ----------------------------------------------------------------------------------- buffers
@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Array):
            return signature(args[0].real, args[0], types.intp)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Array) and args[2] == args[0].real:
            return signature(types.none, args[0], types.intp, args[2])
        return None


@lower_builtin(operator.getitem, Array, types.intp)
def _get(context, builder, sig, args):
    return builder.load(builder.gep(args[0], [args[1]]), align=sig.args[0].real.alignment)


@lower_builtin(operator.setitem, Array, types.intp, Real)
def _set(context, builder, sig, args):
    builder.store(args[2], builder.gep(args[0], [args[1]]), align=sig.args[0].real.alignment)
