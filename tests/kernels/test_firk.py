"""Fully implicit methods: their systems, iterations, error control and interpolants."""

import numpy as np
import pytest
from kernel_problems import NARROW, assert_same_bits, integrate
from method_list import FIRK, TABLEAUS

import cubie_kernels as ck
from cubie_kernels import Solver, Status, System
from cubie_kernels.methods.stage_polynomial import expansions

ALL = pytest.mark.parametrize("name", FIRK)

# Eigenvalues -100 and -1 +- 3i, all states mixed.
LINEAR = np.array([[-34.0, 33.0, 30.0], [36.0, -35.0, -27.0], [33.0, -30.0, -33.0]])
MATRIX = System.from_equations(
    "\n".join(
        f"d{state} = "
        + " + ".join(f"({value}*{other})" for value, other in zip(row, "xyz", strict=True))
        for state, row in zip("xyz", LINEAR, strict=True)
    ),
    states={"x": 1.0, "y": 0.5, "z": -0.25},
    name="linear",
)
VAN_DER_POL = System.from_equations(
    "dx = y\ndy = mu*(1 - x*x)*y - x",
    states={"x": 2.0, "y": 0.0},
    parameters={"mu": 1000.0},
    name="van der pol",
)
ROBERTSON = System.from_equations(
    "da = -0.04*a + 1e4*b*c\ndb = 0.04*a - 3e7*b*b - 1e4*b*c\ndc = 3e7*b*b",
    states={"a": 1.0, "b": 0.0, "c": 0.0},
    name="robertson",
)
HIRES = System.from_equations(
    """
    light = 280*y6*y8
    dy1 = -1.71*y1 + 0.43*y2 + 8.32*y3 + 0.0007
    dy2 = 1.71*y1 - 8.75*y2
    dy3 = -10.03*y3 + 0.43*y4 + 0.035*y5
    dy4 = 8.32*y2 + 1.71*y3 - 1.12*y4
    dy5 = -1.745*y5 + 0.43*y6 + 0.43*y7
    dy6 = -light + 0.69*y4 + 1.71*y5 - 0.43*y6 + 0.69*y7
    dy7 = light - 1.81*y7
    dy8 = -light + 1.81*y7
    """,
    states={"y1": 1.0, **{f"y{i}": 0.0 for i in range(2, 8)}, "y8": 0.0057},
    name="hires",
)
# Model, end, and the state there: by SciPy's Radau with rtol = 3e-14. With 1e-12 twelve digits are
# the same.
STIFF = {
    "robertson": (ROBERTSON, 1e4, [0.1073004285378096, 4.800166972571794e-07, 0.892699091445488]),
    "van der pol": (VAN_DER_POL, 1500.0, [-1.3547459194866418, 0.0016217887275972419]),
    "hires": (
        HIRES,
        321.8,
        [
            0.0007372353138366767,
            0.0001442690848991901,
            5.8906669087293255e-05,
            0.001175845210728415,
            0.0023894804004412932,
            0.006248773331740203,
            0.0028521918254623985,
            0.002847808174537631,
        ],
    ),
}


@ALL
def test_a_step_is_that_of_the_tableau(name):
    """On a linear model: (b, A) give a matrix by which every step multiplies the state."""
    tableau = TABLEAUS[name]
    h, steps, unit = 0.05, 40, np.eye(3)
    system = np.eye(3 * tableau.stages) - h * np.kron(tableau.a, LINEAR)
    stages = np.linalg.solve(system, np.kron(np.ones((tableau.stages, 1)), LINEAR))
    step = unit + h * np.kron([tableau.b], unit) @ stages
    exact = np.linalg.matrix_power(step, steps) @ MATRIX.state_defaults
    solver = Solver(
        MATRIX,
        t_span=(0, h * steps),
        method=name,
        dt=h,
        adaptive=False,
        rtol=1e-13,
        atol=1e-13,
        target="numpy",
    )
    outcome = integrate(solver)
    np.testing.assert_allclose(outcome.final_state[:, 0], exact, rtol=1e-11, atol=1e-13)
    # The first iteration solves the equations, the second one sees it.
    assert outcome.newton_iterations[0] <= 2 * steps


@ALL
def test_polynomial_of_the_stages(name):
    c = np.array(TABLEAUS[name].c)
    about_end, about_start = map(np.array, expansions(tuple(c)))
    polynomial = np.polynomial.Polynomial([0.3 if c[0] == 0 else 0.0, 0.7, -1.1, 0.4, 0.9, -0.6])
    polynomial = polynomial.cutdeg(len(about_end))
    shifted = polynomial(np.polynomial.Polynomial([1.0, 1.0]))
    np.testing.assert_allclose(about_start @ polynomial(c), polynomial.coef[1:], atol=1e-11)
    np.testing.assert_allclose(about_end @ polynomial(c), shifted.coef[1:], atol=1e-11)


def test_iterations_begin_on_the_polynomial_of_the_last_step():
    """Many steps in one run take fewer iterations than the same steps each in its own."""

    def run(start, end, dt, state):
        solver = Solver(
            VAN_DER_POL,
            t_span=(start, end),
            method="radau-iia-5",
            dt=dt,
            adaptive=False,
            rtol=1e-8,
            atol=1e-8,
            fixed={"mu": 5.0, "x": state[0], "y": state[1]},
            target="numpy",
        )
        outcome = integrate(solver)
        assert outcome.status[0] == Status.SUCCESS
        return outcome.final_state[:, 0], int(outcome.newton_iterations[0])

    whole, together = run(0.0, 1.0, 1 / 32, [2.0, 0.0])
    state, alone = np.array([2.0, 0.0]), 0
    for i in range(32):
        state, iterations = run(i / 32, (i + 1) / 32, 1 / 32, state)
        alone += iterations
    np.testing.assert_allclose(whole, state, atol=1e-9)
    assert together < 0.85 * alone


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpu", marks=pytest.mark.slow)])
def test_second_look_at_a_block_of_fixed_steps(target):
    """A run that is lost between others has its block of steps done again, for all of them."""
    system = System.from_equations(
        "dx = k*x*x - x", states={"x": 1.0}, parameters={"k": 0.0}, name="blow-up"
    )
    solver = Solver(
        system,
        t_span=(0, 2),
        save_every=0.1,
        method="radau-iia-5",
        dt=1 / 100,
        adaptive=False,
        swept=["k"],
        target=target,
    )
    k = np.array([0.5, 1.9, -1.0, 1.5, 0.9, 1.3])
    outcome = integrate(solver, {"k": k}, width=NARROW)
    lost = outcome.status != Status.SUCCESS
    np.testing.assert_array_equal(lost, [False, True, False, True, False, True])
    assert_same_bits(outcome, integrate(solver, {"k": k[~lost]}, width=NARROW), ~lost)


@ALL
def test_derivative_that_is_no_number(name):
    system = System.from_equations("dx = log(x)", states={"x": 1.0}, name="logarithm")
    solver = Solver(
        system, t_span=(0, 1), method=name, save_at=[0.0, 1.0], swept=["x"], target="numpy"
    )
    outcome = integrate(solver, {"x": [2.0, -1.0, 3.0]})
    good, bad = Status.SUCCESS, Status.NONFINITE
    np.testing.assert_array_equal(outcome.status, [good, bad, good])
    assert outcome.final_time[1] == 0.0
    np.testing.assert_array_equal(outcome.states[0, :, 1], [-1.0, np.nan])


def run_stiff(problem, **options):
    """Return the outcome, and the largest relative error of a state at the end."""
    system, end, exact = STIFF[problem]
    outcome = integrate(Solver(system, t_span=(0, end), target="numpy", **options))
    assert outcome.status[0] == Status.SUCCESS
    return outcome, np.abs(outcome.final_state[:, 0] / exact - 1).max()


@pytest.mark.parametrize("problem", STIFF)
def test_against_scipy(problem):
    outcome, error = run_stiff(problem, method="radau-iia-9", rtol=1e-10, atol=1e-14)
    assert error < 1e-9
    assert outcome.accepted[0] < 500


@pytest.mark.parametrize("problem", STIFF)
@pytest.mark.parametrize("name", ["radau-iia-5", "radau-iia-9"])
def test_error_is_about_the_tolerance(name, problem):
    for tolerance in (1e-4, 1e-6):
        _, error = run_stiff(problem, method=name, rtol=tolerance, atol=1e-3 * tolerance**1.5)
        assert 1e-5 * tolerance < error < 10 * tolerance


def test_single_precision():
    options = {"method": "radau-iia-5", "rtol": 1e-4, "atol": 1e-9}
    _, error = run_stiff("robertson", precision="float32", **options)
    assert error < 1e-3


@pytest.mark.parametrize(
    ("problem", "linear_solver", "preconditioner"),
    [
        ("robertson", "gmres", "ilu"),
        pytest.param("robertson", "gmres", "jacobi", marks=pytest.mark.slow),
        pytest.param("van der pol", "bicgstab", "ilu", marks=pytest.mark.slow),
        ("hires", "minimal_residual", "ilu"),
    ],
)
def test_two_pairs_without_the_matrix(problem, linear_solver, preconditioner):
    """Each complex system keeps its own preconditioner: as exact as factors, in as few steps."""
    options = {"method": "radau-iia-9", "rtol": 1e-11, "atol": 1e-15}
    direct, _ = run_stiff(problem, linear_solver="lu", **options)
    free, error = run_stiff(
        problem, linear_solver=linear_solver, preconditioner=preconditioner, **options
    )
    np.testing.assert_allclose(free.final_state, direct.final_state, rtol=1e-9)
    assert error < 1e-9
    assert free.linear_iterations[0] > 3 * free.newton_iterations[0]
    if preconditioner == "ilu":
        assert free.accepted[0] < 1.2 * direct.accepted[0]


def test_two_pairs_are_placed_and_recorded_apart():
    options = {"t_span": (0, 1), "method": "radau-iia-9", "linear_solver": "gmres"}
    solver = Solver(VAN_DER_POL, rtol=1e-8, fixed={"mu": 50.0}, target="numpy", **options)
    found = [integrate(solver, placement=placement) for placement in ("local", "shared")]
    assert_same_bits(*found)
    steps = ck.record(VAN_DER_POL, {"mu": [50.0]}, t_span=(0, 0.1), **dict([*options.items()][1:]))
    first = steps.linear_residual.isel(run=0, attempt=0, iteration=0)
    assert first.sizes["system"] == 3
    assert (first.min("linear_iteration") <= 1.0).all()
