"""Runs of implicit methods that cannot reach the end: status, last good state, neighbours."""

import numpy as np
import pytest
from kernel_problems import NARROW, assert_same_bits, integrate
from method_list import FEW_IMPLICIT, FIRK, ROSENBROCK, TABLEAUS

from cubie_kernels import Solver, Status, System
from cubie_kernels.build.krylov_source import KrylovConfig
from cubie_kernels.kernels.linear_solver import LinearMethod

# y follows x = 1 - r t at once, and its derivative has no value from x = 0 on.
LEAVES = System.from_equations(
    "dx = -r\ndy = log(x) - 1e3*(y - x)\nroot = sqrt(x)",
    states={"x": 1.0, "y": 1.0},
    parameters={"r": 1.0},
    observables=["root"],
    name="leaves",
)
RATES = {"x": [1.0, 1.0, 1.0, 1.0, -1.0], "r": [0.1, 1.0, 2.0, -1.0, 0.1]}
LEFT_AT = np.array([np.inf, 1.0, 0.5, np.inf, 0.0])
TIMES = np.linspace(0.0, 2.0, 9)
# x = sin(w t), which any other solution falls onto within 1e-3.
FOLLOWS = System.from_equations(
    "dx = w*cos(w*t) - 1e4*(x - sin(w*t))", states={"x": 0.0}, parameters={"w": 1.0}, name="follows"
)
VAN_DER_POL = System.from_equations(
    "dx = v\ndv = mu*(1 - x*x)*v - x",
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 1.0},
    name="van der pol",
)
CHAIN = System.from_equations(
    "da = -k*a + b\ndb = k*a - 50*b + c\ndc = 49*b - 2*c",
    states={"a": 1.0, "b": 0.0, "c": 0.0},
    parameters={"k": 1.0},
    name="chain",
)
METHODS = [*FEW_IMPLICIT, "rosenbrock23"]
CASES = [
    *((name, "numpy", adaptive) for name in METHODS for adaptive in (True, False)),
    ("rodas4", "cpu", True),
]


def leave(method, target, adaptive, columns=RATES):
    steps = {} if adaptive else {"dt": 0.03, "adaptive": False}
    solver = Solver(
        LEAVES,
        t_span=(0, 2),
        save_at=TIMES,
        swept=["x", "r"],
        method=method,
        target=target,
        **steps,
    )
    return integrate(solver, columns, width=NARROW)


@pytest.mark.parametrize(("method", "target", "adaptive"), CASES)
def test_no_number(method, target, adaptive):
    outcome = leave(method, target, adaptive)
    fails = np.isfinite(LEFT_AT)
    # Newton's method cannot tell a residual without a value from one that grows.
    ways = (
        [Status.NONFINITE] if method in ROSENBROCK else [Status.NONFINITE, Status.NEWTON_DIVERGED]
    )
    assert (outcome.status[~fails] == Status.SUCCESS).all()
    assert np.isin(outcome.status[fails], ways).all()
    assert outcome.status[-1] == Status.NONFINITE
    assert outcome.accepted[-1] == 0
    np.testing.assert_array_equal(outcome.final_state[:, -1], [-1.0, 1.0])
    # A step may end past the point, if no stage of it lies there.
    slack = 1e-9 if adaptive else 0.03
    reached = outcome.final_time
    assert (reached[fails] <= LEFT_AT[fails] + slack).all()
    assert (reached[fails] >= LEFT_AT[fails] - slack - 1e-9).all()
    # The last good state is that of the last good time, and so are the observables.
    x = np.array(RATES["x"]) - np.array(RATES["r"]) * reached
    np.testing.assert_allclose(outcome.final_state[0], x, atol=1e-12)
    inside = x > 0
    np.testing.assert_allclose(outcome.final_observables[0][inside], np.sqrt(x[inside]), atol=1e-6)
    late = TIMES[:, None] > reached
    assert np.isnan(outcome.states[:, late]).all()
    assert np.isfinite(outcome.states[:, ~late]).all()


@pytest.mark.parametrize(
    ("method", "adaptive"),
    [
        ("rodas4", True),
        *(
            pytest.param(name, adaptive, marks=pytest.mark.slow)
            for name in METHODS
            for adaptive in (True, False)
        ),
    ],
)
def test_neighbours_of_failures(method, adaptive):
    """The same bits with failing runs around as without."""
    rates = np.random.default_rng(2).permutation(np.linspace(-1, 2, 102))
    outcome = leave(method, "cpu", adaptive, {"x": np.ones(102), "r": rates})
    good = outcome.status == Status.SUCCESS
    assert 40 < good.sum() < 60
    alone = leave(method, "cpu", adaptive, {"x": np.ones(good.sum()), "r": rates[good]})
    assert_same_bits(outcome, alone, good)


def follow(method, frequencies, **options):
    solver = Solver(
        FOLLOWS,
        t_span=(0, 1),
        save_at=[0.1, 0.99],
        swept=["w"],
        method=method,
        target="numpy",
        **options,
    )
    outcome = integrate(solver, {"w": frequencies})
    exact = np.sin(np.array(frequencies) * outcome.final_time)
    np.testing.assert_allclose(outcome.final_state[0], exact, atol=1e-3)
    return outcome


@pytest.mark.parametrize("method", METHODS)
def test_step_budget(method):
    outcome = follow(method, [1.0, 300.0], max_steps=250, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outcome.status, [Status.SUCCESS, Status.STEP_BUDGET])
    assert outcome.accepted[1] + outcome.rejected[1] == 250
    assert 0 < outcome.final_time[1] < 1
    np.testing.assert_array_equal(np.isnan(outcome.states[0, 1]), [False, True])


@pytest.mark.parametrize("method", METHODS)
def test_step_too_small(method):
    steps = {"dt_min": 2e-3, "dt_max": 0.02, "rtol": 1e-6, "atol": 1e-6, "dt": 2e-3}
    outcome = follow(method, [1e-3, 3000.0], **steps)
    np.testing.assert_array_equal(outcome.status, [Status.SUCCESS, Status.STEP_TOO_SMALL])
    assert outcome.final_time[1] < 1
    assert np.isnan(outcome.states[0, 1, 1])


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in FIRK])
def test_singular_matrix(method, target):
    """The growth rate at which a/h - k is no more than 0: the step ends where it began."""
    system = System.from_equations(
        "dx = k*x", states={"x": 1.0}, parameters={"k": 1.0}, name="growth"
    )
    tableau = TABLEAUS[method]
    gamma = tableau.diagonal if method in ROSENBROCK else tableau.a[1][1]
    worst = 4.0 * (1.0 / gamma)
    solver = Solver(
        system,
        t_span=(0, 1),
        save_at=[0.0, 0.5],
        dt=0.25,
        adaptive=False,
        method=method,
        swept=["k"],
        target=target,
    )
    outcome = integrate(solver, {"k": [-1.0, worst, 0.0, worst]}, width=NARROW)
    good, bad = Status.SUCCESS, Status.SINGULAR_MATRIX
    np.testing.assert_array_equal(outcome.status, [good, bad, good, bad])
    np.testing.assert_array_equal(outcome.final_time, [1.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(outcome.accepted, [4, 0, 4, 0])
    np.testing.assert_array_equal(outcome.final_state[0, 1:], [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(outcome.states[0, :, 1], [1.0, np.nan])
    assert outcome.final_state[0, 0] == pytest.approx(np.exp(-1.0), rel=2e-2)


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in ROSENBROCK])
def test_newton_diverges(method, target):
    """A fixed step that is too long for the fast parts of a relaxation oscillation."""
    solver = Solver(
        VAN_DER_POL,
        t_span=(0, 100),
        save_at=[1.0, 100.0],
        dt=0.1,
        adaptive=False,
        swept=["mu"],
        method=method,
        target=target,
    )
    outcome = integrate(solver, {"mu": [0.1, 50.0]}, width=NARROW)
    np.testing.assert_array_equal(outcome.status, [Status.SUCCESS, Status.NEWTON_DIVERGED])
    # It stops where the slow motion from x = 2 to x = 1 ends in a jump.
    x, v = outcome.final_state[:, 1]
    assert 30 < outcome.final_time[1] < 45
    assert outcome.accepted[1] == round(outcome.final_time[1] / 0.1)
    assert 0.8 < x < 1.3
    assert v < 0
    assert outcome.newton_iterations[1] >= outcome.accepted[1]
    np.testing.assert_array_equal(np.isnan(outcome.states[0, :, 1]), [False, True])


@pytest.mark.parametrize("method", FEW_IMPLICIT)
def test_linear_solver_gives_up(method):
    """One iteration solves the systems of a run that stays where it is, and of no other."""
    one = KrylovConfig(LinearMethod("gmres", tolerance=1e-10, max_iters=1), "none")
    solver = Solver(
        CHAIN,
        t_span=(0, 1),
        dt=0.25,
        adaptive=False,
        swept=["a"],
        method=method,
        linear_solver=one,
        target="numpy",
    )
    outcome = integrate(solver, {"a": [0.0, 1.0]})
    np.testing.assert_array_equal(outcome.status, [Status.SUCCESS, Status.LINEAR_SOLVER_LIMIT])
    np.testing.assert_array_equal(outcome.final_time, [1.0, 0.0])
    np.testing.assert_array_equal(outcome.final_state[:, 1], [1.0, 0.0, 0.0])
    assert outcome.linear_iterations[1] > 0
