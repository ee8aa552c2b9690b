"""Preconditioners of ``W = a*M - J``: functions that write something near to W^-1 v.

Without a mass matrix ``MASS_DIAGONAL`` is empty and M is the identity. Those of the pair are for
``(a + ib)*M - J``, with imaginary parts behind the real ones.
"""


def inverse_or_one(entry):
    """Return the inverse of a number, and 1 for 0."""
    return select(entry == 0.0, 1.0, 1.0 / entry)


def jacobi_prepare(a, diagonal, inverse):
    """Write the inverse of W's diagonal, 1 where that is 0; return a number if all are numbers."""
    if MASS_DIAGONAL:
        for i in unroll(range(N)):
            inverse[i] = inverse_or_one(a * MASS_DIAGONAL[i] - diagonal[i])
    else:
        for i in range(N):
            inverse[i] = inverse_or_one(a - diagonal[i])
    made = a
    for i in range(N):
        made = made + inverse[i]
    return made


def jacobi(t, y, p, a, v, out, inverse):
    """Divide by the diagonal of W."""
    for i in range(N):
        out[i] = v[i] * inverse[i]


def complex_inverse(re, im):
    """Return real and imaginary part of the inverse of a complex number, and 1 for 0."""
    size = re * re + im * im
    nothing = size == 0.0
    size = select(nothing, 1.0, size)
    return select(nothing, 1.0, re / size), -(im / size)


def jacobi_pair_prepare(a, b, diagonal, inverse):
    """Write the inverse of the pair's diagonal, as ``jacobi_prepare`` does."""
    if MASS_DIAGONAL:
        for i in unroll(range(N)):
            re, im = complex_inverse(a * MASS_DIAGONAL[i] - diagonal[i], b * MASS_DIAGONAL[i])
            inverse[i] = re
            inverse[N + i] = im
    else:
        for i in range(N):
            re, im = complex_inverse(a - diagonal[i], b)
            inverse[i] = re
            inverse[N + i] = im
    made = a
    for i in range(2 * N):
        made = made + inverse[i]
    return made


def jacobi_pair(t, y, p, a, b, v, out, inverse):
    """Divide by the diagonal of the pair."""
    for i in range(N):
        out[i] = v[i] * inverse[i] - v[N + i] * inverse[N + i]
        out[N + i] = v[i] * inverse[N + i] + v[N + i] * inverse[i]


def neumann(t, y, p, a, v, out, series):
    """Add up the Neumann series of W^-1 = (sum of ((a*M)^-1 J)^k) (a*M)^-1 up to k = ORDER.

    It converges where the spectral radius of J is below a*M: where steps are short.
    """
    inverse = 1.0 / a
    for i in range(N):
        series[i] = real(0.0)
    for k in range(ORDER + 1):
        if k > 0:
            jvp(t, y, p, out, series)
        if MASS_DIAGONAL:
            for i in unroll(range(N)):
                out[i] = (v[i] + series[i]) * (inverse * MASS_INVERSE[i])
        else:
            for i in range(N):
                out[i] = (v[i] + series[i]) * inverse


def neumann_pair(t, y, p, a, b, v, out, series):
    """Add up the Neumann series of the pair."""
    c, s = complex_inverse(a, b)
    for i in range(2 * N):
        series[i] = real(0.0)
    for k in range(ORDER + 1):
        if k > 0:
            jvp(t, y, p, out, series)
            jvp(t, y, p, offset(out, N), offset(series, N))
        if MASS_DIAGONAL:
            for i in unroll(range(N)):
                re = (v[i] + series[i]) * MASS_INVERSE[i]
                im = (v[N + i] + series[N + i]) * MASS_INVERSE[i]
                out[i] = c * re - s * im
                out[N + i] = c * im + s * re
        else:
            for i in range(N):
                re = v[i] + series[i]
                im = v[N + i] + series[N + i]
                out[i] = c * re - s * im
                out[N + i] = c * im + s * re


def incomplete_lu(t, y, p, a, v, out, factors):
    """Solve with the incomplete factors of W."""
    for i in range(N):
        out[i] = v[i]
    ilu_solve(factors, out)


def incomplete_lu_pair(t, y, p, a, b, v, out, factors):
    """Solve with the incomplete factors of the pair."""
    for i in range(2 * N):
        out[i] = v[i]
    ilu_solve_pair(factors, out, offset(out, N))
