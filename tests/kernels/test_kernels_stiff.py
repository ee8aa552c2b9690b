"""Implicit methods on stiff problems: their order, mass matrices, and SciPy's solutions."""

import numpy as np
import pytest
from kernel_problems import CHIRP, MIXED, integrate
from method_list import ABLE, DIRK, IMPLICIT, STIFF, TABLEAUS
from scipy.integrate import solve_ivp

from cubie_kernels import Solver, Status, System

# Prothero and Robinson's problem: x = 2 + sin(3 t), to which others are drawn at the rate l.
DRAWN = System.from_equations(
    "dx = 3*cos(3*t) - l*(x - sin(3*t) - 2)",
    states={"x": 2.0},
    parameters={"l": 1.0},
    name="drawn",
)
RATES = np.array([1e4, 1e6])
STEPS = 1 / np.array([8, 16, 32, 64])


@pytest.mark.parametrize("name", IMPLICIT)
def test_order_on_stiff_problems(name):
    """The order is no less than that of the stages, however stiff the problem.

    The error of a method whose step ends on its last stage vanishes as the problem gets stiffer.
    """
    errors = []
    for step in STEPS:
        solver = Solver(
            DRAWN,
            t_span=(0, 1),
            method=name,
            dt=step,
            adaptive=False,
            rtol=1e-12,
            atol=1e-12,
            swept=["l"],
            target="numpy",
        )
        outcome = integrate(solver, {"l": RATES})
        assert (outcome.status == Status.SUCCESS).all()
        errors.append(np.abs(outcome.final_state[0] - 2 - np.sin(3.0)))
    mild, stiff = np.array(errors).T
    seen = mild > 1e-13
    assert seen.sum() >= 2
    if name in ABLE:
        ratios = mild[seen] / np.maximum(stiff[seen], 1e-16)
        assert (ratios[:2] > 50).all()
        assert (ratios[:2] < 200).all()
        error = mild
    else:
        error = stiff
    slope = np.polyfit(np.log(STEPS[seen]), np.log(error[seen]), 1)[0]
    assert slope > STIFF[name].stage_order - 0.2


@pytest.mark.parametrize("name", IMPLICIT)
def test_a_regular_mass_matrix_changes_rounding_alone(name):
    options = {"t_span": (0, 1), "dt": 0.07, "adaptive": False, "rtol": 1e-12, "atol": 1e-12}
    options |= {"swept": ["w"], "target": "numpy", "method": name}
    # The others interpolate otherwise where values of f are no derivatives.
    if name not in DIRK and TABLEAUS[name].dense is not None:
        options |= {"save_every": 0.3}
    plain = integrate(Solver(CHIRP, saved=["x", "y"], **options), {"w": [0.5, 1.0]})
    mixed = integrate(Solver(MIXED, **options), {"w": [0.5, 1.0]})
    np.testing.assert_allclose(mixed.final_state, plain.final_state, atol=3e-12)
    if plain.states is not None:
        np.testing.assert_allclose(mixed.states, plain.states, atol=3e-12)


KINETICS = System.from_equations(
    """
    da = -0.04*a + 1e4*b*c
    db = 0.04*a - 3e7*b*b - 1e4*b*c
    dc = 3e7*b*b
    """,
    states={"a": 1.0, "b": 0.0, "c": 0.0},
    name="robertson",
)


def brusselator(cells):
    """Return a reaction with diffusion on a line: a band of five."""
    lines, states = [], {}
    for i in range(cells):
        left, right = max(i - 1, 0), min(i + 1, cells - 1)
        lines += [
            f"du{i} = 1 + u{i}*u{i}*v{i} - 4*u{i} + k*(u{left} - 2*u{i} + u{right})",
            f"dv{i} = 3*u{i} - u{i}*u{i}*v{i} + k*(v{left} - 2*v{i} + v{right})",
        ]
        states |= {f"u{i}": 1.0 + 0.1 * i, f"v{i}": 3.0}
    return System.from_equations(
        "\n".join(lines), states=states, parameters={"k": 200.0}, name="brusselator"
    )


VAN_DER_POL = System.from_equations(
    "dx = v\ndv = mu*((1 - x*x)*v - x)",
    states={"x": 2.0, "v": -0.66},
    parameters={"mu": 1e6},
    name="van der pol",
)
PROBLEMS = {
    "robertson": (KINETICS, 40.0),
    "van der pol": (VAN_DER_POL, 0.5),
    "brusselator": (brusselator(6), 2.0),
}


@pytest.fixture(scope="module")
def by_scipy():
    """Solutions by SciPy's Radau, about as exact as it can."""
    found = {}
    for name, (system, end) in PROBLEMS.items():
        rhs, p = system.numpy_rhs(), system.parameter_defaults
        solution = solve_ivp(
            lambda t, y, rhs=rhs, p=p: rhs(t, y, p),
            (0.0, end),
            system.state_defaults,
            "Radau",
            rtol=1e-12,
            atol=1e-14,
        )
        found[name] = solution.y[:, -1]
    return found


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("problem", "linear_solver"),
    [
        ("robertson", "lu"),
        ("van der pol", "gmres"),
        *(
            pytest.param(problem, linear_solver, marks=SLOW)
            for problem in PROBLEMS
            for linear_solver in ("lu", "banded", "indexed", "gmres", "bicgstab")
        ),
    ],
)
@pytest.mark.parametrize("method", ["kvaerno5", "radau-iia-5", "rodas5p"])
def test_against_scipy(method, problem, linear_solver, by_scipy):
    system, end = PROBLEMS[problem]
    solver = Solver(
        system,
        t_span=(0, end),
        method=method,
        linear_solver=linear_solver,
        rtol=1e-10,
        atol=1e-13,
        target="numpy",
    )
    outcome = integrate(solver)
    assert outcome.status[0] == Status.SUCCESS
    np.testing.assert_allclose(outcome.final_state[:, 0], by_scipy[problem], rtol=1e-8, atol=1e-11)
