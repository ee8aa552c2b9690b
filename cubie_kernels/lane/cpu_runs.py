"""The lane language on the CPU: the queue of runs, and lanes from and to memory.

The array ``control`` is shared by all threads of a call (`cubie_kernels.lane.abi.Control`).

Whatever is done lane by lane loops over the set bits of a mask, so that it costs what the lanes
cost that need it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cubie_kernels.lane.abi import Control
from cubie_kernels.lane.cpu_types import I32, I64, Index, Real

# Lanes that wait for a new run: a run is begun in all of them at once when they are this part of a
# register, or so many steps have passed since the last time.
_REFILL_PART, _REFILL_STEPS = 4, 12


def _field(builder, control, number):
    return builder.gep(control, [ir.Constant(I64, int(number))])


def _slot(builder, value):
    """Put a vector on the stack; return the address of the whole and of the first lane."""
    with builder.goto_entry_block():
        place = builder.alloca(value.type)
        place.align = 64
    builder.store(value, place)
    return place, builder.bitcast(place, value.type.element.as_pointer())


def _bits(builder, mask, w: int):
    """Return a mask as a number of ``w`` bits."""
    return builder.bitcast(mask, ir.IntType(w))


def _each_lane(builder, mask, w: int, body: Callable[[Any], None]) -> None:
    """Emit ``body(lane)`` in a loop over the lanes of a mask, in their order."""
    integer = ir.IntType(w)
    before = builder.basic_block
    test = builder.append_basic_block("lanes")
    inside = builder.append_basic_block("lane")
    after = builder.append_basic_block("after")
    bits = _bits(builder, mask, w)
    builder.branch(test)
    builder.position_at_end(test)
    left = builder.phi(integer)
    left.add_incoming(bits, before)
    more = builder.icmp_unsigned("!=", left, ir.Constant(integer, 0))
    builder.cbranch(more, inside, after)
    builder.position_at_end(inside)
    lane = builder.cttz(left, ir.Constant(ir.IntType(1), 1))
    lane = builder.trunc(lane, I32) if w > 32 else lane if w == 32 else builder.zext(lane, I32)
    body(lane)
    rest = builder.and_(left, builder.sub(left, ir.Constant(integer, 1)))
    left.add_incoming(rest, builder.basic_block)
    builder.branch(test)
    builder.position_at_end(after)


@intrinsic
def take_runs(typing, run, mask, control, queue):
    """Give the lanes of ``mask`` their next run, or the number of runs when none is left.

    ``queue`` holds this thread's own range [next, end); when it is empty the next range comes
    from the shared counter, so that slow runs gather in few registers.
    """

    def emit(context, builder, sig, args):
        lanes, wanted, control, queue = args
        runs = builder.load(_field(builder, control, Control.RUNS))
        share = builder.load(_field(builder, control, Control.SHARE))
        most = builder.load(_field(builder, control, Control.CHUNK))
        fewest = ir.Constant(I64, run.w)
        end_at = _field(builder, queue, 1)
        place, first_lane = _slot(builder, lanes)

        def smaller(a, b):
            return builder.select(builder.icmp_signed("<", a, b), a, b)

        def fetch():
            # A part of what is left, so that the threads end together.
            counter = _field(builder, control, Control.NEXT)
            left = builder.sub(runs, builder.load_atomic(counter, "monotonic", 8))
            part = smaller(builder.sdiv(left, share), most)
            chunk = builder.select(builder.icmp_signed(">", part, fewest), part, fewest)
            start = smaller(builder.atomic_rmw("add", counter, chunk, "monotonic"), runs)
            builder.store(smaller(builder.add(start, chunk), runs), end_at)
            return start

        def take(lane):
            first = builder.load(queue)
            before = builder.basic_block
            with builder.if_then(builder.icmp_signed(">=", first, builder.load(end_at))):
                start = fetch()
                fetched = builder.basic_block
            mine = builder.phi(I64)
            mine.add_incoming(first, before)
            mine.add_incoming(start, fetched)
            more = builder.zext(builder.icmp_signed("<", mine, runs), I64)
            builder.store(builder.add(mine, more), queue)
            builder.store(mine, builder.gep(first_lane, [lane]))

        _each_lane(builder, wanted, run.w, take)
        return builder.load(place)

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
def refill_now(typing, idle, active, waited):
    """Tell whether the lanes of ``idle`` should begin their next run.

    Beginning a run costs the whole register about a step, so that it pays to wait until several
    lanes can begin together. It changes no result.
    """

    def emit(context, builder, sig, args):
        waiting = _bits(builder, args[0], idle.w)
        none = ir.Constant(waiting.type, 0)
        count = builder.ctpop(waiting)
        enough = builder.icmp_unsigned(">=", count, count.type(max(1, idle.w // _REFILL_PART)))
        late = builder.icmp_signed(">=", args[2], ir.Constant(I64, _REFILL_STEPS))
        alone = builder.icmp_unsigned("==", _bits(builder, args[1], idle.w), none)
        now = builder.or_(enough, builder.or_(late, alone))
        return builder.and_(now, builder.icmp_unsigned("!=", waiting, none))

    return types.boolean(idle, active, types.int64), emit


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


@intrinsic
def look_up(typing, array, index):
    """Read ``array[index]`` in all lanes; every index must be a place in the array."""
    real = Real(array.dtype.bitwidth, index.w)

    def emit(context, builder, sig, args):
        result = ir.Constant(real.vector, ir.Undefined)
        for lane in range(index.w):
            position = ir.Constant(I32, lane)
            where = builder.extract_element(args[1], position)
            number = builder.load(builder.gep(args[0], [where]))
            result = builder.insert_element(result, number, position)
        return result

    return real(array, index), emit


@intrinsic
def gather_cyclic(typing, array, first, stride, length, index, mask, default):
    """Read ``array[first + (index // stride) % length]`` in the lanes of ``mask``."""

    def emit(context, builder, sig, args):
        array, first, stride, length, index, lanes, start = args
        base = builder.gep(array, [first])
        place, values = _slot(builder, start)
        _, indices = _slot(builder, index)

        def read(lane):
            run = builder.load(builder.gep(indices, [lane]))
            where = builder.urem(builder.udiv(run, stride), length)
            number = builder.load(builder.gep(base, [where]))
            builder.store(number, builder.gep(values, [lane]))

        _each_lane(builder, lanes, mask.w, read)
        return builder.load(place)

    i64 = types.int64
    return default(array, i64, i64, i64, index, mask, default), emit


@intrinsic
def scatter(typing, array, index, mask, value):
    """Write ``value`` to ``array[index]`` in the lanes of ``mask``.

    ``value`` is a lane value or a scalar; integers are narrowed to the array's type.
    """
    element = array.dtype
    by_lane = isinstance(value, (Real, Index))

    def emit(context, builder, sig, args):
        target = context.get_value_type(element)
        _, indices = _slot(builder, args[1])
        if by_lane:
            _, values = _slot(builder, args[3])
        else:
            item = context.cast(builder, args[3], sig.args[3], element)

        def write(lane):
            number = builder.load(builder.gep(values, [lane])) if by_lane else item
            if isinstance(value, Index) and target.width < value.bits:
                number = builder.trunc(number, target)
            where = builder.load(builder.gep(indices, [lane]))
            builder.store(number, builder.gep(args[0], [where]))

        _each_lane(builder, args[2], mask.w, write)
        return context.get_dummy_value()

    return types.void(array, index, mask, value), emit


@intrinsic
def scatter_rows(typing, array, step, index, mask, values, count):
    """Write ``values[v]`` to ``array[v * step + index]`` in the lanes of ``mask``, v < ``count``.

    ``values`` is a buffer that is used for nothing else: what is read lane by lane cannot stay in
    registers.
    """
    i64 = types.int64

    def emit(context, builder, sig, args):
        array, step, index_value, lanes, buffer, count = args
        _, indices = _slot(builder, index_value)
        reals = builder.bitcast(buffer, values.real.element.as_pointer())

        def write(lane):
            where = builder.load(builder.gep(indices, [lane]))
            with cgutils.for_range(builder, count, intp=I64) as loop:
                place = builder.add(builder.mul(loop.index, ir.Constant(I64, mask.w)), lane64(lane))
                row = builder.add(builder.mul(loop.index, step), where)
                builder.store(builder.load(builder.gep(reals, [place])), builder.gep(array, [row]))

        def lane64(lane):
            return builder.zext(lane, I64)

        _each_lane(builder, lanes, mask.w, write)
        return context.get_dummy_value()

    return types.void(array, i64, index, mask, values, i64), emit
