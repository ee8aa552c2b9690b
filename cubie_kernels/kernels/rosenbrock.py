"""Rosenbrock steps: a linear system for each stage, all with one matrix.

In the form without products with the Jacobian (Hairer and Wanner, Solving Ordinary Differential
Equations II, section IV.7).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.kernels.scratch import LOOP, STEP
from cubie_kernels.methods.increment_dense import increment_dense
from cubie_kernels.methods.rosenbrock import RosenbrockTableau

__all__ = ["declare_rosenbrock", "rosenbrock_constants"]

_ROUNDING = 1e-12


def rosenbrock_constants(
    tableau: RosenbrockTableau, states: int, timed: bool, mass: bool
) -> dict[str, Any]:
    """Return the coefficients of a Rosenbrock method.

    A stage whose argument is that of the stage before it, or the start of the step, takes the
    derivative from there. With a mass matrix, an estimate that holds some of what algebraic
    equations are off by, however short the step, is passed through the step's matrix.
    """
    evaluated, source = [], []
    for s, first in enumerate(tableau.arguments):
        evaluated.append(first == s and s > 0)
        source.append(0 if first == 0 else 1)
    error = tuple(tableau.error_factor * e for e in tableau.e or ())
    own = None if tableau.dense is None else tableau.dense.bend
    dense = increment_dense(tableau).nested[1:] if mass and own is None else own
    # Where an argument is that of the stage before and its increment, only this is added.
    rows = [row[:s] for s, row in enumerate(tableau.a)] + [tableau.m]
    chained = [
        s > 0 and evaluated[s - 1] and row == (*rows[s - 1], 1.0) and not mass
        for s, row in enumerate(rows)
    ]
    return {
        "N": states,
        "STAGES": tableau.stages,
        "END": 1,
        "ORDER": tableau.order,
        "IMPLICIT": True,
        "PAIRED": False,
        "GAMMA": tableau.diagonal,
        "STAGE_A": tableau.a,
        "STAGE_C": tableau.c,
        "WEIGHTS": tableau.m,
        "ERROR": error,
        "FILTERED": mass and tableau.stiffly_accurate and _left_at_infinity(tableau),
        "NODES": tableau.alpha_sums,
        "GAMMA_SUM": tableau.gamma_sums,
        "EVALUATED": tuple(evaluated),
        "CHAINED": tuple(chained),
        "SOURCE": tuple(source),
        "ARGUMENT": tableau.arguments,
        "MASS": mass,
        "TIMED": timed and any(tableau.gamma_sums),
        "DENSE": dense or (),
        "DENSE_DEGREE": len(dense or ()),
    }


def _left_at_infinity(tableau: RosenbrockTableau) -> bool:
    """Tell whether the estimate of the error keeps a part of an infinitely fast component."""
    if tableau.e is None:
        return False
    stages = tableau.stages
    matrix = np.eye(stages)
    for s, row in enumerate(tableau.a):
        matrix[s, :s] += row[:s]
    return abs(np.dot(tableau.e, np.linalg.solve(matrix, np.ones(stages)))) > _ROUNDING


def declare_rosenbrock(
    registry: BufferRegistry, states: int, stages: int, timed: bool, precision: str
) -> None:
    """Declare what a Rosenbrock step needs beside its linear solver."""
    buffers = {
        "rosenbrock_stage_rhs": 2 * states,
        "rosenbrock_accumulator": states,
        "rosenbrock_stage_increments": stages * states,
        "rosenbrock_time_derivative": states if timed else 0,
    }
    for name, size in buffers.items():
        registry.register(name, STEP, size, "local", precision=precision)
    registry.register_child(LOOP, STEP)


# ---------------------------------------------------------------------------- lane source
def begin_runs(fresh, *WORK):
    """Forget nothing: a step takes nothing from the one before but state and derivative."""


def take_step(
    t,
    h,
    y,
    p,
    y_new,
    rtol,
    atol,
    active,
    k,
    between,
    u,
    slope,
    *LINEAR,
):
    """Step from ``y`` at ``t`` to ``y_new`` at ``t + h``.

    The first rows of ``k`` hold the derivative at ``y``; its last rows get that at ``y_new``.
    Returns the square of the error norm, the status of what failed or 0, and the numbers of
    Newton and linear iterations.
    """
    inverse = real(1.0 / h)
    a = inverse * (1.0 / GAMMA)
    linear_prepare(real(t), y, p, rtol, atol, *LINEAR)
    bad = linear_factor(real(t), y, p, a, *LINEAR)
    trouble = select(bad, SINGULAR_MATRIX, integers(0))
    products = integers(0)
    if TIMED:
        time_derivative(real(t), y, p, slope)
    for s in unroll(range(STAGES)):
        if RECORDS:
            record_place(active, stage=s)
            if ARGUMENT[s] == 0:
                record("stage_state", y, stage=s)
        if EVALUATED[s]:
            for i in range(N):
                if CHAINED[s]:
                    y_new[i] = y_new[i] + u[(s - 1) * N + i]
                else:
                    y_new[i] = y[i] + total(STAGE_A[s][j] * u[j * N + i] for j in range(s))
            rhs(real(t + wide(NODES[s] * h)), y_new, p, offset(k, N))
            if RECORDS:
                for r in unroll(range(STAGES)):
                    if ARGUMENT[r] == s:
                        record("stage_state", y_new, stage=r)
        if MASS and s > 0:
            for i in range(N):
                between[i] = total(STAGE_C[s][j] * u[j * N + i] for j in range(s))
            mass_product(between, y_new)
            for i in range(N):
                u[s * N + i] = k[SOURCE[s] * N + i] + inverse * y_new[i]
        else:
            for i in range(N):
                u[s * N + i] = k[SOURCE[s] * N + i] + inverse * total(
                    STAGE_C[s][j] * u[j * N + i] for j in range(s)
                )
        if TIMED and GAMMA_SUM[s] != 0.0:
            for i in range(N):
                u[s * N + i] = u[s * N + i] + (GAMMA_SUM[s] * h) * slope[i]
        code, count = linear_solve(real(t), y, p, a, offset(u, s * N), *LINEAR)
        trouble = select(code > 0, LINEAR_SOLVER_LIMIT, trouble)
        products = products + count
        if RECORDS:
            record("stage_derivative", offset(k, SOURCE[s] * N), stage=s)
            record("stage_increment", offset(u, s * N), stage=s)
            record("linear_code", code, stage=s)
            record("linear_iterations", count, stage=s)
    q = real(0.0)
    for i in range(N):
        if CHAINED[STAGES]:
            y_new[i] = y_new[i] + u[(STAGES - 1) * N + i]
        else:
            y_new[i] = y[i] + total(WEIGHTS[j] * u[j * N + i] for j in range(STAGES))
        if FILTERED:
            between[i] = total(ERROR[j] * u[j * N + i] for j in range(STAGES))
        elif ERROR:
            size = larger(fabs(y[i]), fabs(y_new[i]))
            e = reciprocal(atol[i] + rtol[i] * size) * total(
                ERROR[j] * u[j * N + i] for j in range(STAGES)
            )
            q = q + e * e
    if FILTERED:
        mass_product(between, offset(k, N))
        for i in range(N):
            between[i] = a * k[N + i]
        code, count = linear_solve(real(t), y, p, a, between, *LINEAR)
        trouble = select(code > 0, LINEAR_SOLVER_LIMIT, trouble)
        products = products + count
        for i in range(N):
            size = larger(fabs(y[i]), fabs(y_new[i]))
            e = reciprocal(atol[i] + rtol[i] * size) * between[i]
            q = q + e * e
    rhs(real(t + wide(h)), y_new, p, offset(k, N))
    return q * (1.0 / N), trouble, integers(0), products


def prepare_dense(t, h, y, p, y_new, k, between, *WORK):
    """Prepare nothing: the increments of the step are all that the interpolant needs."""


def dense_output(theta, h, y, y_new, k, result, u, slope, *LINEAR):
    """Interpolate the state at ``t + theta * h``.

    With the method's own continuous extension where it has one, else the cubic Hermite polynomial.
    """
    rest = 1.0 - theta
    for i in range(N):
        if DENSE:
            bend = total(DENSE[DENSE_DEGREE - 1][j] * u[j * N + i] for j in range(STAGES))
            for d in unroll(range(DENSE_DEGREE - 2, -1, -1)):
                bend = bend * theta + total(DENSE[d][j] * u[j * N + i] for j in range(STAGES))
            result[i] = rest * y[i] + theta * (y_new[i] + rest * bend)
        else:
            rise = y_new[i] - y[i]
            bend = h * k[i] - rise
            turn = rise - h * k[N + i] - bend
            result[i] = y[i] + theta * (rise + rest * (bend + theta * turn))
