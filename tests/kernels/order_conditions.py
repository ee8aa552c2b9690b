"""Order conditions: rooted trees and the elementary weights of Runge-Kutta methods."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from cubie_kernels.methods import Tableau

# A tree is the sorted tuple of its children, which are trees; the single node is ().
Tree = tuple["Tree", ...]

# The smallest residual of the first order that is missed, by b, bhat or a dense output, is 4e-7.
MISSED = 1e-7

THETAS = (0.07, 1 / 3, 0.6, 0.93)


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees of this many nodes: a leaf grown onto each node of the smaller ones."""
    if order == 1:
        return ((),)
    return tuple(sorted({grown for tree in trees(order - 1) for grown in grow(tree)}))


def grow(tree: Tree) -> Iterator[Tree]:
    yield tuple(sorted((*tree, ())))
    for i, child in enumerate(tree):
        for grown in grow(child):
            yield tuple(sorted((*tree[:i], grown, *tree[i + 1 :])))


def size(tree: Tree) -> int:
    return 1 + sum(map(size, tree))


def density(tree: Tree) -> int:
    product = size(tree)
    for child in tree:
        product *= density(child)
    return product


class Stages:
    """Elementary weights of the stages of a method, the extra stages included on demand."""

    def __init__(self, tableau: Tableau, *, extra: bool = False) -> None:
        rows = [*tableau.a, *(tableau.dense.extra_a if extra and tableau.dense else ())]
        self.a = np.zeros((len(rows), len(rows)))
        for i, row in enumerate(rows):
            self.a[i, : len(row)] = row
        self.known: dict[Tree, np.ndarray] = {}

    def rounding(self, b: Sequence[float]) -> float:
        """Residual that coefficients rounded to double precision may leave."""
        return 4e-15 * max(1.0, np.abs(self.a).max()) * max(1.0, np.abs(b).max())

    def weights(self, tree: Tree) -> np.ndarray:
        if tree not in self.known:
            value = np.ones(len(self.a))
            for child in tree:
                value = value * (self.a @ self.weights(child))
            self.known[tree] = value
        return self.known[tree]

    def residual(self, b: Sequence[float], order: int, theta: float = 1.0) -> float:
        """Largest violation of the conditions of one order by the weights ``b``."""
        return max(
            abs(np.dot(b, self.weights(tree)) - theta**order / density(tree))
            for tree in trees(order)
        )


def error_weights(tableau: Tableau) -> tuple[np.ndarray, float]:
    """Error weights of the stages, and of the derivative at the start."""
    if tableau.error is not None:
        return np.array(tableau.error), 0.0
    filtered = tableau.filtered_error
    return -np.array(filtered.weights) @ np.array(tableau.a), -filtered.gamma
