"""The damped Newton-Krylov solver: stages of implicit steps, damping, codes, counts."""

import numpy as np
import pytest
from lane_harness import Program, run
from scipy.optimize import root

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.kernels.factories import linear_solver_factory, newton_krylov_solver_factory
from cubie_kernels.kernels.lane_function import BufferUse, LaneFunction
from cubie_kernels.model import System

RUNS = 11
GAMMA = 0.4358665215

RESIDUAL = """
def residual(t, h, y, p, d, base, r, point):
    for i in range(N):
        point[i] = y[i] + d[i]
    rhs(t, point, p, r)
    for i in range(N):
        r[i] = GAMMA * r[i] + base[i] - d[i] / h
"""
OPERATOR = """
def operator(t, h, y, p, d, v, out, point):
    for i in range(N):
        point[i] = y[i] + d[i]
    jvp(t, point, p, v, out)
    for i in range(N):
        out[i] = v[i] / h - GAMMA * out[i]
"""
PENDULUM = System.from_equations(
    "dx = v\ndv = -k*sin(x) - c*v**3 - x*w\ndw = 30*(x*v - w)",
    states={"x": 1.0, "v": 0.0, "w": 0.2},
    parameters={"k": 20.0, "c": 0.5},
)


def bound(text: str, n: int) -> str:
    return text.replace("N)", f"{n})").replace("GAMMA", repr(GAMMA))


def stage_program(system, placements=None, weighted=True, correction_type="gmres", **options):
    """Return a program that solves one stage; the run's reals are h, p, y, base, the weights."""
    n, parameters = len(system.states), len(system.parameters)
    registry = BufferRegistry(placements or "declared")
    registry.register("stage_point", "stage", n, "local")
    shared = {"owner": "stage", "buffers": (BufferUse("stage", "stage_point"),)}
    shared["registry"] = registry
    context = ("t", "h", "y", "p", "d")
    operator = LaneFunction("operator", bound(OPERATOR, n), (*context, "v", "out"), **shared)
    residual = LaneFunction("residual", bound(RESIDUAL, n), (*context, "base", "r"), **shared)
    linear = linear_solver_factory(
        operator, n, "linear", correction_type=correction_type, tolerance=1e-6, max_iters=60,
        weighted=weighted,
    )  # fmt: skip
    newton = newton_krylov_solver_factory(residual, linear, n, "newton", **options)
    assert newton.registry is registry
    assert [use.name for use in newton.buffers[:4]] == [
        "newton_delta", "newton_residual", "newton_residual_temp", "newton_stage_base_bt",
    ]  # fmt: skip
    storage = zip(newton.buffers, newton.storage(), strict=True)
    weight = f"offset(given, {1 + parameters + 2 * n}), " if weighted else ""
    body = [
        *(f"{use.name} = {text}" for use, text in storage),
        f"p, y = offset(given, 1), offset(given, {1 + parameters})",
        f"base = offset(given, {1 + parameters + n})",
        f"for i in range({n}):",
        "    out[i] = real(0.0)",
        f"code, first, second = newton_solver(real(0.0), given[0], y, p, {weight}base, out, "
        + f"{', '.join(use.name for use in newton.buffers)})",
    ]
    text = "\n\n".join([system.lane_source(), system.derivative_source("jvp"), newton.text])
    given = 1 + parameters + (2 + weighted) * n
    shared_size = registry.shared_buffer_size("newton")
    return Program(text, tuple(body), given, n, shared=shared_size)


def stage_inputs(system, seed=0):
    n = len(system.states)
    rng = np.random.default_rng(seed)
    h = np.logspace(-3, 0.5, RUNS)
    p = np.tile(np.array(system.parameter_defaults)[:, None], RUNS)
    y, base = rng.uniform(-1, 1, (2, n, RUNS))
    weight = 1.0 / (1e-6 + 1e-3 * abs(y))
    return h, p, y, base, weight


def stage_root(system, h, p, y, base, guess):
    """Solve the stage's equations in one lane with SciPy."""
    rhs, jac = system.numpy_rhs(), system.numpy_jacobian()
    found = root(
        lambda d: GAMMA * rhs(0.0, y + d, p) + base - d / h,
        guess,
        jac=lambda d: GAMMA * jac(0.0, y + d, p) - np.eye(len(y)) / h,
        tol=1e-13,
    )
    assert abs(found.fun).max() < 1e-8
    return found.x


@pytest.mark.parametrize("correction_type", ["minimal_residual", "bicgstab", "gmres"])
@pytest.mark.parametrize("weighted", [True, False])
def test_stages_agree_with_scipy(correction_type, weighted):
    h, p, y, base, weight = stage_inputs(PENDULUM)
    made = stage_program(
        PENDULUM, weighted=weighted, correction_type=correction_type, tolerance=1e-3, max_iters=30
    )
    result = run(made, "numpy", np.vstack([h, p, y, base, weight][: 4 + weighted]))
    good = result.code == 0
    # Steps along the residual alone can't solve every system that long steps have.
    assert good.sum() >= RUNS - 5 * (correction_type == "minimal_residual")
    assert result.first[good].min() < result.first[good].max()
    assert (result.second >= result.first).all()
    scale = weight if weighted else np.ones_like(weight)
    for lane in np.flatnonzero(good):
        wanted = stage_root(
            PENDULUM, h[lane], p[:, lane], y[:, lane], base[:, lane], result.out[:, lane]
        )
        error = scale[:, lane] * (result.out[:, lane] - wanted)
        assert np.sqrt(np.mean(error**2)) < 1e-4


def test_a_tighter_tolerance_takes_more_updates_and_gives_more():
    h, p, y, base, weight = stage_inputs(PENDULUM)
    counts, errors = [], []
    given = np.vstack([h, p, y, base, weight])
    exact = run(stage_program(PENDULUM, tolerance=1e-9, max_iters=50), "numpy", given)
    assert (exact.code == 0).all()
    for tolerance in (10.0, 1e-1, 1e-3):
        made = stage_program(PENDULUM, tolerance=tolerance, max_iters=50)
        result = run(made, "numpy", given)
        counts.append(result.first.sum())
        errors.append(abs(weight * (result.out - exact.out)).max())
    assert counts == sorted(counts)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4


def test_placements_have_the_same_bits_and_lanes_are_independent(tmp_path):
    given = np.vstack(stage_inputs(PENDULUM))
    options = {"tolerance": 1e-6, "max_iters": 7}
    made = stage_program(PENDULUM, **options)
    assert made.shared == 6  # delta and residual
    together = run(made, "cpu", given, tmp_path)
    assert len(set(together.first)) > 2
    for lane in range(0, RUNS, 3):
        alone = run(made, "cpu", given[:, lane : lane + 1], tmp_path)
        np.testing.assert_array_equal(alone.out[:, 0], together.out[:, lane])
        numbers = [values[lane] for values in (together.code, together.first, together.second)]
        assert [alone.code[0], alone.first[0], alone.second[0]] == numbers
    plain = run(made, "numpy", given)
    np.testing.assert_array_equal(plain.first, together.first)
    np.testing.assert_allclose(plain.out, together.out, rtol=1e-9, atol=1e-12)
    moved = dict.fromkeys(
        ("lin_temp", "lin_basis", "newton_residual_temp", "stage_point"), "shared"
    )
    other = stage_program(PENDULUM, moved | {"newton_delta": "local"}, **options)
    assert other.shared == 3 + 12 + 3 + 3 + 3
    np.testing.assert_array_equal(run(other, "numpy", given).out, plain.out)


@pytest.mark.slow
def test_the_code_for_gpus_computes_the_same(tmp_path):
    pytest.importorskip("numba_cuda", reason="the extra cubie[cuda]")
    system = System.from_equations(
        "dx = v\ndv = k*(1 - x*x)*v - x", states={"x": 1.0, "v": 0.0}, parameters={"k": 20.0}
    )
    given = np.vstack(stage_inputs(system))
    made = stage_program(system, tolerance=1e-6, max_iters=20)
    wanted, found = run(made, "numpy", given), run(made, "cuda", given, tmp_path)
    for name in ("out", "code", "first", "second"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def scalar_program(residual: str, operator: str, linear_iters: int = 5, **options) -> Program:
    """Return a program for one equation without weights; the run's reals are the guess, base."""
    operator = f"def operator(d, v, out):\n    out[0] = ({operator}) * v[0]"
    residual = f"def residual(d, base, r):\n    r[0] = {residual}"
    linear = linear_solver_factory(operator, 1, "linear", max_iters=linear_iters)
    options = {"tolerance": 1e-8, "max_iters": 40} | options
    newton = newton_krylov_solver_factory(residual, linear, 1, "newton", **options)
    storage = zip(newton.buffers, newton.storage(), strict=True)
    body = [
        *(f"{use.name} = {text}" for use, text in storage),
        "out[0] = given[0]",
        "code, first, second = newton_solver(offset(given, 1), out, "
        + f"{', '.join(use.name for use in newton.buffers)})",
    ]
    return Program(newton.text, tuple(body), 2, 1, shared=2)


def scalar(guesses, base=0.0, **options):
    guesses = np.asarray(guesses, float)
    given = np.vstack([guesses, np.broadcast_to(base, guesses.shape)])
    return run(scalar_program(**options), "numpy", given)


ARCTANGENT = {
    "residual": "base[0] - atan(d[0])",
    "operator": "1.0 / (1.0 + d[0] * d[0])",
}


def test_damping_finds_what_whole_updates_lose():
    guesses = [0.5, 1.2, 1.5, 3.0, 20.0]
    whole = scalar(guesses, 0.3, max_backtracks=0, **ARCTANGENT)
    np.testing.assert_array_equal(whole.code, [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(whole.out[0, 2:], guesses[2:])  # where descent ended
    damped = scalar(guesses, 0.3, **ARCTANGENT)
    assert (damped.code == 0).all()
    np.testing.assert_allclose(damped.out[0], np.tan(0.3), rtol=1e-12)
    np.testing.assert_array_equal(damped.first, damped.second)  # one unknown: one iteration each
    # Whole updates where they serve: the same numbers as without damping.
    np.testing.assert_array_equal(damped.out[0, :2], whole.out[0, :2])
    # 20 needs an update 2**-5 as long; with fewer halvings than that there is no descent.
    few = scalar(guesses, 0.3, max_backtracks=2, **ARCTANGENT)
    np.testing.assert_array_equal(few.code, [0, 0, 0, 0, 1])
    more = scalar(guesses, 0.3, max_backtracks=1, damping=0.03, max_iters=300, **ARCTANGENT)
    assert (more.code == 0).all()


def test_limits_of_iterations():
    result = scalar([0.5, 1.2, 3.0], 0.3, max_iters=2, **ARCTANGENT)
    np.testing.assert_array_equal(result.code, [2, 2, 2])
    np.testing.assert_array_equal(result.first, [2, 2, 2])
    assert (abs(np.tan(0.3) - result.out[0]) < abs(np.tan(0.3) - [0.5, 1.2, 3.0])).all()


def test_equations_without_a_solution():
    # 1 + d*d has its least value where the matrix is zero.
    result = scalar(
        [0.0, 1.0, -3.0, 1e-9], residual="-1.0 - d[0] * d[0]", operator="2.0 * d[0]", max_iters=200
    )
    np.testing.assert_array_equal(result.code[:1], [5])  # and the linear system was not solved
    assert set(result.code[1:]) <= {1, 5}
    assert np.isfinite(result.out).all()
    assert (abs(result.out[0, 1:]) < 0.2).all()


def test_the_linear_solvers_limit_is_told():
    # A rotation takes more than one step along the residual.
    operator = (
        "def operator(d, v, out):\n    out[0] = 0.5*v[0] - v[1]\n    out[1] = v[0] + 0.5*v[1]"
    )
    residual = (
        "def residual(d, base, r):\n"
        "    r[0] = base[0] - 0.5*d[0] + d[1]\n    r[1] = base[1] - d[0] - 0.5*d[1]"
    )
    codes = []
    for most in (1, 3000):
        linear = linear_solver_factory(operator, 2, "linear", tolerance=1e-9, max_iters=most)
        newton = newton_krylov_solver_factory(residual, linear, 2, "newton", 1e-6, 3)
        storage = zip(newton.buffers, newton.storage(), strict=True)
        body = [
            *(f"{use.name} = {text}" for use, text in storage),
            "out[0] = real(0.0)",
            "out[1] = real(0.0)",
            "code, first, second = newton_solver(given, out, "
            + f"{', '.join(use.name for use in newton.buffers)})",
        ]
        made = Program(newton.text, tuple(body), 2, 2, shared=4)
        sides = np.array([[1.0, 0.0], [0.5, 0.0]])
        result = run(made, "numpy", sides)
        codes.append(result.code.tolist())
        assert result.first[1] == 1  # no update: solved as it stood
        assert result.second[1] == 0
    assert codes == [[6, 0], [0, 0]]
    np.testing.assert_allclose(
        result.out[:, 0], np.linalg.solve([[0.5, -1.0], [1.0, 0.5]], [1.0, 0.5]), rtol=1e-8
    )


def test_guesses_without_a_residual_end_at_once():
    result = scalar([0.5, 0.5, np.nan], [0.3, np.nan, 0.3], **ARCTANGENT)
    np.testing.assert_array_equal(result.code, [0, 1, 1])
    np.testing.assert_array_equal(result.first[1:], 0)
    np.testing.assert_array_equal(result.second[1:], 0)
    assert result.out[0, 1] == 0.5


def test_an_update_that_leaves_the_domain_is_shortened():
    # sqrt is not defined where the first whole update from 9 would end.
    result = scalar([9.0], 0.5, residual="base[0] - sqrt(d[0])", operator="0.5 / sqrt(d[0])")
    assert result.code[0] == 0
    np.testing.assert_allclose(result.out[0], 0.25, rtol=1e-12)
