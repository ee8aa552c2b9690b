"""Values within a step with a mass matrix: their order, and that they change no step."""

import re
from pathlib import Path

import numpy as np
import pytest
from kernel_problems import MIXED, NARROW, PRODUCT, assert_close, chirp, integrate
from method_list import ABLE, IMPLICIT, WITHIN

from cubie_kernels import Solver, Status

THETA = np.array([0.2, 0.45, 0.7, 0.9])


def errors_within(system, name, exact, start, length):
    """Return the largest errors of both states in one step."""
    end = start + length
    times = start + THETA * length
    solver = Solver(
        system,
        t_span=(start, end),
        save_at=times,
        method=name,
        dt=end - start,
        adaptive=False,
        rtol=1e-13,
        atol=1e-13,
        fixed=dict(zip(system.states, exact(np.array([start]))[:, 0], strict=True)),
        target="numpy",
    )
    outcome = solver.run({}, 1)
    assert outcome.status[0] == Status.SUCCESS
    return np.abs(outcome.states[:, :, 0] - exact(times)).max(axis=1)


def orders_within(system, name, exact, start, each=False):
    """Return the order of the largest error, or of each state's."""
    lengths = np.array((0.3, 0.2, 0.12) if name == "radau-iia-9" else (0.1, 0.05, 0.025))
    errors = [errors_within(system, name, exact, start, length) for length in lengths]
    seen = errors if each else np.max(errors, axis=1)
    return np.polyfit(np.log(lengths), np.log(seen), 1)[0] - 1.0


@pytest.mark.parametrize("name", ABLE)
def test_order_within_a_step_with_an_algebraic_equation(name):
    def exact(t):
        return np.array([2 + np.sin(t), 1 / (2 + np.sin(t))])

    orders = orders_within(PRODUCT, name, exact, 0.3, each=True)
    assert (orders > np.array(WITHIN[name]) - 0.4).all(), orders
    assert (orders < np.array(WITHIN[name]) + 0.7).all(), orders


@pytest.mark.parametrize("name", IMPLICIT)
def test_order_within_a_step_with_a_regular_mass_matrix(name):
    def exact(t):
        return chirp(t, [1.0])[:, :, 0]

    order = orders_within(MIXED, name, exact, 0.2)
    assert abs(order - WITHIN[name][0]) < 0.4


@pytest.mark.parametrize("name", ["kvaerno5", "sdirk2", "gauss-legendre-4", "grk4t"])
def test_saves_change_no_step(name):
    options = {"t_span": (0, 2), "method": name, "target": "numpy", "rtol": 1e-4}
    plain = Solver(MIXED, **options).run({}, 1)
    saving = Solver(MIXED, save_at=[0.0, 0.77, 1.5, 2.0], **options).run({}, 1)
    assert saving.final_state.tobytes() == plain.final_state.tobytes()
    assert saving.accepted[0] == plain.accepted[0]
    np.testing.assert_array_equal(saving.states[:, -1], saving.final_state)
    np.testing.assert_allclose(
        saving.states[:, :, 0], chirp([0.0, 0.77, 1.5, 2.0], [1.0])[:, :, 0], atol=3e-3
    )


def test_targets_agree():
    options = {"t_span": (0, 1), "save_every": 0.07, "dt": 0.05, "adaptive": False, "swept": ["w"]}
    compiled, plain = (
        integrate(
            Solver(MIXED, method="kvaerno3", target=target, rtol=1e-9, atol=1e-9, **options),
            {"w": [0.5, 1.0, 1.5]},
            width=NARROW,
        )
        for target in ("cpu", "numpy")
    )
    assert (compiled.status == Status.SUCCESS).all()
    assert_close(compiled, plain)


def test_the_page_says_which_orders_hold_within_steps():
    page = (Path(__file__).parents[2] / "docs" / "mass-matrix.md").read_text(encoding="utf-8")
    said = {}
    for methods, states, others in re.findall(
        r"^\| ((?:`[\w-]+`,? ?)+) \| (\d) \| (\d|-) \|$", page, re.M
    ):
        for name in re.findall(r"`([\w-]+)`", methods):
            said[name] = (int(states), None if others == "-" else int(others))
    assert said == WITHIN
