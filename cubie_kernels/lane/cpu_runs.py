"""The lane language on the CPU: the queue of runs, and lanes from and to memory.

The array ``control`` is shared by all threads of a call (`cubie_kernels.lane.abi.Control`).
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from cubie_kernels.lane.abi import Control
from cubie_kernels.lane.cpu_types import I32, I64, Index, Mask, Real


def _field(builder, control, number):
    return builder.gep(control, [ir.Constant(I64, int(number))])


@intrinsic
def take_runs(typing, run, mask, control, queue):
    """Give the lanes of ``mask`` their next run, or the number of runs when none is left.

    ``queue`` holds this thread's own range [next, end); when it is empty the next range comes
    from the shared counter, so that slow runs gather in few registers.
    """

    def emit(context, builder, sig, args):
        lanes, wanted, control, queue = args
        runs = builder.load(_field(builder, control, Control.RUNS))
        chunk = builder.load(_field(builder, control, Control.CHUNK))
        end_at = _field(builder, queue, 1)
        for lane in range(run.w):
            position = ir.Constant(I32, lane)
            before = builder.basic_block
            takes = builder.append_basic_block("take")
            fetch = builder.append_basic_block("fetch")
            give = builder.append_basic_block("give")
            after = builder.append_basic_block("after")
            builder.cbranch(builder.extract_element(wanted, position), takes, after)

            builder.position_at_end(takes)
            first = builder.load(queue)
            empty = builder.icmp_signed(">=", first, builder.load(end_at))
            builder.cbranch(empty, fetch, give)

            builder.position_at_end(fetch)
            start = builder.atomic_rmw(
                "add", _field(builder, control, Control.NEXT), chunk, ordering="monotonic"
            )
            start = builder.select(builder.icmp_signed("<", start, runs), start, runs)
            stop = builder.add(start, chunk)
            stop = builder.select(builder.icmp_signed("<", stop, runs), stop, runs)
            builder.store(stop, end_at)
            builder.branch(give)

            builder.position_at_end(give)
            mine = builder.phi(I64)
            mine.add_incoming(first, takes)
            mine.add_incoming(start, fetch)
            more = builder.zext(builder.icmp_signed("<", mine, runs), I64)
            builder.store(builder.add(mine, more), queue)
            taken = builder.insert_element(lanes, mine, position)
            builder.branch(after)

            builder.position_at_end(after)
            merged = builder.phi(lanes.type)
            merged.add_incoming(lanes, before)
            merged.add_incoming(taken, give)
            lanes = merged
        return lanes

    return run(run, mask, control, queue), emit


@intrinsic
def run_queue(typing):
    """Return an empty range of runs, private to this call."""

    def emit(context, builder, sig, args):
        with builder.goto_entry_block():
            pointer = builder.alloca(I64, size=ir.Constant(I32, 2))
        for i in range(2):
            builder.store(ir.Constant(I64, 0), _field(builder, pointer, i))
        return pointer

    return types.CPointer(types.int64)(), emit


@intrinsic
def stop_requested(typing, control):
    """Tell whether the caller has asked the kernel to stop."""

    def emit(context, builder, sig, args):
        flag = builder.load_atomic(_field(builder, args[0], Control.STOP), "monotonic", 8)
        return builder.icmp_signed("!=", flag, ir.Constant(I64, 0))

    return types.boolean(control), emit


@intrinsic
def count_if(typing, count, mask):
    """Return ``count`` with one added in the lanes of ``mask``."""

    def emit(context, builder, sig, args):
        return builder.add(args[0], builder.zext(args[1], count.vector))

    return count(count, mask), emit


def _for_masked_lanes(builder, mask, w, start, body):
    """Run ``body(position, value)`` for each lane of the mask; ``start`` is carried through."""
    value = start
    for lane in range(w):
        position = ir.Constant(I32, lane)
        before = builder.basic_block
        inside = builder.append_basic_block("lane")
        after = builder.append_basic_block("next")
        builder.cbranch(builder.extract_element(mask, position), inside, after)
        builder.position_at_end(inside)
        result = body(position, value)
        end = builder.basic_block
        builder.branch(after)
        builder.position_at_end(after)
        if start is not None:
            merged = builder.phi(start.type)
            merged.add_incoming(value, before)
            merged.add_incoming(result, end)
            value = merged
    return value


@intrinsic
def gather(typing, array, first, index, mask, default):
    """Read ``array[first + index]`` in the lanes of ``mask``; the others keep ``default``."""
    if not isinstance(mask, Mask):
        return None

    def emit(context, builder, sig, args):
        base = builder.gep(args[0], [args[1]])

        def body(position, value):
            where = builder.extract_element(args[2], position)
            return builder.insert_element(
                value, builder.load(builder.gep(base, [where])), position
            )

        return _for_masked_lanes(builder, args[3], mask.w, args[4], body)

    return default(array, types.int64, index, mask, default), emit


@intrinsic
def gather_cyclic(typing, array, first, stride, length, index, mask, default):
    """Read ``array[first + (index // stride) % length]`` in the lanes of ``mask``."""

    def emit(context, builder, sig, args):
        array, first, stride, length, index, mask_value, start = args
        base = builder.gep(array, [first])

        def body(position, value):
            where = builder.extract_element(index, position)
            where = builder.urem(builder.udiv(where, stride), length)
            return builder.insert_element(
                value, builder.load(builder.gep(base, [where])), position
            )

        return _for_masked_lanes(builder, mask_value, mask.w, start, body)

    i64 = types.int64
    return default(array, i64, i64, i64, index, mask, default), emit


@intrinsic
def scatter(typing, array, first, index, mask, value):
    """Write ``value`` to ``array[first + index]`` in the lanes of ``mask``.

    ``value`` is a lane value or a scalar; integers are narrowed to the array's type.
    """
    element = array.dtype

    def emit(context, builder, sig, args):
        base = builder.gep(args[0], [args[1]])
        target = context.get_value_type(element)

        def body(position, _):
            item = args[4]
            if isinstance(value, (Real, Index)):
                item = builder.extract_element(args[4], position)
                if isinstance(value, Index) and target.width < 64:
                    item = builder.trunc(item, target)
            else:
                item = context.cast(builder, item, sig.args[4], element)
            where = builder.extract_element(args[2], position)
            builder.store(item, builder.gep(base, [where]))

        _for_masked_lanes(builder, args[3], mask.w, None, body)
        return context.get_dummy_value()

    return types.void(array, types.int64, index, mask, value), emit
