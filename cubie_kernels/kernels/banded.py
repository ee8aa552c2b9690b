"""LU factors of a banded matrix in loops: the same functions that straight-line factors have.

See `cubie_kernels.model.sparse_lu` for what they take, do and return, and
`cubie_kernels.model.banded_lu` for how the matrix is stored. An entry of complex factors is its
real part and, behind it, its imaginary part.
"""


def lu_factor(j, a, w):
    """Factorise ``a*M - J``; return the growth of the factors."""
    for k in range(ROWS * WIDTH):
        w[k] = real(0.0)
    for k in range(ENTRIES):
        w[band_places(k)] = -j[k]
    for k in range(WEIGHTS):
        w[band_mass(k)] = w[band_mass(k)] + uniform(mass_weights(k)) * a
    growth = real(0.0)
    for k in range(N):
        top = k * WIDTH + LOWER
        pivot = w[top]
        inverse = 1.0 / pivot
        growth = growth + pivot * inverse
        w[top] = inverse
        below = min(LOWER, N - 1 - k) if CLIPPED else LOWER
        right = min(UPPER, N - 1 - k) if CLIPPED else UPPER
        for i in range(1, below + 1):
            left = top + i * (WIDTH - 1)
            factor = w[left] * inverse
            w[left] = factor
            growth = growth + factor * factor
            for c in range(1, right + 1):
                w[left + c] = w[left + c] - factor * w[top + c]
    return growth


def lu_solve(w, b):
    """Replace ``b`` by the solution."""
    x = offset(w, ROWS * WIDTH)
    for k in range(LOWER):
        x[k] = real(0.0)
    for k in range(LOWER + N, LOWER + N + UPPER):
        x[k] = real(0.0)
    for i in range(N):
        rest = b[band_rows(i)]
        for c in range(LOWER):
            rest = rest - w[i * WIDTH + c] * x[i + c]
        x[LOWER + i] = rest
    for k in range(N):
        i = N - 1 - k
        rest = x[LOWER + i]
        for c in range(1, UPPER + 1):
            rest = rest - w[i * WIDTH + LOWER + c] * x[LOWER + i + c]
        rest = rest * w[i * WIDTH + LOWER]
        x[LOWER + i] = rest
        b[band_columns(i)] = rest


def lu_factor_pair(j, a, b, w):
    """Factorise ``(a + b*i)*M - J``; return the growth of the factors."""
    for k in range(2 * ROWS * WIDTH):
        w[k] = real(0.0)
    for k in range(ENTRIES):
        w[2 * band_places(k)] = -j[k]
    for k in range(WEIGHTS):
        at = 2 * band_mass(k)
        w[at] = w[at] + uniform(mass_weights(k)) * a
        w[at + 1] = w[at + 1] + uniform(mass_weights(k)) * b
    growth = real(0.0)
    for k in range(N):
        top = 2 * (k * WIDTH + LOWER)
        scale = 1.0 / maximum(fabs(w[top]), fabs(w[top + 1]))
        real_part = w[top] * scale
        imaginary = w[top + 1] * scale
        scale = scale / (real_part * real_part + imaginary * imaginary)
        real_part = real_part * scale
        imaginary = -(imaginary * scale)
        growth = growth + w[top] * real_part - w[top + 1] * imaginary
        w[top] = real_part
        w[top + 1] = imaginary
        below = min(LOWER, N - 1 - k) if CLIPPED else LOWER
        right = min(UPPER, N - 1 - k) if CLIPPED else UPPER
        for i in range(1, below + 1):
            left = top + 2 * i * (WIDTH - 1)
            factor = w[left] * real_part - w[left + 1] * imaginary
            factor_i = w[left] * imaginary + w[left + 1] * real_part
            w[left] = factor
            w[left + 1] = factor_i
            growth = growth + factor * factor + factor_i * factor_i
            for c in range(2, 2 * right + 2, 2):
                u = w[top + c]
                v = w[top + c + 1]
                w[left + c] = w[left + c] - factor * u + factor_i * v
                w[left + c + 1] = w[left + c + 1] - factor * v - factor_i * u
    return growth


def lu_solve_pair(w, x, y):
    """Replace ``x + y*i`` by the solution."""
    z = offset(w, 2 * ROWS * WIDTH)
    for k in range(2 * LOWER):
        z[k] = real(0.0)
    for k in range(2 * (LOWER + N), 2 * (LOWER + N + UPPER)):
        z[k] = real(0.0)
    for i in range(N):
        rest = x[band_rows(i)]
        rest_i = y[band_rows(i)]
        for c in range(LOWER):
            at = 2 * (i * WIDTH + c)
            u = z[2 * (i + c)]
            v = z[2 * (i + c) + 1]
            rest = rest - w[at] * u + w[at + 1] * v
            rest_i = rest_i - w[at] * v - w[at + 1] * u
        z[2 * (LOWER + i)] = rest
        z[2 * (LOWER + i) + 1] = rest_i
    for k in range(N):
        i = N - 1 - k
        here = 2 * (LOWER + i)
        top = 2 * (i * WIDTH + LOWER)
        rest = z[here]
        rest_i = z[here + 1]
        for c in range(2, 2 * UPPER + 2, 2):
            u = z[here + c]
            v = z[here + c + 1]
            rest = rest - w[top + c] * u + w[top + c + 1] * v
            rest_i = rest_i - w[top + c] * v - w[top + c + 1] * u
        u = rest * w[top] - rest_i * w[top + 1]
        v = rest * w[top + 1] + rest_i * w[top]
        z[here] = u
        z[here + 1] = v
        x[band_columns(i)] = u
        y[band_columns(i)] = v
