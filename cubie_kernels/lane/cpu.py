"""The lane language on the CPU: operators and primitives over SIMD registers.

A kernel module obtains its names from `lanes`. Nothing here hides a NaN: comparisons with one
are false, and no flag lets the compiler assume that there is none.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from cubie_kernels.lane.cpu_operators import lift_index
from cubie_kernels.lane.cpu_types import (
    FLAGS,
    I32,
    I64,
    Array,
    Index,
    Mask,
    Real,
    call,
    lift,
    the_real,
)


# ----------------------------------------------------------------------------------- buffers
@intrinsic
def offset(typing, array, start):
    """Return the part of ``array`` that begins at element ``start``."""

    def emit(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return array(array, types.intp), emit


# ----------------------------------------------------------------------------------- masks
@intrinsic
def select(typing, mask, a, b):
    """Return ``a`` in the lanes of ``mask`` and ``b`` in the others."""
    lane_kind = a if isinstance(a, (Index, Mask)) else b
    if isinstance(lane_kind, Mask):
        return a(mask, a, b), lambda context, builder, sig, args: builder.select(*args)
    if isinstance(lane_kind, Index):

        def emit_index(context, builder, sig, args):
            values = [
                lift_index(context, builder, kind, value, lane_kind)
                for kind, value in zip(sig.args[1:], args[1:], strict=True)
            ]
            return builder.select(args[0], *values)

        kinds = [kind if isinstance(kind, Index) else types.int64 for kind in (a, b)]
        return lane_kind(mask, *kinds), emit_index
    real = the_real((a, b))
    if real is None:
        return None

    def emit(context, builder, sig, args):
        values = [
            lift(context, builder, kind, value, real)
            for kind, value in zip(sig.args[1:], args[1:], strict=True)
        ]
        return builder.select(args[0], *values)

    return real(mask, a, b), emit


@intrinsic
def any_lane(typing, mask):
    """Tell whether the mask holds in any lane."""

    def emit(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.w))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), emit


@intrinsic
def both(typing, a, b):
    """Return the lanes that are in both masks."""
    return a(a, b), lambda context, builder, sig, args: builder.and_(*args)


@intrinsic
def either(typing, a, b):
    """Return the lanes that are in one of the masks."""
    return a(a, b), lambda context, builder, sig, args: builder.or_(*args)


@intrinsic
def negate(typing, a):
    """Return the lanes that are not in the mask."""
    return a(a), lambda context, builder, sig, args: builder.not_(args[0])


@intrinsic
def finite(typing, a):
    """Return the lanes whose value is neither infinite nor NaN."""

    def emit(context, builder, sig, args):
        size = call(builder, f"llvm.fabs.{a.tag}", a.vector, args[0], flags=())
        return builder.fcmp_ordered("<", size, ir.Constant(a.vector, [float("inf")] * a.w))

    return Mask(a.w)(a), emit


# ---------------------------------------------------------- functions made of one instruction
def _unary(name):
    @intrinsic
    def function(typing, a):
        if not isinstance(a, Real):
            return None

        def emit(context, builder, sig, args):
            return call(builder, f"llvm.{name}.{a.tag}", a.vector, args[0])

        return a(a), emit

    return function


def _binary(name):
    @intrinsic
    def function(typing, a, b):
        real = the_real((a, b))
        if real is None:
            return None

        def emit(context, builder, sig, args):
            values = [
                lift(context, builder, k, v, real) for k, v in zip(sig.args, args, strict=True)
            ]
            return call(builder, f"llvm.{name}.{real.tag}", real.vector, *values)

        return real(a, b), emit

    return function


fabs, sqrt, floor = _unary("fabs"), _unary("sqrt"), _unary("floor")
minimum, maximum, copysign = _binary("minnum"), _binary("maxnum"), _binary("copysign")


# ------------------------------------------------------------------- estimates from the bit pattern
def _bit_layout(real):
    """Return the integer type of a lane, its vector, mantissa bits and exponent bias."""
    element = I64 if real.bits == 64 else I32
    mantissa, bias = (52, 1023) if real.bits == 64 else (23, 127)
    return element, ir.VectorType(element, real.w), mantissa, bias


@intrinsic
def exponent_mantissa(typing, a):
    """Split a positive normal number into exponent (a real) and mantissa in [1, 2)."""

    def emit(context, builder, sig, args):
        _, vector, bits, bias = _bit_layout(a)

        def const(value):
            return ir.Constant(vector, [value] * a.w)

        # The exponent's bits, put below the mantissa of 2**bits, make a number without any
        # conversion instruction, which older machines lack for 64 bits.
        x = builder.bitcast(args[0], vector)
        low = builder.or_(builder.lshr(x, const(bits)), const((bits + bias) << bits))
        shift = ir.Constant(a.vector, [float(2**bits + bias)] * a.w)
        exponent = builder.fsub(builder.bitcast(low, a.vector), shift)
        mantissa = builder.or_(builder.and_(x, const((1 << bits) - 1)), const(bias << bits))
        pair = [exponent, builder.bitcast(mantissa, a.vector)]
        return context.make_tuple(builder, types.UniTuple(a, 2), pair)

    return types.UniTuple(a, 2)(a), emit


@intrinsic
def power_of_two(typing, a):
    """Return 2 to the integer-valued ``a``, which must give a normal number."""

    def emit(context, builder, sig, args):
        _, vector, bits, bias = _bit_layout(a)
        shift = ir.Constant(a.vector, [float(2**bits + 2 ** (bits - 1) + bias)] * a.w)
        low = builder.bitcast(builder.fadd(args[0], shift), vector)
        exponent = builder.shl(low, ir.Constant(vector, [bits] * a.w))
        return builder.bitcast(exponent, a.vector)

    return a(a), emit


@intrinsic
def reciprocal_seed(typing, a):
    """Return 1 / a to 5.1 %, for a positive normal number."""

    def emit(context, builder, sig, args):
        vector = _bit_layout(a)[1]
        magic = 0x7FDE623822FC16E6 if a.bits == 64 else 0x7EF311C7
        x = builder.bitcast(args[0], vector)
        return builder.bitcast(builder.sub(ir.Constant(vector, [magic] * a.w), x), a.vector)

    return a(a), emit


# ----------------------------------------------------------- names that know the lane type
def _convert(target):
    @intrinsic
    def convert(typing, a):
        """Return the value as lanes of the target's type."""

        def emit(context, builder, sig, args):
            if not isinstance(a, Real):
                return lift(context, builder, sig.args[0], args[0], target)
            if a.bits == target.bits:
                return args[0]
            resize = builder.fpext if a.bits < target.bits else builder.fptrunc
            return resize(args[0], target.vector)

        return target(a), emit

    return convert


def _uniform(scalar):
    @intrinsic
    def uniform(typing, value):
        """Return a number in the precision of the state that is the same in all lanes."""

        def emit(context, builder, sig, args):
            return context.cast(builder, args[0], sig.args[0], scalar)

        return scalar(value), emit

    return uniform


def _private(real):
    @intrinsic(prefer_literal=True)
    def private(typing, size):
        """Return a zeroed buffer of ``size`` reals that only this kernel call can see."""
        if not isinstance(size, types.IntegerLiteral):
            return None
        count = size.literal_value

        def emit(context, builder, sig, args):
            with builder.goto_entry_block():
                pointer = builder.alloca(real.vector, size=ir.Constant(I32, max(count, 1)))
                pointer.align = real.alignment
            zero = ir.Constant(real.vector, [0.0] * real.w)
            for i in range(count):
                builder.store(zero, builder.gep(pointer, [ir.Constant(I64, i)]))
            return pointer

        return Array(real)(size), emit

    return private


def _integers(lane):
    @intrinsic
    def integers(typing, value):
        """Return the same integer in every lane."""

        def emit(context, builder, sig, args):
            return lift_index(context, builder, sig.args[0], args[0], lane)

        return lane(value), emit

    return integers


def _open_arena(shared_size):
    @intrinsic
    def open_arena(typing, arena):
        """Return the lane block's shared memory and, behind it, its persistent memory."""

        def emit(context, builder, sig, args):
            behind = builder.gep(args[0], [ir.Constant(I64, shared_size)])
            return context.make_tuple(builder, types.UniTuple(arena, 2), [args[0], behind])

        return types.UniTuple(arena, 2)(arena), emit

    return open_arena


def device(function=None, *, inline=True):
    """Compile a function of the lane language that kernels call."""
    compiled = njit(fastmath=set(FLAGS), error_model="numpy", forceinline=inline)
    return compiled if function is None else compiled(function)


def lanes(bits: int, width: int, shared: int) -> dict[str, object]:
    """Return the names of the language for one kernel.

    Parameters
    ----------
    bits : int
        Size of a real, 32 or 64.
    width : int
        Lanes of a register.
    shared : int
        Reals of a lane in the shared arena.

    Returns
    -------
    dict
        The primitives by name. ``real`` converts to the precision of the state, ``wide`` to the
        64 bits that time has.
    """
    from cubie_kernels.lane import cpu_runs

    state = Real(bits, width)
    names: dict[str, object] = {
        "device": device,
        "real": _convert(state),
        "wide": _convert(Real(64, width)),
        "private": _private(state),
        "uniform": _uniform(state.scalar),
        "integers": _integers(Index(width)),
        "counts": _integers(Index(width, 32)),
        "open_arena": _open_arena(shared),
    }
    for name in _RUNS:
        names[name] = getattr(cpu_runs, name)
    here = globals()
    for name in _PRIMITIVES:
        names[name] = here[name]
    return names


_RUNS = (
    "count_if",
    "gather_cyclic",
    "look_up",
    "refill_now",
    "run_queue",
    "scatter",
    "scatter_rows",
    "stop_requested",
    "take_runs",
)
_PRIMITIVES = (
    "any_lane",
    "both",
    "copysign",
    "either",
    "exponent_mantissa",
    "fabs",
    "finite",
    "floor",
    "maximum",
    "minimum",
    "negate",
    "offset",
    "power_of_two",
    "reciprocal_seed",
    "select",
    "sqrt",
)
