"""The lane language on CUDA: a lane is a thread, a real is a scalar, a mask is a bool.

A kernel module obtains its names from `lanes`. The threads are persistent: each takes runs from
the shared counter until none is left, so that `any_lane` asks about the thread itself and a warp
reconverges by itself. Compiling needs ``numba-cuda`` (the extra ``cubie[cuda]``) but no GPU.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.extending import intrinsic, lower_builtin, models, register_model
from numba.cuda.typing.templates import AbstractTemplate, infer_global, signature

from cubie_kernels.lane import cuda_runs

__all__ = ["device", "lanes"]

I32, I64 = ir.IntType(32), ir.IntType(64)
_SHARED_SPACE = 3  # NVVM's number of the address space of shared memory
# One symbol for all kernels: a kernel has one arena, whose size is a launch argument.
_SHARED_SYMBOL = "cubie_shared_arena"
# Of a call; Python hands on more as a tuple.
_MOST_ARGUMENTS = 30


# ----------------------------------------------------------------------------------- buffers
class Interleaved(types.Type):
    """Scratch memory of a thread in shared memory: element ``i`` of all threads of the block.

    Neighbouring threads are neighbours in memory, so that no access has a bank conflict. The
    value is the address of the thread's element 0.
    """

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(f"Interleaved({dtype})")


@register_model(Interleaved)
class _InterleavedModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        element = manager.lookup(kind.dtype).get_data_type()
        super().__init__(manager, kind, ir.PointerType(element, _SHARED_SPACE))


def _register(builder, name):
    """Read a special register: ``tid.x`` or ``ntid.x``."""
    symbol = f"llvm.nvvm.read.ptx.sreg.{name}"
    function = builder.module.globals.get(symbol)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(I32, []), symbol)
    return builder.call(function, [])


def _element(builder, pointer, index):
    threads = _register(builder, "ntid.x")
    return builder.gep(pointer, [builder.mul(builder.trunc(index, I32), threads)])


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Interleaved):
            return signature(args[0].dtype, args[0], types.int64)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Interleaved):
            return signature(types.none, args[0], types.int64, args[0].dtype)
        return None


@lower_builtin(operator.getitem, Interleaved, types.Integer)
def _get(context, builder, sig, args):
    return builder.load(_element(builder, *args))


@lower_builtin(operator.setitem, Interleaved, types.Integer, types.Float)
def _set(context, builder, sig, args):
    builder.store(args[2], _element(builder, *args[:2]))


@intrinsic
def offset(typing, array, start):
    """Return the part of ``array`` that begins at element ``start``."""

    def emit(context, builder, sig, args):
        if isinstance(array, Interleaved):
            return _element(builder, *args)
        return builder.gep(args[0], [args[1]])

    return array(array, types.int64), emit


def _allocate(builder, element, count):
    with builder.goto_entry_block():
        return builder.alloca(element, size=ir.Constant(I32, max(count, 1)))


def _private(real):
    @intrinsic
    def private(typing, size):
        """Return a buffer of ``size`` reals in the thread's registers or local memory."""
        if not isinstance(size, types.IntegerLiteral):
            return None
        count = size.literal_value

        def emit(context, builder, sig, args):
            return _allocate(builder, context.get_value_type(real), count)

        return types.CPointer(real)(size), emit

    return private


def _open_arena(real, shared, persistent):
    @intrinsic
    def open_arena(typing, arena):
        """Return the thread's part of shared memory, and its persistent buffer."""
        result = types.Tuple((Interleaved(real), types.CPointer(real)))

        def emit(context, builder, sig, args):
            element = context.get_value_type(real)
            mine = ir.Constant(ir.PointerType(element, _SHARED_SPACE), None)
            if shared:
                kind = ir.ArrayType(element, 0)
                base = ir.GlobalVariable(builder.module, kind, _SHARED_SYMBOL, _SHARED_SPACE)
                base.linkage, base.align = "external", 16
                mine = builder.gep(base, [ir.Constant(I32, 0), _register(builder, "tid.x")])
            own = _allocate(builder, element, persistent)
            return context.make_tuple(builder, result, [mine, own])

        return result(arena), emit

    return open_arena


# ----------------------------------------------------------------------------------- masks
@intrinsic
def select(typing, mask, a, b):
    """Return ``a`` where the mask holds, else ``b``."""
    result = typing.unify_types(a, b)
    if result is None:
        return None
    return result(mask, result, result), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def any_lane(typing, mask):
    """Tell whether the mask holds: a thread has one lane."""
    return types.boolean(mask), lambda context, builder, sig, args: args[0]


@intrinsic
def both(typing, a, b):
    """Tell whether both masks hold."""
    return types.boolean(a, b), lambda context, builder, sig, args: builder.and_(*args)


@intrinsic
def either(typing, a, b):
    """Tell whether one of the masks holds."""
    return types.boolean(a, b), lambda context, builder, sig, args: builder.or_(*args)


@intrinsic
def negate(typing, a):
    """Tell whether the mask does not hold."""
    return types.boolean(a), lambda context, builder, sig, args: builder.not_(args[0])


# ------------------------------------------------------------- functions of one instruction
def _library(builder, name, element, args):
    """Call a function of libdevice, in the precision of its arguments."""
    symbol = f"__nv_{name}{'f' if isinstance(element, ir.FloatType) else ''}"
    function = builder.module.globals.get(symbol)
    if function is None:
        kind = ir.FunctionType(element, [element] * len(args))
        function = ir.Function(builder.module, kind, symbol)
    return builder.call(function, args)


@intrinsic
def finite(typing, a):
    """Tell whether the value is neither infinite nor NaN."""

    def emit(context, builder, sig, args):
        element = args[0].type
        size = _library(builder, "fabs", element, args)
        return builder.fcmp_ordered("<", size, ir.Constant(element, float("inf")))

    return types.boolean(a), emit


def _unary(name):
    @intrinsic
    def function(typing, a):
        if not isinstance(a, types.Float):
            return None

        def emit(context, builder, sig, args):
            return _library(builder, name, args[0].type, args)

        return a(a), emit

    return function


def _binary(name):
    @intrinsic
    def function(typing, a, b):
        result = typing.unify_types(a, b)
        if not isinstance(result, types.Float):
            return None

        def emit(context, builder, sig, args):
            return _library(builder, name, args[0].type, args)

        return result(result, result), emit

    return function


fabs, sqrt, floor = _unary("fabs"), _unary("sqrt"), _unary("floor")
minimum, maximum, copysign = _binary("fmin"), _binary("fmax"), _binary("copysign")


# ------------------------------------------------------------------- estimates from the bit pattern
def _bit_layout(a):
    """Return the integer type of a real's bits, its mantissa bits and exponent bias."""
    return (I64, 52, 1023) if a == types.float64 else (I32, 23, 127)


@intrinsic
def exponent_mantissa(typing, a):
    """Split a positive normal number into exponent (a real) and mantissa in [1, 2)."""
    result = types.UniTuple(a, 2)

    def emit(context, builder, sig, args):
        kind, bits, bias = _bit_layout(a)
        element = args[0].type
        # The exponent's bits, put below the mantissa of 2**bits, make a number: no conversion.
        x = builder.bitcast(args[0], kind)
        low = builder.or_(
            builder.lshr(x, ir.Constant(kind, bits)), ir.Constant(kind, (bits + bias) << bits)
        )
        shift = ir.Constant(element, float(2**bits + bias))
        exponent = builder.fsub(builder.bitcast(low, element), shift)
        mantissa = builder.or_(
            builder.and_(x, ir.Constant(kind, (1 << bits) - 1)), ir.Constant(kind, bias << bits)
        )
        return context.make_tuple(builder, result, [exponent, builder.bitcast(mantissa, element)])

    return result(a), emit


@intrinsic
def power_of_two(typing, a):
    """Return 2 to the integer-valued ``a``, which must give a normal number."""

    def emit(context, builder, sig, args):
        kind, bits, bias = _bit_layout(a)
        element = args[0].type
        shift = ir.Constant(element, float(2**bits + 2 ** (bits - 1) + bias))
        low = builder.bitcast(builder.fadd(args[0], shift), kind)
        return builder.bitcast(builder.shl(low, ir.Constant(kind, bits)), element)

    return a(a), emit


@intrinsic
def reciprocal_seed(typing, a):
    """Return 1 / a to 5.1 %, for a positive normal number."""

    def emit(context, builder, sig, args):
        kind, _, _ = _bit_layout(a)
        magic = 0x7FDE623822FC16E6 if kind == I64 else 0x7EF311C7
        x = builder.bitcast(args[0], kind)
        return builder.bitcast(builder.sub(ir.Constant(kind, magic), x), args[0].type)

    return a(a), emit


# ------------------------------------------------------------- names that know the precision
def _convert(target):
    @intrinsic
    def convert(typing, a):
        """Return the value in the target's type."""

        def emit(context, builder, sig, args):
            return context.cast(builder, args[0], sig.args[0], target)

        return target(a), emit

    return convert


def device(function=None, *, inline=True):
    """Compile a function of the lane language that kernels call."""

    def compiled(function):
        # Numba cannot copy a function to where it is handed a tuple; the compiler behind it can.
        many = inline and function.__code__.co_argcount > _MOST_ARGUMENTS
        copied = "always" if inline and not many else "never"
        return cuda.jit(device=True, inline=copied, forceinline=many)(function)

    return compiled if function is None else compiled(function)


def lanes(bits: int, shared: int, persistent: int) -> dict[str, object]:
    """Return the names of the language for one kernel.

    Parameters
    ----------
    bits : int
        Size of a real, 32 or 64.
    shared : int
        Reals of a thread in shared memory.
    persistent : int
        Reals of a thread that live as long as the kernel, in its own memory.

    Returns
    -------
    dict
        The primitives by name. ``real`` converts to the precision of the state, ``wide`` to the
        64 bits that time has.
    """
    state = types.float64 if bits == 64 else types.float32
    names: dict[str, object] = {
        "device": device,
        "real": _convert(state),
        "uniform": _convert(state),
        "wide": _convert(types.float64),
        "integers": _convert(types.int64),
        "counts": _convert(types.int64),
        "private": _private(state),
        "open_arena": _open_arena(state, shared, persistent),
    }
    names |= {name: getattr(cuda_runs, name) for name in cuda_runs.__all__}
    here = globals()
    for name in _PRIMITIVES:
        names[name] = here[name]
    return names


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
