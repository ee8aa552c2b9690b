"""Every method meets the order conditions of all rooted trees up to its order, and no further."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from method_list import ADAPTIVE, METHODS, NAMES
from order_conditions import MISSED, THETAS, Stages, density, size, trees

from cubie_kernels.methods import Tableau, get_method, methods


def embedded(tableau: Tableau, error: Sequence[float] | None) -> np.ndarray:
    assert error is not None
    return np.subtract(tableau.b, error)


def extension(tableau: Tableau) -> tuple[int, Stages, list[tuple[float, np.ndarray]]]:
    """Order, stages, and weights at each theta, of a method's own or the Hermite extension."""
    if tableau.dense is not None:
        stages = Stages(tableau, extra=True)
        return tableau.dense.order, stages, [(x, np.array(tableau.dense.at(x))) for x in THETAS]
    stages = Stages(tableau)
    count = len(tableau.b)
    stages.a = np.block([[stages.a, np.zeros((count, 1))], [np.array(tableau.b), np.zeros(1)]])
    b, first, last = (np.zeros(count + 1) for _ in range(3))
    b[:count], first[0], last[-1] = tableau.b, 1, 1
    weights = [
        (x, b * x**2 * (3 - 2 * x) + first * x * (1 - x) ** 2 + last * x**2 * (x - 1))
        for x in THETAS
    ]
    return min(3, tableau.order), stages, weights


def test_trees_are_all_there():
    """Counts of rooted trees as in OEIS A000081; densities of those with four nodes by hand."""
    assert [len(trees(order)) for order in range(1, 11)] == [1, 1, 2, 4, 9, 20, 48, 115, 286, 719]
    assert all(size(tree) == 7 for tree in trees(7))
    assert sorted(density(tree) for tree in trees(4)) == [4, 8, 12, 24]


@pytest.mark.parametrize("name", NAMES)
def test_order(name):
    tableau = get_method(name)
    stages = Stages(tableau)
    assert tableau.order == METHODS[name].order
    for order in range(1, tableau.order + 1):
        assert stages.residual(tableau.b, order) < stages.rounding(tableau.b), order
    assert stages.residual(tableau.b, tableau.order + 1) > MISSED


@pytest.mark.parametrize("name", ADAPTIVE)
def test_embedded_order(name):
    tableau = get_method(name)
    stages = Stages(tableau)
    b = embedded(tableau, tableau.error)
    for order in range(1, tableau.embedded_order + 1):
        assert stages.residual(b, order) < stages.rounding(b), order
    assert stages.residual(b, tableau.embedded_order + 1) > MISSED


def test_second_estimator_of_dop853():
    tableau = get_method("dop853")
    stages = Stages(tableau)
    b = embedded(tableau, tableau.error_2)
    for order in range(1, tableau.embedded_order_2 + 1):
        assert stages.residual(b, order) < stages.rounding(b), order
    assert stages.residual(b, tableau.embedded_order_2 + 1) > MISSED


@pytest.mark.parametrize("name", NAMES)
def test_dense_order(name):
    tableau = get_method(name)
    dense_order, stages, weights = extension(tableau)
    assert dense_order == METHODS[name].dense
    for theta, b in weights:
        for order in range(1, dense_order + 1):
            assert stages.residual(b, order, theta) < stages.rounding(b), (theta, order)
    missed = [stages.residual(b, dense_order + 1, theta) for theta, b in weights]
    assert max(missed) > MISSED


@pytest.mark.parametrize("name", NAMES)
def test_row_sums(name):
    tableau = get_method(name)
    rows, nodes = [*tableau.a], [*tableau.c]
    if tableau.dense is not None:
        rows, nodes = [*rows, *tableau.dense.extra_a], [*nodes, *tableau.dense.extra_c]
    for row, node in zip(rows, nodes, strict=True):
        exact = sum(map(Fraction, row))
        assert abs(float(exact - Fraction(node))) < 1e-15 * max(1.0, sum(map(abs, row)))


@pytest.mark.parametrize(
    "name", [info.name for info in methods() if info.family == "erk" and info.dense == "own"]
)
class TestOwnExtension:
    def test_ends(self, name):
        """Both ends are met exactly, in value and in slope."""
        tableau = get_method(name)
        dense = tableau.dense
        extra = len(dense.extra_c)
        assert dense.at(0.0) == (0.0,) * len(dense.nested)
        assert dense.at(1.0) == tableau.b + (0.0,) * extra
        end = tableau.stages - 1 if tableau.fsal else tableau.stages
        weights = np.array(dense.weights)
        slopes = weights @ np.arange(1, weights.shape[1] + 1)
        first, last = np.eye(len(weights))[[0, end]]
        np.testing.assert_array_equal(weights[:, 0], first)
        np.testing.assert_allclose(slopes, last, atol=1e-13 * abs(weights).max())

    def test_end_stage(self, name):
        """Without first-same-as-last, the first extra stage is the derivative at the end."""
        tableau = get_method(name)
        if not tableau.fsal:
            assert tableau.dense.extra_a[0] == tableau.b
            assert tableau.dense.extra_c[0] == 1.0

    def test_powers_equal_nested_form(self, name):
        dense = get_method(name).dense
        for theta in THETAS:
            exact = [
                sum(Fraction(w) * Fraction(theta) ** (d + 1) for d, w in enumerate(row))
                for row in dense.weights
            ]
            scale = np.abs(dense.weights).max()
            np.testing.assert_allclose(
                np.array(exact, dtype=float), dense.at(theta), atol=1e-15 * scale
            )
