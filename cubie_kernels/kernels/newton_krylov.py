"""Damped Newton iteration with a matrix-free linear solver, one problem r(d) = 0 for each lane.

Kelley, Iterative Methods for Linear and Nonlinear Equations (1995), chapters 6 and 8.

`cubie_kernels.kernels.factories` binds the names in capitals, as those of
`cubie_kernels.kernels.krylov`; ``*ARGUMENTS`` are ``*CONTEXT``, ``*WEIGHT``, ``base``, ``d`` and
scratch memory.
"""


def newton_scale(r, *WEIGHT):
    """Return what makes the magnitudes of a residual add up to one."""
    result = real(0.0)
    for i in range(N):
        result = result + fabs(weight[i] * r[i] if WEIGHTED else r[i])
    return select(result < SMALLEST, 1.0, 1.0 / result)


def newton_size(r, scale, *WEIGHT):
    """Return the sum of squares of a residual that is scaled, lest squares over- or underflow."""
    result = real(0.0)
    for i in range(N):
        part = scale * (weight[i] * r[i] if WEIGHTED else r[i])
        result = result + part * part
    return result


def newton_update(delta, *WEIGHT):
    """Return the mean of squares of an update."""
    result = real(0.0)
    for i in range(N):
        part = weight[i] * delta[i] if WEIGHTED else delta[i]
        result = result + part * part
    return result * (1.0 / N)


def newton_line_search(searching, size, scale, *ARGUMENTS):
    """Go along ``newton_delta`` as far as the residual becomes smaller.

    Return the lanes of ``searching`` in which no length did, which stay where they are, and the
    sizes of the residuals.
    """
    length = real(1.0)
    k = 0
    while k <= MAX_BACKTRACKS and any_lane(searching):
        for i in range(N):
            d[i] = select(searching, newton_stage_base_bt[i] + length * newton_delta[i], d[i])
        RESIDUAL(*CONTEXT, d, base, newton_residual_temp, *RESIDUAL_BUFFERS)
        trial = newton_size(newton_residual_temp, scale, *WEIGHT)
        better = both(searching, trial < size)
        if RECORDS:
            record("newton_length", length, better, within=True)
        for i in range(N):
            newton_residual[i] = select(better, newton_residual_temp[i], newton_residual[i])
        size = select(better, trial, size)
        searching = both(searching, negate(better))
        length = length * DAMPING
        k += 1
    for i in range(N):
        d[i] = select(searching, newton_stage_base_bt[i], d[i])
    return searching, size


def newton_krylov(*ARGUMENTS):
    """Solve r(d) = 0 from the guess in ``d``, which is replaced.

    A lane has converged when the root mean square of a whole update, solved for to the linear
    solver's tolerance, is below TOLERANCE; that update is still made. Before that, updates are
    shortened until the residual becomes smaller. Return codes (0 converged, 1 no descent,
    2 iteration limit; 4 is added to the last two where the last linear system was not solved) and
    the numbers of Newton and of linear iterations.
    """
    RESIDUAL(*CONTEXT, d, base, newton_residual, *RESIDUAL_BUFFERS)
    scale = newton_scale(newton_residual, *WEIGHT)
    size = newton_size(newton_residual, scale, *WEIGHT)
    active = finite(size)
    code = select(active, 2, integers(1))
    iterations = integers(0)
    linear_iterations = integers(0)
    unsolved = iterations < 0
    k = 0
    while k < MAX_ITERS and any_lane(active):
        for i in range(N):
            # A linear system without right-hand side costs a lane no iteration.
            newton_residual[i] = select(active, newton_residual[i], 0.0)
        if RECORDS:
            record_within(active, iteration=k)
            record("newton_residual_norm", sqrt(size * (1.0 / N)) / scale, within=True)
        linear_code, linear_count = LINEAR_SOLVER(
            *CONTEXT, d, *WEIGHT, newton_residual, newton_delta, *LINEAR_BUFFERS
        )
        iterations = count_if(iterations, active)
        linear_iterations = linear_iterations + linear_count
        solved = linear_code < 1
        unsolved = either(both(unsolved, negate(active)), both(active, negate(solved)))
        update = newton_update(newton_delta, *WEIGHT)
        done = both(both(active, solved), update <= TOLERANCE * TOLERANCE)
        if RECORDS:
            record("newton_delta_norm", sqrt(update), within=True)
            record("newton_length", real(1.0), done, within=True)
            record("linear_code", linear_code, within=True)
            record("linear_iterations", linear_count, within=True)
        for i in range(N):
            newton_stage_base_bt[i] = d[i]
            d[i] = select(done, d[i] + newton_delta[i], d[i])
        code = select(done, 0, code)
        active = both(active, negate(done))
        if any_lane(active):
            stuck, size = newton_line_search(active, size, scale, *ARGUMENTS)
            code = select(stuck, 1, code)
            active = both(active, negate(stuck))
        k += 1
    return select(both(unsolved, code >= 1), code + 4, code), iterations, linear_iterations
