"""Simplified Newton iterations of stages: how many, how exact, and when they are given up."""

import numpy as np
import pytest
from kernel_problems import NARROW, assert_same_bits, integrate
from method_list import DIRK, TABLEAUS

from cubie_kernels import Solver, Status, System, record
from cubie_kernels.kernels.dirk import growth_of_errors
from cubie_kernels.kernels.newton import newton_constants

LINEAR = System.from_equations(
    "dx = v\ndv = -w*x - 500*v + sin(t)",
    states={"x": 1.0, "v": 0.0},
    parameters={"w": 1.0},
    name="linear",
)
# Slow and smooth from x = 2 on; from mu = 30 on a long step leaves the range of Newton's method.
VAN_DER_POL = System.from_equations(
    "dx = v\ndv = mu*(1 - x*x)*v - x",
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 1.0},
    name="van der pol",
)


def fixed(system, method, tolerance, dt=1 / 16, **options):
    solver = Solver(
        system,
        t_span=(0, 1),
        method=method,
        dt=dt,
        adaptive=False,
        rtol=tolerance,
        atol=tolerance,
        **{"target": "numpy", **options},
    )
    return solver


def implicit_stages(name):
    return sum(row[i] != 0.0 for i, row in enumerate(TABLEAUS[name].a))


@pytest.mark.parametrize("name", DIRK)
def test_one_change_solves_linear_equations(name):
    """A second one for the very first stage, to see that, and for some others, to be sure."""
    outcome = integrate(fixed(LINEAR, name, 1e-5, swept=["w"]), {"w": [0.1, 1.0, 200.0]})
    assert (outcome.status == Status.SUCCESS).all()
    stages = 16 * implicit_stages(name)
    assert (outcome.newton_iterations >= stages).all()
    assert (outcome.newton_iterations <= 1.5 * stages + 6).all()


@pytest.mark.parametrize("name", ["sdirk4", "tr-bdf2", "kvaerno5"])
def test_stages_are_as_exact_as_the_tolerance_asks(name):
    """What iterations leave goes down with the tolerance, for a few more of them."""
    exact = integrate(fixed(VAN_DER_POL, name, 1e-14, fixed={"mu": 5.0})).final_state
    before = 0
    for tolerance in 10.0 ** -np.arange(3, 11, 2):
        outcome = integrate(fixed(VAN_DER_POL, name, tolerance, fixed={"mu": 5.0}))
        left = np.abs(outcome.final_state - exact) / (tolerance * (1 + np.abs(exact)))
        assert left.max() < 1.0
        iterations = int(outcome.newton_iterations[0])
        assert before <= iterations < before + 16 * 2 * implicit_stages(name)
        before = iterations
    assert before > 1.3 * 16 * implicit_stages(name)


@pytest.mark.parametrize("name", ["sdirk4", "kvaerno5"])
def test_iterations_end_when_the_rate_says_so(name):
    """The last change of a stage, and that before it, tell that little is left."""
    tolerance = 1e-6
    steps = record(
        VAN_DER_POL, {"mu": [5.0]}, t_span=(0, 3), method=name, rtol=tolerance, atol=tolerance
    ).isel(run=0)
    constants = newton_constants("float64", True, growth_of_errors(TABLEAUS[name]))
    limit = constants["NEWTON_TOLERANCE"]
    size, rate = steps.newton_delta_norm.values, steps.newton_rate.values
    count = steps.newton_iterations.values
    solved = (count > 1) & (steps.trouble.values == 0)[:, None]
    attempt, stage = np.nonzero(solved)
    last = count[attempt, stage] - 1
    end, before = size[attempt, stage, last], size[attempt, stage, last - 1]
    np.testing.assert_allclose(rate[attempt, stage, last], end / before, rtol=1e-12)

    def left(theta, change):
        return theta / (1 - theta) * change

    assert (left(end / before, end) <= limit).all()
    third = last > 1
    assert third.sum() > 0
    earlier = rate[attempt[third], stage[third], last[third] - 1]
    assert (left(earlier, before[third]) > limit).all()
    assert count.max() <= constants["MOST_CHANGES"]


@pytest.mark.parametrize("name", ["sdirk4", "kvaerno5"])
def test_a_step_that_is_not_solved_is_halved(name):
    steps = record(
        VAN_DER_POL, {"mu": [200.0]}, t_span=(0, 400), method=name, rtol=1e-3, atol=1e-3
    ).isel(run=0)
    unsolved = np.flatnonzero(steps.trouble.values == Status.NEWTON_DIVERGED)
    assert len(unsolved) > 0
    assert (steps.accepted.values[unsolved] == 0).all()
    h, start = steps.step_size.values, steps.time.values
    np.testing.assert_allclose(h[unsolved + 1], 0.5 * h[unsolved], rtol=1e-3)
    np.testing.assert_array_equal(start[unsolved + 1], start[unsolved])
    assert int(steps.status) == Status.SUCCESS
    # It was given up: the changes grew, or those still allowed would not have been enough.
    assert (steps.newton_iterations.values[unsolved].max(1) >= 2).all()


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpu", marks=pytest.mark.slow)])
def test_neighbours_of_runs_that_diverge(target):
    """The same bits beside runs whose fixed steps fail at different times as without them."""
    solver = Solver(
        VAN_DER_POL,
        t_span=(0, 60),
        method="kvaerno3",
        dt=0.1,
        adaptive=False,
        swept=["mu"],
        target=target,
    )
    mu = np.array([0.1, 50.0, 0.5, 30.0, 0.2, 40.0, 1.0])
    outcome = integrate(solver, {"mu": mu}, width=NARROW)
    lost = mu > 20
    good, bad = Status.SUCCESS, Status.NEWTON_DIVERGED
    np.testing.assert_array_equal(outcome.status, np.where(lost, bad, good))
    assert_same_bits(outcome, integrate(solver, {"mu": mu[~lost]}, width=NARROW), ~lost)
    assert len(set(outcome.final_time[lost])) == 3


def test_runs_do_not_remember_those_before(monkeypatch):
    """A lane that takes another run begins with no rate of convergence."""
    from cubie_kernels.run import execute as execution

    solver = Solver(
        VAN_DER_POL, t_span=(0, 2), method="sdirk4", swept=["mu"], target="numpy", rtol=1e-5
    )
    mu = np.array([0.0, 5.0, 0.0, 20.0, 1.0])
    together = integrate(solver, {"mu": mu})
    monkeypatch.setattr(execution, "_NUMPY_LANES", 1)
    assert_same_bits(together, integrate(solver, {"mu": mu}))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_tolerance_below_rounding_ends_at_rounding(precision):
    """Where no change is small enough for the tolerance alone."""
    epsilon = float(np.finfo(precision).eps)
    solver = fixed(VAN_DER_POL, "sdirk4", 10 * epsilon, fixed={"mu": 5.0}, precision=precision)
    outcome = integrate(solver)
    assert outcome.status[0] == Status.SUCCESS
    close = integrate(fixed(VAN_DER_POL, "sdirk4", 1e-14, fixed={"mu": 5.0}))
    np.testing.assert_allclose(outcome.final_state, close.final_state, rtol=200 * epsilon)
