"""Exponentials of like arguments share one; the results stay right to a few roundings."""

import re

import numpy as np
import pytest

from cubie_kernels import System


def exponentials(system):
    """Return how many exponentials the model's code computes."""
    return len(re.findall(r"\bexp\(", system.lane_source()))


def system_of(*terms, **options):
    text = "\n".join(f"dx{i} = {term}" for i, term in enumerate(terms))
    states = {"V": 0.3, "W": 0.7} | {f"x{i}": 0.0 for i in range(len(terms))}
    return System.from_equations(text + "\ndV = 0\ndW = 0", states=states, **options)


def derivatives(system, v, w):
    y = np.zeros((len(system.states), np.size(v)))
    y[0], y[1] = v, w
    return system.numpy_rhs()(0.0, y, np.zeros(len(system.parameters)))[2:]


@pytest.mark.parametrize(
    ("terms", "left"),
    [
        (("exp(V)", "exp(V + 3)"), 1),
        (("exp(-(V + 65)/20)", "exp(-0.05*V)", "exp((V - 1)*-0.05 + W - W)"), 2),
        (("exp(-(V + 65)/20)", "exp(-0.1*(V + 40))"), 1),
        (("exp(V + W)", "exp(W + 2 + V)"), 1),
        (("exp(V)", "exp(W)"), 2),
        (("exp(V)", "exp(3*V)"), 2),
        (("exp(V)", "exp(V + 100)"), 2),
        (("exp(V)", "exp(2*V)", "exp(4*V)"), 2),
        (("exp(V*V + 1)", "exp(2*V**2)"), 1),
        (("exp(-V)", "exp(V)"), 2),
    ],
)
def test_number_of_exponentials(terms, left):
    assert exponentials(system_of(*terms)) == left


def test_hodgkin_huxley_needs_three_instead_of_six():
    terms = [
        f"exp({argument})"
        for argument in (
            "-0.1*(V + 40)", "-(V + 65)/18", "-(V + 65)/20",
            "-0.1*(V + 35)", "-0.1*(V + 55)", "-(V + 65)/80",
        )
    ]  # fmt: skip
    system = system_of(*terms)
    assert exponentials(system) == 3
    v = np.linspace(-100.0, 60.0, 10001)
    exact = [
        np.exp(np.longdouble(argument))
        for argument in (
            -(v + 40) / np.longdouble(10), -(v + 65) / np.longdouble(18),
            -(v + 65) / np.longdouble(20), -(v + 35) / np.longdouble(10),
            -(v + 55) / np.longdouble(10), -(v + 65) / np.longdouble(80),
        )
    ]  # fmt: skip
    error = np.abs(derivatives(system, v, 0.0) / np.array(exact) - 1.0)
    # The rounded argument, of a size up to 12, alone costs 12 roundings.
    assert error.max() < 20 * np.finfo(float).eps


def test_what_shares_nothing_keeps_its_text():
    system = system_of("exp(-(V + 65)/18)", "exp(W)")
    assert "exp(-((V + 65.0) / 18.0))" in system.lane_source()


def test_overflow_and_underflow_stay():
    system = system_of("exp(V)", "exp(2*V + 1)")
    assert exponentials(system) == 1
    v = np.array([-800.0, -350.0, 350.0, 400.0, np.nan])
    with np.errstate(all="ignore"):
        found = derivatives(system, v, 0.0)
        expected = np.array([np.exp(v), np.exp(2 * v + 1)])
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_observables_and_names_move_with_the_graph():
    system = System.from_equations(
        "a = exp(x + 1)\nb = exp(x)\ndx = -a*k",
        states={"x": 0.0},
        parameters={"k": 1.0},
        observables=["b", "a"],
    )
    assert system.lane_source().count("exp(") == 2  # one for each function
    np.testing.assert_allclose(
        system.numpy_observe()(0.0, np.array([0.5]), np.array([2.0])), np.exp([0.5, 1.5])
    )
    np.testing.assert_allclose(
        system.numpy_rhs()(0.0, np.array([0.5]), np.array([2.0])), [-2.0 * np.exp(1.5)]
    )
