"""Krylov solvers of ``W x = rhs`` without the matrix, and the linear solver of kernels from them.

`cubie_kernels.kernels.factories` binds the names in capitals: ``OPERATOR`` writes W v,
``PRECONDITION`` something near to the inverse of W times v; ``*CONTEXT`` is what the two want to
know besides the vector (time, state, parameters, shift, ...), ``*WEIGHT`` the weights of the norm
or nothing, ``*ARGUMENTS`` both, then ``rhs``, ``x`` and scratch memory.

Each solver begins at zero with a right-hand side scaled to size one, so that no square over- or
underflows, overwrites ``rhs`` with the residual, and returns a code (0 converged, 4 not) and a
number of iterations for each lane. A lane has converged when the norm of its residual is TOLERANCE
times that of its right-hand side; then, or when a division would give no number, it keeps what it
has. Preconditioners stand at the right, so that residuals are those of the system itself. With
weights, all inner products are weighted: unknowns of different sizes count alike.
"""


def krylov_product(u, v, *WEIGHT):
    """Return the inner product of two vectors."""
    result = real(0.0)
    for i in range(N):
        if WEIGHTED:
            result = result + (weight[i] * u[i]) * (weight[i] * v[i])
        else:
            result = result + u[i] * v[i]
    return result


def krylov_start(rhs, x, *WEIGHT):
    """Scale ``rhs`` to size one and set ``x`` to zero.

    Return the scale, the lanes in which there is something to do, and the codes so far: 0 where
    ``rhs`` is zero, 4 elsewhere, for good where ``rhs`` is not finite.
    """
    size = real(0.0)
    for i in range(N):
        size = size + fabs(weight[i] * rhs[i] if WEIGHTED else rhs[i])
    active = both(finite(size), size >= SMALLEST)
    scale = select(active, size, 1.0)
    for i in range(N):
        rhs[i] = select(active, rhs[i] / scale, 0.0)
        x[i] = real(0.0)
    return scale, active, select(size < SMALLEST, 0, integers(4))


def krylov_usable(factor):
    """Return the lanes in which a step of this length can be taken and changes something."""
    return both(finite(factor), fabs(factor) > 0.0)


def krylov_end(scale, x):
    """Undo the scaling of ``krylov_start``."""
    for i in range(N):
        x[i] = x[i] * scale


def gradient_step(*ARGUMENTS):
    """Solve with steps along the preconditioned residual z (Saad, Iterative Methods, 2nd ed., 5.3).

    Minimal residual: the step after which the residual is smallest, for W with a positive definite
    symmetric part. Steepest descent: the one after which the error is smallest in the norm of W,
    for symmetric positive definite W.
    """
    z = lin_preconditioned_vec if PRECONDITIONED else rhs
    q = lin_temp
    scale, active, code = krylov_start(rhs, x, *WEIGHT)
    iterations = integers(0)
    limit = (TOLERANCE * TOLERANCE) * krylov_product(rhs, rhs, *WEIGHT)
    k = 0
    while k < MAX_ITERS and any_lane(active):
        if PRECONDITIONED:
            PRECONDITION(*CONTEXT, rhs, z, *PRECONDITIONER_BUFFERS)
        OPERATOR(*CONTEXT, z, q, *OPERATOR_BUFFERS)
        if STEEPEST:
            step = krylov_product(rhs, z, *WEIGHT) / krylov_product(z, q, *WEIGHT)
        else:
            step = krylov_product(rhs, q, *WEIGHT) / krylov_product(q, q, *WEIGHT)
        taken = both(active, krylov_usable(step))
        for i in range(N):
            x[i] = select(taken, x[i] + step * z[i], x[i])
            rhs[i] = select(taken, rhs[i] - step * q[i], rhs[i])
        rest = krylov_product(rhs, rhs, *WEIGHT)
        code = select(both(taken, rest <= limit), 0, code)
        iterations = count_if(iterations, active)
        if RECORDS:
            record("linear_residual", sqrt(rest / limit), active, within=True, linear_iteration=k)
        active = both(taken, rest > limit)
        k += 1
    krylov_end(scale, x)
    return code, iterations


def bicgstab(*ARGUMENTS):
    """Solve by the stabilised biconjugate gradient method; an iteration applies W twice.

    Van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992) 631-644. A lane in which an inner product
    vanishes that the method divides by ends with code 4.
    """
    z = lin_preconditioned_vec if PRECONDITIONED else lin_direction
    z_2 = lin_preconditioned_vec if PRECONDITIONED else rhs
    q = lin_temp
    q_2 = lin_product
    scale, active, code = krylov_start(rhs, x, *WEIGHT)
    iterations = integers(0)
    rho = krylov_product(rhs, rhs, *WEIGHT)
    limit = (TOLERANCE * TOLERANCE) * rho
    for i in range(N):
        lin_shadow[i] = rhs[i]
        lin_direction[i] = rhs[i]
    k = 0
    while k < MAX_ITERS and any_lane(active):
        if PRECONDITIONED:
            PRECONDITION(*CONTEXT, lin_direction, z, *PRECONDITIONER_BUFFERS)
        OPERATOR(*CONTEXT, z, q, *OPERATOR_BUFFERS)
        iterations = count_if(iterations, active)
        step = rho / krylov_product(lin_shadow, q, *WEIGHT)
        taken = both(active, krylov_usable(step))
        for i in range(N):
            x[i] = select(taken, x[i] + step * z[i], x[i])
            rhs[i] = select(taken, rhs[i] - step * q[i], rhs[i])
        rest = krylov_product(rhs, rhs, *WEIGHT)
        code = select(both(taken, rest <= limit), 0, code)
        if RECORDS:
            record("linear_residual", sqrt(rest / limit), active, within=True, linear_iteration=k)
        active = both(taken, rest > limit)
        if any_lane(active):
            if PRECONDITIONED:
                PRECONDITION(*CONTEXT, rhs, z_2, *PRECONDITIONER_BUFFERS)
            OPERATOR(*CONTEXT, z_2, q_2, *OPERATOR_BUFFERS)
            turn = krylov_product(q_2, rhs, *WEIGHT) / krylov_product(q_2, q_2, *WEIGHT)
            taken = both(active, krylov_usable(turn))
            for i in range(N):
                x[i] = select(taken, x[i] + turn * z_2[i], x[i])
                rhs[i] = select(taken, rhs[i] - turn * q_2[i], rhs[i])
            rest = krylov_product(rhs, rhs, *WEIGHT)
            code = select(both(taken, rest <= limit), 0, code)
            rho_new = krylov_product(lin_shadow, rhs, *WEIGHT)
            ratio = (rho_new / rho) * (step / turn)
            if RECORDS:
                record(
                    "linear_residual", sqrt(rest / limit), active, within=True, linear_iteration=k
                )
            active = both(both(taken, rest > limit), krylov_usable(ratio))
            for i in range(N):
                turned = rhs[i] + ratio * (lin_direction[i] - turn * q[i])
                lin_direction[i] = select(active, turned, lin_direction[i])
            rho = rho_new
        k += 1
    krylov_end(scale, x)
    return code, iterations


def gmres_column(j, inside, rest, lin_temp, lin_basis, lin_triangle, lin_rotations, *WEIGHT):
    """Add W times the last vector, in ``lin_temp``, to basis and triangular factor.

    Return the lanes of ``inside`` that could, and what is left of the residual in them. The others
    get a column of the identity, and nothing in the basis, so that they add nothing to a solution.
    """
    column = offset(lin_triangle, j * (j + 1) // 2)
    for i in range(j + 1):
        vector = offset(lin_basis, i * N)
        h = krylov_product(lin_temp, vector, *WEIGHT)
        column[i] = h
        for e in range(N):
            lin_temp[e] = lin_temp[e] - h * vector[e]
    below = sqrt(krylov_product(lin_temp, lin_temp, *WEIGHT))
    for i in range(j):
        cosine = lin_rotations[2 * i]
        sine = lin_rotations[2 * i + 1]
        upper = column[i]
        lower = column[i + 1]
        column[i] = cosine * upper + sine * lower
        column[i + 1] = cosine * lower - sine * upper
    diagonal = column[j]
    length = sqrt(diagonal * diagonal + below * below)
    able = both(inside, krylov_usable(length))
    length = select(able, length, 1.0)
    cosine = select(able, diagonal / length, 1.0)
    sine = select(able, below / length, 0.0)
    lin_rotations[2 * j] = cosine
    lin_rotations[2 * j + 1] = sine
    for i in range(j):
        column[i] = select(able, column[i], 0.0)
    column[j] = length
    longer = both(able, below > 0.0)
    below = select(longer, below, 1.0)
    vector = offset(lin_basis, (j + 1) * N)
    for e in range(N):
        vector[e] = select(longer, lin_temp[e] / below, 0.0)
    return able, select(able, cosine * rest, 0.0), select(able, -(sine * rest), rest)


def gmres(*ARGUMENTS):
    """Solve by the generalised minimal residual method, restarted after RESTART iterations.

    Saad and Schultz, SIAM J. Sci. Stat. Comput. 7 (1986) 856-869, with modified Gram-Schmidt.
    """
    z = lin_preconditioned_vec if PRECONDITIONED else lin_temp
    scale, active, code = krylov_start(rhs, x, *WEIGHT)
    iterations = integers(0)
    size = sqrt(krylov_product(rhs, rhs, *WEIGHT))
    limit = TOLERANCE * size
    k = 0
    while k < MAX_ITERS and any_lane(active):
        cycle = active
        size = select(active, size, 1.0)
        for i in range(N):
            lin_basis[i] = select(active, rhs[i] / size, 0.0)
        rest = select(active, size, 0.0)
        j = 0
        inside = active
        while j < RESTART and k < MAX_ITERS and any_lane(inside):
            last = offset(lin_basis, j * N)
            if PRECONDITIONED:
                PRECONDITION(*CONTEXT, last, z, *PRECONDITIONER_BUFFERS)
                OPERATOR(*CONTEXT, z, lin_temp, *OPERATOR_BUFFERS)
            else:
                OPERATOR(*CONTEXT, last, lin_temp, *OPERATOR_BUFFERS)
            able, coordinate, rest = gmres_column(
                j, inside, rest, lin_temp, lin_basis, lin_triangle, lin_rotations, *WEIGHT
            )
            lin_coordinates[j] = coordinate
            iterations = count_if(iterations, inside)
            if RECORDS:
                record(
                    "linear_residual", fabs(rest) / limit, inside, within=True, linear_iteration=k
                )
            ended = both(inside, either(negate(able), fabs(rest) <= limit))
            code = select(both(able, fabs(rest) <= limit), 0, code)
            active = both(active, negate(ended))
            inside = both(inside, negate(ended))
            j += 1
            k += 1
        for i in range(j - 1, -1, -1):
            left = lin_coordinates[i]
            for e in range(i + 1, j):
                left = left - lin_triangle[e * (e + 1) // 2 + i] * lin_coordinates[e]
            lin_coordinates[i] = left / lin_triangle[i * (i + 1) // 2 + i]
        for e in range(N):
            moved = real(0.0)
            for i in range(j):
                moved = moved + lin_coordinates[i] * lin_basis[i * N + e]
            lin_temp[e] = moved
        if PRECONDITIONED:
            PRECONDITION(*CONTEXT, lin_temp, z, *PRECONDITIONER_BUFFERS)
        for i in range(N):
            x[i] = select(cycle, x[i] + z[i], x[i])
        if k < MAX_ITERS and any_lane(active):
            OPERATOR(*CONTEXT, z, lin_basis, *OPERATOR_BUFFERS)
            for i in range(N):
                rhs[i] = select(active, rhs[i] - lin_basis[i], rhs[i])
            size = sqrt(krylov_product(rhs, rhs, *WEIGHT))
            code = select(both(active, size <= limit), 0, code)
            active = both(active, size > limit)
    krylov_end(scale, x)
    return code, iterations


# --------------------------------------------- the linear solver of kernels, W = a*M - J(t, y)
def krylov_apply(t, y, p, a, v, out):
    """Write (a*M - J) v."""
    jvp(t, y, p, v, out)
    if MASS:
        for i in unroll(range(N)):
            out[i] = a * total(
                MASS[i][k][1] * v[MASS[i][k][0]] for k in range(len(MASS[i]))
            ) - out[i]
    else:
        for i in range(N):
            out[i] = a * v[i] - out[i]


def linear_prepare(t, y, p, rtol, atol, *LINEAR):
    """Write the weights of the norm, and what the preconditioner needs of the Jacobian."""
    for i in range(N):
        weight = 1.0 / (atol[i] + rtol[i] * fabs(y[i]))
        lin_weight[i] = weight
        if PAIRED:
            lin_weight[N + i] = weight
    if PRECONDITIONER == "jacobi":
        jacobian_diagonal(t, y, p, lin_diagonal)
    if PRECONDITIONER == "ilu":
        jacobian(t, y, p, lin_jacobian)


def linear_factor(t, y, p, a, *LINEAR):
    """Prepare the preconditioner for a new ``a``; return the lanes in which that gave no number."""
    made = a
    if PRECONDITIONER == "jacobi":
        made = jacobi_prepare(a, lin_diagonal, lin_inverse)
    if PRECONDITIONER == "ilu":
        made = ilu_factor(lin_jacobian, a, lin_factors)
    return negate(finite(made))


def linear_solve(t, y, p, a, b, *LINEAR):
    """Replace ``b`` by the solution of W x = b; return code and number of iterations."""
    code, iterations = krylov_solve(t, y, p, a, lin_weight, b, lin_solution, *SCRATCH)
    for i in range(N):
        b[i] = lin_solution[i]
    return code, iterations


def pair_apply(t, y, p, a, b, v, out):
    """Write ((a + ib)*M - J) v; imaginary parts stand behind the real ones."""
    jvp(t, y, p, v, out)
    jvp(t, y, p, offset(v, N), offset(out, N))
    if MASS:
        for i in unroll(range(N)):
            out[i] = (
                a * total(MASS[i][k][1] * v[MASS[i][k][0]] for k in range(len(MASS[i])))
                - b * total(MASS[i][k][1] * v[N + MASS[i][k][0]] for k in range(len(MASS[i])))
                - out[i]
            )
            out[N + i] = (
                a * total(MASS[i][k][1] * v[N + MASS[i][k][0]] for k in range(len(MASS[i])))
                + b * total(MASS[i][k][1] * v[MASS[i][k][0]] for k in range(len(MASS[i])))
                - out[N + i]
            )
    else:
        for i in range(N):
            out[i] = a * v[i] - b * v[N + i] - out[i]
            out[N + i] = a * v[N + i] + b * v[i] - out[N + i]


def pair_factor(t, y, p, a, b, *PAIR):
    """Prepare the preconditioner of the pair; return the lanes in which that gave no number."""
    made = a + b
    if PRECONDITIONER == "jacobi":
        made = jacobi_pair_prepare(a, b, lin_diagonal, pair_inverse)
    if PRECONDITIONER == "ilu":
        made = ilu_factor_pair(lin_jacobian, a, b, pair_factors)
    return negate(finite(made))


def pair_solve(t, y, p, a, b, re, im, *PAIR):
    """Replace ``re`` and ``im`` by the solution of ((a + ib)*M - J) x = re + i*im."""
    for i in range(N):
        pair_rhs[i] = re[i]
        pair_rhs[N + i] = im[i]
    code, iterations = pair_krylov_solve(
        t, y, p, a, b, lin_weight, pair_rhs, pair_solution, *PAIR_SCRATCH
    )
    for i in range(N):
        re[i] = pair_solution[i]
        im[i] = pair_solution[N + i]
    return code, iterations
