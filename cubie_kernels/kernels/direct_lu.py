"""Direct linear solvers of implicit steps: ``W = a*M - J``, and pairs ``(a + b*i)*M - J``.

`lu_factor` and its like come from the model: straight-line code or loops over a band, with pivots
chosen beforehand. Where they grow too much in a lane, a system is solved to see what that did to
them. The lane keeps them if they stand the test, as matrices do that are badly scaled only.
Otherwise its matrix is factorised once more, with pivots chosen by value, and stands the same test;
there a pair is a real matrix of twice the size.

No lane changes what another one gets: all of them pass through the static factors, and each takes
what its own matrix needs.
"""


def linear_prepare(
    t, y, p, rtol, atol, lin_jacobian, lin_factors, lin_mark, lin_scratch, lin_dense,
):
    """Compute the Jacobian of a step."""
    jacobian(t, y, p, lin_jacobian)


def linear_factor(
    t, y, p, a, lin_jacobian, lin_factors, lin_mark, lin_scratch, lin_dense,
):
    """Factorise ``a*M - J``; return the lanes in which it is singular."""
    growth = lu_factor(lin_jacobian, a, lin_factors)
    lin_mark[0] = real(0.0)
    bad = negate(growth <= GROWTH_LIMIT)
    if any_lane(bad):
        # A copy: what a function that isn't inlined gets to see can't stay in registers.
        spare = offset(lin_scratch, 4 * N)
        for i in range(ENTRIES):
            spare[i] = lin_jacobian[i]
        for i in range(FACTORS):
            spare[ENTRIES + i] = lin_factors[i]
        bad, mark = linear_rescue(
            bad, a, spare, offset(spare, ENTRIES), lin_scratch, lin_dense
        )
        lin_mark[0] = mark
    return bad


def linear_solve(
    t, y, p, a, b, lin_jacobian, lin_factors, lin_mark, lin_scratch, lin_dense,
):
    """Replace ``b`` by the solution."""
    rescued = lin_mark[0] > 0.5
    if DENSE and any_lane(rescued):
        rest = offset(lin_scratch, 3 * N)
        for i in range(N):
            rest[i] = b[i]
        dense_solve(direct_sizes(0), lin_dense, rest, lin_scratch)
        lu_solve(lin_factors, b)
        for i in range(N):
            b[i] = select(rescued, lin_scratch[i], b[i])
    else:
        lu_solve(lin_factors, b)
    return integers(0), integers(0)


def linear_rescue(doubtful, a, j, w, scratch, dense):
    """Look at factors that grew; return the lanes whose matrix is singular."""
    n = direct_sizes(0)
    x = scratch
    rest = offset(scratch, N)
    size = offset(scratch, 2 * N)
    mark = real(0.0)
    trial_side(n, x, rest, size)
    lu_solve(w, x)
    less_matrix(a, j, x, rest, size)
    bad = both(doubtful, wrong_rest(n, rest, size))
    if DENSE and any_lane(bad):
        for k in range(N * (N + 2)):
            dense[k] = real(0.0)
        add_matrix(n + 2, a, j, dense)
        singular = dense_factor(n, dense, scratch)
        trial_side(n, x, rest, size)
        dense_solve(n, dense, rest, x)
        less_matrix(a, j, x, rest, size)
        singular = either(singular, wrong_rest(n, rest, size))
        mark = select(both(bad, negate(singular)), 1.0, mark)
        bad = both(bad, singular)
    return bad, mark


def pair_factor(
    t, y, p, a, b, lin_jacobian, pair_factors, pair_mark, pair_scratch, pair_dense,
):
    """Factorise ``(a + b*i)*M - J``; return the lanes in which it is singular."""
    growth = lu_factor_pair(lin_jacobian, a, b, pair_factors)
    pair_mark[0] = real(0.0)
    bad = negate(growth <= GROWTH_LIMIT)
    if any_lane(bad):
        bad = pair_rescue(
            bad, a, b, lin_jacobian, pair_factors, pair_mark, pair_scratch, pair_dense
        )
    return bad


def pair_solve(
    t, y, p, a, b, re, im, lin_jacobian, pair_factors, pair_mark, pair_scratch, pair_dense,
):
    """Replace ``re + im*i`` by the solution."""
    rescued = pair_mark[0] > 0.5
    if DENSE_PAIR and any_lane(rescued):
        for i in range(N):
            pair_scratch[2 * N + i] = re[i]
            pair_scratch[3 * N + i] = im[i]
        dense_solve(direct_sizes(1), pair_dense, offset(pair_scratch, 2 * N), pair_scratch)
    lu_solve_pair(pair_factors, re, im)
    if DENSE_PAIR and any_lane(rescued):
        for i in range(N):
            re[i] = select(rescued, pair_scratch[i], re[i])
            im[i] = select(rescued, pair_scratch[N + i], im[i])
    return integers(0), integers(0)


def pair_rescue(doubtful, a, b, j, w, mark, scratch, dense):
    """Look at factors that grew; return the lanes whose matrix is singular."""
    n = direct_sizes(1)
    x = scratch
    y = offset(scratch, N)
    rest = offset(scratch, 2 * N)
    size = offset(scratch, 4 * N)
    trial_side(n, x, rest, size)
    lu_solve_pair(w, x, y)
    less_pair(a, b, j, x, y, rest, size)
    bad = both(doubtful, wrong_rest(n, rest, size))
    if DENSE_PAIR and any_lane(bad):
        for k in range(2 * N * (2 * N + 2)):
            dense[k] = real(0.0)
        below = offset(dense, N * (2 * N + 2))
        add_matrix(n + 2, a, j, dense)
        add_mass(n + 2, -b, offset(dense, N))
        add_mass(n + 2, b, below)
        add_matrix(n + 2, a, j, offset(below, N))
        singular = dense_factor(n, dense, scratch)
        trial_side(n, x, rest, size)
        dense_solve(n, dense, rest, x)
        less_pair(a, b, j, x, y, rest, size)
        singular = either(singular, wrong_rest(n, rest, size))
        mark[0] = select(both(bad, negate(singular)), 1.0, mark[0])
        bad = both(bad, singular)
    return bad


def trial_side(n, x, rest, size):
    """Write a right-hand side between 1 and 2 without any order in it, three times."""
    part = real(0.0)
    for i in range(n):
        part = part + 0.6180339887498949
        part = part - floor(part)
        x[i] = 1.0 + part
        rest[i] = 1.0 + part
        size[i] = 1.0 + part


def less_pair(a, b, j, x, y, rest, size):
    """Take ``((a + b*i)*M - J) (x + y*i)`` off ``rest``, imaginary parts behind real ones."""
    less_matrix(a, j, x, rest, size)
    less_mass(-b, y, rest, size)
    less_matrix(a, j, y, offset(rest, N), offset(size, N))
    less_mass(b, x, offset(rest, N), offset(size, N))


def less_matrix(a, j, x, rest, size):
    """Take ``(a*M - J) x`` off ``rest``; add the sizes of the terms to ``size``."""
    less_mass(a, x, rest, size)
    for k in range(ENTRIES):
        row = direct_rows(k)
        term = j[k] * x[direct_columns(k)]
        rest[row] = rest[row] + term
        size[row] = size[row] + fabs(term)


def less_mass(a, x, rest, size):
    """Take ``a*M x`` off ``rest``; add the sizes of the terms to ``size``."""
    for k in range(WEIGHTS):
        row = mass_rows(k)
        term = uniform(mass_weights(k)) * a * x[mass_columns(k)]
        rest[row] = rest[row] - term
        size[row] = size[row] + fabs(term)


def wrong_rest(n, rest, size):
    """Return the lanes in which a row's residual is not small beside the row's terms.

    The largest quotient of the two is the backward error of the solution (Oettli and Prager,
    Numerische Mathematik 6, 1964), whatever the units of rows and columns.
    """
    wrong = negate(fabs(rest[0]) - BACKWARD_ERROR * size[0] <= 0.0)
    for i in range(1, n):
        wrong = either(wrong, negate(fabs(rest[i]) - BACKWARD_ERROR * size[i] <= 0.0))
    return wrong


def add_matrix(width, a, j, w):
    """Add ``a*M - J`` to a block of zeros of a matrix whose rows are ``width`` long."""
    add_mass(width, a, w)
    for k in range(ENTRIES):
        at = direct_rows(k) * width + direct_columns(k)
        w[at] = w[at] - j[k]


def add_mass(width, a, w):
    """Add ``a*M`` to a block of a matrix whose rows are ``width`` long."""
    for k in range(WEIGHTS):
        at = mass_rows(k) * width + mass_columns(k)
        w[at] = w[at] + uniform(mass_weights(k)) * a


def dense_factor(n, w, scale):
    """Factorise a matrix of ``n`` rows in place; return the lanes where it is singular.

    Behind the entries of each row in ``w`` come the row's number in the given matrix, and what its
    size was there. The pivot of a column is the entry that is largest beside its row, where each
    entry counts beside its column, so that units of rows and columns do not matter. Rows are
    interchanged lane by lane.
    """
    width = n + 2
    for c in range(n):
        size = fabs(w[c])
        for i in range(1, n):
            size = maximum(size, fabs(w[i * width + c]))
        scale[c] = 1.0 / size
    for i in range(n):
        size = fabs(w[i * width]) * scale[0]
        for c in range(1, n):
            size = maximum(size, fabs(w[i * width + c]) * scale[c])
        w[i * width + n] = real(i)
        w[i * width + n + 1] = 1.0 / size
    singular = scale[0] < 0.0
    for k in range(n):
        top = offset(w, k * width)
        largest = real(0.0)
        row = real(k)
        for i in range(k, n):
            size = fabs(w[i * width + k]) * w[i * width + n + 1]
            better = size > largest
            largest = select(better, size, largest)
            row = select(better, real(i), row)
        for i in range(k + 1, n):
            chosen = row == real(i)
            if any_lane(chosen):
                exchange(chosen, width, top, offset(w, i * width))
        pivot = top[k]
        inverse = 1.0 / pivot
        singular = either(singular, negate(finite(pivot * inverse)))
        top[k] = inverse
        for i in range(k + 1, n):
            here = offset(w, i * width)
            factor = here[k] * inverse
            here[k] = factor
            for c in range(k + 1, n):
                here[c] = here[c] - factor * top[c]
    return singular


def exchange(chosen, width, u, v):
    """Exchange two rows in the lanes of ``chosen``."""
    for c in range(width):
        upper = u[c]
        lower = v[c]
        u[c] = select(chosen, lower, upper)
        v[c] = select(chosen, upper, lower)


def dense_solve(n, w, b, x):
    """Write the solution for the right-hand side ``b`` to ``x``."""
    for i in range(n):
        row = offset(w, i * (n + 2))
        rest = b[0]
        for k in range(1, n):
            rest = select(row[n] == real(k), b[k], rest)
        for c in range(i):
            rest = rest - row[c] * x[c]
        x[i] = rest
    for k in range(n):
        i = n - 1 - k
        row = offset(w, i * (n + 2))
        rest = x[i]
        for c in range(i + 1, n):
            rest = rest - row[c] * x[c]
        x[i] = rest * row[i]
