"""The targets, and the ways to compile for one of them, agree to rounding."""

import numpy as np
import pytest
from kernel_problems import CHIRP, NARROW, assert_close, chirp, integrate
from method_list import ADAPTIVE, FEW_IMPLICIT, NAMES

from cubie_kernels import Solver, Status, System

SWEPT = {"w": np.linspace(0.5, 1.5, 7), "x": np.linspace(0.8, 1.2, 7)}
TIMES = np.array([0.0, 0.013, 0.25, 0.7, 0.701, 1.9, 2.0])
# Rounding of 32 bits must not decide whether a step is accepted.
TOLERANCE = {"float64": 1e-8, "float32": 1e-4, "float16": 3e-2}
# Weights of 200 and of 30 that cancel take digits with them.
ROUNDER = {"vern6": 300.0, "vern8": 300.0}
# Five stages at a time end their iterations at the rounding of the largest.
LATER = {"radau-iia-9": 1.5}

MIXED = System.from_equations(
    """
    dx = sin(k*t) - exp(-x)*tanh(y) + sqrt(x*x + 1)
    dy = log(x*x + 2) - atan2(y, k) + (x if y > 1 else y)/10
    high = max(x, y) + cos(x)
    """,
    states={"x": 0.5, "y": 0.2},
    parameters={"k": 1.0},
    observables=["high"],
    name="mixed",
)


def solver(name, adaptive, precision, target, system=CHIRP, swept=SWEPT):
    tolerance = TOLERANCE[precision]
    return Solver(
        system,
        t_span=(0.0, 2.0),
        save_at=TIMES,
        method=name,
        precision=precision,
        target=target,
        swept=tuple(swept),
        adaptive=adaptive,
        **({"rtol": tolerance, "atol": tolerance} if adaptive else {"dt": 0.03}),
    )


def check_targets(name, adaptive, precision, **problem):
    swept = problem.get("swept", SWEPT)
    one, other = (
        integrate(solver(name, adaptive, precision, target, **problem), swept, width=NARROW)
        for target in ("numpy", "cpu")
    )
    assert (one.status == Status.SUCCESS).all()
    assert_close(one, other, ROUNDER.get(name, 1.0), LATER.get(name, 1.0))


@pytest.mark.parametrize("name", ["heun", "vern7", *FEW_IMPLICIT])
def test_fixed_steps(name):
    check_targets(name, False, "float64")


@pytest.mark.parametrize("name", ["dop853", *FEW_IMPLICIT])
def test_adaptive_steps(name):
    check_targets(name, True, "float64")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_fixed_steps_of_every_method(name):
    check_targets(name, False, "float64")


@pytest.mark.parametrize("adaptive", [True, False])
def test_single_precision(adaptive):
    check_targets("dopri5", adaptive, "float32")


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_functions(precision):
    swept = {"k": np.array([0.3, 1.0, 2.7])}
    check_targets("bs3", False, precision, system=MIXED, swept=swept)


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_steps_of_every_method(name):
    check_targets(name, True, "float64")


# In 32 bits the cancelling weights of vern6 leave its error estimate no digit below 1e-3.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ADAPTIVE if name != "vern6"])
def test_adaptive_steps_of_every_method_in_single_precision(name):
    """Where estimates reach down to rounding, targets may differ in a step or two."""
    one, other = (
        integrate(solver(name, True, "float32", target), SWEPT, width=NARROW)
        for target in ("numpy", "cpu")
    )
    np.testing.assert_array_equal(one.status, Status.SUCCESS)
    np.testing.assert_array_equal(other.status, Status.SUCCESS)
    assert np.abs(one.accepted - other.accepted).max() <= 2
    np.testing.assert_allclose(one.final_state, other.final_state, atol=1e-3)
    exact = chirp([2.0], **SWEPT)[:, 0]
    np.testing.assert_allclose(other.final_state, exact, atol=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_fixed_steps_of_every_method_in_single_precision(name):
    check_targets(name, False, "float32")


@pytest.mark.parametrize("name", ["bs3", "tsit5"])
@pytest.mark.parametrize("adaptive", [True, False])
def test_half_precision(name, adaptive):
    outcome = integrate(solver(name, adaptive, "float16", "numpy"), SWEPT)
    assert (outcome.status == Status.SUCCESS).all()
    assert outcome.states.dtype == outcome.final_observables.dtype == np.float16
    np.testing.assert_allclose(
        outcome.states, chirp(TIMES, **SWEPT), atol=0.3 if adaptive else 0.05
    )
    assert (outcome.final_time == 2.0).all()


def test_observables_are_those_of_the_states():
    outcome = integrate(solver("tsit5", True, "float64", "cpu"), SWEPT, width=NARROW)
    x, y = outcome.states
    np.testing.assert_allclose(
        outcome.observables[0], SWEPT["w"] + TIMES[:, None] * x * y, rtol=1e-14
    )
    x, y = outcome.final_state
    np.testing.assert_allclose(outcome.final_observables[0], SWEPT["w"] + 2 * x * y, rtol=1e-14)


@pytest.mark.parametrize("adaptive", [True, False])
def test_saves_do_not_touch_the_steps(adaptive):
    swept = tuple(SWEPT)
    steps = {"rtol": 1e-7, "atol": 1e-7} if adaptive else {"dt": 0.07, "adaptive": False}
    plain, saved = (
        integrate(
            Solver(
                CHIRP, t_span=(0, 2), method="dopri5", swept=swept, target="numpy", **steps, **s
            ),
            SWEPT,
        )
        for s in ({}, {"save_every": 0.01})
    )
    np.testing.assert_array_equal(plain.final_state, saved.final_state)
    np.testing.assert_array_equal(plain.accepted, saved.accepted)
    np.testing.assert_array_equal(plain.rejected, saved.rejected)


def test_chosen_outputs_have_the_same_bits():
    """What is saved decides what is written, not what is computed."""
    options = {"t_span": (0, 2), "save_every": 0.5, "method": "bs3", "swept": tuple(SWEPT)}
    full = integrate(Solver(CHIRP, **options), SWEPT, width=NARROW)
    part = integrate(Solver(CHIRP, saved=["y"], **options), SWEPT, width=NARROW)
    np.testing.assert_array_equal(part.states[0], full.states[1])
    np.testing.assert_array_equal(part.final_state[0], full.final_state[1])
    assert part.observables.shape == (0, 5, 7)


@pytest.mark.parametrize("width", [1, 4])
def test_number_of_lanes_does_not_matter(width):
    narrow = integrate(solver("bs3", True, "float64", "cpu"), SWEPT, width=NARROW)
    assert_close(narrow, integrate(solver("bs3", True, "float64", "cpu"), SWEPT, width=width))


@pytest.mark.parametrize("maths", ["inline", "libmvec", "portable"])
def test_ways_to_compute_functions_agree(maths):
    swept = {"k": np.array([0.3, 1.0, 2.7])}
    recipe = solver("bs3", False, "float64", "cpu", system=MIXED, swept=swept)
    auto = integrate(recipe, swept, width=NARROW)
    assert_close(auto, integrate(recipe, swept, width=NARROW, maths=maths))
