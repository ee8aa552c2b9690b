"""How a lane begins a run: its inputs, its derivative and its first step."""


def load_run(run, fresh, columns, values, initial, y, p):
    """Read the initial state and the swept parameters of the lanes of ``fresh``.

    ``columns`` holds for each swept quantity the place of its values, the number of consecutive
    runs that share one, and how many there are.
    """
    for d in unroll(range(len(SWEPT_PARAMETERS))):
        p[SWEPT_PARAMETERS[d]] = gather_cyclic(
            values,
            columns[3 * d],
            columns[3 * d + 1],
            columns[3 * d + 2],
            run,
            fresh,
            p[SWEPT_PARAMETERS[d]],
        )
    for i in range(N):
        y[i] = select(fresh, real(initial[i]), y[i])
    for d in unroll(range(len(SWEPT_STATES))):
        y[SWEPT_STATES[d]] = gather_cyclic(
            values,
            columns[3 * (len(SWEPT_PARAMETERS) + d)],
            columns[3 * (len(SWEPT_PARAMETERS) + d) + 1],
            columns[3 * (len(SWEPT_PARAMETERS) + d) + 2],
            run,
            fresh,
            y[SWEPT_STATES[d]],
        )


def start_derivative(t, fresh, y, p, k):
    """Put the derivative of the lanes of ``fresh`` in the first rows of ``k``.

    The other lanes keep theirs: computed again in other surroundings it may differ in the last bit.
    """
    rhs(real(t), y, p, offset(k, N))
    for i in range(N):
        k[i] = select(fresh, k[N + i], k[i])


def first_step(t, asked, y, p, k, y_new, rtol, atol):
    """Return the first step: the one asked for, or if that is 0 a guess.

    The guess is that of Hairer, Nørsett & Wanner, Solving ODEs I (1993), II.4.
    """
    if asked > 0.0:
        return real(asked)
    size = real(0.0)
    slope = real(0.0)
    for i in range(N):
        weight = 1.0 / (atol[i] + rtol[i] * fabs(y[i]))
        a = y[i] * weight
        b = k[i] * weight
        size = size + a * a
        slope = slope + b * b
    size = sqrt(size * (1.0 / N))
    slope = sqrt(slope * (1.0 / N))
    small = either(size < 1e-5, slope < 1e-5)
    h = select(small, 1e-6, 0.01 * size / slope)
    for i in range(N):
        y_new[i] = y[i] + h * k[i]
    rhs(real(t + wide(h)), y_new, p, offset(k, N))
    bend = real(0.0)
    for i in range(N):
        weight = 1.0 / (atol[i] + rtol[i] * fabs(y[i]))
        b = (k[N + i] - k[i]) * weight
        bend = bend + b * b
    bend = sqrt(bend * (1.0 / N)) / h
    worst = larger(slope, bend)
    power = log2_estimate(100.0 * worst) * (-1.0 / (ORDER + 1))
    guess = exp2_estimate(larger(smaller(power, real(100.0)), real(-100.0)))
    guess = select(worst <= 1e-15, larger(real(1e-6), h * 1e-3), guess)
    return smaller(100.0 * h, guess)
