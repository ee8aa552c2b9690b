"""Inlined trigonometric functions and their inverses.

Arguments are reduced with pi in three parts (Cody and Waite) through fused multiply-adds, which
leaves the first step exact; lanes beyond that reach go to the C library one by one.
"""

from __future__ import annotations

from cubie_kernels.lane import cpu_math_coefficients as c
from cubie_kernels.lane.cpu_math_emit import Machine, Vec

ONE_OVER_PI = 0.3183098861837907
LARGEST = {64: 2.0**30, 32: 2.0**17}


def _subtract(m: Machine, x: Vec, n: Vec, parts: tuple[float, ...]) -> tuple[Vec, Vec]:
    """Return ``x - n * sum(parts)`` as a sum of two numbers."""
    first = m.fma(n, -parts[0], x)
    product, error = m.two_product(n, parts[1])
    r = first - product
    return r, ((first - r) - product) - m.fma(n, parts[2], error)


def _sine(m: Machine, r: Vec, low: Vec) -> Vec:
    """Return ``sin(r + low)`` for ``r`` within pi/2 of zero."""
    z = r * r
    # The slope 1 - 4 z / pi**2 stands for the cosine: exact at both ends, where it matters.
    correction = low * m.fma(z, -0.4052847345693511, 1.0)
    return r + m.fma(r * z, m.poly(z, c.SIN[m.bits]), correction)


def sin(m: Machine, x: Vec) -> Vec:
    """Return the sine."""
    shifted = m.fma(x, ONE_OVER_PI, m.round_shift)
    n = shifted - m.round_shift
    r, low = _subtract(m, x, n, c.PI[m.bits])
    value = m.copysign(_sine(m, r, low), r)
    flip = shifted.bits() << (m.bits - 1)
    result = (value.bits() ^ flip).real()
    far = m.fabs(x) > LARGEST[m.bits]
    return m.rescue(far, lambda: m.each_lane("sin", x), result)


def cos(m: Machine, x: Vec) -> Vec:
    """Return the cosine."""
    shifted = m.fma(x, ONE_OVER_PI, -0.5) + m.round_shift
    n = (shifted - m.round_shift) + 0.5
    r, low = _subtract(m, x, n, c.PI[m.bits])
    flip = (shifted.bits() << (m.bits - 1)) ^ m.sign_bit
    result = (_sine(m, r, low).bits() ^ flip).real()
    far = m.fabs(x) > LARGEST[m.bits]
    return m.rescue(far, lambda: m.each_lane("cos", x), result)


def tan(m: Machine, x: Vec) -> Vec:
    """Return the tangent as the quotient of sine and cosine, both with their errors."""
    shifted = m.fma(x, 2.0 * ONE_OVER_PI, m.round_shift)
    n = shifted - m.round_shift
    r, low = _subtract(m, x, n, c.HALF_PI[m.bits])
    z = r * r
    sine, sine_low = m.fast_two_sum(r, m.fma(r * z, m.poly(z, c.SINQ[m.bits]), low))
    half = 0.5 * z
    cosine = 1.0 - half
    rest = (1.0 - cosine) - half
    tail = m.fma(z * z, m.poly(z, c.COSQ[m.bits]), rest - r * low)
    cosine, cosine_low = m.fast_two_sum(cosine, tail)
    odd_bit = shifted.bits() << (m.bits - 1)
    odd = odd_bit.nonzero()
    ratio, rest = m.quotient(
        m.select(odd, cosine, sine),
        m.select(odd, cosine_low, sine_low),
        m.select(odd, sine, cosine),
        m.select(odd, sine_low, cosine_low),
    )
    result = ((ratio + rest).bits() ^ odd_bit).real()
    result = m.select(m.fabs(x) > 0.0, result, x)
    far = m.fabs(x) > LARGEST[m.bits]
    return m.rescue(far, lambda: m.each_lane("tan", x), result)


def _arcsine(m: Machine, x: Vec) -> tuple[Vec, Vec, Vec, Vec]:
    """Return ``s`` and its rest in ``asin``; for ``|x| > 1/2``, those of ``sqrt((1 - |x|) / 2)``.

    The third is the error of the root, the fourth ``|x|``.
    """
    a = m.fabs(x)
    outer = a > 0.5
    z = m.select(outer, (1.0 - a) * 0.5, x * x)
    root = m.sqrt(z)
    s = m.select(outer, root, x)
    smallest = m.pick(2.0**-1000, 2.0**-120)
    error = m.fma(-root, root, z) / (root + root + smallest)
    return s, s * z * m.poly(z, c.ASIN[m.bits]), error, a


def asin(m: Machine, x: Vec) -> Vec:
    """Return the inverse sine."""
    s, rest, error, a = _arcsine(m, x)
    high, low, _ = c.HALF_PI[m.bits]
    total, lost = m.fast_two_sum(high, -2.0 * s)
    outer = total + (lost + (low - 2.0 * (rest + error)))
    return m.select(a > 0.5, m.copysign(outer, x), s + rest)


def acos(m: Machine, x: Vec) -> Vec:
    """Return the inverse cosine."""
    s, rest, error, a = _arcsine(m, x)
    high, low, _ = c.HALF_PI[m.bits]
    total, lost = m.fast_two_sum(high, -s)
    inner = total + (lost + (low - rest))
    near_one = 2.0 * (s + (rest + error))
    pi_high, pi_low, _ = c.PI[m.bits]
    near_minus_one = pi_high - (near_one - pi_low)
    outer = m.select(x > 0.0, near_one, near_minus_one)
    return m.select(a > 0.5, outer, inner)


def _arctangent(m: Machine, t: Vec) -> Vec:
    """Return ``atan(t) - t`` for ``|t| <= 1``."""
    z = t * t
    return t * z * m.poly(z, c.ATAN[m.bits])


def atan(m: Machine, x: Vec) -> Vec:
    """Return the inverse tangent."""
    largest = m.pick(1e300, 1e30)
    a = m.fabs(x)
    a = m.select(a > largest, largest, a)
    outer = a > 1.0
    top, bottom = m.select(outer, 1.0, a), m.select(outer, a, 1.0)
    t, t_low = m.quotient(top, m.lift(0.0), bottom, m.lift(0.0))
    # The slope 1 - t / 2 stands for 1 / (1 + t**2).
    rest = m.fma(t_low, 1.0 - 0.5 * t, _arctangent(m, t))
    high, low, _ = c.HALF_PI[m.bits]
    outer_angle = (high - t) + (low - rest)
    return m.copysign(m.select(outer, outer_angle, t + rest), x)


def atan2(m: Machine, y: Vec, x: Vec) -> Vec:
    """Return the angle of the point ``(x, y)``, with the special cases of IEEE 754."""
    ax, ay = m.fabs(x), m.fabs(y)
    swap = ay > ax
    top, bottom = m.select(swap, ax, ay), m.select(swap, ay, ax)
    infinite = top.equals(float("inf")) & bottom.equals(float("inf"))
    t = m.select((ax + ay).equals(0.0), 0.0, m.select(infinite, 1.0, top / bottom))
    angle = t + _arctangent(m, t)
    high, low, _ = c.HALF_PI[m.bits]
    angle = m.select(swap, high - (angle - low), angle)
    left = (x.bits() & m.sign_bit).nonzero()
    pi_high, pi_low, _ = c.PI[m.bits]
    angle = m.select(left, pi_high - (angle - pi_low), angle)
    return m.copysign(angle, y)
