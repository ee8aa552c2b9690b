"""Rosenbrock methods: order conditions with and without the Jacobian, and what steps give."""

import dataclasses
import itertools
from functools import cache

import numpy as np
import pytest
from method_list import ROSENBROCK, TABLEAUS, UNREDUCED, W_ORDERS
from order_conditions import MISSED, THETAS, Tree, density, trees

from cubie_kernels.errors import TableauError
from cubie_kernels.kernels.rosenbrock import rosenbrock_constants

STIFFLY_ACCURATE = ("rodas3", "ros34pw2", "rodas4", "rodas42", "rodas4p", "rodas5", "rodas5p")


class Weights:
    """Elementary weights of a Rosenbrock method (Hairer, Wanner II, section IV.7)."""

    def __init__(self, tableau):
        self.alpha, self.gamma = np.array(tableau.alpha), np.array(tableau.gamma)
        self.known = {}

    def of(self, tree: Tree) -> np.ndarray:
        """Weights of the stages with the exact Jacobian: a lone child goes through beta."""
        if tree not in self.known:
            matrix = self.alpha + self.gamma if len(tree) == 1 else self.alpha
            value = np.ones(len(matrix))
            for child in tree:
                value = value * (matrix @ self.of(child))
            self.known[tree] = value
        return self.known[tree]

    def residual(self, b, order, theta=1.0):
        """Largest violation of the conditions of one order by the weights ``b``."""
        return max(
            abs(np.dot(b, self.of(tree)) - theta**order / density(tree)) for tree in trees(order)
        )

    def without_jacobian(self, tree):
        """Weights with any matrix for the Jacobian: ``tree`` says where that matrix stands."""
        matrix_here, children = tree
        value = np.ones(len(self.alpha))
        for child in children:
            coefficients = self.gamma if matrix_here else self.alpha
            value = value * (coefficients @ self.without_jacobian(child))
        return value

    def w_residual(self, b, order):
        """Largest violation of the conditions of one order of W-methods."""
        return max(
            abs(
                np.dot(b, self.without_jacobian(marked))
                - (0 if marked != plain else 1 / density(tree))
            )
            for tree in trees(order)
            for plain in [mark(tree)[0]]
            for marked in mark(tree)
        )


@cache
def mark(tree: Tree):
    """All ways to let nodes with one child stand for the matrix; the first has none that does."""
    ways = []
    for children in itertools.product(*map(mark, tree)):
        ways.append((False, children))
        if len(children) == 1:
            ways.append((True, children))
    return tuple(ways)


def rounding(tableau):
    """Residual that coefficients rounded to double precision may leave."""
    scale = max(np.abs(row).max() for row in (tableau.a, tableau.c, tableau.m))
    return 2e-15 * max(1.0, scale * np.abs(tableau.gamma).max())


@pytest.mark.parametrize("name", ROSENBROCK)
class TestConditions:
    def test_order(self, name):
        tableau = TABLEAUS[name]
        weights = Weights(tableau)
        for order in range(1, tableau.order + 1):
            assert weights.residual(tableau.b, order) < rounding(tableau), order
        assert weights.residual(tableau.b, tableau.order + 1) > MISSED

    def test_embedded_order(self, name):
        tableau = TABLEAUS[name]
        weights, b = Weights(tableau), np.subtract(tableau.b, tableau.error)
        for order in range(1, tableau.embedded_order + 1):
            assert weights.residual(b, order) < rounding(tableau), order
        assert weights.residual(b, tableau.embedded_order + 1) > MISSED

    def test_factor_of_the_estimate(self, name):
        tableau = TABLEAUS[name]
        assert tableau.error_factor == (2.0 if name == "rodas42" else 1.0)
        constants = rosenbrock_constants(tableau, 1, timed=False, mass=False)
        assert constants["ERROR"] == tuple(tableau.error_factor * e for e in tableau.e)

    def test_dense_order(self, name):
        tableau = TABLEAUS[name]
        dense = tableau.dense
        if dense is None:
            return
        weights, gamma = Weights(tableau), np.array(tableau.gamma)
        missed = []
        for theta in THETAS:
            b = dense.at(theta, tableau.m) @ gamma
            for order in range(1, dense.order + 1):
                assert weights.residual(b, order, theta) < 4 * rounding(tableau), (theta, order)
            missed.append(weights.residual(b, dense.order + 1, theta))
        assert max(missed) > MISSED
        assert dense.at(0.0, tableau.m) == (0.0,) * tableau.stages
        assert dense.at(1.0, tableau.m) == tableau.m

    def test_order_without_the_jacobian(self, name):
        tableau = TABLEAUS[name]
        weights = Weights(tableau)
        assert tableau.w_order == W_ORDERS.get(name, 1)
        for order in range(1, tableau.w_order + 1):
            assert weights.w_residual(tableau.b, order) < rounding(tableau), order
        assert weights.w_residual(tableau.b, tableau.w_order + 1) > MISSED
        assert tableau.w_method == (tableau.w_order == tableau.order)

    def test_order_on_stiff_linear_problems(self, name):
        """Lubich, Ostermann: b beta^j (2 beta^2 1 - alpha^2) = 0 for 1 <= j < order."""
        tableau = TABLEAUS[name]
        beta, one = np.add(tableau.alpha, tableau.gamma), np.ones(tableau.stages)
        rest = 2 * beta @ beta @ one - np.square(tableau.alpha_sums)
        residuals = [
            abs(tableau.b @ np.linalg.matrix_power(beta, j) @ rest) for j in range(1, tableau.order)
        ]
        assert (max(residuals) < rounding(tableau)) == (name in UNREDUCED)

    def test_forms_agree(self, name):
        """The two forms are the same method; zeros and ones are exact."""
        tableau = TABLEAUS[name]
        alpha, gamma = np.array(tableau.alpha), np.array(tableau.gamma)
        inverse = np.linalg.inv(gamma)
        close = {"rtol": 1e-12, "atol": rounding(tableau)}
        np.testing.assert_allclose(alpha @ inverse, tableau.a, **close)
        np.testing.assert_allclose(
            np.eye(len(gamma)) / tableau.diagonal - inverse, tableau.c, **close
        )
        np.testing.assert_allclose(tableau.b @ inverse, tableau.m, **close)
        np.testing.assert_allclose(alpha.sum(1), tableau.alpha_sums, **close)
        np.testing.assert_allclose(gamma.sum(1), tableau.gamma_sums, **close)
        np.testing.assert_array_equal(np.diag(gamma), tableau.diagonal)

    def test_stiff_accuracy(self, name):
        tableau = TABLEAUS[name]
        assert tableau.stiffly_accurate == (name in STIFFLY_ACCURATE)
        if tableau.stiffly_accurate:
            last = np.add(tableau.alpha, tableau.gamma)[-1]
            np.testing.assert_allclose(last, tableau.b, atol=rounding(tableau))


def rhs(t, y):
    return np.array([-y[0] * y[1] + np.sin(2 * t), y[0] ** 2 - 2 * y[1] * np.cos(t)])


def jacobian(t, y):
    return np.array([[-y[1], -y[0]], [2 * y[0], -2 * np.cos(t)]])


def time_derivative(t, y):
    return np.array([2 * np.cos(2 * t), 2 * y[1] * np.sin(t)])


def increments(tableau, t, y, h, matrix):
    """One step in the form that needs no product with the Jacobian."""
    system = np.eye(len(y)) / (h * tableau.diagonal) - matrix
    u = np.zeros((tableau.stages, len(y)))
    for i in range(tableau.stages):
        right = rhs(t + tableau.alpha_sums[i] * h, y + np.array(tableau.a[i]) @ u)
        right = right + np.array(tableau.c[i]) @ u / h
        u[i] = np.linalg.solve(system, right + tableau.gamma_sums[i] * h * time_derivative(t, y))
    return u


def derivatives(tableau, t, y, h, matrix):
    """One step in the form of the order conditions."""
    system = np.eye(len(y)) - h * tableau.diagonal * matrix
    k = np.zeros((tableau.stages, len(y)))
    for i in range(tableau.stages):
        right = rhs(t + tableau.alpha_sums[i] * h, y + h * np.array(tableau.alpha[i]) @ k)
        right = right + h * matrix @ (np.array(tableau.gamma[i]) @ k)
        k[i] = np.linalg.solve(system, right + tableau.gamma_sums[i] * h * time_derivative(t, y))
    return k


def end(tableau, steps, matrix=None):
    """State at t = 1 after equal steps."""
    t, y, h = 0.0, np.array([1.0, 0.5]), 1 / steps
    for _ in range(steps):
        now = jacobian(t, y) if matrix is None else matrix
        y = y + tableau.m @ increments(tableau, t, y, h, now)
        t += h
    return y


@cache
def exact():
    return end(TABLEAUS["rodas5p"], 1500)


@pytest.mark.parametrize("name", ROSENBROCK)
class TestSteps:
    def test_forms_step_alike(self, name):
        tableau = TABLEAUS[name]
        t, y, h = 0.3, np.array([1.2, -0.7]), 0.1
        matrix = jacobian(t, y)
        u = increments(tableau, t, y, h, matrix)
        k = derivatives(tableau, t, y, h, matrix)
        scale = 1e-14 * np.abs(u).max() * max(np.abs(tableau.m).max(), np.abs(tableau.c).max())
        np.testing.assert_allclose(tableau.m @ u, tableau.b @ (h * k), atol=scale)
        np.testing.assert_allclose(tableau.e @ u, tableau.error @ (h * k), atol=scale)

    def test_slope(self, name):
        """The order is reached on a problem that depends on time."""
        tableau = TABLEAUS[name]
        steps = np.array([20, 40, 80])
        errors = [np.abs(end(tableau, count) - exact()).max() for count in steps]
        slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert slope > tableau.order - 0.35

    @pytest.mark.parametrize("matrix", [np.zeros((2, 2)), np.array([[-3.0, 1.0], [2.0, -1.0]])])
    def test_slope_without_the_jacobian(self, name, matrix):
        tableau = TABLEAUS[name]
        steps = np.array([80, 160, 320])
        errors = [np.abs(end(tableau, count, matrix) - exact()).max() for count in steps]
        slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert slope > tableau.w_order - 0.35


def test_stages_that_share_a_derivative():
    assert TABLEAUS["ros3p"].arguments == (0, 1, 1)
    assert TABLEAUS["rodas3"].arguments == (0, 0, 2, 3)
    assert TABLEAUS["grk4t"].arguments == (0, 1, 2, 2)
    assert TABLEAUS["rodas4"].arguments == (0, 1, 2, 3, 4, 5)


RODAS4 = TABLEAUS["rodas4"]


def changed(row, index, value):
    return (*row[:index], value, *row[index + 1 :])


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        (
            {"a": changed(RODAS4.a, 1, (1.5, 0, 0, 0, 0, 0))},
            ["'rodas4'", "row alpha[1] sums to 0.375", "alpha_sums[1] is 0.386", "residual -0.011"],
        ),
        (
            {"c": changed(RODAS4.c, 1, (-5.0, 0, 0, 0, 0, 0))},
            ["row gamma[1] sums to -0.0625", "gamma_sums[1] is -0.1043"],
        ),
        ({"m": changed(RODAS4.m, 0, 1.0)}, ["row b times alpha_sums**0", "residual"]),
        ({"order": 6}, ["'rodas4'", "row b times alpha_sums**5", "the integral 1/6"]),
        ({"embedded_order": 4}, ["row b - error times alpha_sums**3", "the integral 1/4"]),
        ({"e": changed(RODAS4.e, 0, 0.1)}, ["row b - error times alpha_sums**0"]),
        ({"e": None}, ["e is None and embedded_order is 3", "both or neither"]),
        ({"m": (1.0,) * 5}, ["alpha_sums has 6 entries, but 5 are wanted"]),
        ({"a": RODAS4.a[:5]}, ["list of rows a has 5 entries, but 6 are wanted"]),
        ({"diagonal": 0.0}, ["diagonal is 0.0", "positive"]),
        (
            {"c": changed(RODAS4.c, 0, (0.5, 0, 0, 0, 0, 0))},
            ["entry 0 of row c[0] is 0.5", "zero on the diagonal"],
        ),
        ({"m": changed(RODAS4.m, 0, float("nan"))}, ["entry 0 of m is nan", "finite"]),
        (
            {"dense": dataclasses.replace(RODAS4.dense, bend=((1.0,),))},
            ["row dense.bend[0] has 1 entries, but 6 are wanted"],
        ),
    ],
)
def test_wrong_coefficients_are_named(fault, parts):
    with pytest.raises(TableauError) as caught:
        dataclasses.replace(RODAS4, **fault)
    for part in parts:
        assert part in str(caught.value)
