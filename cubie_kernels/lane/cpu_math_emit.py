"""Write vector arithmetic into LLVM IR with ordinary Python operators.

A `Vec` is a vector of reals inside a function that is being emitted, a `Bits` its bit pattern, a
`Cond` one truth value per lane. Every operation is rounded exactly as written: error-free
transformations hold whatever fast-math flags the calling kernel has, because each instruction
carries a flag that has no meaning for it, and Numba adds its own only where there are none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import cgutils

from cubie_kernels.lane.symbols import host_features

# `arcp` concerns division only and `contract` all but division.
SUM_FLAGS, DIV_FLAGS = ("arcp",), ("contract",)


class Cond:
    """One truth value per lane."""

    def __init__(self, machine: Machine, value: ir.Value) -> None:
        self.machine, self.value = machine, value

    def __and__(self, other: Cond) -> Cond:
        return Cond(self.machine, self.machine.builder.and_(self.value, other.value))

    def __or__(self, other: Cond) -> Cond:
        return Cond(self.machine, self.machine.builder.or_(self.value, other.value))

    def __invert__(self) -> Cond:
        return Cond(self.machine, self.machine.builder.not_(self.value))

    def any(self) -> ir.Value:
        """Return an ``i1`` that is set if the condition holds in any lane."""
        machine = self.machine
        mask = machine.builder.bitcast(self.value, ir.IntType(machine.w))
        return machine.builder.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0))


class Bits:
    """The bit pattern of a vector: unsigned integers as wide as the reals."""

    def __init__(self, machine: Machine, value: ir.Value) -> None:
        self.machine, self.value = machine, value

    def _apply(self, name: str, other: Bits | int) -> Bits:
        value = other.value if isinstance(other, Bits) else self.machine.integers(other)
        return Bits(self.machine, getattr(self.machine.builder, name)(self.value, value))

    def __add__(self, other: Bits | int) -> Bits:
        return self._apply("add", other)

    def __sub__(self, other: Bits | int) -> Bits:
        return self._apply("sub", other)

    def __and__(self, other: Bits | int) -> Bits:
        return self._apply("and_", other)

    def __or__(self, other: Bits | int) -> Bits:
        return self._apply("or_", other)

    def __xor__(self, other: Bits | int) -> Bits:
        return self._apply("xor", other)

    def __lshift__(self, other: int) -> Bits:
        return self._apply("shl", other)

    def __rshift__(self, other: int) -> Bits:
        return self._apply("lshr", other)

    def nonzero(self) -> Cond:
        """Return the lanes in which any bit is set."""
        zero = self.machine.integers(0)
        return Cond(self.machine, self.machine.builder.icmp_unsigned("!=", self.value, zero))

    def real(self) -> Vec:
        """Return the reals that have these bits."""
        return Vec(self.machine, self.machine.builder.bitcast(self.value, self.machine.vector))


class Vec:
    """A vector of reals."""

    def __init__(self, machine: Machine, value: ir.Value) -> None:
        self.machine, self.value = machine, value

    def _apply(self, name: str, a: Vec | float, b: Vec | float) -> Vec:
        flags = DIV_FLAGS if name == "fdiv" else SUM_FLAGS
        x, y = self.machine.lift(a).value, self.machine.lift(b).value
        return Vec(self.machine, getattr(self.machine.builder, name)(x, y, flags=flags))

    def __add__(self, other: Vec | float) -> Vec:
        return self._apply("fadd", self, other)

    def __radd__(self, other: float) -> Vec:
        return self._apply("fadd", other, self)

    def __sub__(self, other: Vec | float) -> Vec:
        return self._apply("fsub", self, other)

    def __rsub__(self, other: float) -> Vec:
        return self._apply("fsub", other, self)

    def __mul__(self, other: Vec | float) -> Vec:
        return self._apply("fmul", self, other)

    def __rmul__(self, other: float) -> Vec:
        return self._apply("fmul", other, self)

    def __truediv__(self, other: Vec | float) -> Vec:
        return self._apply("fdiv", self, other)

    def __rtruediv__(self, other: float) -> Vec:
        return self._apply("fdiv", other, self)

    def __neg__(self) -> Vec:
        return Vec(self.machine, self.machine.builder.fneg(self.value))

    def _compare(self, name: str, other: Vec | float) -> Cond:
        y = self.machine.lift(other).value
        value = self.machine.builder.fcmp_ordered(name, self.value, y, flags=SUM_FLAGS)
        return Cond(self.machine, value)

    def __lt__(self, other: Vec | float) -> Cond:
        return self._compare("<", other)

    def __le__(self, other: Vec | float) -> Cond:
        return self._compare("<=", other)

    def __gt__(self, other: Vec | float) -> Cond:
        return self._compare(">", other)

    def __ge__(self, other: Vec | float) -> Cond:
        return self._compare(">=", other)

    def equals(self, other: Vec | float) -> Cond:
        """Return the lanes in which both are equal (never those with a NaN)."""
        return self._compare("==", other)

    def is_nan(self) -> Cond:
        """Return the lanes that hold no number."""
        value = self.machine.builder.fcmp_unordered("uno", self.value, self.value, flags=SUM_FLAGS)
        return Cond(self.machine, value)

    def bits(self) -> Bits:
        """Return the bit pattern."""
        return Bits(self.machine, self.machine.builder.bitcast(self.value, self.machine.pattern))


class Machine:
    """What is known while a function over vectors of ``w`` reals of ``bits`` bits is emitted."""

    def __init__(self, builder: ir.IRBuilder, bits: int, w: int) -> None:
        self.builder, self.bits, self.w = builder, bits, w
        self.element = ir.DoubleType() if bits == 64 else ir.FloatType()
        self.vector = ir.VectorType(self.element, w)
        self.pattern = ir.VectorType(ir.IntType(bits), w)
        self.mantissa, self.bias = (52, 1023) if bits == 64 else (23, 127)
        self.sign_bit = 1 << (bits - 1)
        self.exponent_mask = (2 * self.bias + 1) << self.mantissa

    # ------------------------------------------------------------------------------ constants
    def pick(self, wide: float, narrow: float) -> float:
        """Return the first in 64 bits and the second in 32."""
        return wide if self.bits == 64 else narrow

    def lift(self, value: Vec | float) -> Vec:
        """Return a vector with ``value`` in every lane."""
        if isinstance(value, Vec):
            return value
        return Vec(self, ir.Constant(self.vector, [float(value)] * self.w))

    def integers(self, value: int) -> ir.Constant:
        """Return the constant bit pattern ``value`` in every lane."""
        return ir.Constant(self.pattern, [value] * self.w)

    # ----------------------------------------------------------------------------- operations
    def intrinsic(self, name: str, *args: Vec | float) -> Vec:
        """Call LLVM's intrinsic ``name``, overloaded by the vector type."""
        return self.call(f"llvm.{name}.v{self.w}f{self.bits}", *args)

    def call(self, symbol: str, *args: Vec | float) -> Vec:
        """Call a function over vectors of this type."""
        values = [self.lift(arg).value for arg in args]
        signature = ir.FunctionType(self.vector, [self.vector] * len(values))
        function = cgutils.get_or_insert_function(self.builder.module, signature, symbol)
        return Vec(self, self.builder.call(function, values))

    def fma(self, a: Vec | float, b: Vec | float, c: Vec | float) -> Vec:
        """Return ``a * b + c``, rounded once."""
        return self.intrinsic("fma", a, b, c)

    def fabs(self, a: Vec) -> Vec:
        """Return the absolute value."""
        return self.intrinsic("fabs", a)

    def sqrt(self, a: Vec) -> Vec:
        """Return the square root."""
        return self.intrinsic("sqrt", a)

    def copysign(self, size: Vec, sign: Vec) -> Vec:
        """Return ``size`` with the sign of ``sign``."""
        return self.intrinsic("copysign", size, sign)

    def select(self, cond: Cond, a: Vec | float, b: Vec | float) -> Vec:
        """Return ``a`` where the condition holds, else ``b``."""
        x, y = self.lift(a).value, self.lift(b).value
        return Vec(self, self.builder.select(cond.value, x, y))

    def clamp(self, x: Vec, low: float, high: float) -> Vec:
        """Return ``x`` kept within the limits; a NaN stays one."""
        x = self.select(x > high, high, x)
        return self.select(x < low, low, x)

    def poly(self, x: Vec, coefficients: Sequence[float]) -> Vec:
        """Return ``sum(c[k] * x**k)`` with the short dependency chains of Estrin's scheme."""
        terms: list[Vec] = [self.lift(c) for c in coefficients]
        power = x
        while len(terms) > 2:
            pairs = zip(terms[1::2], terms[0::2], strict=False)
            odd = [terms[-1]] if len(terms) % 2 else []
            terms = [self.fma(high, power, low) for high, low in pairs] + odd
            power = power * power
        return self.fma(terms[1], power, terms[0]) if len(terms) == 2 else terms[0]

    # ------------------------------------------------------------------------- rare lanes
    def rescue(self, cond: Cond, remedy: Callable[[], Vec], usual: Vec) -> Vec:
        """Return ``remedy()`` where the condition holds, else ``usual``."""
        builder, before = self.builder, self.builder.block
        with builder.if_then(cond.any(), likely=False):
            repaired = self.select(cond, remedy(), usual).value
            inside = builder.block
        merged = builder.phi(self.vector)
        merged.add_incoming(usual.value, before)
        merged.add_incoming(repaired, inside)
        return Vec(self, merged)

    def each_lane(self, name: str, *args: Vec) -> Vec:
        """Call the C library's scalar function ``name`` for one lane after the other."""
        symbol = f"lane.each.{name}.f{self.bits}x{self.w}"
        module = self.builder.module
        if symbol not in module.globals:
            scalar = ir.FunctionType(self.element, [self.element] * len(args))
            suffix = "" if self.bits == 64 else "f"
            target = cgutils.get_or_insert_function(module, scalar, name + suffix)
            signature = ir.FunctionType(self.vector, [self.vector] * len(args))
            function = ir.Function(module, signature, symbol)
            function.linkage = "linkonce_odr"
            function.attributes.add("noinline")
            builder = ir.IRBuilder(function.append_basic_block())
            places = []
            for value in (*function.args, ir.Constant(self.vector, ir.Undefined)):
                place = builder.alloca(self.vector)
                builder.store(value, place)
                places.append(builder.bitcast(place, self.element.as_pointer()))
            with cgutils.for_range(builder, ir.Constant(ir.IntType(64), self.w)) as loop:
                slots = [builder.gep(place, [loop.index]) for place in places]
                result = builder.call(target, [builder.load(slot) for slot in slots[:-1]])
                builder.store(result, slots[-1])
            builder.ret(builder.load(builder.bitcast(places[-1], self.vector.as_pointer())))
        return self.call(symbol, *args)

    def widened(self) -> Machine:
        """Return the machine for the same lanes in 64 bits."""
        return Machine(self.builder, 64, self.w)

    def widen(self, x: Vec) -> Vec:
        """Return the lanes in 64 bits."""
        wide = self.widened()
        return Vec(wide, self.builder.fpext(x.value, wide.vector)) if self.bits == 32 else x

    def narrow(self, x: Vec) -> Vec:
        """Return 64-bit lanes rounded to this machine's precision."""
        if self.bits == 64:
            return x
        return Vec(self, self.builder.fptrunc(x.value, self.vector))

    # ------------------------------------------------------------------- error-free arithmetic
    def two_sum(self, a: Vec | float, b: Vec | float) -> tuple[Vec, Vec]:
        """Return the rounded sum and its error (Knuth)."""
        a, b = self.lift(a), self.lift(b)
        total = a + b
        part = total - a
        return total, (a - (total - part)) + (b - part)

    def fast_two_sum(self, a: Vec | float, b: Vec | float) -> tuple[Vec, Vec]:
        """Return the rounded sum and its error; ``|a| >= |b|`` or ``a == 0`` (Dekker)."""
        a, b = self.lift(a), self.lift(b)
        total = a + b
        return total, b - (total - a)

    def two_product(self, a: Vec | float, b: Vec | float) -> tuple[Vec, Vec]:
        """Return the rounded product and its error."""
        a, b = self.lift(a), self.lift(b)
        product = a * b
        return product, self.fma(a, b, -product)

    def quotient(self, a: Vec, a_low: Vec, b: Vec, b_low: Vec) -> tuple[Vec, Vec]:
        """Return ``(a + a_low) / (b + b_low)`` and its error, with one division."""
        inverse = 1.0 / b
        ratio = a * inverse
        rest = self.fma(-ratio, b, a) + (a_low - ratio * b_low)
        return ratio, rest * inverse

    # ------------------------------------------------------------------------ powers of two
    @property
    def round_shift(self) -> float:
        """The number whose addition rounds to an integer and leaves that in the low bits."""
        return 1.5 * 2.0**self.mantissa

    def power_of_two(self, shifted: Vec) -> Vec:
        """Return ``2**n`` for ``shifted = n + bias + round_shift``; it must be a normal number."""
        return (shifted.bits() << self.mantissa).real()

    def scale(self, x: Vec, shifted: Vec) -> Vec:
        """Return ``x * 2**n`` for ``shifted = n + 2 * bias + round_shift``.

        Multiplies by two halves of the power, so that overflow and gradual underflow come out
        rounded once; ``|n|`` up to ``bias + mantissa + 2``.
        """
        if "avx512f" in host_features() and self.w * self.bits % 512 == 0:
            return self._scale_by_instruction(x, shifted - (self.round_shift + 2 * self.bias))
        pattern = shifted.bits()
        half = (pattern << (self.mantissa - 1)) & self.exponent_mask
        return x * half.real() * ((pattern << self.mantissa) - half).real()

    def _scale_by_instruction(self, x: Vec, n: Vec) -> Vec:
        """Return ``x * 2**n`` by AVX-512's own instruction, which gives the same bits."""
        kind, lanes = ("pd", 8) if self.bits == 64 else ("ps", 16)
        register = ir.VectorType(self.element, lanes)
        every, as_now = ir.Constant(ir.IntType(lanes), -1), ir.Constant(ir.IntType(32), 4)
        signature = ir.FunctionType(register, [register] * 3 + [every.type, as_now.type])
        name = f"llvm.x86.avx512.mask.scalef.{kind}.512"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)

        def scale(a: ir.Value, b: ir.Value) -> ir.Value:
            return self.builder.call(function, [a, b, a, every, as_now])

        return self.by_registers(lanes, scale, x, n)

    def by_registers(self, lanes: int, apply: Callable[..., ir.Value], *args: Vec) -> Vec:
        """Apply a function over vectors of ``lanes`` lanes to one such part after the other.

        The last part may be partly filled: its other lanes repeat the last one.
        """
        if self.w == lanes:
            return Vec(self, apply(*[arg.value for arg in args]))

        def shuffle(a: ir.Value, b: ir.Value, order: list[int]) -> ir.Value:
            index = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
            return self.builder.shuffle_vector(a, b, index)

        w = self.w
        result = ir.Constant(self.vector, ir.Undefined)
        for start in range(0, w, lanes):
            taken = [min(start + i, w - 1) for i in range(lanes)]
            part = apply(*[shuffle(arg.value, arg.value, taken) for arg in args])
            spread = shuffle(part, part, [min(max(i - start, 0), lanes - 1) for i in range(w)])
            result = shuffle(result, spread, [i if i < start else w + i for i in range(w)])
        return Vec(self, result)

    def split_exponent(self, x: Vec, lowest: float) -> tuple[Vec, Vec]:
        """Return ``k`` and ``m`` with ``x = m * 2**k`` and ``lowest <= m < 2 * lowest``.

        For positive, finite ``x``; ``lowest`` must lie in [0.5, 1].
        """
        smallest = 2.0 ** (1 - self.bias)
        tiny = x < smallest
        lift = self.mantissa + 2
        pattern = self.select(tiny, x * 2.0**lift, x).bits()
        moved = pattern + ((self.bias << self.mantissa) - self.pattern_of(lowest))
        # The biased exponent below the mantissa of 2**mantissa is a number without conversion.
        base = 2.0**self.mantissa
        number = ((moved >> self.mantissa) | self.pattern_of(base)).real()
        k = number - self.select(tiny, base + self.bias + lift, base + self.bias)
        m = ((moved & ((1 << self.mantissa) - 1)) + self.pattern_of(lowest)).real()
        return k, m

    def pattern_of(self, value: float) -> int:
        """Return the bit pattern of a positive number."""
        code = ("<d", "<q") if self.bits == 64 else ("<f", "<i")
        return struct.unpack(code[1], struct.pack(code[0], value))[0]
