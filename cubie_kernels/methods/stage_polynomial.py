"""The polynomial of a step through its stages, in exact arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

__all__ = ["expansions", "product"]

Matrix = tuple[tuple[float, ...], ...]


def product(left: Matrix, right: Matrix) -> Matrix:
    """Return a matrix product, each entry rounded once."""
    columns = [[Fraction(x) for x in column] for column in zip(*right, strict=True)]
    return tuple(
        tuple(
            float(sum(Fraction(x) * y for x, y in zip(row, column, strict=True)))
            for column in columns
        )
        for row in left
    )


def expansions(c: Sequence[float]) -> tuple[Matrix, Matrix]:
    """Return a step's polynomial in powers of the distance from its end and from its start.

    It goes through the increments ``z_j = Y_j - y`` at the nodes ``c_j`` and, where 0 is not a
    node, through 0 at the start.

    Parameters
    ----------
    c : sequence of float, shape (stages,)
        The nodes, all different.

    Returns
    -------
    tuple of tuple of float, shape (degree, stages), twice
        Row ``d`` holds the factors of the increments in the coefficient of the power ``d + 1``, in
        units of the step; the constant is left out.
    """
    about_end: list[Sequence[float]] = []
    about_start: list[Sequence[float]] = []
    for node in c:
        others = [x for x in {0.0, *c} if x != node]
        for origin, found in ((1.0, about_end), (0.0, about_start)):
            found.append([float(x) for x in _lagrange(node, others, origin)[1:]])
    return tuple(zip(*about_end, strict=True)), tuple(zip(*about_start, strict=True))


def _lagrange(node: float, others: Sequence[float], origin: float) -> list[Fraction]:
    """Return the coefficients of the polynomial that is 1 at ``node`` and 0 at ``others``.

    The first is that of the power 0 of the distance from ``origin``.
    """
    powers = [Fraction(1)]
    for x in map(Fraction, others):
        less = [*((Fraction(origin) - x) * p for p in powers), Fraction(0)]
        more = [Fraction(0), *powers]
        powers = [(p + q) / (Fraction(node) - x) for p, q in zip(less, more, strict=True)]
    return powers
