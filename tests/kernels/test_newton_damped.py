"""Stages solved by the damped Newton-Krylov iteration: what it solves, costs, and refuses."""

from dataclasses import replace

import numpy as np
import pytest
from kernel_problems import NARROW, PRODUCT, assert_close, assert_same_bits, integrate
from method_list import DIRK

from cubie_kernels import InputError, Solver, Status, System, record
from cubie_kernels.build.krylov_source import PRECONDITIONERS, KrylovConfig
from cubie_kernels.build.module import kernel_registry
from cubie_kernels.kernels.linear_solver import LinearMethod
from cubie_kernels.kernels.scratch import LOOP

VAN_DER_POL = System.from_equations(
    "dx = v\ndv = mu*((1 - x*x)*v) - x",
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 5.0},
    name="van der pol",
)
# Newton's method for a root of the arctangent runs away from afar, faster and faster.
ARC = System.from_equations(
    "dx = -k*atan(x)", states={"x": 10.0}, parameters={"k": 1e3}, name="arctangent"
)


def solver(system, method="kvaerno5", **options):
    options = {"t_span": (0, 3), "newton": "damped", "target": "numpy", **options}
    return Solver(system, method=method, **options)


@pytest.mark.parametrize("method", ["sdirk4", "kvaerno5"])
def test_agreement_with_the_simplified_iteration(method):
    options = {"rtol": 1e-10, "atol": 1e-10, "swept": ["mu"]}
    mu = {"mu": [1.0, 5.0, 20.0]}
    damped = integrate(solver(VAN_DER_POL, method, **options), mu)
    plain = integrate(solver(VAN_DER_POL, method, newton="simplified", **options), mu)
    assert (damped.status == Status.SUCCESS).all()
    np.testing.assert_allclose(damped.final_state, plain.final_state, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(damped.accepted, plain.accepted, rtol=0.02)
    assert (damped.linear_iterations >= damped.newton_iterations).all()


@pytest.mark.parametrize("method", DIRK)
def test_a_step_that_the_simplified_iteration_does_not_solve(method):
    """The steps are fixed, so that nothing but the iteration can make it."""
    options = {"t_span": (0, 2), "dt": 1.0, "adaptive": False, "rtol": 1e-8, "atol": 1e-8}
    plain, damped = (
        integrate(solver(ARC, method, newton=newton, linear_solver="gmres", **options))
        for newton in ("simplified", "damped")
    )
    assert plain.status[0] == Status.NEWTON_DIVERGED
    assert damped.status[0] == Status.SUCCESS
    assert np.isfinite(damped.final_state).all()
    if method == "backward-euler":
        # x1 + 1000 atan(x1) = 10, and once more.
        x = 10.0
        for _ in range(2):
            start, x = x, 0.0
            for _ in range(50):
                x -= (x + 1e3 * np.arctan(x) - start) / (1 + 1e3 / (1 + x * x))
        assert damped.final_state[0, 0] == pytest.approx(x, rel=1e-7)


@pytest.mark.parametrize("preconditioner", [*PRECONDITIONERS])
def test_preconditioners_and_a_mass_matrix(preconditioner):
    """A Neumann series takes a regular one alone."""
    options = {"rtol": 1e-8, "atol": 1e-8, "preconditioner": preconditioner, "t_span": (0, 1)}
    if preconditioner == "neumann":
        heavy = System.from_equations(
            "dx = 2*v\ndv = -x", states={"x": 1.0, "v": 0.0}, mass={"x": 2.0}, name="heavy"
        )
        outcome = solver(heavy, **options).run({}, 1)
        exact = [np.cos(1.0), -np.sin(1.0)]
    else:
        outcome = solver(PRODUCT, save_at=[0.5, 1.0], **options).run({}, 1)
        exact = [2 + np.sin(1.0), 1 / (2 + np.sin(1.0))]
    assert outcome.status[0] == Status.SUCCESS
    np.testing.assert_allclose(outcome.final_state[:, 0], exact, rtol=1e-6)


def test_runs_are_alone_and_buffers_anywhere():
    made = solver(VAN_DER_POL, "sdirk2", rtol=1e-4, swept=["mu"])
    mu = np.array([0.5, 40.0, 3.0])
    together = integrate(made, {"mu": mu})
    assert_same_bits(together, integrate(made, {"mu": mu}, placement="shared"))
    assert_same_bits(together, integrate(made, {"mu": mu[1:2]}), slice(1, 2))


@pytest.mark.slow
def test_targets_agree():
    found = [
        integrate(
            solver(VAN_DER_POL, "sdirk2", rtol=1e-4, target=target, swept=["mu"]),
            {"mu": [0.5, 3.0, 5.0]},
            width=NARROW if target == "cpu" else None,
        )
        for target in ("cpu", "numpy")
    ]
    assert_close(*found, factor=100)


def test_its_buffers_are_nested_in_those_of_the_step():
    config = solver(VAN_DER_POL).config()
    rows = {row.name: row.owner for row in kernel_registry(config).explain(LOOP).rows}
    assert rows["newton_stage_base_bt"] == rows["newton_weight"] == "newton"
    assert rows["newton_lin_basis"] == "newton: linear iteration"
    assert "newton_residual_temp" not in {
        row.name for row in kernel_registry(replace(config, newton="simplified")).explain(LOOP).rows
    }


def test_lengths_of_updates_are_recorded():
    options = {"t_span": (0, 1), "dt": 1.0, "adaptive": False, "method": "backward-euler"}
    steps = record(ARC, newton="damped", **options).isel(run=0, attempt=0)
    lengths = steps.newton_length.values.ravel()
    lengths = lengths[np.isfinite(lengths)]
    assert lengths[0] < 1.0
    assert lengths[-1] == 1.0
    assert steps.newton_iterations.values.sum() == len(lengths)


def test_a_linear_solver_that_does_not_converge():
    feeble = KrylovConfig(LinearMethod("gmres", tolerance=1e-9, max_iters=1), "none")
    options = {"dt": 0.5, "adaptive": False, "linear_solver": feeble}
    outcome = solver(VAN_DER_POL, "backward-euler", **options).run({}, 1)
    assert outcome.status[0] == Status.LINEAR_SOLVER_LIMIT


def test_it_says_what_it_is():
    made = solver(VAN_DER_POL)
    assert "kvaerno5 with gmres and damped Newton" in made.describe()
    assert made.choices[0].linear.reason.startswith("damped Newton needs products")
    assert made.settings()["newton"] == "damped"
    assert "newton" not in solver(VAN_DER_POL, newton="simplified").settings()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"newton": "dampd"}, "'dampd' is none of 'simplified', 'damped'.*Did you mean 'damped'"),
        ({"method": "tsit5"}, "'tsit5' is explicit and solves no equations"),
        ({"method": "radau-iia-5"}, "'radau-iia-5' solves for all its stages at once"),
        ({"method": "rodas4"}, "'rodas4' has linear equations alone"),
        ({"method": "auto"}, "'auto' has linear equations alone"),
        ({"linear_solver": "lu"}, "linear_solver='lu' factorises.*use 'gmres'"),
    ],
)
def test_what_it_does_not_go_with(options, said):
    with pytest.raises(InputError, match=said):
        solver(VAN_DER_POL, **options)
