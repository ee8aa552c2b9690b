"""Diagonally implicit Runge-Kutta steps: the stages one after the other, all with one matrix.

The unknown of a stage is its increment ``d = Y - y``, free of the digits of the state that do not
change in the step. The derivative of a stage is what its converged increment says,
``M d / (h gamma) - base``: evaluated anew, the model would multiply what is left of the error by
its stiffness (Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.8).

The first rows of the stages hold the derivative at the start of the step. A method without an
explicit first stage only begins its iterations with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.kernels.newton import NEWTON
from cubie_kernels.kernels.scratch import LOOP, STEP
from cubie_kernels.methods.increment_dense import increment_dense
from cubie_kernels.methods.tableau import Tableau

__all__ = ["declare_dirk", "dirk_constants", "growth_of_errors"]


# First guesses are polynomials of at most this degree through the stages before, as long as the
# weights in them stay small.
_MOST_DEGREE = 2
_MOST_WEIGHT = 6.0
_MOST_OF_STIFF = 1.0


def dirk_constants(
    tableau: Tableau, states: int, mass: bool, saves: bool = False
) -> dict[str, Any]:
    """Return the coefficients of a method, with the start of the step as an explicit first stage.

    The estimate of the error is passed through the step's matrix where it would grow with the
    stiffness of the model, and where derivatives are not increments: with a mass matrix. There
    values within a step are made of increments, which are kept for it.
    """
    a, b, c = _padded(tableau)
    error = tuple(tableau.error_factor * e for e in _weights(tableau.error, len(b)))
    stages, gamma = len(b), float(a[1, 1])
    last_is_end = bool((a[-1] == b).all() and c[-1] == 1.0)
    assert last_is_end or (stages == 2 and b[0] == 0.0)
    earlier = np.tril(a, -1) / gamma
    guess = np.tril(a, -1)
    for i in range(1, stages):
        guess[i, :i] += gamma * _continued(c[:i], c[i])
    filtered = bool(error) and (mass or _unbounded(a, error))
    kept = mass and saves
    dense = increment_dense(tableau).nested if kept else _dense_columns(tableau, stages)
    return {
        "N": states,
        "STAGES": stages,
        "PADDED": stages - tableau.stages,
        "END": 1,
        "ORDER": tableau.order,
        "IMPLICIT": True,
        "PAIRED": False,
        "MASS": mass,
        "GAMMA": gamma,
        "EARLIER": _rows(earlier),
        "GUESS": _rows(guess),
        "NODES": tuple(map(float, c)),
        "WEIGHTS": () if last_is_end else tuple(map(float, b)),
        "ERROR": tuple(e / gamma for e in error) if filtered else error,
        "FILTERED": filtered,
        "KEPT": kept,
        "DENSE": dense,
        "DENSE_DEGREE": len(dense),
    }


def growth_of_errors(tableau: Tableau) -> float:
    """Return how much errors of slow components in the stages' increments can add up to.

    That is in the state at the end, by what the derivatives make of them that are computed from
    the increments; the last stage of a step that ends on it is left out.
    """
    a, b, _ = _padded(tableau)
    own = slice(1, -1 if (a[-1] == b).all() else None)
    return float(np.abs(np.linalg.solve(a[own, own].T, b[own])).sum())


def declare_dirk(
    registry: BufferRegistry, states: int, stages: int, precision: str, kept: bool = False
) -> None:
    """Declare what a diagonally implicit step needs beside its solvers.

    ``kept`` tells whether the increments of all stages are.

    Between steps the memory of Newton's iteration is free: what a step hands on lies there, where
    it can, but for the rate of convergence, with which the next iteration begins.
    """
    registry.register_child(STEP, NEWTON, "dirk_solver_scratch")
    buffers = {
        "dirk_stage_rhs": stages * states,
        "dirk_accumulator": states,
        "dirk_stage_increment": states,
        "dirk_stage_base": states,
        "dirk_newton_rate": 1,
    }
    if kept:
        buffers["dirk_kept_increments"] = (stages - 1) * states
    for name, size in buffers.items():
        registry.register(name, STEP, size, "local", precision=precision)
    for name, size in (("dirk_rhs_cache", 2 * states), ("dirk_increment_cache", states)):
        registry.register(
            name, STEP, size, "local", aliases="dirk_solver_scratch", precision=precision
        )
    registry.register_child(LOOP, STEP)


def _padded(tableau: Tableau) -> tuple[Any, Any, Any]:
    """Return ``a``, ``b`` and ``c``, with an explicit first stage if the method has none."""
    a, b, c = np.array(tableau.a), np.array(tableau.b), np.array(tableau.c)
    if a[0, 0] == 0.0:
        return a, b, c
    return np.pad(a, ((1, 0), (1, 0))), np.pad(b, (1, 0)), np.pad(c, (1, 0))


def _continued(nodes: Any, node: float) -> Any:
    """Return weights of derivatives at nodes that give the one at another node.

    Of all that are exact for polynomials up to a degree the smallest, for the highest degree that
    they stay small for.
    """
    for degree in range(min(_MOST_DEGREE, len(nodes) - 1), 0, -1):
        powers = np.arange(degree + 1)[:, None]
        weights = np.linalg.pinv(nodes**powers) @ node ** powers[:, 0]
        exact = np.allclose(nodes**powers @ weights, node ** powers[:, 0])
        if exact and np.abs(weights).sum() < _MOST_WEIGHT:
            return weights
    return np.eye(len(nodes))[-1]


def _weights(weights: Sequence[float] | None, stages: int) -> tuple[float, ...]:
    if weights is None:
        return ()
    return (*(0.0,) * (stages - len(weights)), *weights)


def _unbounded(a: Any, error: Sequence[float]) -> bool:
    """Tell whether the estimate of a component that is infinitely stiff is more than the component.

    Its stages end at 0: with increments of minus itself, whatever its derivative at the start is,
    which is infinite.
    """
    weights = np.linalg.solve(a[1:, 1:].T, error[1:])
    of_start = error[0] - weights @ a[1:, 0]
    return bool(abs(of_start) > 1e-12 or abs(weights.sum()) > _MOST_OF_STIFF)


def _dense_columns(tableau: Tableau, stages: int) -> tuple[tuple[float, ...], ...]:
    if tableau.dense is None:
        return ()
    columns = zip(*tableau.dense.nested, strict=True)
    return tuple(_weights(column, stages) for column in columns)


def _rows(matrix: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in matrix)


# ---------------------------------------------------------------------------- lane source
def begin_runs(fresh, *WORK):
    """Forget how fast the iterations of the runs before converged."""
    rate[0] = select(fresh, 1.0, rate[0])


def take_step(t, h, y, p, y_new, rtol, atol, active, k, between, *WORK):
    """Step from ``y`` at ``t`` to ``y_new`` at ``t + h``.

    The first rows of ``k`` hold the derivative at ``y``; its last rows get that at ``y_new``.
    Returns the square of the error norm, the status of what failed or 0, and the numbers of
    Newton and linear iterations.
    """
    a = real(1.0 / h) * (1.0 / GAMMA)
    finite_start = all_finite(k)
    for i in range(N):
        stages[i] = k[i]
    linear_prepare(real(t), y, p, rtol, atol, *LINEAR)
    bad = linear_factor(real(t), y, p, a, *LINEAR)
    trouble = select(bad, SINGULAR_MATRIX, integers(0))
    trouble = select(finite_start, trouble, NONFINITE)
    changes = integers(0)
    products = integers(0)
    limit = newton_begin(y, rtol, atol, weight)
    if RECORDS and not PADDED:
        record("stage_state", y, active, stage=0)
        record("stage_derivative", k, active, stage=0)
    for s in range(1, STAGES):
        if RECORDS:
            record_place(active, stage=s - PADDED)
        t_stage = wide(t)
        for r in unroll(range(1, STAGES)):
            if s == r:
                t_stage = t + wide(NODES[r] * h)
                for i in range(N):
                    base[i] = real(total(EARLIER[r][j] * stages[j * N + i] for j in range(r)))
                    d[i] = real(h * total(GUESS[r][j] * stages[j * N + i] for j in range(r)))
        fault, tries, count = solve_stage(
            real(t_stage), real(t), y, p, a, both(active, trouble == 0), limit, d, base, between,
            delta, residual, weight, rate, *SOLVERS,
        )
        trouble = select(fault > 0, fault, trouble)
        changes = changes + tries
        products = products + count
        if MASS:
            mass_product(d, residual)
            for i in range(N):
                stages[s * N + i] = a * residual[i] - base[i]
                if KEPT:
                    increments[(s - 1) * N + i] = d[i]
        else:
            for i in range(N):
                stages[s * N + i] = a * d[i] - base[i]
        if RECORDS:
            record_place()
            record("stage_derivative", offset(stages, s * N), trouble == 0, stage=s - PADDED)
    for i in range(N):
        if WEIGHTS:
            # Of one implicit stage, in whose increment a mass matrix is reckoned with.
            d[i] = (WEIGHTS[1] / GAMMA) * d[i]
        y_new[i] = y[i] + d[i]
    q = real(0.0)
    if ERROR and not UNIFORM_STEP:
        q, code, count = dirk_error(t, h, y, p, y_new, a, rtol, atol, *WORK)
        trouble = select(both(trouble == 0, code > 0), LINEAR_SOLVER_LIMIT, trouble)
        products = products + count
        if RECORDS:
            record("error_linear_iterations", count)
    # The memory of the iteration is free from here on.
    if WEIGHTS:
        rhs(real(t + wide(h)), y_new, p, offset(k, N))
    for i in range(N):
        k[i] = stages[i]
        step_increment[i] = d[i]
        if not WEIGHTS:
            k[N + i] = stages[(STAGES - 1) * N + i]
    return q, trouble, changes, products


def dirk_error(t, h, y, p, y_new, a, rtol, atol, *WORK):
    """Return the square of the error norm, and the linear solver's code and iterations."""
    q = real(0.0)
    code = integers(0)
    count = integers(0)
    if FILTERED:
        for i in range(N):
            delta[i] = real(total(ERROR[j] * stages[j * N + i] for j in range(STAGES)))
        code, count = linear_solve(real(t), y, p, a, delta, *LINEAR)
    for i in range(N):
        size = larger(fabs(y[i]), fabs(y_new[i]))
        e = reciprocal(atol[i] + rtol[i] * size)
        if FILTERED:
            e = e * delta[i]
        else:
            e = e * (h * total(ERROR[j] * stages[j * N + i] for j in range(STAGES)))
        q = q + e * e
    return q * (1.0 / N), code, count


def prepare_dense(t, h, y, p, y_new, k, between, *WORK):
    """Prepare nothing: the stages of the step are all that the interpolant needs."""


def dense_output(theta, h, y, y_new, k, result, *WORK):
    """Interpolate the state at ``t + theta * h``.

    With the method's own continuous extension where it has one, else the cubic Hermite polynomial.
    """
    rest = 1.0 - theta
    for i in range(N):
        rise = step_increment[i]
        if KEPT:
            bend = real(0.0)
            for degree in unroll(range(DENSE_DEGREE - 1, 0, -1)):
                bend = bend + total(
                    DENSE[degree][j] * increments[j * N + i] for j in range(STAGES - 1)
                )
                bend = (rest if degree % 2 else theta) * bend
            result[i] = y[i] + theta * (rise + bend)
        elif DENSE_DEGREE > 1:
            bend = total(DENSE[DENSE_DEGREE - 1][j] * stages[j * N + i] for j in range(STAGES))
            for degree in unroll(range(DENSE_DEGREE - 2, 0, -1)):
                bend = bend * (theta if degree % 2 else rest) + total(
                    DENSE[degree][j] * stages[j * N + i] for j in range(STAGES)
                )
            result[i] = y[i] + theta * (rise + rest * (h * bend))
        else:
            bend = h * k[i] - rise
            turn = rise - h * k[N + i] - bend
            result[i] = y[i] + theta * (rise + rest * (bend + theta * turn))
