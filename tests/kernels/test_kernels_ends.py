"""Where runs begin and end, and what limits their steps."""

import numpy as np
import pytest
from kernel_problems import CHIRP, NARROW, chirp, integrate
from method_list import ADAPTIVE, NAMES

from cubie_kernels import Solver, Status, System, solve

SWEPT = {"w": np.linspace(0.5, 1.5, 7), "x": np.linspace(0.8, 1.2, 7)}
DECAY = System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0}, name="decay")
SPANS = [(0.0, 1 / 3), (-1.0, np.pi), (10.0, 10.7), (0.1, 0.1 + 0.2)]


def check_ends(name, target, **steps):
    for t0, t1 in SPANS:
        solver = Solver(
            CHIRP,
            t_span=(t0, t1),
            save_at=[t0, t0 + 0.37 * (t1 - t0), t1],
            method=name,
            swept=tuple(SWEPT),
            target=target,
            **steps,
        )
        outcome = integrate(solver, SWEPT, width=NARROW)
        assert (outcome.status == Status.SUCCESS).all()
        assert (outcome.final_time == t1).all()
        # Saves at the ends are the states there, bit for bit.
        np.testing.assert_array_equal(outcome.states[0, 0], SWEPT["x"])
        np.testing.assert_array_equal(outcome.states[1, 0], 0.5)
        np.testing.assert_array_equal(outcome.states[:, -1], outcome.final_state)
        np.testing.assert_array_equal(outcome.observables[:, -1], outcome.final_observables)


@pytest.mark.parametrize("name", NAMES)
def test_end_of_fixed_steps(name):
    check_ends(name, "numpy", dt=0.05, adaptive=False)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_end_of_adaptive_steps(name):
    check_ends(name, "numpy", rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["bs3", "rodas4"])
def test_end_of_compiled_steps(name):
    check_ends(name, "cpu", rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ends_of_every_compiled_method(name):
    check_ends(name, "cpu", dt=0.013, adaptive=False)
    if name in ADAPTIVE:
        check_ends(name, "cpu", rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dt", [1 / 3, 0.1, 0.3, 0.7, 1.0, 0.015])
def test_fixed_steps_fill_the_span(dt):
    """The last, shorter step is of the right length: accuracy tells."""
    steps = {"dt": dt, "adaptive": False, "method": "dop853", "target": "numpy"}
    solution = solve(DECAY, {"k": [0.5]}, t_span=(0, 1), **steps)
    assert solution["x"][0] == pytest.approx(np.exp(-0.5), rel=1e-9)
    whole = round(1 / dt)
    expected = whole if abs(whole * dt - 1) < 1e-9 else int(1 / dt) + 1
    assert solution.accepted_steps[0] == expected
    assert solution.rejected_steps[0] == 0


def test_many_fixed_steps_keep_exact_time():
    """Time is not a sum of steps: after 100,000 the interpolated saves are still in place."""
    clock = System.from_equations("dx = 2*t", states={"x": 0.0}, name="clock")
    times = np.linspace(0, 10_000, 101)
    options = {"t_span": (0, 10_000), "dt": 0.1, "adaptive": False, "method": "heun"}
    solver = Solver(clock, save_at=times, **options)
    np.testing.assert_allclose(
        integrate(solver, width=NARROW).states[0, :, 0], times**2, rtol=1e-10
    )


def decay(**options):
    return integrate(Solver(DECAY, t_span=(0, 1), swept=["k"], **options), {"k": [1.0, 2.0]})


class TestStepLimits:
    def test_dt_max(self):
        outcome = decay(dt_max=0.01, rtol=1e-2, atol=1e-2)
        assert set(outcome.accepted) <= {100, 101, 102, 103}
        assert (outcome.rejected == 0).all()

    def test_dt_is_the_first_step(self):
        """With all three equal, every step is the first one."""
        outcome = decay(dt=0.01, dt_min=0.01, dt_max=0.01)
        assert set(outcome.accepted) <= {100, 101}
        short, long = (decay(dt=dt, rtol=1e-2, atol=1e-2) for dt in (1e-9, 0.1))
        assert (short.accepted >= long.accepted + 7).all()

    def test_dt_too_long_is_rejected_and_shortened(self):
        outcome = decay(dt=1.0, rtol=1e-10, atol=1e-10)
        assert (outcome.rejected > 0).all()
        np.testing.assert_allclose(outcome.final_state[0], np.exp([-1, -2]), rtol=1e-8)

    def test_dt_min(self):
        outcome = decay(dt_min=0.2, rtol=1e-12, atol=1e-12)
        assert (outcome.status == Status.STEP_TOO_SMALL).all()
        assert (outcome.final_time == 0).all()
        assert (outcome.accepted == 0).all()
        assert (outcome.final_state == 1).all()

    def test_dt_min_does_not_stop_the_last_step(self):
        """What is left of the span may be shorter than dt_min."""
        outcome = decay(dt=0.3, dt_min=0.3, dt_max=0.3, rtol=1e-2, atol=1e-2)
        assert (outcome.status == Status.SUCCESS).all()
        assert (outcome.final_time == 1).all()
        assert (outcome.accepted == 4).all()

    @pytest.mark.parametrize("budget", [1, 2, 5, 17])
    def test_max_steps(self, budget):
        solver = Solver(
            CHIRP,
            t_span=(0, 50),
            save_at=[0.0, 0.5, 49.0],
            max_steps=budget,
            method="bs3",
            swept=tuple(SWEPT),
        )
        outcome = integrate(solver, SWEPT, width=NARROW)
        assert (outcome.status == Status.STEP_BUDGET).all()
        assert (outcome.accepted + outcome.rejected == budget).all()
        exact = chirp(outcome.final_time, **SWEPT)[:, range(7), range(7)]
        np.testing.assert_allclose(outcome.final_state, exact, atol=1e-4)
        assert np.isnan(outcome.states[:, 2]).all()
        assert not np.isnan(outcome.states[:, 0]).any()

    def test_budget_that_just_suffices(self):
        needed = int(decay().accepted[0] + decay().rejected[0])
        assert decay(max_steps=needed).status[0] == Status.SUCCESS
        assert decay(max_steps=needed - 1).status[0] == Status.STEP_BUDGET


class TestFirstStep:
    @pytest.mark.parametrize("rate", [1e-6, 1.0, 1e3, 1e6])
    def test_guess_fits_the_problem(self, rate):
        """At any time scale: few rejections, and no crawl from a step far too short."""
        solver = Solver(
            DECAY, t_span=(0, 1 / rate), swept=["k"], dt_min=1e-30 / rate, target="numpy"
        )
        outcome = integrate(solver, {"k": [rate]})
        np.testing.assert_allclose(outcome.final_state, np.exp(-1), rtol=1e-5)
        assert outcome.rejected[0] <= 1
        assert outcome.accepted[0] <= 25

    @pytest.mark.parametrize("target", ["numpy", "cpu"])
    def test_equilibrium(self, target):
        """With state and slope zero there is nothing to guess from."""
        solver = Solver(DECAY, t_span=(0, 100), swept=["x"], target=target)
        outcome = integrate(solver, {"x": [0.0, 1.0]})
        assert (outcome.status == Status.SUCCESS).all()
        assert outcome.final_state[0, 0] == 0
        assert outcome.accepted[0] < 30

    def test_zero_relative_tolerance(self):
        solver = Solver(DECAY, t_span=(0, 1), rtol=0, atol=1e-8, target="numpy")
        np.testing.assert_allclose(integrate(solver).final_state, np.exp(-1), atol=1e-7)

    def test_zero_absolute_tolerance(self):
        solver = Solver(DECAY, t_span=(0, 20), rtol=1e-8, atol=0, target="numpy")
        np.testing.assert_allclose(integrate(solver).final_state, np.exp(-20), rtol=1e-6)


def test_tolerances_of_each_state():
    """A state with a loose tolerance does not shorten the steps, a tight one does."""
    pair = System.from_equations(
        "dx = -y\ndy = x\nds = cos(40*t)", states={"x": 1.0, "y": 0.0, "s": 0.0}, name="pair"
    )

    def steps(s):
        atol = {"x": 1e-6, "y": 1e-6, "s": s}
        outcome = integrate(Solver(pair, t_span=(0, 5), rtol=0, atol=atol, target="numpy"))
        np.testing.assert_allclose(outcome.final_state[0], np.cos(5), atol=1e-4)
        return int(outcome.accepted[0])

    assert steps(1e-7) > 3 * steps(10.0)
