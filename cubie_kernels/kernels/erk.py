"""Explicit Runge-Kutta steps.

A method that is not FSAL (first same as last) has its weights appended as one more stage, so that
the last row of ``A`` always gives the new state and the last stage its derivative.
"""

from __future__ import annotations

from typing import Any

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.errors import InputError
from cubie_kernels.kernels.scratch import LOOP, STEP
from cubie_kernels.methods.tableau import Tableau, difference

__all__ = ["declare_erk", "erk_constants", "stiffness_constants"]


def erk_constants(tableau: Tableau, states: int) -> dict[str, Any]:
    """Return the coefficients of an explicit method, with its last stage at the new state."""
    a = [row[:i] for i, row in enumerate(tableau.a)]
    c = list(tableau.c)
    if not tableau.fsal:
        a.append(tableau.b)
        c.append(1.0)
    stages = len(a)
    names: dict[str, Any] = {
        "N": states,
        "STAGES": stages,
        "END": stages - 1,
        "ORDER": tableau.order,
        "IMPLICIT": False,
        "DETECTS_STIFFNESS": False,
        "A": tuple(a),
        "C": tuple(c),
        "ERROR": _padded(tableau.error, stages),
        "ERROR_2": _padded(tableau.error_2, stages),
        "DENSE_A": (),
        "DENSE_C": (),
        "DENSE_COLUMNS": (),
        "DENSE_ROWS": 0,
        "DENSE_DEGREE": 3,
        "DENSE_STAGES": 0,
    }
    dense = tableau.dense
    if dense is not None:
        # Without FSAL the first extra stage is the derivative at the new state, which is here
        # the last stage anyway.
        first = stages - tableau.stages
        names |= {
            "DENSE_A": dense.extra_a[first:],
            "DENSE_C": dense.extra_c[first:],
            "DENSE_COLUMNS": tuple(zip(*dense.nested, strict=True)),
            "DENSE_ROWS": len(dense.nested),
            "DENSE_DEGREE": len(dense.nested[0]),
            "DENSE_STAGES": len(dense.extra_c) - first,
        }
    return names


def _padded(weights: tuple[float, ...] | None, stages: int) -> tuple[float, ...]:
    if weights is None:
        return ()
    return (*weights, *(0.0,) * (stages - len(weights)))


# Steps are limited by stability where the product of step and eigenvalue passes this limit; a run
# is stiff after so many of them, each other step taking back several.
_STABLE = {"tsit5": 3.0}
_PROOF, _RELIEF = 15.0, 3.0


def stiffness_constants(tableau: Tableau) -> dict[str, Any]:
    """Return what an explicit method needs to tell that a run is stiff.

    Raises
    ------
    InputError
        If it cannot tell: its last two stages must be at the end of the step, and the region of
        stability known.
    """
    if tableau.name not in _STABLE:
        raise InputError(
            f"Method {tableau.name!r} cannot detect stiffness; those that can: "
            f"{', '.join(_STABLE)}."
        )
    last, before = tableau.a[-1], tableau.a[-2]
    limit = _STABLE[tableau.name]
    return {
        "DETECTS_STIFFNESS": True,
        # With the limit as a factor no product is one of the step's own. Those would no longer be
        # fused with a sum if they served twice, and the step would have other bits.
        "STIFFNESS_A": tuple(limit * a for a in difference(last, before)[:-1]),
        "STIFFNESS_PROOF": _PROOF,
        "STIFFNESS_RELIEF": _RELIEF,
    }


def declare_erk(
    registry: BufferRegistry, states: int, stages: int, precision: str, detects: bool
) -> None:
    """Declare what an explicit Runge-Kutta step needs.

    The derivative kept from step to step (first same as last) is the first row of
    ``erk_stage_rhs``, so that it needs no storage of its own.
    """
    registry.register("erk_stage_rhs", STEP, stages * states, "local", precision=precision)
    registry.register("erk_stage_accumulator", STEP, states, "local", precision=precision)
    if detects:
        registry.register("erk_stiffness", STEP, 1, "local", precision=precision)
    registry.register_child(LOOP, STEP)


# ---------------------------------------------------------------------------- lane source
def begin_runs(fresh, *WORK):
    """Forget how stiff the runs before were."""
    if DETECTS_STIFFNESS:
        score[0] = select(fresh, 0.0, score[0])


def take_step(t, h, y, p, y_new, rtol, atol, active, k, between, *WORK):
    """Step from ``y`` at ``t`` to ``y_new`` at ``t + h``.

    The first rows of ``k`` hold the derivative at ``y``; its last rows get that at ``y_new``.
    Returns the square of the error norm, ``STIFF`` where stiffness is looked for and found, else
    0, and two zeros where implicit steps return the numbers of Newton and linear iterations.
    """
    erk_stages(t, h, y, p, k, y_new, between)
    q = real(0.0)
    trouble = integers(0)
    if not UNIFORM_STEP:
        q = erk_error(h, y, y_new, k, between, rtol, atol)
    if DETECTS_STIFFNESS:
        limited = erk_limited(y, y_new, k, rtol, atol)
        points = score[0] + select(limited, 1.0, real(-STIFFNESS_RELIEF))
        score[0] = larger(points, real(0.0))
        trouble = select(score[0] >= STIFFNESS_PROOF, STIFF, trouble)
    return q, trouble, integers(0), integers(0)


def erk_limited(y, y_new, k, rtol, atol):
    """Tell whether stability, not accuracy, limits the step.

    The last two stages are at the same time, but at different states: the difference of their
    derivatives over that of the states estimates the largest eigenvalue of the Jacobian (Hairer
    and Wanner, Solving Ordinary Differential Equations II, section IV.2). The distance is given in
    units of the largest stable one.
    """
    slopes = real(0.0)
    distance = real(0.0)
    for i in range(N):
        size = larger(fabs(y[i]), fabs(y_new[i]))
        weight = reciprocal(atol[i] + rtol[i] * size)
        slope = weight * (k[(STAGES - 1) * N + i] - k[(STAGES - 2) * N + i])
        way = weight * total(STIFFNESS_A[j] * k[j * N + i] for j in range(STAGES - 1))
        slopes = slopes + slope * slope
        distance = distance + way * way
    return slopes > distance


def erk_stages(t, h, y, p, k, y_new, partial):
    """Compute the stages of a step from ``y``, whose derivative is in the first rows of ``k``.

    On return ``y_new`` holds the state at ``t + h`` and the last rows of ``k`` its derivative.

    A large system does not fit into the first level cache. There, two stages share one pass over
    the derivatives: what is known of the second is kept in ``partial``. With a fixed step the
    products of step and coefficient are computed once for all steps.
    """
    if RECORDS:
        record("stage_state", y, stage=0)
        record("stage_derivative", k, stage=0)
    for s in unroll(range(1, STAGES)):
        if PAIRED and s % 2 == 1 and s > 1:
            for i in blocks(range(N)):
                y_new[i] = partial[i] + (h * A[s][s - 1]) * k[(s - 1) * N + i]
        elif UNIFORM_STEP:
            for i in range(N):
                y_new[i] = total(((h * A[s][j]) * k[j * N + i] for j in range(s)), start=y[i])
                if s % 2 == 0 and s + 1 < STAGES:
                    partial[i] = total(
                        ((h * A[s + 1][j]) * k[j * N + i] for j in range(s)), start=y[i]
                    )
        elif PAIRED:
            for i in blocks(range(N)):
                new = y[i] + h * total(A[s][j] * k[j * N + i] for j in range(s))
                if s % 2 == 0 and s + 1 < STAGES:
                    partial[i] = y[i] + h * total(A[s + 1][j] * k[j * N + i] for j in range(s))
                if PAIRED_ERROR and s + 1 == STAGES:
                    partial[i] = total(ERROR[j] * k[j * N + i] for j in range(s))
                y_new[i] = new
        else:
            for i in range(N):
                y_new[i] = y[i] + h * total(A[s][j] * k[j * N + i] for j in range(s))
        rhs(real(t + wide(C[s] * h)), y_new, p, offset(k, s * N))
        if RECORDS:
            record("stage_state", y_new, stage=s)
            record("stage_derivative", offset(k, s * N), stage=s)


def erk_error(h, y, y_new, k, partial, rtol, atol):
    """Return the square of the error norm: the mean of squares of error over tolerance.

    It is not finite where a component of ``y_new`` is not: the estimate of a reciprocal of an
    infinite or undefined size makes it so.
    """
    q = real(0.0)
    r = real(0.0)
    for i in range(N):
        size = larger(fabs(y[i]), fabs(y_new[i]))
        weight = reciprocal(atol[i] + rtol[i] * size)
        if PAIRED_ERROR:
            e = weight * (partial[i] + ERROR[STAGES - 1] * k[(STAGES - 1) * N + i])
        else:
            e = weight * total(ERROR[j] * k[j * N + i] for j in range(STAGES))
        q = q + e * e
        if ERROR_2:
            e_2 = weight * total(ERROR_2[j] * k[j * N + i] for j in range(STAGES))
            r = r + e_2 * e_2
    if ERROR_2:
        # Hairer's combination of the fifth- and third-order estimates of DOP853.
        q = q * q / larger(q + 0.01 * r, real(TINY))
    return q * (h * h) * (1.0 / N)


def all_finite(y):
    """Return the lanes in which every component is a finite number.

    A number less itself is zero unless it is infinite or undefined; one comparison then serves
    all components.
    """
    nothing = y[0] - y[0]
    for i in range(1, N):
        nothing = nothing + (y[i] - y[i])
    return nothing == 0.0


def prepare_dense(t, h, y, p, y_new, k, stage, *WORK):
    """Compute the further stages that the method's own interpolant needs."""
    for s in unroll(range(len(DENSE_A))):
        for i in range(N):
            stage[i] = y[i] + h * total(DENSE_A[s][j] * k[j * N + i] for j in range(STAGES + s))
        rhs(real(t + wide(DENSE_C[s] * h)), stage, p, offset(k, (STAGES + s) * N))


def dense_output(theta, h, y, y_new, k, result, *WORK):
    """Interpolate the state at ``t + theta * h``.

    With the nested form of `cubie_kernels.methods.DenseOutput`. Its first three columns are the
    cubic Hermite polynomial in every method; those behind are the method's own correction.
    """
    rest = 1.0 - theta
    for i in range(N):
        rise = y_new[i] - y[i]
        bend = h * k[i] - rise
        turn = rise - h * k[(STAGES - 1) * N + i] - bend
        if DENSE_DEGREE > 3:
            more = total(
                DENSE_COLUMNS[DENSE_DEGREE - 1][j] * k[j * N + i] for j in range(DENSE_ROWS)
            )
            for d in unroll(range(DENSE_DEGREE - 2, 2, -1)):
                more = more * (theta if d % 2 else rest) + total(
                    DENSE_COLUMNS[d][j] * k[j * N + i] for j in range(DENSE_ROWS)
                )
            turn = turn + rest * (h * more)
        result[i] = y[i] + theta * (rise + rest * (bend + theta * turn))
