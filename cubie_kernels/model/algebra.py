"""Rules for derivatives: of each operation by its arguments, and for sums and products of them.

The rules for sums and products simplify more than a :class:`Builder` alone, as derivatives need
not equal any text to the bit: literals are collected, equal terms added up.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from cubie_kernels.model.graph import Builder

__all__ = ["Algebra"]

_MOST_FACTORS = 64  # of a product that is looked at as a power


class Algebra:
    """Sums and products of nodes of a graph.

    A product with a choice that is 0 on one side is 0 on that side: the derivative of
    ``select(x > 0, sqrt(x), 0)`` at ``x = 0`` is 0, not the NaN of ``0*inf``.

    Parameters
    ----------
    builder : Builder
        The graph to extend.
    """

    def __init__(self, builder: Builder) -> None:
        self.builder = builder

    def number(self, value: float) -> int:
        """Return the node of a literal."""
        return self.builder.number(value)

    def of(self, op: str, *args: int) -> int:
        """Return the node of an operation."""
        return self.builder.apply(op, *args)

    def times(self, a: int, b: int) -> int:
        """Return ``a*b``."""
        (value_a, core_a), (value_b, core_b) = self._split(a), self._split(b)
        if not _safe(value_a, value_b):
            return self.of("*", a, b)
        value = value_a * value_b
        if core_a is None or core_b is None:
            return self._scaled(value, core_a if core_b is None else core_b)
        for choice, other in ((core_a, core_b), (core_b, core_a)):
            if self._half_zero(choice):
                mask, first, second = self.builder.nodes[choice].args
                other = self._scaled(value, other)
                return self.of("select", mask, self.times(first, other), self.times(second, other))
        return self._scaled(value, self.of("*", core_a, core_b))

    def plus(self, a: int, b: int) -> int:
        """Return ``a + b``."""
        (value_a, core_a), (value_b, core_b) = self._split(a), self._split(b)
        if core_a == core_b and math.isfinite(value_a + value_b):
            return self._scaled(value_a + value_b, core_a)
        if self._half_zero(a) and self._half_zero(b):
            (mask, *firsts), (other, *seconds) = self._args(a), self._args(b)
            pairs = list(zip(firsts, seconds, strict=True))
            if mask == other:
                return self.of("select", mask, *(self.plus(p, q) for p, q in pairs))
        if value_b < 0.0:
            return self.of("-", a, self._scaled(-value_b, core_b))
        if value_a < 0.0:
            return self.of("-", b, self._scaled(-value_a, core_a))
        return self.of("+", a, b)

    def minus(self, a: int) -> int:
        """Return ``-a``."""
        return self.times(self.number(-1.0), a)

    def over(self, a: float, b: int) -> int:
        """Return ``a/b``."""
        return self.of("/", self.number(a), b)

    def partials(self, at: int) -> list[tuple[int, Callable[[], int]]]:
        """Return the nodes that a node is computed from, and how to derive it by each of them.

        The nodes are the arguments. But ``x**2.5``, which is ``x*x*sqrt(x)``, is derived by ``x``
        at once: that has no NaN at 0.
        """
        node = self.builder.nodes[at]
        if node.op == "*":
            for root, product in (node.args, node.args[::-1]):
                if self.builder.nodes[root].op == "sqrt":
                    base = self._args(root)[0]
                    whole = self._exponent(product, base)
                    if whole:
                        return [(base, functools.partial(self._half_power, base, whole + 0.5))]
        return [
            (arg, functools.partial(rule, self, at, *node.args))
            for arg, rule in zip(node.args, _PARTIALS.get(node.op, ()), strict=False)
            if rule is not None
        ]

    def _exponent(self, at: int, base: int) -> int:
        """Return ``n`` if a node is the product of ``n`` times ``base``, otherwise 0."""
        stack, n = [at], 0
        while stack and n < _MOST_FACTORS:
            at = stack.pop()
            if at == base:
                n += 1
            elif self.builder.nodes[at].op == "*":
                stack += self._args(at)
            else:
                return 0
        return 0 if stack else n

    def _half_power(self, base: int, exponent: float) -> int:
        """Return the derivative of ``base**exponent`` by ``base``."""
        power = self.builder.power(base, self.number(exponent - 1.0))
        return self.times(self.number(exponent), power)

    def _args(self, at: int) -> tuple[int, ...]:
        return self.builder.nodes[at].args

    def _zero(self, at: int) -> bool:
        return self.builder.literal(at) == 0.0

    def _half_zero(self, at: int) -> bool:
        node = self.builder.nodes[at]
        return node.op == "select" and (self._zero(node.args[1]) or self._zero(node.args[2]))

    def _split(self, at: int) -> tuple[float, int | None]:
        """Return a node as a literal times another node, or as a literal alone."""
        value = 1.0
        while True:
            op, args, own = self.builder.nodes[at]
            if op == "number":
                return value * own, None
            if op == "neg":
                value, at = -value, args[0]
                continue
            if op == "*" and self.builder.literal(args[0]) is None:
                args = args[::-1]
            factor = self.builder.literal(args[0]) if op in ("*", "/") else None
            if factor is None or not _safe(value, factor) or (op == "/" and factor == 1.0):
                return value, at
            value *= factor
            if op == "/":
                return value, self.over(1.0, args[1])
            at = args[1]

    def _scaled(self, value: float, core: int | None) -> int:
        if core is None or value == 0.0:
            return self.number(value + 0.0)  # no -0.0
        node = self.builder.nodes[core]
        if node.op == "/" and self.builder.literal(node.args[0]) == 1.0:
            return self.over(value, node.args[1])
        return self.of("*", self.number(value), core)


def _safe(a: float, b: float) -> bool:
    """Say whether a product of literals neither overflows nor vanishes."""
    return math.isfinite(a * b) and (a * b != 0.0 or 0.0 in (a, b))


Rule = Callable[..., int]

_LOG_2, _LOG_10 = math.log(2.0), math.log(10.0)


def _one(g: Algebra, q: int, *args: int) -> int:
    return g.number(1.0)


def _square(g: Algebra, x: int) -> int:
    return g.times(x, x)


def _shifted(g: Algebra, value: float, x: int) -> int:
    """Return ``value + x``."""
    return g.plus(g.number(value), x)


def _inverse_root(g: Algebra, inside: int) -> int:
    return g.over(1.0, g.of("sqrt", inside))


def _one_minus_square(g: Algebra, x: int) -> int:
    """Return ``1 - x**2`` as a product, accurate near 1."""
    return g.of("*", g.of("-", g.number(1.0), x), g.of("+", g.number(1.0), x))


def _quotient_by_denominator(g: Algebra, q: int, a: int, b: int) -> int:
    inverse = g.over(1.0, b)
    return g.minus(g.times(g.times(a, inverse), inverse))


def _power_by_base(g: Algebra, q: int, x: int, n: int) -> int:
    value = g.builder.literal(n)
    if value is not None:
        return g.times(n, g.builder.power(x, g.number(float(value) - 1.0)))
    less = g.times(n, g.builder.power(x, g.plus(n, g.number(-1.0))))
    return g.of("select", g.of("==", n, g.number(0.0)), g.number(0.0), less)


def _power_by_exponent(g: Algebra, q: int, x: int, n: int) -> int:
    zero = g.number(0.0)
    return g.of("select", g.of("==", q, zero), zero, g.times(q, g.of("log", x)))


def _angle(g: Algebra, y: int, x: int) -> int:
    return g.over(1.0, g.plus(_square(g, x), _square(g, y)))


def _chosen(which: int, comparison: str | None = None) -> Rule:
    """Return the derivative of a choice by one of its two sides."""

    def rule(g: Algebra, q: int, *args: int) -> int:
        mask = args[0] if comparison is None else g.of(comparison, *args)
        sides = [g.number(float(which == i)) for i in range(2)]
        return g.of("select", mask, *sides)

    return rule


# The derivative by each argument, from the node itself (q) and its arguments; None is 0.
_PARTIALS: dict[str, tuple[Rule | None, ...]] = {
    "+": (_one, _one),
    "-": (_one, lambda g, q, a, b: g.number(-1.0)),
    "*": (lambda g, q, a, b: b, lambda g, q, a, b: a),
    "/": (lambda g, q, a, b: g.over(1.0, b), _quotient_by_denominator),
    "neg": (lambda g, q, x: g.number(-1.0),),
    "sqrt": (lambda g, q, x: g.over(0.5, q),),
    "cbrt": (lambda g, q, x: g.over(1.0, g.times(g.number(3.0), _square(g, q))),),
    "exp": (lambda g, q, x: q,),
    "expm1": (lambda g, q, x: _shifted(g, 1.0, q),),
    "exp2": (lambda g, q, x: g.times(g.number(_LOG_2), q),),
    "log": (lambda g, q, x: g.over(1.0, x),),
    "log1p": (lambda g, q, x: g.over(1.0, _shifted(g, 1.0, x)),),
    "log2": (lambda g, q, x: g.over(1.0 / _LOG_2, x),),
    "log10": (lambda g, q, x: g.over(1.0 / _LOG_10, x),),
    "sin": (lambda g, q, x: g.of("cos", x),),
    "cos": (lambda g, q, x: g.minus(g.of("sin", x)),),
    "tan": (lambda g, q, x: _shifted(g, 1.0, _square(g, q)),),
    "asin": (lambda g, q, x: _inverse_root(g, _one_minus_square(g, x)),),
    "acos": (lambda g, q, x: g.minus(_inverse_root(g, _one_minus_square(g, x))),),
    "atan": (lambda g, q, x: g.over(1.0, _shifted(g, 1.0, _square(g, x))),),
    "atan2": (
        lambda g, q, y, x: g.times(x, _angle(g, y, x)),
        lambda g, q, y, x: g.minus(g.times(y, _angle(g, y, x))),
    ),
    "sinh": (lambda g, q, x: g.of("cosh", x),),
    "cosh": (lambda g, q, x: g.of("sinh", x),),
    "tanh": (lambda g, q, x: _one_minus_square(g, q),),
    "asinh": (lambda g, q, x: g.over(1.0, g.of("hypot", x, g.number(1.0))),),
    "acosh": (
        lambda g, q, x: g.over(
            1.0, g.times(g.of("sqrt", _shifted(g, -1.0, x)), g.of("sqrt", _shifted(g, 1.0, x)))
        ),
    ),
    "atanh": (lambda g, q, x: g.over(1.0, _one_minus_square(g, x)),),
    "pow": (_power_by_base, _power_by_exponent),
    "hypot": (
        lambda g, q, x, y: g.times(x, g.over(1.0, q)),
        lambda g, q, x, y: g.times(y, g.over(1.0, q)),
    ),
    "erf": (
        lambda g, q, x: g.times(
            g.number(2.0 / math.sqrt(math.pi)), g.of("exp", g.minus(_square(g, x)))
        ),
    ),
    "fabs": (lambda g, q, x: g.of("sign", x),),
    "sign": (None,),
    "floor": (None,),
    "ceil": (None,),
    "trunc": (None,),
    "rint": (None,),
    "minimum": (_chosen(0, "<"), _chosen(1, "<")),
    "maximum": (_chosen(0, ">"), _chosen(1, ">")),
    "fmod": (
        _one,
        lambda g, q, x, y: g.of("rint", g.of("/", g.of("-", q, x), y)),
    ),
    "select": (None, _chosen(0), _chosen(1)),
}
