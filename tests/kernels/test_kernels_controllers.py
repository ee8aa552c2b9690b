"""Step-size controllers: right answers, sensible numbers of steps."""

import numpy as np
import pytest
from kernel_problems import CHIRP, NARROW, chirp, integrate

from cubie_kernels import Solver, Status
from cubie_kernels.kernels.controllers import CONTROLLERS, Controller

SWEPT = {"w": np.linspace(0.5, 1.5, 7)}
SPAN = 6.0


def run(controller, target="numpy", **options):
    solver = Solver(
        CHIRP,
        t_span=(0, SPAN),
        controller=controller,
        swept=["w"],
        method="dopri5",
        rtol=1e-6,
        atol=1e-6,
        target=target,
        **options,
    )
    return integrate(solver, SWEPT, width=NARROW)


def error(outcome):
    return np.abs(outcome.final_state - chirp([SPAN], **SWEPT)[:, 0]).max()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_answer_and_cost(name):
    outcome, plain = run(name), run("i")
    assert (outcome.status == Status.SUCCESS).all()
    assert error(outcome) < 1e-4
    # Frequency grows all along, so that a controller has always to shorten the step.
    assert (outcome.accepted < 1.7 * plain.accepted).all()
    assert (outcome.accepted > 0.7 * plain.accepted).all()
    assert (outcome.rejected < 0.35 * outcome.accepted).all()


@pytest.mark.parametrize("name", ["gustafsson", "h312pid"])
def test_compiled_controllers(name):
    numpy, cpu = run(name), run(name, "cpu")
    np.testing.assert_array_equal(numpy.accepted, cpu.accepted)
    np.testing.assert_array_equal(numpy.rejected, cpu.rejected)
    np.testing.assert_allclose(numpy.final_state, cpu.final_state, atol=1e-12)


def test_smooth_controllers_differ():
    """Each preset really steers on its own."""
    counts = {name: tuple(run(name).accepted) for name in CONTROLLERS}
    assert len(set(counts.values())) == len(counts)


def test_own_controller():
    careful = Controller("careful", (1.0, 0.0, 0.0), safety=0.5)
    outcome = run(careful)
    assert (outcome.accepted > 1.5 * run("i").accepted).all()
    assert error(outcome) < 0.1 * error(run("i"))


def test_bounds_of_one_change():
    """From a step of 1e-6, growing at most twofold takes at least 13 steps to 0.01."""
    slow = Controller("slow", (1.0, 0.0, 0.0), max_factor=2.0)
    grown = run(slow, dt=1e-6).accepted - run(slow, dt=1e-2).accepted
    assert (grown >= 12).all()
    assert (grown <= 17).all()
