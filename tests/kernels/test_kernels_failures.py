"""Runs that cannot reach the end: their status, last good state, and their neighbours."""

import numpy as np
import pytest
from kernel_problems import NARROW, assert_same_bits, integrate

from cubie_kernels import Solver, Status, System

# x = 1/(1/x0 - t): reaches infinity at t = 1/x0.
BLOW_UP = System.from_equations("dx = x*x", states={"x": 1.0}, name="blow-up")
# The logarithm of x = 1 - r t; y' = log(x).
LEAVES = System.from_equations(
    "dx = -r\ndy = log(x)\nroot = sqrt(x)",
    states={"x": 1.0, "y": 0.0},
    parameters={"r": 1.0},
    observables=["root"],
    name="leaves",
)
TIMES = np.linspace(0.0, 2.0, 9)
TARGETS = pytest.mark.parametrize("target", ["cpu", "numpy"])


@TARGETS
@pytest.mark.parametrize("adaptive", [True, False])
def test_blow_up(target, adaptive):
    start = np.array([0.1, 1.1, 0.3, 0.83, -1.0, 3.9])
    steps = {"rtol": 1e-8, "atol": 1e-8} if adaptive else {"dt": 1 / 256, "adaptive": False}
    solver = Solver(
        BLOW_UP,
        t_span=(0.0, 2.0),
        save_at=TIMES,
        method="dopri5",
        swept=["x"],
        target=target,
        **steps,
    )
    outcome = integrate(solver, {"x": start}, width=NARROW)
    fails = (start > 0) & (1 / np.abs(start) < 2)
    assert (outcome.status[~fails] == Status.SUCCESS).all()
    assert np.isin(outcome.status[fails], [Status.NONFINITE, Status.STEP_TOO_SMALL]).all()
    end = 1 / start[fails]
    assert (outcome.final_time[fails] < end + (1e-6 if adaptive else 0.1)).all()
    assert (outcome.final_time[fails] > end - 0.01).all()
    assert np.isfinite(outcome.final_state).all()
    exact = 1 / (1 / start - TIMES[:, None])
    before = TIMES[:, None] < np.where(fails, 1 / start - 0.1, 3.0)
    np.testing.assert_allclose(outcome.states[0][before], exact[before], rtol=1e-5)
    after = TIMES[:, None] > np.where(fails, 1 / start + 0.1, 3.0)
    assert after.any()
    assert np.isnan(outcome.states[0][after]).all()
    if not adaptive:
        assert (outcome.status[fails] == Status.NONFINITE).all()
        np.testing.assert_array_equal(outcome.accepted, outcome.final_time * 256)


@TARGETS
@pytest.mark.parametrize("adaptive", [True, False])
def test_logarithm_of_a_negative_number(target, adaptive):
    rates = np.array([0.1, 1.0, 2.0, -1.0])
    steps = {} if adaptive else {"dt": 0.03, "adaptive": False}
    solver = Solver(
        LEAVES, t_span=(0, 2), save_at=TIMES, swept=["x", "r"], target=target, method="bs3", **steps
    )
    outcome = integrate(solver, {"x": np.ones(4), "r": rates}, width=NARROW)
    good, bad = Status.SUCCESS, Status.NONFINITE
    np.testing.assert_array_equal(outcome.status, [good, bad, bad, good])
    assert (outcome.final_time[1:3] <= [1.0, 0.5]).all()
    assert (outcome.final_time[1:3] > [0.96, 0.46]).all()
    # The last good state is that of the last good time, and so are the observables.
    x = 1 - rates * outcome.final_time
    np.testing.assert_allclose(outcome.final_state[0], x, atol=1e-12)
    np.testing.assert_allclose(outcome.final_observables[0], np.sqrt(x), atol=1e-6)
    late = TIMES[:, None] > outcome.final_time
    assert np.isnan(outcome.states[:, late]).all()
    assert np.isnan(outcome.observables[:, late]).all()
    assert np.isfinite(outcome.states[:, ~late]).all()


@TARGETS
@pytest.mark.parametrize("adaptive", [True, False])
def test_bad_from_the_start(target, adaptive):
    """A derivative that is no number at t0 leaves the initial state, saved once."""
    steps = {} if adaptive else {"dt": 0.03, "adaptive": False}
    solver = Solver(
        LEAVES, t_span=(0, 2), save_at=TIMES, swept=["x", "r"], target=target, method="bs3", **steps
    )
    outcome = integrate(solver, {"x": [-1.0, 1.0], "r": [0.1, 0.1]}, width=NARROW)
    np.testing.assert_array_equal(outcome.status, [Status.NONFINITE, Status.SUCCESS])
    assert outcome.final_time[0] == 0
    assert outcome.accepted[0] == 0
    np.testing.assert_array_equal(outcome.final_state[:, 0], [-1, 0])
    np.testing.assert_array_equal(outcome.states[:, 0, 0], [-1, 0])
    assert np.isnan(outcome.states[:, 1:, 0]).all()


def test_neighbours_of_failures():
    """The same bits with failing runs around as without."""
    rates = np.random.default_rng(2).permutation(np.linspace(-1, 2, 102))
    solver = Solver(LEAVES, t_span=(0, 2), save_at=TIMES, swept=["r"], method="bs3")
    outcome = integrate(solver, {"r": rates})
    good = outcome.status == Status.SUCCESS
    np.testing.assert_array_equal(good, rates < 0.5)
    assert_same_bits(outcome, integrate(solver, {"r": rates[good]}), good)


def test_step_too_small():
    """A stiff spike that no step above dt_min can follow."""
    spike = System.from_equations(
        "dx = select_rate/((t - 1)**2 + 1e-8) - x",
        states={"x": 0.0},
        parameters={"select_rate": 1.0},
        name="spike",
    )
    solver = Solver(
        spike,
        t_span=(0, 2),
        save_at=[0.5, 1.5],
        swept=["select_rate"],
        dt_min=1e-3,
        dt_max=0.05,
        rtol=1e-9,
        atol=1e-9,
        method="bs3",
    )
    outcome = integrate(solver, {"select_rate": [1e-12, 1.0]}, width=NARROW)
    np.testing.assert_array_equal(outcome.status, [Status.SUCCESS, Status.STEP_TOO_SMALL])
    assert 0.3 < outcome.final_time[1] < 1.0
    assert np.isfinite(outcome.final_state).all()
    assert np.isnan(outcome.states[0, 1, 1])


def test_failures_end_early():
    """A run that fails gives its lane back: failures cost no more than their own steps."""
    solver = Solver(BLOW_UP, t_span=(0.0, 2.0), swept=["x"], method="bs3", max_steps=1000)
    outcome = integrate(solver, {"x": np.full(5000, 1.0)}, width=NARROW)
    assert (outcome.status != Status.SUCCESS).all()
    assert (outcome.status != Status.NOT_RUN).all()
    assert (outcome.accepted + outcome.rejected <= 1000).all()


def test_infinite_slope_is_not_a_success():
    """Division by zero at the start: no NaN ever passes for a number."""
    system = System.from_equations("dx = 1/(t - 0.5)", states={"x": 0.0}, name="pole")
    outcome = integrate(
        Solver(system, t_span=(0, 1), dt=0.125, adaptive=False, method="rk4"), width=NARROW
    )
    assert outcome.status[0] == Status.NONFINITE
    assert outcome.final_time[0] == 0.375
