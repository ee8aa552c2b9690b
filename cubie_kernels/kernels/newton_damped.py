"""Stages of diagonally implicit steps by the damped Newton-Krylov iteration.

In place of `cubie_kernels.kernels.newton.solve_stage`: the matrix is that at the iterate, and
changes that make the residual no smaller are shortened
(`cubie_kernels.kernels.factories.newton_krylov_solver_factory`).
"""

from __future__ import annotations

__all__ = ["BACKTRACKS", "DAMPING", "MOST_UPDATES"]

MOST_UPDATES = 25
DAMPING, BACKTRACKS = 0.5, 8


# ---------------------------------------------------------------------------- lane source
def damped_apply(t, y, p, a, kept, going, d, v, out, newton_state):
    """Write (a*M - J) v at the iterate."""
    for i in range(N):
        newton_state[i] = y[i] + d[i]
    krylov_apply(t, newton_state, p, a, v, out)


def damped_precondition(t, y, p, a, kept, going, d, v, out):
    """Apply the preconditioner of the step."""
    PRECONDITIONER(t, y, p, a, v, out, kept)


def damped_residual(t, y, p, a, kept, going, d, base, r, newton_state):
    """Write what the stage lacks; nothing in lanes that have nothing to solve."""
    for i in range(N):
        newton_state[i] = y[i] + d[i]
    rhs(t, newton_state, p, r)
    if MASS:
        mass_product(d, newton_state)
        for i in range(N):
            r[i] = select(going, r[i] + (base[i] - a * newton_state[i]), 0.0)
    else:
        for i in range(N):
            r[i] = select(going, r[i] + (base[i] - a * d[i]), 0.0)


def solve_stage(
    t_stage, t, y, p, a, going, limit, d, base, state, delta, residual, weight, rate,
    *SOLVERS,
):
    """Solve ``f(t_stage, y + d) + base - a*M d = 0`` for ``d`` in the lanes of ``going``.

    ``d`` holds a first guess. Returns what failed or 0, and the numbers of Newton and linear
    iterations.
    """
    share = NEWTON_TOLERANCE / limit
    for i in range(N):
        state[i] = share * weight[i]
    code, changes, products = newton_solver(
        t_stage, y, p, a, KEPT_OF_STEP, going, state, base, d, delta, residual, *NEWTON
    )
    for i in range(N):
        state[i] = y[i] + d[i]
    if RECORDS:
        record_within(going)
        record("stage_state", state, within=True)
    trouble = select(code > 0, NEWTON_DIVERGED, integers(0))
    trouble = select(code > 3, LINEAR_SOLVER_LIMIT, trouble)
    return select(going, trouble, 0), select(going, changes, 0), select(going, products, 0)
