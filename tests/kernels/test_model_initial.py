"""Consistent initial values: M y is kept, and the algebraic equations are met, run by run."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_kernels.errors import EquationError, InputError
from cubie_kernels.model import System
from cubie_kernels.model.initial import check_index, consistent_initial

ROBERTSON = System.from_equations(
    "da = -k1*a + k3*b*c\ndb = k1*a - k3*b*c - k2*b**2\n0 = a + b + c - 1",
    states={"a": 1.0, "b": 0.0, "c": 0.0},
    parameters={"k1": 0.04, "k2": 3e7, "k3": 1e4},
)
ROOT = System.from_equations("dx = -x\n0 = z**2 - k*x", states={"x": 1.0, "z": 1.0},
                             parameters={"k": 1.0})  # fmt: skip
DIODE = System.from_equations(
    "dv = -i/C\n0 = saturation*expm1(u/0.025) - i\n0 = v - u - R*i",
    states={"v": 5.0, "i": 0.0, "u": 0.0},
    parameters={"C": 1e-6, "saturation": 1e-14, "R": 100.0},
)
# Hairer and Wanner, Solving Ordinary Differential Equations II, 2nd ed., section VI.1.
AMPLIFIER = System.from_equations(
    """
    g1 = 1e-6*expm1((y2 - y3)/0.026)
    g2 = 1e-6*expm1((y5 - y6)/0.026)
    dy1 = (0.4*sin(200*pi*t) - y1)/1000
    dy2 = U/9000 - y2/4500 - 0.01*g1
    dy3 = g1 - y3/9000
    dy4 = (U - y4)/9000 - 0.99*g1
    dy5 = U/9000 - y5/4500 - 0.01*g2
    dy6 = g2 - y6/9000
    dy7 = (U - y7)/9000 - 0.99*g2
    dy8 = -y8/9000
    """,
    states={"y1": 0, "y2": 3, "y3": 3, "y4": 6, "y5": 3, "y6": 3, "y7": 6, "y8": 0},
    parameters={"U": 6.0},
    mass=scipy.linalg.block_diag(
        *(c * np.array(block) for c, block in zip(
            (1e-6, 2e-6, 3e-6, 4e-6, 5e-6),
            ([[1, -1], [-1, 1]], [[1]], [[1, -1], [-1, 1]], [[1]], [[1, -1], [-1, 1]]),
            strict=True,
        ))
    ),
)  # fmt: skip


def dense(system):
    matrix = np.eye(len(system.states))
    if system.mass is not None:
        matrix[:] = 0.0
        for place, value in system.mass.items():
            matrix[place] = value
    return matrix


def algebraic(system, t, y, p):
    """Return the algebraic residual by another way: SciPy's null space, from singular values."""
    return scipy.linalg.null_space(dense(system).T).T @ system.numpy_rhs()(t, y, p)


def test_models_without_algebraic_equations_come_back():
    plain = System.from_equations("dx = z\ndz = -x", states={"x": 1.0, "z": 0.0})
    regular = System.from_equations(
        "dx = z\ndz = -x", states={"x": 1.0, "z": 0.0}, mass=[[2, 1], [1, 2]]
    )
    for system in plain, regular:
        found = consistent_initial(system, 0.0, [[1.0, 2.0], [3.0, 4.0]], [])
        np.testing.assert_array_equal(found.y, [[1.0, 2.0], [3.0, 4.0]])
        assert found.found.tolist() == [True, True]
        assert found.residual.tolist() == [0.0, 0.0]
        assert check_index(system, 0.0, [1.0, 2.0], []) == 1.0


def test_robertson():
    rng = np.random.default_rng(1)
    y, p = rng.uniform(0, 1, (3, 500)), rng.uniform(1, 2, (3, 500))
    given_y = y.copy()
    found = consistent_initial(ROBERTSON, 0.0, y, p)
    np.testing.assert_array_equal(y, given_y)
    np.testing.assert_array_equal(found.y[:2], y[:2])
    np.testing.assert_allclose(found.y[2], 1.0 - y[0] - y[1], rtol=0, atol=4.5e-16)
    assert found.found.all()
    assert found.residual.max() <= 4.5e-16
    alone = consistent_initial(ROBERTSON, 0.0, ROBERTSON.state_defaults, p[:, 0])
    np.testing.assert_array_equal(alone.y, [1.0, 0.0, 0.0])
    assert alone.found.shape == alone.residual.shape == ()


def test_any_of_the_arguments_may_have_lanes():
    wide = System.from_equations(
        "dx = z\n0 = z - k*x - sin(t)", states={"x": 1.0, "z": 0.0}, parameters={"k": 2.0}
    )
    t, y, p = (
        np.array([0.0, 1.0, 2.0]),
        np.array([[1.0, 2.0, 3.0], [9.0, 9.0, 9.0]]),
        [[2.0, 3.0, 4.0]],
    )
    for a, b, c in ((t, y, p), (t, y[:, 0], [2.0]), (0.5, y[:, 0], p), (0.5, y, [2.0])):
        found = consistent_initial(wide, a, b, c)
        x = np.broadcast_to(np.asarray(b)[0], 3)
        k = np.broadcast_to(np.asarray(c)[0], 3)
        np.testing.assert_allclose(found.y, [x, k * x + np.sin(a)], rtol=4e-16)
        assert check_index(wide, a, b, c).shape == (3,)


@pytest.mark.parametrize("start", [1e-6, 0.3, 1.0, 50.0, 1e6])
def test_newton_finds_roots_to_rounding_from_near_and_far(start):
    found = consistent_initial(ROOT, 0.0, [2.0, start], [1.0])
    assert abs(found.y[1] - np.sqrt(2.0)) <= 2.3e-16


@pytest.mark.parametrize("u", [-3.0, 0.0, 0.4, 1.0, 2.0, 10.0])
def test_a_diode_from_far_away(u):
    v = np.linspace(-10.0, 40.0, 23)
    y = np.stack([v, np.full(23, 0.5), np.full(23, u)])
    found = consistent_initial(DIODE, 0.0, y, DIODE.parameter_defaults)
    np.testing.assert_array_equal(found.y[0], v)
    _, i, u = found.y
    np.testing.assert_allclose(u + 100.0 * i, v, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(1e-14 * np.expm1(u / 0.025), i, rtol=1e-13, atol=1e-17)


def test_the_limit_of_iterations():
    # Each step takes 0.025 off a voltage that is far too large.
    found = consistent_initial(DIODE, 0.0, [5.0, 0.5, 15.0], DIODE.parameter_defaults, check=False)
    assert not found.found
    more = consistent_initial(
        DIODE, 0.0, [5.0, 0.5, 15.0], DIODE.parameter_defaults, iterations=700
    )
    np.testing.assert_allclose(more.y[2] + 100.0 * more.y[1], 5.0, rtol=1e-14)


def test_an_amplifier_with_a_general_singular_mass_matrix():
    # Values in the book are consistent.
    y = np.array(AMPLIFIER.state_defaults)
    np.testing.assert_allclose(
        consistent_initial(AMPLIFIER, 0.0, y, [6.0]).y, y, rtol=0, atol=1e-14
    )
    rng = np.random.default_rng(2)
    y = y[:, None] * rng.uniform(0.8, 1.2, (8, 400)) + rng.normal(0, 0.05, (8, 400))
    t, p = rng.uniform(0, 0.01, 400), rng.uniform(5, 7, (1, 400))
    found = consistent_initial(AMPLIFIER, t, y, p)
    mass = dense(AMPLIFIER)
    np.testing.assert_array_equal(found.y[[2, 5]], y[[2, 5]])
    kept = np.abs(mass) @ np.maximum(np.abs(y), np.abs(found.y))
    assert (np.abs(mass @ (found.y - y)) <= 2e-14 * kept).all()
    residual = algebraic(AMPLIFIER, t, found.y, p)
    terms = np.abs(AMPLIFIER.numpy_jacobian()(t, found.y, p))
    size = np.einsum("ijl,jl->l", terms, np.abs(found.y))
    assert (np.abs(residual) <= 1e-13 * size).all()
    assert check_index(AMPLIFIER, t, found.y, p).min() == 1.0


NUMBERS = st.integers(-3, 3)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_is_kept_and_what_is_met(data):
    n = data.draw(st.integers(1, 5))
    rank = data.draw(st.integers(0, n))
    numbers = data.draw(st.lists(NUMBERS, min_size=3 * n * n, max_size=3 * n * n))
    first, second, linear = np.array(numbers, float).reshape(3, n, n)
    mass = first[:, :rank] @ second[:, :rank].T
    linear += 12.0 * np.eye(n)
    lines = [
        f"dx{i} = b + " + " + ".join(f"({linear[i, j]})*x{j}" for j in range(n))
        + f" + 0.5*sin(x{i} - t) - x{(i + 1) % n}**3/100"
        for i in range(n)
    ]  # fmt: skip
    states = {f"x{i}": 0.0 for i in range(n)}
    left, right = scipy.linalg.null_space(mass.T), scipy.linalg.null_space(mass)
    rng = np.random.default_rng(5)
    y, p = rng.normal(0, 1, (n, 6)), rng.normal(0, 1, (1, 6))
    try:
        system = System.from_equations(
            "\n".join(lines), states=states, parameters={"b": 1.0}, mass=mass
        )
    except EquationError:  # the index is higher: singular at any values
        free = System.from_equations("\n".join(lines), states=states, parameters={"b": 1.0})
        small = left.T @ free.numpy_jacobian()(0.3, y[:, 0], p[:, 0]) @ right
        assert np.linalg.svd(small, compute_uv=False)[-1] < 1e-12
        return
    found = consistent_initial(system, 0.3, y, p, check=False)
    np.testing.assert_array_equal(found.y[:, ~found.found], y[:, ~found.found])
    good = found.y[:, found.found]
    size = (
        1.0 + np.abs(y[:, found.found]).max(axis=0, initial=0) + np.abs(good).max(axis=0, initial=0)
    )
    assert (np.abs(mass @ (good - y[:, found.found])) <= 1e-13 * np.abs(mass).sum() * size).all()
    residual = algebraic(system, 0.3, good, p[:, found.found])
    assert (np.abs(residual) <= 1e-12 * (size + size**3 / 100) * np.abs(linear).sum()).all()
    # A free direction that f sees well: then values are found.
    seen = np.linalg.svd(left.T @ linear @ right, compute_uv=False)
    if not seen.size or seen[-1] > 5.0:
        assert found.found.all()


def test_runs_without_values_are_told_from_the_others():
    y = [[1.0, -1.0, 4.0, np.nan, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]]
    found = consistent_initial(ROOT, 0.0, y, [1.0], check=False)
    assert found.found.tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(found.y[:, ~found.found], np.array(y)[:, ~found.found])
    np.testing.assert_allclose(found.y[1, [0, 2]], [1.0, 2.0], rtol=1e-15)
    assert found.residual[1] == 2.0
    assert found.residual[3] == np.inf
    assert found.residual[[0, 2]].max() == 0.0


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([4.0, 0.0], "given: the algebraic equations don't determine"),
        ([[4.0, 4.0, -1.0, -1.0], [1.0] * 4], "for run 2: "),
        ([[4.0, 4.0, -1.0, -1.0], [1.0] * 4], "In all, 2 runs have none."),
        ([-4.0, 1.0], "The algebraic equation of 'z' is left with 5. Give start values"),
        ([4.0, 1e300], "no finite value there"),
        (
            [0.0, 1.0],
            "reached its limit of iterations. The algebraic equation of 'z' is left with 1",
        ),
    ],
)
def test_the_error_names_run_equation_and_reason(y, message):
    with pytest.raises(InputError) as caught:
        consistent_initial(ROOT, 0.0, y, [1.0])
    assert message in str(caught.value)


def test_no_solution_within_reach():
    system = System.from_equations("dx = z\n0 = x + exp(z)", states={"x": 1.0, "z": 0.0})
    found = consistent_initial(system, 0.0, [1.0, 0.0], [], check=False)
    assert not found.found
    assert found.y.tolist() == [1.0, 0.0]
    two = System.from_equations(
        "dx = z\n0 = z - 2*x\n0 = w**2 - z", states={"x": 1.0, "z": 0.0, "w": 1.0}
    )
    # The equation of z is met, that of w isn't: this one is named.
    with pytest.raises(InputError, match=re.escape("equation of 'w' is left with")):
        consistent_initial(two, 0.0, [-1.0, -2.0, 1.0], [])


def test_a_run_does_not_see_its_neighbours(monkeypatch):
    rng = np.random.default_rng(8)
    y = np.stack([rng.uniform(-5, 10, 97), rng.uniform(-1, 1, 97), rng.uniform(-2, 3, 97)])
    y[2, ::13] = 30.0  # too far: no finite value
    p = np.array(DIODE.parameter_defaults)
    whole = consistent_initial(DIODE, 0.0, y, p, check=False)
    assert whole.found.sum() == 97 - 8
    for lanes in (slice(0, 1), slice(5, 60), slice(90, 97)):
        part = consistent_initial(DIODE, 0.0, y[:, lanes], p, check=False)
        np.testing.assert_allclose(part.y, whole.y[:, lanes], rtol=1e-13, atol=1e-17)
        np.testing.assert_array_equal(part.found, whole.found[lanes])
    # Few runs at a time, as large models take them.
    monkeypatch.setattr("cubie_kernels.model.initial._BYTES", 10_000)
    few = consistent_initial(DIODE, 0.0, y, p, check=False)
    np.testing.assert_allclose(few.y, whole.y, rtol=1e-13, atol=1e-17)
    np.testing.assert_array_equal(few.found, whole.found)


def test_many_states_are_solved_in_turn():
    # Solved at once, the exponentials of a chain overflow.
    n = 30
    lines = ["dx = -x", *(f"0 = z{i} - 2*tanh(exp(z{i - 1})/2)" for i in range(1, n)), "0 = z0 - x"]
    states = {"x": 1.0} | {f"z{i}": 500.0 for i in range(1, n)} | {"z0": 800.0}
    system = System.from_equations("\n".join(lines), states=states)
    found = consistent_initial(system, 0.0, system.state_defaults, [])
    z = 1.0
    for value in [found.y[-1], *found.y[1:-1]]:
        np.testing.assert_allclose(value, z, rtol=1e-14)
        z = 2.0 * np.tanh(np.exp(z) / 2.0)


PENDULUM = System.from_equations(
    "dx = u\ndy = v\ndu = -force*x\ndv = -force*y - g\n0 = u**2 + v**2 - force*(x**2 + y**2) - g*y",
    states={"x": 1.0, "y": 0.0, "u": 0.0, "v": 0.0, "force": 0.0},
    parameters={"g": 9.81},
)


def test_the_pendulum_of_index_1():
    angle = np.linspace(-3.0, 3.0, 11)
    y = np.stack([np.sin(angle), -np.cos(angle), np.cos(angle), np.sin(angle), 0 * angle])
    found = consistent_initial(PENDULUM, 0.0, y, [9.81])
    np.testing.assert_allclose(found.y[4], 1.0 + 9.81 * np.cos(angle), rtol=1e-14)
    np.testing.assert_allclose(check_index(PENDULUM, 0.0, y, [9.81]), 1.0)
    with pytest.raises(InputError, match="for run 1 the algebraic equation of 'force' doesn't"):
        check_index(PENDULUM, 0.0, y * np.r_[1.0, np.zeros(10)], [9.81])


def test_the_index_at_given_values():
    twice = System.from_equations(
        "dx = -x\n0 = x + z + w\n0 = z + k*w + t", states={"x": 1.0, "z": 0.0, "w": 0.0},
        parameters={"k": 2.0},
    )  # fmt: skip
    found = check_index(twice, 0.0, [1.0, 0.0, 0.0], [[2.0, 1.0 + 1e-9, -1.0]])
    np.testing.assert_allclose(found[1], 1e-9 / 4.0, rtol=1e-6)
    assert found[[0, 2]].min() > 0.1
    with pytest.raises(InputError) as caught:
        check_index(twice, 0.0, [1.0, 0.0, 0.0], [1.0])
    assert (
        "At the values given the algebraic equation of 'z', 'w' doesn't determine 'z', 'w'"
        in str(caught.value)
    )
    hidden = System.from_equations(
        "dx = y - x\ndy = 2*y - 2*x", states={"x": 1.0, "y": 2.0}, mass=[[1, -1], [2, -2]]
    )
    with pytest.raises(InputError, match="determine 'x', 'y': its Jacobian is singular"):
        check_index(hidden, 0.0, [1.0, 2.0], [])
    with pytest.raises(InputError, match="for run 0"):
        check_index(twice, 0.0, [[1.0], [np.nan], [1.0]], [[np.nan]])


@pytest.mark.parametrize(
    ("t", "y", "p", "message"),
    [
        (0.0, [1.0], [1.0], "y needs the shape (2,) or (2, lanes), not (1,)"),
        (0.0, [1.0, 1.0], [], "p needs the shape (1,) or (1, lanes), not (0,)"),
        ([[0.0]], [1.0, 1.0], [1.0], "t needs the shape () or (lanes,), not (1, 1)"),
        ([0.0, 1.0], np.ones((2, 3)), [1.0], "t, y and p are of 2, 3 runs"),
        (0.0, ["a", 1.0], [1.0], "y needs real numbers"),
    ],
)
def test_arguments_are_checked(t, y, p, message):
    for function in consistent_initial, check_index:
        with pytest.raises(InputError) as caught:
            function(ROOT, t, y, p)
        assert message in str(caught.value)


@pytest.mark.parametrize("iterations", [0, 1.5, True, "3"])
def test_the_limit_is_a_whole_number(iterations):
    with pytest.raises(InputError, match="iterations must be a whole number"):
        consistent_initial(ROOT, 0.0, [1.0, 1.0], [1.0], iterations=iterations)


def test_the_page_prints_what_it_shows(capsys):
    page = (Path(__file__).parents[2] / "docs" / "mass-matrix.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|text)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 8
    names: dict = {}
    shown = ""
    for kind, body in blocks:
        if kind == "text":
            assert shown.strip() == body.strip()
            shown = ""
            continue
        assert not shown
        try:
            exec(body, names)
            shown = capsys.readouterr().out
        except (EquationError, InputError) as fault:
            shown = str(fault)
