"""Every method meets the order conditions of all rooted trees up to its order, and no further."""

from fractions import Fraction

import numpy as np
import pytest
from method_list import ERK, METHODS, ROSENBROCK, TABLEAUS
from order_conditions import MISSED, THETAS, Stages, density, error_weights, size, trees

from cubie_kernels.methods import Tableau

RUNGE_KUTTA = [name for name in METHODS if name not in ROSENBROCK]
ESTIMATED = [name for name in RUNGE_KUTTA if METHODS[name].embedded is not None]


def with_start(tableau: Tableau) -> Stages:
    """Elementary weights with the derivative at the start put before the stages of the method."""
    stages = Stages(tableau)
    stages.a = np.pad(stages.a, ((1, 0), (1, 0)))
    return stages


def extension(tableau: Tableau) -> tuple[Stages, list[tuple[float, np.ndarray]]]:
    """Stages, and weights at each theta, of a method's own or the Hermite extension."""
    dense = tableau.dense
    if dense is not None:
        return Stages(tableau, extra=True), [(x, np.array(dense.at(x))) for x in THETAS]
    stages = with_start(tableau)
    b = np.array([0.0, *tableau.b, 0.0])
    stages.a = np.block([[stages.a, np.zeros((len(b) - 1, 1))], [b]])
    first, last = np.eye(len(b))[[0, -1]]
    weights = [
        (x, b * x**2 * (3 - 2 * x) + first * x * (1 - x) ** 2 + last * x**2 * (x - 1))
        for x in THETAS
    ]
    return stages, weights


def test_trees_are_all_there():
    """Counts of rooted trees as in OEIS A000081; densities of those with four nodes by hand."""
    assert [len(trees(order)) for order in range(1, 11)] == [1, 1, 2, 4, 9, 20, 48, 115, 286, 719]
    assert all(size(tree) == 7 for tree in trees(7))
    assert sorted(density(tree) for tree in trees(4)) == [4, 8, 12, 24]


@pytest.mark.parametrize("name", RUNGE_KUTTA)
def test_order(name):
    tableau = TABLEAUS[name]
    stages = Stages(tableau)
    for order in range(1, tableau.order + 1):
        assert stages.residual(tableau.b, order) < stages.rounding(tableau.b), order
    assert stages.residual(tableau.b, tableau.order + 1) > MISSED


@pytest.mark.parametrize("name", ESTIMATED)
def test_embedded_order(name):
    tableau = TABLEAUS[name]
    stages = with_start(tableau)
    error, start = error_weights(tableau)
    b = np.array([-start, *np.subtract(tableau.b, error)])
    for order in range(1, tableau.embedded_order + 1):
        assert stages.residual(b, order) < stages.rounding(b), order
    assert stages.residual(b, tableau.embedded_order + 1) > MISSED


def test_second_estimator_of_dop853():
    tableau = TABLEAUS["dop853"]
    stages = Stages(tableau)
    b = np.subtract(tableau.b, tableau.error_2)
    for order in range(1, tableau.embedded_order_2 + 1):
        assert stages.residual(b, order) < stages.rounding(b), order
    assert stages.residual(b, tableau.embedded_order_2 + 1) > MISSED


@pytest.mark.parametrize("name", RUNGE_KUTTA)
def test_dense_order(name):
    dense = METHODS[name].dense
    stages, weights = extension(TABLEAUS[name])
    for theta, b in weights:
        for order in range(1, dense + 1):
            assert stages.residual(b, order, theta) < stages.rounding(b), (theta, order)
    missed = [stages.residual(b, dense + 1, theta) for theta, b in weights]
    assert max(missed) > MISSED


@pytest.mark.parametrize("name", RUNGE_KUTTA)
def test_row_sums(name):
    tableau = TABLEAUS[name]
    rows, nodes = [*tableau.a], [*tableau.c]
    if tableau.dense is not None:
        rows, nodes = [*rows, *tableau.dense.extra_a], [*nodes, *tableau.dense.extra_c]
    for row, node in zip(rows, nodes, strict=True):
        exact = sum(map(Fraction, row))
        assert abs(float(exact - Fraction(node))) < 1e-15 * max(1.0, sum(map(abs, row)))


@pytest.mark.parametrize("name", [name for name in RUNGE_KUTTA if TABLEAUS[name].dense is not None])
def test_ends_of_own_extension(name):
    """Both ends are met exactly."""
    tableau = TABLEAUS[name]
    dense = tableau.dense
    assert dense.at(0.0) == (0.0,) * len(dense.nested)
    assert dense.at(1.0) == tableau.b + (0.0,) * len(dense.extra_c)
    assert dense.extra_c == () or name in ERK


@pytest.mark.parametrize("name", [name for name in ERK if TABLEAUS[name].dense is not None])
class TestOwnExtension:
    def test_slopes(self, name):
        """The slopes at both ends are the derivatives there."""
        tableau = TABLEAUS[name]
        end = tableau.stages - 1 if tableau.fsal else tableau.stages
        weights = np.array(tableau.dense.weights)
        slopes = weights @ np.arange(1, weights.shape[1] + 1)
        first, last = np.eye(len(weights))[[0, end]]
        np.testing.assert_array_equal(weights[:, 0], first)
        np.testing.assert_allclose(slopes, last, atol=1e-13 * abs(weights).max())

    def test_end_stage(self, name):
        """Without first-same-as-last, the first extra stage is the derivative at the end."""
        tableau = TABLEAUS[name]
        if not tableau.fsal:
            assert tableau.dense.extra_a[0] == tableau.b
            assert tableau.dense.extra_c[0] == 1.0

    def test_powers_equal_nested_form(self, name):
        dense = TABLEAUS[name].dense
        for theta in THETAS:
            exact = [
                sum(Fraction(w) * Fraction(theta) ** (d + 1) for d, w in enumerate(row))
                for row in dense.weights
            ]
            scale = np.abs(dense.weights).max()
            np.testing.assert_allclose(
                np.array(exact, dtype=float), dense.at(theta), atol=1e-15 * scale
            )
