"""The lane language on CUDA: the queue of runs, and threads from and to memory.

The array ``control`` is shared by all threads of a launch (`cubie_kernels.lane.abi.Control`).
"""

from __future__ import annotations

from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.extending import intrinsic

from cubie_kernels.lane.abi import Control

__all__ = [
    "count_if",
    "gather_cyclic",
    "look_up",
    "refill_now",
    "run_queue",
    "scatter",
    "scatter_rows",
    "stop_requested",
    "take_runs",
]

I64 = ir.IntType(64)


def _field(builder, control, number):
    return builder.gep(control, [ir.Constant(I64, int(number))])


def _where(builder, mask, default, body):
    """Return ``body()`` where the mask holds, else ``default``; a branch, for it reads memory."""
    before = builder.basic_block
    with builder.if_then(mask):
        value = body()
        inside = builder.basic_block
    result = builder.phi(value.type)
    result.add_incoming(default, before)
    result.add_incoming(value, inside)
    return result


@intrinsic
def take_runs(typing, run, mask, control, queue):
    """Return the next run if the mask holds: the number of runs when none is left."""

    def emit(context, builder, sig, args):
        def take():
            one = ir.Constant(I64, 1)
            counter = _field(builder, args[2], Control.NEXT)
            start = builder.atomic_rmw("add", counter, one, ordering="monotonic")
            runs = builder.load(_field(builder, args[2], Control.RUNS))
            return builder.select(builder.icmp_signed("<", start, runs), start, runs)

        return _where(builder, args[1], args[0], take)

    return types.int64(types.int64, types.boolean, control, queue), emit


@intrinsic
def run_queue(typing):
    """Return nothing of use: a thread keeps no runs in stock."""
    return types.int64(), lambda context, builder, sig, args: ir.Constant(I64, 0)


@intrinsic
def refill_now(typing, idle, active, waited):
    """Tell whether the thread should begin its next run: at once."""
    return types.boolean(idle, active, types.int64), lambda context, builder, sig, args: args[0]


@intrinsic
def stop_requested(typing, control):
    """Return False: a launch is not interrupted, the host makes launches short."""
    return types.boolean(control), lambda *_: ir.Constant(ir.IntType(1), 0)


@intrinsic
def count_if(typing, count, mask):
    """Return ``count``, plus one if the mask holds."""

    def emit(context, builder, sig, args):
        return builder.add(args[0], builder.zext(args[1], I64))

    return types.int64(types.int64, mask), emit


@intrinsic
def look_up(typing, array, index):
    """Return ``array[index]``, which must be a place in the array."""

    def emit(context, builder, sig, args):
        return builder.load(builder.gep(args[0], [args[1]]))

    return array.dtype(array, types.int64), emit


@intrinsic
def gather_cyclic(typing, array, first, stride, length, index, mask, default):
    """Return ``array[first + (index // stride) % length]`` if the mask holds."""

    def emit(context, builder, sig, args):
        pointer, first, stride, length, index, holds, start = args

        def read():
            where = builder.urem(builder.udiv(index, stride), length)
            return builder.load(builder.gep(pointer, [builder.add(first, where)]))

        return _where(builder, holds, start, read)

    i64 = types.int64
    return array.dtype(array, i64, i64, i64, i64, mask, array.dtype), emit


@intrinsic
def scatter(typing, array, index, mask, value):
    """Write ``value`` to ``array[index]`` if the mask holds."""

    def emit(context, builder, sig, args):
        with builder.if_then(args[2]):
            item = context.cast(builder, args[3], sig.args[3], array.dtype)
            builder.store(item, builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.int64, mask, value), emit


@cuda.jit(device=True, inline="always")
def scatter_rows(array, step, index, mask, values, count):
    """Write ``values[v]`` to ``array[v * step + index]`` if the mask holds, v < ``count``."""
    for v in range(count):
        scatter(array, v * step + index, mask, values[v])
