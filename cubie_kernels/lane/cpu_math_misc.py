"""Inlined roots, rounding and remainders."""

from __future__ import annotations

import math

from cubie_kernels.lane import cpu_math_coefficients as c
from cubie_kernels.lane.cpu_math_emit import Machine, Vec

# 2**(-1/3) and 2**(-2/3): what a doubling and two do to the inverse cube root.
INVERSE_ROOTS = (0.7937005259840998, 0.6299605249474366)


def cbrt(m: Machine, x: Vec) -> Vec:
    """Return the cube root: a step of fourth order for its inverse, then a corrected one."""
    a = m.fabs(x)
    k, mantissa = m.split_exponent(a, 1.0)
    shift = m.round_shift + m.bias
    shifted = m.fma(k - 1.0, 1.0 / 3.0, shift)
    third = shifted - shift
    left = m.fma(third, -3.0, k)
    factor = m.select(
        left.equals(1.0), INVERSE_ROOTS[0], m.select(left > 1.0, INVERSE_ROOTS[1], 1.0)
    )
    y = m.poly(mantissa, c.CBRT[m.bits]) * factor
    value = mantissa * m.power_of_two(left + shift)
    h = m.fma(-(value * y), y * y, 1.0)
    y = m.fma(y * h, m.fma(h, m.fma(h, 14.0 / 81.0, 2.0 / 9.0), 1.0 / 3.0), y)
    inverse_square = y * y
    root = value * inverse_square
    square, square_low = m.two_product(root, root)
    rest = m.fma(-square, root, value) - square_low * root
    root = m.fma(rest * (1.0 / 3.0), inverse_square, root)
    result = m.copysign(root * m.power_of_two(shifted), x)
    return m.select((a > 0.0) & (a < math.inf), result, x)


def hypot(m: Machine, x: Vec, y: Vec) -> Vec:
    """Return ``sqrt(x**2 + y**2)`` without undue overflow or underflow."""
    if m.bits == 32:
        w = m.widened()
        a, b = m.widen(x), m.widen(y)
        result = m.narrow(w.sqrt(w.fma(a, a, b * b)))
    else:
        a, b = m.fabs(x), m.fabs(y)
        large = m.select(a > b, a, b)
        up, down = large < 2.0**-450, large > 2.0**500
        scale = m.select(down, 2.0**-600, m.select(up, 2.0**600, 1.0))
        back = m.select(down, 2.0**600, m.select(up, 2.0**-600, 1.0))
        a, b = a * scale, b * scale
        result = m.sqrt(m.fma(a, a, b * b)) * back
    infinite = m.fabs(x).equals(math.inf) | m.fabs(y).equals(math.inf)
    return m.select(infinite, math.inf, result)


def sign(m: Machine, x: Vec) -> Vec:
    """Return -1, 0 or 1 (NaN for NaN)."""
    return m.select(x > 0.0, 1.0, m.select(x < 0.0, -1.0, x + 0.0))


def ceil(m: Machine, x: Vec) -> Vec:
    """Return the least integer that is not below ``x``."""
    return m.intrinsic("ceil", x)


def trunc(m: Machine, x: Vec) -> Vec:
    """Return the integer next to ``x`` in the direction of zero."""
    return m.intrinsic("trunc", x)


def rint(m: Machine, x: Vec) -> Vec:
    """Return the nearest integer, ties to even."""
    return m.intrinsic("rint", x)


def fmod(m: Machine, x: Vec, y: Vec) -> Vec:
    """Return the exact remainder of ``x / y`` that has the sign of ``x``."""
    a, b = m.fabs(x), m.fabs(y)
    ratio = a / b
    q = m.intrinsic("trunc", ratio)
    rest = m.fma(-q, b, a)
    # The rounded quotient may be one off.
    rest = m.select(rest < 0.0, rest + b, m.select(rest >= b, rest - b, rest))
    result = m.copysign(m.select(a < b, a, rest), x)
    far = (ratio >= m.pick(2.0**52, 2.0**23)) & (a < math.inf) & (b > 0.0)
    return m.rescue(far, lambda: m.each_lane("fmod", x, y), result)
