"""Measured order of every method: of its steps, its dense output, and its error control."""

import numpy as np
import pytest
from kernel_problems import CHIRP, NARROW, chirp, integrate
from method_list import ADAPTIVE, EXPLICIT, FEW_IMPLICIT, FIRK, IMPLICIT, METHODS, NAMES, TABLEAUS

from cubie_kernels import Solver, Status

SWEPT = {"w": np.linspace(0.5, 1.5, 7), "x": np.linspace(0.8, 1.2, 7)}
SPAN = 2.0
# Fixed steps have no use for tolerances but in Newton's iteration.
EXACT = {"rtol": 1e-13, "atol": 1e-13}
# Steps over the span, by order: few enough that the error stays well above rounding.
STEPS = {
    1: (2048, 2896, 4096),
    2: (128, 256, 512),
    3: (32, 64, 128),
    4: (48, 78, 128),
    5: (80, 130, 192),
    6: (24, 34, 48),
    7: (20, 28, 40),
    8: (20, 24, 30),
    9: (20, 24, 30),
}
OWN_STEPS = {"radau-iia-9": (8, 11, 15)}
# The same for a single step of 1/n, by order of the dense output.
DENSE_STEPS = {
    1: (64, 181, 512),
    2: (32, 64, 128),
    3: (10, 24, 60),
    4: (10, 24, 60),
    5: (8, 14, 24),
    6: (6, 9, 14),
    7: (6, 8, 12),
    8: (3, 4, 6),
    9: (3, 4, 5),
}
# Methods with so small a leading error that in double precision one can see the next.
EAGER = {"vern6": 1.2, "vern9": 0.7}
EAGER_DENSE = {"vern6": 1.4, "vern7": 0.7, "vern8": 0.8, "vern9": 1.6, "ros34pw3": 0.8}


def fixed(name, span, step, save_at, target):
    solver = Solver(
        CHIRP,
        t_span=(0.0, span),
        save_at=save_at,
        method=name,
        dt=step,
        adaptive=False,
        **EXACT,
        swept=tuple(SWEPT),
        target=target,
    )
    outcome = integrate(solver, SWEPT, width=NARROW)
    assert (outcome.status == Status.SUCCESS).all()
    return outcome


def mean(error):
    return float(np.sqrt(np.mean(np.square(error))))


def slope(sizes, errors):
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def check_order(name, target):
    order = METHODS[name].order
    exact = chirp([SPAN], **SWEPT)[:, 0]
    steps = SPAN / np.array(OWN_STEPS.get(name, STEPS[order]))
    errors = [mean(fixed(name, SPAN, h, [0.5], target).final_state - exact) for h in steps]
    assert min(errors) > 1e-14
    assert order - 0.3 < slope(steps, errors) < order + EAGER.get(name, 0.3)


def check_dense_order(name, target):
    """Within a single step the error is of one order more than the interpolant."""
    dense = METHODS[name].dense
    thetas = np.array([0.17, 0.42, 0.77])
    steps = 1 / np.array(DENSE_STEPS[dense])
    errors = [
        mean(fixed(name, h, h, thetas * h, target).states - chirp(thetas * h, **SWEPT))
        for h in steps
    ]
    assert min(errors) > 1e-14
    assert dense + 0.7 < slope(steps, errors) < dense + 1 + EAGER_DENSE.get(name, 0.4)


@pytest.mark.parametrize("name", NAMES)
def test_error_falls_with_the_order(name):
    check_order(name, "numpy")


@pytest.mark.parametrize("name", NAMES)
def test_error_of_dense_output_falls_with_its_order(name):
    check_dense_order(name, "numpy")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_errors_of_compiled_methods_fall_with_the_order(name):
    check_order(name, "cpu")
    check_dense_order(name, "cpu")


def adaptive_errors(name, target):
    """Errors at the end and of saves between steps, for several tolerances."""
    tolerances = 10.0 ** np.arange(-4, -10, -1)
    if METHODS[name].order < 3:
        tolerances = tolerances[:3]
    times = np.linspace(0.013, SPAN, 23)
    ends, saves = [], []
    for tolerance in tolerances:
        solver = Solver(
            CHIRP,
            t_span=(0.0, SPAN),
            save_at=times,
            method=name,
            rtol=tolerance,
            atol=tolerance,
            swept=tuple(SWEPT),
            target=target,
        )
        outcome = integrate(solver, SWEPT, width=NARROW)
        assert (outcome.status == Status.SUCCESS).all()
        error = outcome.states - chirp(times, **SWEPT)
        ends.append(mean(outcome.final_state - chirp([SPAN], **SWEPT)[:, 0]))
        saves.append(np.abs(error).max())
    return tolerances, np.array(ends), np.array(saves)


def check_proportional(name, target):
    tolerances, ends, saves = adaptive_errors(name, target)
    # A step grows with the tolerance to the power 1/k of the estimate, the error with its order;
    # some implicit methods take a power of the tolerance.
    facts = METHODS[name]
    filtered = getattr(TABLEAUS[name], "filtered_error", None)
    expected = facts.order / facts.power * (1.0 if filtered is None else filtered.exponent)
    if name in IMPLICIT and facts.embedded > facts.order:
        expected = 1.0
    size = tolerances ** min(1.0, expected)
    assert (ends < 30 * size).all()
    # Between steps, it is that of the interpolant, if that is of a lower order.
    assert (saves < 300 * size ** min(1.0, (facts.dense + 1) / facts.power)).all()
    # What Newton's iterations leave falls with the tolerance itself.
    least = min(1.0, expected) if name in FIRK else expected
    assert least - 0.2 < slope(tolerances, ends) < expected + 0.2


@pytest.mark.parametrize("name", [name for name in ADAPTIVE if name in EXPLICIT + FEW_IMPLICIT])
def test_error_follows_the_tolerance(name):
    check_proportional(name, "numpy")


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTIVE)
def test_error_follows_the_tolerance_compiled(name):
    check_proportional(name, "cpu")
