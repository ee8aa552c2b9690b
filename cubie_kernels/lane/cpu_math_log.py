"""Inlined logarithms, inverse hyperbolic functions and powers.

``x = m * 2**k`` with ``m`` within a factor sqrt(2) of 1; ``log(m)`` from the series in
``s = f / (2 + f)``, ``f = m - 1``, arranged as in Sun's fdlibm (1993).
"""

from __future__ import annotations

import math

from cubie_kernels.lane import cpu_math_coefficients as c
from cubie_kernels.lane.cpu_math_emit import Machine, Vec
from cubie_kernels.lane.cpu_math_exp import exp_of_sum

SQRT_HALF = math.sqrt(0.5)
INFINITY, NAN = math.inf, math.nan


def _limits(m: Machine, x: Vec, result: Vec) -> Vec:
    """Return what a logarithm is at zero, at infinity and below zero, else ``result``."""
    beyond = m.select(x.equals(0.0), -INFINITY, NAN)
    return m.select(x > 0.0, m.select(x < INFINITY, result, x), beyond)


def _tail(m: Machine, f: Vec) -> Vec:
    """Return ``log(1 + f) - f``."""
    half = 0.5 * f * f
    if m.bits == 32:
        return m.fma(f * f * f, m.poly(f, c.LOGF[32]), -half)
    s = f / (2.0 + f)
    z = s * s
    return s * m.fma(z, m.poly(z, c.LOG[64]), half) - half


def log(m: Machine, x: Vec) -> Vec:
    """Return the natural logarithm."""
    k, mantissa = m.split_exponent(x, SQRT_HALF)
    f = mantissa - 1.0
    high, low = c.LN2_SHORT[m.bits]
    result = m.fma(k, high, f + m.fma(k, low, _tail(m, f)))
    return _limits(m, x, result)


def _log_of_sum(m: Machine, x: Vec, x_low: Vec, doublings: Vec | float = 0.0) -> Vec:
    """Return ``log((x + x_low) * 2**doublings)`` for positive, finite arguments."""
    k, mantissa = m.split_exponent(x, SQRT_HALF)
    f = mantissa - 1.0
    shift = m.round_shift + m.bias
    largest = float(m.bias)
    f_low = x_low * m.power_of_two(shift - m.select(k > largest, largest, k))
    # f_low / (1 + f), to the few digits that matter.
    f_low = f_low * (1.0 - f * (1.0 - f))
    k = k + doublings
    high, low = c.LN2_SHORT[m.bits]
    return m.fma(k, high, f + (m.fma(k, low, _tail(m, f)) + f_low))


def log1p(m: Machine, x: Vec) -> Vec:
    """Return ``log(1 + x)``, accurate near zero."""
    total, error = m.two_sum(1.0, x)
    result = m.copysign(_log_of_sum(m, total, error), x)
    return _limits(m, total, m.select(m.fabs(x) > 0.0, result, x))


def _log_scaled(m: Machine, x: Vec, scale: tuple[float, ...], short: tuple[float, float]) -> Vec:
    """Return ``log(x) * scale`` for ``short`` being ``log(2) * scale``."""
    k, mantissa = m.split_exponent(x, SQRT_HALF)
    f = mantissa - 1.0
    product, error = m.two_product(f, scale[0])
    rest = m.fma(f, scale[1], error) + m.fma(_tail(m, f), scale[0], k * short[1])
    total, error = m.fast_two_sum(k * short[0], product)
    return _limits(m, x, total + (error + rest))


def log2(m: Machine, x: Vec) -> Vec:
    """Return the logarithm to the base 2."""
    return _log_scaled(m, x, c.LOG2E[m.bits], (1.0, 0.0))


def log10(m: Machine, x: Vec) -> Vec:
    """Return the logarithm to the base 10."""
    return _log_scaled(m, x, c.LOG10E[m.bits], c.LOG10_2_SHORT[m.bits])


def asinh(m: Machine, x: Vec) -> Vec:
    """Return the inverse hyperbolic sine."""
    a = m.fabs(x)
    huge = a > m.pick(2.0**28, 2.0**13)
    square = a * a
    more = square / (1.0 + m.sqrt(1.0 + square))
    y, y_low = m.two_sum(a, more)
    total, error = m.two_sum(1.0, y)
    total = m.select(huge, a, total)
    error = m.select(huge, 0.0, error + y_low)
    result = _log_of_sum(m, total, error, m.select(huge, 1.0, 0.0))
    inside = m.select(a < INFINITY, m.copysign(result, x), x)
    return m.select(a < m.pick(2.0**-28, 2.0**-13), x, inside)


def acosh(m: Machine, x: Vec) -> Vec:
    """Return the inverse hyperbolic cosine."""
    t = x - 1.0
    huge = x > m.pick(2.0**28, 2.0**13)
    square = m.fma(t, t, 2.0 * t)
    root = m.sqrt(square)
    y, y_low = m.two_sum(t, root)
    total, error = m.two_sum(1.0, y)
    total = m.select(huge, x, total)
    error = m.select(huge, 0.0, error + y_low)
    result = _log_of_sum(m, total, error, m.select(huge, 1.0, 0.0))
    return m.select(x >= 1.0, m.select(x < INFINITY, result, x), NAN)


def atanh(m: Machine, x: Vec) -> Vec:
    """Return the inverse hyperbolic tangent."""
    a = m.fabs(x)
    bottom, bottom_low = m.two_sum(1.0, -a)
    y, y_low = m.quotient(2.0 * a, m.lift(0.0), bottom, bottom_low)
    total, error = m.two_sum(1.0, y)
    result = 0.5 * _log_of_sum(m, total, error + y_low)
    result = m.select(a < 1.0, result, m.select(a.equals(1.0), INFINITY, NAN))
    tiny = a < m.pick(2.0**-28, 2.0**-13)
    return m.select(tiny, x, m.copysign(result, x))


def pow(m: Machine, x: Vec, y: Vec) -> Vec:
    """Return ``x**y`` with all special cases of IEEE 754."""
    a = m.fabs(x)
    core = _power if m.bits == 64 else _power_narrow
    result = core(m, a, y)
    whole = m.intrinsic("trunc", y).equals(y)
    half = 0.5 * y
    odd = whole & ~m.intrinsic("trunc", half).equals(half)
    flip = m.select(odd, x, 0.0).bits() & m.sign_bit
    result = (result.bits() ^ flip).real()
    undefined = (x < 0.0) & (x > -INFINITY) & ~whole
    result = m.select(undefined, NAN, result)
    return m.select(x.equals(1.0) | y.equals(0.0), 1.0, result)


def _log_limits(m: Machine, a: Vec, value: Vec) -> Vec:
    return m.select(a < INFINITY, m.select(a.equals(0.0), -INFINITY, value), a)


def _power(m: Machine, a: Vec, y: Vec) -> Vec:
    """Return ``a**y`` for ``a >= 0``, with the logarithm to 64 bits and more."""
    y = m.clamp(y, -1e300, 1e300)
    k, mantissa = m.split_exponent(a, SQRT_HALF)
    f = mantissa - 1.0
    bottom, bottom_low = m.fast_two_sum(2.0, f)
    s, s_low = m.quotient(f, m.lift(0.0), bottom, bottom_low)
    z, z_low = m.two_product(s, s)
    z_low = m.fma(2.0 * s, s_low, z_low)
    # log(m) = 2 s + s z (2/3 + z P(z))
    third = 2.0 / 3.0
    q, q_low = m.fast_two_sum(third, m.fma(z, m.poly(z, c.LOG_TAIL), 3.700743415417188e-17))
    cube, cube_low = m.two_product(s, z)
    cube_low = cube_low + m.fma(s, z_low, s_low * z)
    t, t_low = m.two_product(cube, q)
    t_low = t_low + m.fma(cube, q_low, cube_low * q)
    log_m, log_m_low = m.fast_two_sum(2.0 * s, t)
    high, low = c.LN2_SHORT[64]
    total, error = m.fast_two_sum(k * high, log_m)
    error = error + m.fma(k, low, log_m_low + m.fma(2.0, s_low, t_low))
    total = _log_limits(m, a, total)
    product, product_low = m.two_product(y, total)
    return exp_of_sum(m, product, m.fma(y, error, product_low))


def _power_narrow(m: Machine, a: Vec, y: Vec) -> Vec:
    """Return ``a**y`` for ``a >= 0`` in 32 bits, computed in 64."""
    w = m.widened()
    base, exponent = m.widen(a), w.clamp(m.widen(y), -1e30, 1e30)
    k, mantissa = w.split_exponent(base, SQRT_HALF)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    log_a = w.fma(k, c.LN2[64][0], s * w.fma(z, w.poly(z, c.LOG_SHORT), 2.0))
    x = w.clamp(exponent * _log_limits(w, base, log_a), -104.0, 90.0)
    shift = w.round_shift + w.bias
    shifted = w.fma(x, c.LOG2E[64][0], shift)
    r = w.fma(shifted - shift, -c.LN2[64][0], x)
    return m.narrow(w.power_of_two(shifted) * w.fma(r, w.poly(r, c.EXP_SHORT), 1.0))
