"""Simplified Newton iteration for the stages of diagonally implicit steps.

The convergence control is that of Hairer and Wanner, Solving Ordinary Differential Equations II,
section IV.8: from the sizes of two changes follows how far the iteration still is from its limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie_kernels.buffers import BufferRegistry

__all__ = ["BUFFERS", "NEWTON", "declare_newton", "newton_constants"]

NEWTON = "newton"
BUFFERS = ("newton_delta", "newton_residual", "newton_weight")

# What is left of an iteration's error: this part of the tolerance, or so many roundings.
_TOLERANCE, _ROUNDINGS = 0.03, 4.0
# What stages may leave in the state at the end of a step, if all of them leave as much.
_TOLERANCE_OF_ALL = 0.3
# No rate is trusted that is less: after linear parts of a run, a single change may be 1e5 times the
# tolerance, and no more.
_LEAST_RATE = 1e-10
# Lanes wait for each other: a shorter step is better than many changes. A fixed step has no second
# try.
_MOST_CHANGES, _MOST_CHANGES_FIXED = 6, 25


def newton_constants(precision: str, adaptive: bool, growth: float) -> dict[str, Any]:
    """Return the limits of the iteration; stages' errors grow so much until the end of the step."""
    kind = np.finfo(precision)
    return {
        "NEWTON_TOLERANCE": min(_TOLERANCE, _TOLERANCE_OF_ALL / max(growth, 1.0)),
        "NEWTON_NOISE": _ROUNDINGS * float(kind.eps),
        "NEWTON_LEAST_RATE": max(_LEAST_RATE, float(kind.eps)),
        "MOST_CHANGES": _MOST_CHANGES if adaptive else _MOST_CHANGES_FIXED,
    }


def declare_newton(
    registry: BufferRegistry, states: int, precision: str, names: tuple[str, ...] = BUFFERS
) -> None:
    """Declare what the iteration needs, or some of it; the step that calls it hosts it."""
    for name in names:
        registry.register(name, NEWTON, states, "local", precision=precision)


# ---------------------------------------------------------------------------- lane source
def newton_begin(y, rtol, atol, weight):
    """Set the weights of the norm for a step; return how small errors must become in it.

    Errors below the rounding errors of the state cannot be seen.
    """
    noise = real(0.0)
    for i in range(N):
        weight[i] = reciprocal(atol[i] + rtol[i] * fabs(y[i]))
        size = weight[i] * y[i]
        noise = noise + size * size
    return larger(NEWTON_NOISE * sqrt(noise * (1.0 / N)), real(NEWTON_TOLERANCE))


def solve_stage(
    t_stage, t, y, p, a, going, limit, d, base, state, delta, residual, weight, rate, *LINEAR,
):
    """Solve ``f(t_stage, y + d) + base - a*M d = 0`` for ``d`` in the lanes of ``going``.

    ``d`` holds a first guess. Returns what failed or 0, and the numbers of Newton and linear
    iterations.
    """
    trouble = integers(0)
    changes = integers(0)
    products = integers(0)
    last = real(1.0)
    # Before there is a rate, that of the stage before serves, with some caution.
    rest = sqrt(larger(rate[0], real(NEWTON_LEAST_RATE)))
    rest = rest * sqrt(rest)
    rounds = 0
    while any_lane(going):
        for i in range(N):
            state[i] = y[i] + d[i]
        rhs(t_stage, state, p, delta)
        if RECORDS:
            record_within(going, iteration=rounds)
            record("stage_state", state, within=True, iteration=None)
        if MASS:
            mass_product(d, residual)
            for i in range(N):
                delta[i] = delta[i] + (base[i] - a * residual[i])
        else:
            for i in range(N):
                delta[i] = delta[i] + (base[i] - a * d[i])
        if RECORDS:
            record_norm("newton_residual_norm", delta, weight, N, 1.0 / a, within=True)
        code, count = linear_solve(t, y, p, a, delta, *LINEAR)
        size = real(0.0)
        for i in range(N):
            part = weight[i] * delta[i]
            size = size + part * part
            d[i] = select(going, d[i] + delta[i], d[i])
        size = sqrt(size * (1.0 / N))
        failed = negate(finite(size))
        if rounds > 0:
            theta = size / last
            rest = select(going, theta / (1.0 - theta), rest)
            failed = either(failed, negate(theta < 0.99))
            if RECORDS:
                record("newton_rate", theta, within=True)
            if rounds == 2:
                # What would be left after all changes.
                left = rest * size
                for _ in unroll(range(3, MOST_CHANGES)):
                    left = left * theta
                failed = either(failed, negate(left <= limit))
        converged = rest * size <= limit
        if rounds + 1 == MOST_CHANGES:
            failed = either(failed, negate(converged))
        if RECORDS:
            record("newton_delta_norm", size, within=True)
            record("linear_code", code, within=True)
            record("linear_iterations", count, within=True)
        changes = count_if(changes, going)
        products = products + select(going, count, 0)
        trouble = select(both(going, failed), NEWTON_DIVERGED, trouble)
        trouble = select(both(going, code > 0), LINEAR_SOLVER_LIMIT, trouble)
        going = both(both(going, trouble == 0), negate(converged))
        last = size
        rounds += 1
    rate[0] = select(trouble > 0, 1.0, rest)
    return trouble, changes, products
