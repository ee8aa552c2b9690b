"""Fully implicit Runge-Kutta steps: all stages at once, by simplified Newton iterations.

The unknowns are the increments ``z_j = Y_j - y`` of the stages. In ``w = t_inverse @ z`` the system
of a Newton iteration falls apart into a real one with ``real/h * M - J`` and complex ones with
``(alpha + beta*i)/h * M - J`` (`cubie_kernels.methods.transform.StageTransform`; Hairer and Wanner,
Solving Ordinary Differential Equations II, section IV.8). Only ``w`` is stored: whatever is wanted
of the increments is a combination of its rows.
"""

from __future__ import annotations

from typing import Any

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.kernels.scratch import LOOP, STEP
from cubie_kernels.methods import Tableau
from cubie_kernels.methods.increment_dense import increment_dense
from cubie_kernels.methods.stage_polynomial import expansions, product

__all__ = ["declare_firk", "firk_constants"]

# Iterations of methods of up to three stages; those of more stages may take one more for each.
# All lanes pass through as many as the slowest needs: a shorter step is better than a tenth one.
_ITERATIONS = 6
# A fixed step has no second try.
_ITERATIONS_OF_A_FIXED_STEP = 25
# The iterations end when they are so near, in units of the tolerance. What they leave acts on the
# slow parts of a model as a bias: a tenth more of them is cheaper than a smaller tolerance.
_KAPPA = 1e-3
# A rate of convergence from which on the next step is no longer.
_HIGH_RATE = 0.1
# Instead of a rate that is not known: the first change must be next to nothing.
_NO_RATE = 1e3
# No rate is trusted that is less: after linear parts of a run, the first change may not be larger
# than the tolerance.
_LEAST_RATE = 1e-4
_ROUNDING = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}


def firk_constants(
    tableau: Tableau, states: int, precision: str, adaptive: bool, mass: bool
) -> dict[str, Any]:
    """Return the coefficients of a fully implicit method, for the unknowns ``w``."""
    transform, filtered, dense = tableau.transform, tableau.filtered_error, tableau.dense
    assert transform is not None
    stages, t = tableau.stages, transform.t
    about_end, about_start = expansions(tableau.c)
    powers = range(1, len(about_end) + 1)
    if dense is not None:
        columns = product(tuple(zip(*dense.nested, strict=True)), transform.inverse)
    else:
        columns = increment_dense(tableau).nested if mass else ()
    dense_rows = product(columns, t)
    return {
        "N": states,
        "STAGES": stages,
        "END": stages,
        "ORDER": tableau.order,
        "IMPLICIT": True,
        "MASS": mass,
        "PAIRED": False,
        "LIMIT": _ITERATIONS + max(0, stages - 3) if adaptive else _ITERATIONS_OF_A_FIXED_STEP,
        "KAPPA": _KAPPA,
        "NO_RATE": _NO_RATE,
        "LEAST_RATE": _LEAST_RATE,
        "HIGH_RATE": _HIGH_RATE,
        "POWER": tableau.error_power or tableau.order,
        "EXPONENT": 1.0 if filtered is None else filtered.exponent,
        "PART": 1.0 if filtered is None else filtered.part,
        "ROUNDING": _ROUNDING[precision],
        "NODES": tableau.c,
        "T": t,
        "T_INVERSE": transform.t_inverse,
        "BLOCKS": transform.blocks,
        "REAL": transform.real or 0.0,
        "PAIRS": transform.pairs,
        "FIRST_PAIR": 0 if transform.real is None else 1,
        "WEIGHTS": product((transform.weights,), t)[0],
        "GAMMA": 0.0 if filtered is None else filtered.gamma,
        "ERROR": () if filtered is None else product((filtered.weights,), t)[0],
        "DENSE": dense_rows,
        "DENSE_DEGREE": len(dense_rows),
        "DEGREE": len(about_end),
        "ABOUT_END": product(about_end, t),
        "ABOUT_START": product(about_start, t),
        "SPREAD": product(transform.t_inverse, [[c**d for d in powers] for c in tableau.c]),
    }


def declare_firk(registry: BufferRegistry, states: int, stages: int, precision: str) -> None:
    """Declare what a fully implicit step needs beside its linear solvers."""
    buffers = {
        "firk_stage_rhs": (stages + 1) * states,
        "firk_stage_increments": stages * states,
        "firk_accumulator": states,
        "firk_last_step": 4,
        "newton_delta": stages * states,
        "newton_weight": states,
    }
    for name, size in buffers.items():
        registry.register(name, STEP, size, "local", precision=precision)
    registry.register_child(LOOP, STEP)


# ---------------------------------------------------------------------------- lane source
def begin_runs(fresh, *WORK):
    """Take nothing over from the last step in the lanes of ``fresh``."""
    memory[0] = select(fresh, 0.0, memory[0])


def take_step(t, h, y, p, y_new, rtol, atol, active, k, between, *WORK):
    """Step from ``y`` at ``t`` to ``y_new`` at ``t + h``.

    The first rows of ``k`` hold the derivative at ``y``; its last rows get that at ``y_new``.
    Returns the square of the error norm, the status of what failed or 0, and the numbers of
    Newton and linear iterations.
    """
    inverse = real(1.0 / h)
    linear_prepare(real(t), y, p, rtol, atol, *LINEAR)
    bad = firk_factor(t, inverse, y, p, *WORK)
    trouble = select(bad, SINGULAR_MATRIX, integers(0))
    trouble = select(all_finite(k), trouble, NONFINITE)
    # The time has 64 bits in every precision. It stays where it is after a refused step.
    refused = both(real(t) == memory[2], real(t - wide(real(t))) == memory[3])
    firk_start(h, refused, k, *WORK)
    size = firk_weigh(y, rtol, atol, *WORK)
    kappa = larger(real(KAPPA), (20.0 * ROUNDING) * sqrt(size))
    trouble, solves, products, rate = firk_solve(
        t, h, inverse, y, p, kappa, active, trouble, k, between, *WORK
    )
    memory[0] = select(trouble > 0, 0.0, real(h))
    memory[2] = real(t)
    memory[3] = real(t - wide(real(t)))
    for i in range(N):
        y_new[i] = y[i] + total(WEIGHTS[j] * w[j * N + i] for j in range(STAGES))
    q = real(0.0)
    if not UNIFORM_STEP:
        q, code, count = firk_error(t, inverse, y, p, y_new, rtol, atol, k, between, *WORK)
        trouble = select(both(trouble == 0, code > 0), LINEAR_SOLVER_LIMIT, trouble)
        products = products + count
        if RECORDS:
            record("error_linear_iterations", count, active)
        if EXPONENT < 1.0:
            # The smaller the tolerance, the smaller is the error beside its estimate.
            growth = exp2_estimate((1.0 - EXPONENT) * log2_estimate(larger(size, real(TINY))))
            q = q / larger(PART * PART * growth, real(1.0))
        # The rate grows with the step: a high one bounds the next step as an error of 1 does.
        slow = larger((1.0 / HIGH_RATE) * rate, real(0.01))
        q = larger(q, smaller(exp2_estimate((2.0 * POWER) * log2_estimate(slow)), real(1.0)))
    rhs(real(t + wide(h)), y_new, p, offset(k, END * N))
    return q, trouble, solves, products


def firk_weigh(y, rtol, atol, *WORK):
    """Write the weights of the norm, and return the square of the norm of ``y``."""
    size = real(0.0)
    for i in range(N):
        weight[i] = reciprocal(atol[i] + rtol[i] * fabs(y[i]))
        part = weight[i] * y[i]
        size = size + part * part
    return size * (1.0 / N)


def firk_factor(t, inverse, y, p, *WORK):
    """Factorise the matrices of all systems; return the lanes in which one is singular."""
    bad = inverse != inverse
    if REAL:
        bad = linear_factor(real(t), y, p, REAL * inverse, *LINEAR)
    elif not UNIFORM_STEP:
        bad = linear_factor(real(t), y, p, (1.0 / GAMMA) * inverse, *LINEAR)
    if len(PAIRS) > 0:
        bad = either(
            bad,
            pair_factor(real(t), y, p, PAIRS[0][0] * inverse, PAIRS[0][1] * inverse, *PAIR_0),
        )
    if len(PAIRS) > 1:
        bad = either(
            bad,
            pair_factor(real(t), y, p, PAIRS[1][0] * inverse, PAIRS[1][1] * inverse, *PAIR_1),
        )
    return bad


def firk_start(h, refused, k, *WORK):
    """Write the start of the iterations: on the polynomial of the step before.

    It is continued beyond the end of an accepted step; a refused one already passed here. Where
    there is none that was solved, the start is 0.
    """
    before = memory[0]
    ratio = h / before
    again = any_lane(refused)
    power = ratio
    for d in unroll(range(DEGREE)):
        for i in range(N):
            term = total(ABOUT_END[d][j] * w[j * N + i] for j in range(STAGES))
            if again:
                term = select(
                    refused, total(ABOUT_START[d][j] * w[j * N + i] for j in range(STAGES)), term
                )
            k[(d + 1) * N + i] = power * term
        power = power * ratio
    known = before > 0.0
    for s in unroll(range(STAGES)):
        for i in range(N):
            w[s * N + i] = select(
                known, total(SPREAD[s][d] * k[(d + 1) * N + i] for d in range(DEGREE)), 0.0
            )


def firk_solve(t, h, inverse, y, p, kappa, active, trouble, k, between, *WORK):
    """Iterate until the lanes without trouble have converged, or will not.

    A lane has converged when the norm of what is still missing, estimated by the rate at which its
    changes shrink, is ``kappa``.
    """
    going = both(active, trouble == 0)
    solves = integers(0)
    products = integers(0)
    # Before there is a rate, that of the last step serves, with some caution.
    eta = larger(memory[1], real(LEAST_RATE))
    eta = select(memory[0] == 0.0, NO_RATE, sqrt(eta) * sqrt(sqrt(eta)))
    norm = ratio = real(1.0)
    rate = real(0.0)
    n = 0
    while any_lane(going):
        if RECORDS:
            record_place(going, iteration=n)
        code, count = firk_change(t, h, inverse, y, p, k, between, *WORK)
        solves = count_if(solves, going)
        products = products + select(going, count, 0)
        norm_before = norm
        norm = real(0.0)
        for s in unroll(range(STAGES)):
            for i in range(N):
                e = weight[i] * delta[s * N + i]
                norm = norm + e * e
        norm = sqrt(norm * (1.0 / (STAGES * N)))
        hopeless = negate(finite(norm))
        if n > 0:
            ratio_before = ratio
            ratio = norm / norm_before
            theta = sqrt(ratio * (ratio if n == 1 else ratio_before))
            eta = select(going, theta / (1.0 - theta), eta)
            rate = select(going, theta, rate)
            if RECORDS:
                record("newton_rate", theta, iteration=n)
            left = eta * norm
            for _ in range(n + 1, LIMIT):
                left = left * theta
            hopeless = negate(both(theta < 0.99, left <= kappa))
        unsolved = code > 0
        if RECORDS:
            record("newton_delta_norm", norm, iteration=n)
            record("linear_code", code, iteration=n)
            record("linear_iterations", count, iteration=n)
        trouble = select(both(going, hopeless), NEWTON_DIVERGED, trouble)
        trouble = select(both(going, unsolved), LINEAR_SOLVER_LIMIT, trouble)
        going = both(going, negate(either(hopeless, unsolved)))
        for i in range(STAGES * N):
            w[i] = select(going, w[i] + delta[i], w[i])
        going = both(going, eta * norm > kappa)
        n += 1
    if RECORDS:
        record_place()
    memory[1] = eta
    return trouble, solves, products, rate


def firk_change(t, h, inverse, y, p, k, between, *WORK):
    """Write the change that an iteration makes to ``w``; return linear codes and iterations."""
    for s in unroll(range(STAGES)):
        for i in range(N):
            between[i] = y[i] + total(T[s][j] * w[j * N + i] for j in range(STAGES))
        rhs(real(t + wide(NODES[s] * h)), between, p, offset(k, (s + 1) * N))
        if RECORDS:
            record("stage_state", between, stage=s)
            record("stage_derivative", offset(k, (s + 1) * N), stage=s)
    for s in unroll(range(STAGES)):
        for i in range(N):
            delta[s * N + i] = total(
                T_INVERSE[s][j] * k[(j + 1) * N + i] for j in range(STAGES)
            )
            if not MASS:
                delta[s * N + i] = delta[s * N + i] - inverse * total(
                    BLOCKS[s][j] * w[j * N + i] for j in range(STAGES)
                )
    if MASS:
        for j in unroll(range(STAGES)):
            mass_product(offset(w, j * N), between)
            for s in unroll(range(STAGES)):
                if BLOCKS[s][j] != 0.0:
                    for i in range(N):
                        delta[s * N + i] = delta[s * N + i] - (BLOCKS[s][j] * inverse) * between[i]
    code = integers(0)
    products = integers(0)
    if RECORDS:
        record_norm("newton_residual_norm", delta, weight, STAGES * N, h, within=True)
        record_within(system=0)
    if REAL:
        code, products = linear_solve(real(t), y, p, REAL * inverse, delta, *LINEAR)
    if RECORDS:
        record_within(system=FIRST_PAIR)
    if len(PAIRS) > 0:
        failed, count = pair_solve(
            real(t), y, p, PAIRS[0][0] * inverse, PAIRS[0][1] * inverse,
            offset(delta, FIRST_PAIR * N), offset(delta, (FIRST_PAIR + 1) * N), *PAIR_0,
        )
        code = code + failed
        products = products + count
    if RECORDS:
        record_within(system=FIRST_PAIR + 1)
    if len(PAIRS) > 1:
        failed, count = pair_solve(
            real(t), y, p, PAIRS[1][0] * inverse, PAIRS[1][1] * inverse,
            offset(delta, (FIRST_PAIR + 2) * N), offset(delta, (FIRST_PAIR + 3) * N), *PAIR_1,
        )
        code = code + failed
        products = products + count
    return code, products


def firk_error(t, inverse, y, p, y_new, rtol, atol, k, between, *WORK):
    """Return the square of the error norm, and the linear solver's code and iterations."""
    a = (1.0 / GAMMA) * inverse
    for i in range(N):
        delta[i] = a * total(ERROR[j] * w[j * N + i] for j in range(STAGES))
    if MASS:
        mass_product(delta, between)
        for i in range(N):
            delta[i] = between[i]
    for i in range(N):
        delta[i] = k[i] + delta[i]
    code, count = linear_solve(real(t), y, p, a, delta, *LINEAR)
    q = real(0.0)
    for i in range(N):
        size = larger(fabs(y[i]), fabs(y_new[i]))
        e = reciprocal(atol[i] + rtol[i] * size) * delta[i]
        q = q + e * e
    return q * (1.0 / N), code, count


def prepare_dense(t, h, y, p, y_new, k, between, *WORK):
    """Prepare nothing: the increments of the step are all that the interpolant needs."""


def dense_output(theta, h, y, y_new, k, result, *WORK):
    """Interpolate the state at ``t + theta * h``.

    With the method's own continuous extension where it has one, else the cubic Hermite polynomial.
    """
    rest = 1.0 - theta
    for i in range(N):
        rise = y_new[i] - y[i]
        if DENSE:
            bend = real(0.0)
            for d in unroll(range(DENSE_DEGREE - 1, 0, -1)):
                bend = (rest if d % 2 else theta) * (
                    bend + total(DENSE[d][j] * w[j * N + i] for j in range(STAGES))
                )
            result[i] = y[i] + theta * (rise + bend)
        else:
            bend = h * k[i] - rise
            turn = rise - h * k[END * N + i] - bend
            result[i] = y[i] + theta * (rise + rest * (bend + theta * turn))
