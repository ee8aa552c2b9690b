"""Diagonally implicit methods: steps, stages, mass matrices and the weights of estimates."""

import math
from collections import Counter

import numpy as np
import pytest
from kernel_problems import integrate
from method_list import ADAPTIVE, DIRK, TABLEAUS
from order_conditions import Stages, density, trees

from cubie_kernels import Solver, Status, System, record, solve
from cubie_kernels.kernels.dirk import dirk_constants, growth_of_errors

ALL = pytest.mark.parametrize("name", DIRK)
ABLE = [name for name in DIRK if TABLEAUS[name].a[-1] == TABLEAUS[name].b]

# Eigenvalues -100 and -1 +- 3i, all states mixed.
LINEAR = np.array([[-34.0, 33.0, 30.0], [36.0, -35.0, -27.0], [33.0, -30.0, -33.0]])
MASS = np.array([[2.0, 0.5, 0.0], [1.0, 3.0, 0.0], [0.0, -1.0, 1.0]])
# The last state follows from the others: z = x - 2 y.
ALGEBRAIC = np.array([[-1.0, 2.0, 0.5], [-3.0, -2.0, 1.0], [1.0, -2.0, -1.0]])
START = np.array([1.0, 0.5, 0.0])


def linear(matrix, mass=None):
    rows = zip("xyz", matrix, strict=True)
    return System.from_equations(
        "\n".join(
            f"d{state} = "
            + " + ".join(f"({value}*{other})" for value, other in zip(row, "xyz", strict=True))
            for state, row in rows
        ),
        states=dict(zip("xyz", START, strict=True)),
        mass=mass,
        name="linear",
    )


def steps_of(system, name, h, steps):
    found = solve(
        system,
        t_span=(0, h * steps),
        method=name,
        dt=h,
        adaptive=False,
        rtol=1e-13,
        atol=1e-13,
        target="numpy",
    )
    assert found.ok.all()
    return np.array([found[state].item() for state in "xyz"])


def by_tableau(name, h, steps, matrix, mass):
    """Multiply by the matrix that (b, A) give for a step of ``mass y' = matrix y``."""
    tableau, one = TABLEAUS[name], np.eye(3)
    a, stages = np.array(tableau.a), tableau.stages
    explicit = int(a[0, 0] == 0.0)
    if np.linalg.matrix_rank(mass) == 3:
        derivative = np.linalg.solve(mass, matrix)
        system = np.eye(3 * stages) - h * np.kron(a, derivative)
        k = np.linalg.solve(system, np.kron(np.ones((stages, 1)), derivative))
        step = one + h * np.kron([tableau.b], one) @ k
    else:
        # In M times the derivatives, of which that at the start is the right side itself.
        first = np.vstack([matrix] * explicit + [np.zeros((3, 3))] * (1 - explicit))
        inner = a[explicit:, explicit:]
        size = len(inner)
        left = np.kron(np.eye(size), mass) - h * np.kron(inner, matrix)
        right = np.kron(np.ones((size, 1)), mass)
        if explicit:
            right = right + h * np.kron(a[explicit:, :1], first)
        step = np.linalg.solve(left, right)[-3:]
    return np.linalg.matrix_power(step, steps) @ START


@ALL
def test_a_step_is_that_of_the_tableau(name):
    found = steps_of(linear(LINEAR), name, 0.05, 40)
    exact = by_tableau(name, 0.05, 40, LINEAR, np.eye(3))
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-13)


@ALL
def test_a_step_with_a_mass_matrix(name):
    entries = {
        (row, column): MASS[i, j]
        for i, row in enumerate("xyz")
        for j, column in enumerate("xyz")
        if MASS[i, j]
    }
    found = steps_of(linear(LINEAR, entries), name, 0.05, 40)
    exact = by_tableau(name, 0.05, 40, LINEAR, MASS)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ABLE)
def test_a_step_with_an_algebraic_equation(name):
    """It holds at the end of every step, and the other states are those of the tableau."""
    system = linear(ALGEBRAIC, {("z", "z"): 0.0})
    found = steps_of(system, name, 0.05, 40)
    np.testing.assert_allclose(found[2], found[0] - 2 * found[1], atol=1e-13)
    exact = by_tableau(name, 0.05, 40, ALGEBRAIC, np.diag([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-12)


OSCILLATOR = System.from_equations(
    "dx = v\ndv = mu*(1 - x*x)*v - x",
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 5.0},
    name="van der pol",
)


@pytest.mark.parametrize("name", [name for name in ABLE if name in ADAPTIVE])
def test_the_last_stage_ends_the_step(name):
    """The state there is the new one; its derivative begins the next step."""
    steps = record(
        OSCILLATOR, {"mu": [5.0]}, t_span=(0, 4), method=name, rtol=1e-4, atol=1e-6
    ).isel(run=0)
    good = np.flatnonzero(steps.accepted.values == 1)
    a = np.array(TABLEAUS[name].a)
    k = steps.stage_derivative.transpose("attempt", "stage", "state").values
    h = steps.step_size.values[:, None]
    end = steps.start_state.values + h * np.einsum("j,ajs->as", a[-1], k)
    np.testing.assert_allclose(steps.new_state.values[good], end[good], rtol=1e-11, atol=1e-12)
    if a[0, 0] == 0.0:
        # The first stage of an attempt is the last one of the accepted step before.
        before = np.maximum.accumulate(np.where(steps.accepted == 1, np.arange(len(k)), -1))
        known = np.flatnonzero(before[:-1] >= 0)
        np.testing.assert_array_equal(k[known + 1, 0], k[before[known], -1])


@pytest.mark.parametrize("name", [name for name in DIRK if name in ADAPTIVE])
def test_estimates_of_stiff_components_are_bounded(name):
    """A component that decays at once is estimated as no more than what it was."""
    decay = System.from_equations(
        "dx = l*(1 - x)", states={"x": 1.0}, parameters={"l": 1.0}, name="decay"
    )
    solver = Solver(
        decay,
        t_span=(0, 10),
        method=name,
        rtol=0.0,
        atol=1.0,
        dt=1.0,
        max_steps=40,
        swept=["l", "x"],
        target="numpy",
    )
    # At the end of a fast decay: what is left is far below the tolerance, its rate is not.
    outcome = integrate(solver, {"l": [1e6, 1e9, 1e12], "x": [1 + 1e-3, 1 + 1e-6, 1 + 1e-9]})
    assert (outcome.status == Status.SUCCESS).all()
    assert (outcome.accepted < 12).all()
    assert (outcome.rejected <= 1).all()


def symmetry(tree):
    """Return the order of the symmetry group of a rooted tree."""
    return math.prod(
        symmetry(child) ** count * math.factorial(count) for child, count in Counter(tree).items()
    )


@pytest.mark.parametrize("name", [name for name in DIRK if name in ADAPTIVE])
def test_factor_of_the_estimate(name):
    """It is the norm of the leading terms of the error over that of the estimate, or 1."""
    tableau = TABLEAUS[name]
    stages = Stages(tableau)

    def size(weights, order, exact):
        terms = (
            (np.dot(weights, stages.weights(tree)) - exact / density(tree)) / symmetry(tree)
            for tree in trees(order)
        )
        return math.sqrt(math.fsum(term * term for term in terms))

    ratio = size(tableau.b, tableau.order + 1, 1.0) / size(tableau.error, tableau.error_power, 0.0)
    assert tableau.error_factor == pytest.approx(max(1.0, ratio), rel=2e-3)
    plain = dirk_constants(tableau, 1, False)
    scale = 1.0 / plain["GAMMA"] if plain["FILTERED"] else 1.0
    wanted = np.array(tableau.error) * tableau.error_factor * scale
    np.testing.assert_allclose(plain["ERROR"][plain["PADDED"] :], wanted, rtol=1e-14)


@ALL
def test_guesses_continue_the_stages(name):
    """Increments are exact where the derivative is linear in time, if two stages were before."""
    constants = dirk_constants(TABLEAUS[name], 1, False)
    c, guesses = np.array(constants["NODES"]), np.array(constants["GUESS"])
    a = constants["GAMMA"] * (np.array(constants["EARLIER"]) + np.eye(len(c)))
    for i in range(1, len(c)):
        assert guesses[i].sum() == pytest.approx(c[i], abs=1e-12)
        if len(set(c[:i])) > 1:
            assert guesses[i, :i] @ c[:i] == pytest.approx(a[i] @ c, abs=1e-12)
        own = (guesses[i] - a[i] * (np.arange(len(c)) < i)) / constants["GAMMA"]
        assert np.abs(own).sum() < 6.0


@ALL
def test_growth_of_errors(name):
    """Wrong increments of stages, by one each, change the end by no more, and by as much once."""
    tableau = TABLEAUS[name]
    first = int(tableau.a[0][0] == 0.0)
    a, b = np.array(tableau.a)[first:, first:], np.array(tableau.b)[first:]
    ends = a.shape[0] - int(tableau.a[-1] == tableau.b)
    total = 0.0
    for wrong in range(ends):
        k = np.zeros(len(b))
        for i in range(ends):
            k[i] = ((i == wrong) - a[i, :i] @ k[:i]) / a[i, i]
        total += abs(b[:ends] @ k[:ends])
    assert growth_of_errors(tableau) == pytest.approx(total, rel=1e-12)
