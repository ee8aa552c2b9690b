"""Numba types of the CPU target: a real is a SIMD register of ``w`` lanes."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import models, register_model

I32, I64 = ir.IntType(32), ir.IntType(64)
# Everything that keeps NaN, infinity and the order of a sum as written.
FLAGS = ("contract", "arcp", "nsz")


class Real(types.Type):
    """A vector of ``w`` floating-point numbers of ``bits`` bits."""

    def __init__(self, bits: int, w: int) -> None:
        self.bits, self.w = bits, w
        super().__init__(f"Real{bits}x{w}")

    @property
    def element(self) -> ir.Type:
        """The LLVM type of one lane."""
        return ir.DoubleType() if self.bits == 64 else ir.FloatType()

    @property
    def scalar(self) -> types.Float:
        """The Numba type of one lane."""
        return types.float64 if self.bits == 64 else types.float32

    @property
    def vector(self) -> ir.Type:
        """The LLVM type of all lanes."""
        return ir.VectorType(self.element, self.w)

    @property
    def tag(self) -> str:
        """The suffix of LLVM's overloaded intrinsics."""
        return f"v{self.w}f{self.bits}"

    @property
    def alignment(self) -> int:
        """Alignment of the vector in memory, in bytes."""
        return min(64, self.bits * self.w // 8)


class Mask(types.Type):
    """One truth value per lane."""

    def __init__(self, w: int) -> None:
        self.w = w
        super().__init__(f"Mask{w}")

    @property
    def vector(self) -> ir.Type:
        """The LLVM type of all lanes."""
        return ir.VectorType(ir.IntType(1), self.w)


class Index(types.Type):
    """One integer per lane: 64 bits for a run or a position in an array, 32 for a count."""

    def __init__(self, w: int, bits: int = 64) -> None:
        self.w, self.bits = w, bits
        super().__init__(f"Index{bits}x{w}")

    @property
    def element(self) -> ir.Type:
        """The LLVM type of one lane."""
        return ir.IntType(self.bits)

    @property
    def scalar(self) -> types.Integer:
        """The Numba type of one lane."""
        return types.int64 if self.bits == 64 else types.int32

    @property
    def vector(self) -> ir.Type:
        """The LLVM type of all lanes."""
        return ir.VectorType(self.element, self.w)


class Array(types.Type):
    """A pointer to reals that lie one behind the other."""

    def __init__(self, real: Real) -> None:
        self.real = real
        super().__init__(f"Array[{real}]")

    @property
    def vector(self) -> ir.Type:
        """The LLVM type of the pointer."""
        return self.real.vector.as_pointer()


def _vector_model(lane_type: type[types.Type]) -> None:
    @register_model(lane_type)
    class Model(models.PrimitiveModel):
        def __init__(self, manager, fe_type):
            super().__init__(manager, fe_type, fe_type.vector)


for _lane_type in (Real, Mask, Index, Array):
    _vector_model(_lane_type)


def splat(builder, value, w):
    """Return the vector with ``value`` in every lane."""
    vector = ir.VectorType(value.type, w)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, w), [0] * w))


def constant(real, value):
    """Return the constant vector ``value`` of the lane type ``real``."""
    return ir.Constant(real.vector, [value] * real.w)


def lift(context, builder, kind, value, real):
    """Return ``value`` of Numba type ``kind`` as lanes of type ``real``."""
    if isinstance(kind, Real):
        return value
    return splat(builder, context.cast(builder, value, kind, real.scalar), real.w)


def call(builder, name, result, *values, flags=FLAGS):
    """Call the external or LLVM function ``name``."""
    signature = ir.FunctionType(result, [value.type for value in values])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    fast = flags if name.startswith("llvm.") else ()
    return builder.call(function, values, fastmath=fast)


def the_real(kinds):
    """Return the lane type among ``kinds``, or None; two different ones do not mix."""
    found = {kind for kind in kinds if isinstance(kind, Real)}
    return found.pop() if len(found) == 1 else None


def is_scalar(kind):
    """Tell whether ``kind`` is a scalar number that can be lifted to lanes."""
    return isinstance(kind, (types.Float, types.Integer, types.IntegerLiteral))


def is_real(kind, real):
    """Tell whether ``kind`` can stand for lanes of type ``real``."""
    return kind == real or is_scalar(kind)
