"""Inlined trigonometric functions and their inverses.

Arguments are reduced with pi in three parts (Cody and Waite) through fused multiply-adds, which
leaves the first step exact; lanes beyond that reach go to the C library one by one.
"""

from __future__ import annotations

from cubie_kernels.lane import cpu_math_coefficients as c
from cubie_kernels.lane.cpu_math_emit import Machine, Vec

TWO_OVER_PI = 0.6366197723675814
LARGEST = {64: 2.0**30, 32: 2.0**17}


def _reduce(m: Machine, x: Vec) -> tuple[Vec, Vec, Vec]:
    """Return ``n + shift`` and ``x - n * pi/2`` as a sum of two numbers, the first within pi/4."""
    shifted = m.fma(x, TWO_OVER_PI, m.round_shift)
    n = shifted - m.round_shift
    high, middle, low = c.HALF_PI_CUT[m.bits]
    first = m.fma(n, -high, x)
    product, error = m.two_product(n, middle)
    r = first - product
    return shifted, r, ((first - r) - product) - m.fma(n, low, error)


def _sine(m: Machine, r: Vec, low: Vec, z: Vec) -> Vec:
    """Return ``sin(r + low) - r``."""
    return m.fma(r * z, m.poly(z, c.SIN[m.bits]), low)


def _cosine(m: Machine, r: Vec, low: Vec, z: Vec) -> tuple[Vec, Vec]:
    """Return ``cos(r + low)`` as a sum of two numbers."""
    half = 0.5 * z
    cosine = 1.0 - half
    rest = (1.0 - cosine) - half
    return cosine, m.fma(z * z, m.poly(z, c.COS[m.bits]), m.fma(-r, low, rest))


def _wave(m: Machine, x: Vec, quarter: int, name: str) -> Vec:
    """Return the sine of ``x`` moved by ``quarter`` times pi/2."""
    shifted, r, low = _reduce(m, x)
    z = r * r
    sine = m.copysign(r + _sine(m, r, low, z), r)
    cosine, rest = _cosine(m, r, low, z)
    turn = shifted.bits() + quarter
    odd = (turn << (m.bits - 1)).nonzero()
    value = m.select(odd, cosine + rest, sine)
    result = (value.bits() ^ ((turn << (m.bits - 2)) & m.sign_bit)).real()
    far = m.fabs(x) > LARGEST[m.bits]
    return m.rescue(far, lambda: m.each_lane(name, x), result)


def sin(m: Machine, x: Vec) -> Vec:
    """Return the sine."""
    return _wave(m, x, 0, "sin")


def cos(m: Machine, x: Vec) -> Vec:
    """Return the cosine."""
    return _wave(m, x, 1, "cos")


def tan(m: Machine, x: Vec) -> Vec:
    """Return the tangent as the quotient of sine and cosine, both with their errors."""
    shifted, r, low = _reduce(m, x)
    z = r * r
    sine, sine_low = m.fast_two_sum(r, _sine(m, r, low, z))
    cosine, cosine_low = m.fast_two_sum(*_cosine(m, r, low, z))
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
    high, low = c.HALF_PI[m.bits]
    total, lost = m.fast_two_sum(high, -2.0 * s)
    outer = total + (lost + (low - 2.0 * (rest + error)))
    return m.select(a > 0.5, m.copysign(outer, x), s + rest)


def acos(m: Machine, x: Vec) -> Vec:
    """Return the inverse cosine."""
    s, rest, error, a = _arcsine(m, x)
    high, low = c.HALF_PI[m.bits]
    total, lost = m.fast_two_sum(high, -s)
    inner = total + (lost + (low - rest))
    near_one = 2.0 * (s + (rest + error))
    pi_high, pi_low = c.PI[m.bits]
    near_minus_one = pi_high - (near_one - pi_low)
    outer = m.select(x > 0.0, near_one, near_minus_one)
    return m.select(a > 0.5, outer, inner)


def _arctangent_rest(m: Machine, t: Vec, t_low: Vec) -> Vec:
    """Return ``atan(t + t_low) - t`` for ``|t| <= 1``."""
    z = t * t
    # The slope 1 - t / 2 stands for 1 / (1 + t**2).
    return m.fma(t_low, 1.0 - 0.5 * t, t * z * m.poly(z, c.ATAN[m.bits]))


def atan(m: Machine, x: Vec) -> Vec:
    """Return the inverse tangent."""
    largest = m.pick(1e300, 1e30)
    a = m.fabs(x)
    a = m.select(a > largest, largest, a)
    outer = a > 1.0
    top, bottom = m.select(outer, 1.0, a), m.select(outer, a, 1.0)
    t, t_low = m.quotient(top, m.lift(0.0), bottom, m.lift(0.0))
    rest = _arctangent_rest(m, t, t_low)
    high, low = c.HALF_PI[m.bits]
    outer_angle = (high - t) + (low - rest)
    return m.copysign(m.select(outer, outer_angle, t + rest), x)


def atan2(m: Machine, y: Vec, x: Vec) -> Vec:
    """Return the angle of the point ``(x, y)``, with the special cases of IEEE 754."""
    ax, ay = m.fabs(x), m.fabs(y)
    swap = ay > ax
    top, bottom = m.select(swap, ax, ay), m.select(swap, ay, ax)
    infinite = top.equals(float("inf")) & bottom.equals(float("inf"))
    t = m.select((ax + ay).equals(0.0), 0.0, m.select(infinite, 1.0, top / bottom))
    usual = (bottom > 0.0) & (bottom < float("inf"))
    t_low = m.select(usual, m.fma(-t, bottom, top) / bottom, 0.0)
    rest = _arctangent_rest(m, t, t_low)
    high, low = c.HALF_PI[m.bits]
    angle = m.select(swap, (high - t) + (low - rest), t + rest)
    left = (x.bits() & m.sign_bit).nonzero()
    pi_high, pi_low = c.PI[m.bits]
    angle = m.select(left, pi_high - (angle - pi_low), angle)
    return m.copysign(angle, y)
