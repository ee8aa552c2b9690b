"""LU factors of a sparse matrix in loops over tables of places.

The same functions that straight-line factors have: see `cubie_kernels.model.sparse_lu` for what
they take, do and return. The rows of both factors lie one behind the other: entries of L, the
reciprocal of the pivot, entries of U. An entry of complex factors is its real part and, behind it,
its imaginary part.
"""


def lu_factor(j, a, w):
    """Factorise ``a*M - J``; return the growth of the factors."""
    for k in range(PLACES):
        w[k] = real(0.0)
    for k in range(ENTRIES):
        w[lu_places(k)] = -j[k]
    for k in range(WEIGHTS):
        w[lu_mass(k)] = w[lu_mass(k)] + uniform(mass_weights(k)) * a
    growth = real(0.0)
    step = 0
    for i in range(N):
        for at in range(lu_starts(i), lu_pivots(i)):
            k = lu_inner(at)
            top = lu_pivots(k)
            factor = w[at] * w[top]
            w[at] = factor
            growth = growth + factor * factor
            for c in range(top + 1, lu_starts(k + 1)):
                w[lu_targets(step)] = w[lu_targets(step)] - factor * w[c]
                step += 1
        pivot = w[lu_pivots(i)]
        inverse = 1.0 / pivot
        growth = growth + pivot * inverse
        w[lu_pivots(i)] = inverse
    return growth


def lu_solve(w, b):
    """Replace ``b`` by the solution."""
    x = offset(w, PLACES)
    for i in range(N):
        rest = b[lu_rows(i)]
        for at in range(lu_starts(i), lu_pivots(i)):
            rest = rest - w[at] * x[lu_inner(at)]
        x[i] = rest
    for k in range(N):
        i = N - 1 - k
        rest = x[i]
        for at in range(lu_pivots(i) + 1, lu_starts(i + 1)):
            rest = rest - w[at] * x[lu_inner(at)]
        rest = rest * w[lu_pivots(i)]
        x[i] = rest
        b[lu_columns(i)] = rest


def lu_factor_pair(j, a, b, w):
    """Factorise ``(a + b*i)*M - J``; return the growth of the factors."""
    for k in range(2 * PLACES):
        w[k] = real(0.0)
    for k in range(ENTRIES):
        w[2 * lu_places(k)] = -j[k]
    for k in range(WEIGHTS):
        at = 2 * lu_mass(k)
        w[at] = w[at] + uniform(mass_weights(k)) * a
        w[at + 1] = w[at + 1] + uniform(mass_weights(k)) * b
    growth = real(0.0)
    step = 0
    for i in range(N):
        for at in range(lu_starts(i), lu_pivots(i)):
            k = lu_inner(at)
            top = lu_pivots(k)
            u = w[2 * top]
            v = w[2 * top + 1]
            factor = w[2 * at] * u - w[2 * at + 1] * v
            factor_i = w[2 * at] * v + w[2 * at + 1] * u
            w[2 * at] = factor
            w[2 * at + 1] = factor_i
            growth = growth + factor * factor + factor_i * factor_i
            for c in range(top + 1, lu_starts(k + 1)):
                u = w[2 * c]
                v = w[2 * c + 1]
                to = 2 * lu_targets(step)
                w[to] = w[to] - factor * u + factor_i * v
                w[to + 1] = w[to + 1] - factor * v - factor_i * u
                step += 1
        top = 2 * lu_pivots(i)
        scale = 1.0 / maximum(fabs(w[top]), fabs(w[top + 1]))
        u = w[top] * scale
        v = w[top + 1] * scale
        scale = scale / (u * u + v * v)
        u = u * scale
        v = -(v * scale)
        growth = growth + w[top] * u - w[top + 1] * v
        w[top] = u
        w[top + 1] = v
    return growth


def lu_solve_pair(w, x, y):
    """Replace ``x + y*i`` by the solution."""
    z = offset(w, 2 * PLACES)
    for i in range(N):
        rest = x[lu_rows(i)]
        rest_i = y[lu_rows(i)]
        for at in range(lu_starts(i), lu_pivots(i)):
            u = z[2 * lu_inner(at)]
            v = z[2 * lu_inner(at) + 1]
            rest = rest - w[2 * at] * u + w[2 * at + 1] * v
            rest_i = rest_i - w[2 * at] * v - w[2 * at + 1] * u
        z[2 * i] = rest
        z[2 * i + 1] = rest_i
    for k in range(N):
        i = N - 1 - k
        rest = z[2 * i]
        rest_i = z[2 * i + 1]
        for at in range(lu_pivots(i) + 1, lu_starts(i + 1)):
            u = z[2 * lu_inner(at)]
            v = z[2 * lu_inner(at) + 1]
            rest = rest - w[2 * at] * u + w[2 * at + 1] * v
            rest_i = rest_i - w[2 * at] * v - w[2 * at + 1] * u
        top = 2 * lu_pivots(i)
        u = rest * w[top] - rest_i * w[top + 1]
        v = rest * w[top + 1] + rest_i * w[top]
        z[2 * i] = u
        z[2 * i + 1] = v
        x[lu_columns(i)] = u
        y[lu_columns(i)] = v
