"""Inlined exponential, hyperbolic and error functions.

Reduction by Cody and Waite (1980): ``x = n * log(2) + r``; polynomials in ``r``; ``2**n`` is put
together from its bits. The hyperbolic functions use ``cosh(r)`` and ``sinh(r)`` of the rest, so
that they need neither a second exponential nor a division.
"""

from __future__ import annotations

from cubie_kernels.lane import cpu_math_coefficients as c
from cubie_kernels.lane.cpu_math_emit import Machine, Vec


def exp(m: Machine, x: Vec) -> Vec:
    """Return ``e**x``."""
    x = m.clamp(x, m.pick(-746.0, -104.0), m.pick(710.0, 89.0))
    shift = m.round_shift + 2 * m.bias
    shifted, r, _ = _reduce(m, x, shift)
    p = 1.0 + m.fma(r * r, m.poly(r, c.EXP[m.bits]), r)
    return m.scale(p, shifted)


def _reduce(m: Machine, x: Vec, shift: float) -> tuple[Vec, Vec, Vec]:
    """Return ``n + shift``, and ``x - n * log(2)`` as a rounded number."""
    high, low = c.LN2[m.bits]
    shifted = m.fma(x, c.LOG2E[m.bits][0], shift)
    n = shifted - shift
    return shifted, m.fma(n, -low, m.fma(n, -high, x)), n


def _reduce_twice(m: Machine, x: Vec, shift: float) -> tuple[Vec, Vec, Vec, Vec]:
    """Return ``n + shift``, ``n``, and ``x - n * log(2)`` as a sum of two numbers."""
    high, low = c.LN2[m.bits]
    shifted = m.fma(x, c.LOG2E[m.bits][0], shift)
    n = shifted - shift
    first = m.fma(n, -high, x)
    r = m.fma(n, -low, first)
    return shifted, n, r, m.fma(n, -low, first - r)


def exp_inside(m: Machine, x: Vec) -> Vec:
    """Return ``e**x`` for an ``x`` whose power of two is a normal number."""
    shifted, r, _ = _reduce(m, x, m.round_shift + m.bias)
    return m.power_of_two(shifted) * (1.0 + m.fma(r * r, m.poly(r, c.EXP[m.bits]), r))


def exp_of_sum(m: Machine, x: Vec, x_low: Vec) -> Vec:
    """Return ``e**(x + x_low)`` for a small ``x_low``."""
    inside = m.fabs(x) < m.pick(746.0, 104.0)
    x_low = m.select(inside, x_low, 0.0)
    x = m.clamp(x, m.pick(-746.0, -104.0), m.pick(710.0, 89.0))
    high, low = c.LN2[m.bits]
    shift = m.round_shift + 2 * m.bias
    shifted = m.fma(x, c.LOG2E[m.bits][0], shift)
    n = shifted - shift
    first = m.fma(n, -high, x)
    rest = m.fma(n, -low, x_low)
    r = first + rest
    r_low = (first - r) + rest
    p = 1.0 + (r + m.fma(r * r, m.poly(r, c.EXP[m.bits]), r_low))
    return m.scale(p, shifted)


def exp2(m: Machine, x: Vec) -> Vec:
    """Return ``2**x``."""
    x = m.clamp(x, m.pick(-1076.0, -151.0), m.pick(1025.0, 129.0))
    shift = m.round_shift + 2 * m.bias
    shifted = x + shift
    r = x - (shifted - shift)
    high, low = c.LN2[m.bits]
    tail = m.fma(r * r, m.poly(r, c.EXP2[m.bits]), r * low)
    return m.scale(1.0 + m.fma(r, high, tail), shifted)


def expm1(m: Machine, x: Vec) -> Vec:
    """Return ``e**x - 1``, accurate near zero."""
    inside = m.clamp(x, m.pick(-40.0, -20.0), m.pick(710.0, 89.0))
    # Half the power of two, for it would overflow before the result does.
    shifted, _, r, r_low = _reduce_twice(m, inside, m.round_shift + m.bias - 1)
    power = m.power_of_two(shifted)
    tail = m.fma(r * r, m.poly(r, c.EXP[m.bits]), r_low)
    total, error = m.fast_two_sum(power - 0.5, r * power)
    error = error + m.fma(r, power, -(r * power))
    result = 2.0 * (total + m.fma(tail, power, error))
    return m.copysign(result, x)


def _hyperbolic(m: Machine, a: Vec, largest: float, lift: int) -> tuple[Vec, Vec, Vec, Vec]:
    """Return parts of sinh and cosh of ``a >= 0``, times ``2**(lift + 1)``.

    With ``a = n * log(2) + r`` they are ``sinh(n * log(2))`` and the rest of ``sinh(a)``, then the
    same for cosh, to be added.
    """
    a = m.select(a > largest, largest, a)
    shift = m.round_shift + m.bias + lift
    shifted, n, r, r_low = _reduce_twice(m, a, shift)
    negligible = m.pick(100.0, 40.0)
    up = m.power_of_two(shifted)
    down = m.power_of_two(shift - m.select(n > negligible, negligible, n))
    big_cosh, big_sinh = up + down, up - down
    z = r * r
    sinh_r = r + m.fma(r * z, m.poly(z, c.SINH[m.bits]), r_low)
    cosh_r = m.fma(z, m.poly(z, c.COSH[m.bits]), r * r_low)
    sinh_lost, cosh_lost = (up - big_sinh) - down, (up - big_cosh) + down
    sinh_rest = m.fma(sinh_r, big_cosh, m.fma(cosh_r, big_sinh, sinh_lost))
    cosh_rest = m.fma(sinh_r, big_sinh, m.fma(cosh_r, big_cosh, cosh_lost))
    return big_sinh, sinh_rest, big_cosh, cosh_rest


def sinh(m: Machine, x: Vec) -> Vec:
    """Return the hyperbolic sine."""
    high, rest, _, _ = _hyperbolic(m, m.fabs(x), m.pick(710.5, 89.5), -2)
    return m.copysign(2.0 * (high + rest), x)


def cosh(m: Machine, x: Vec) -> Vec:
    """Return the hyperbolic cosine."""
    _, _, high, rest = _hyperbolic(m, m.fabs(x), m.pick(710.5, 89.5), -2)
    return 2.0 * (high + rest)


def tanh(m: Machine, x: Vec) -> Vec:
    """Return the hyperbolic tangent."""
    sinh_n, sinh_rest, cosh_n, cosh_rest = _hyperbolic(m, m.fabs(x), m.pick(22.0, 11.0), -1)
    top, top_low = m.fast_two_sum(sinh_n, sinh_rest)
    bottom, bottom_low = m.fast_two_sum(cosh_n, cosh_rest)
    ratio, rest = m.quotient(top, top_low, bottom, bottom_low)
    return m.copysign(ratio + rest, x)


def erf(m: Machine, x: Vec) -> Vec:
    """Return the error function: a polynomial up to 1, then ``1 - exp(polynomial)``."""
    a = m.fabs(x)
    near = m.fma(x, m.poly(x * x, c.ERF[m.bits]), x)
    largest = m.pick(6.0, 4.0)
    beyond = m.select(a > largest, largest, a)
    far = m.copysign(1.0 - exp_inside(m, m.poly(beyond, c.ERFC[m.bits])), x)
    return m.select(a < 1.0, near, far)
