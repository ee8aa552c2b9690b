"""LU factors of a banded matrix: the order of its rows and columns, and what the loops go over.

The matrix is ``W = a*M - J``, as in `cubie_kernels.model.lu_plan`. Its rows are matched to columns
there, so that the diagonal is occupied; then both are renumbered together by the reverse
Cuthill-McKee ordering (George and Liu, Computer Solution of Large Sparse Positive Definite Systems,
1981, chapter 4), unless the given order has the narrower band. Pivots are taken from the diagonal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cubie_kernels.model.lu_plan import checked_mass, checked_pattern, matched_rows

__all__ = ["BandPlan", "band_plan"]


@dataclass(frozen=True)
class BandPlan:
    """A factorisation in loops whose code is the same for every size.

    The factors are stored row by row, each ``lower + 1 + upper`` entries long.

    Attributes
    ----------
    n : int
        Number of rows and columns.
    lower, upper : int
        Width of the band below and above the diagonal.
    order : tuple of (int, int)
        Row and column of each pivot.
    places : tuple of int
        Where each entry of the Jacobian is stored, in the pattern's order.
    mass_places : tuple of int
        Where each entry of the mass matrix is added.
    weights : tuple of float
        The entries of the mass matrix.
    """

    n: int
    lower: int
    upper: int
    order: tuple[tuple[int, int], ...]
    places: tuple[int, ...]
    mass_places: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def width(self) -> int:
        """Length of a row."""
        return self.lower + 1 + self.upper

    @property
    def clipped(self) -> bool:
        """Whether the loops end at the edges of the matrix, instead of passing over zeros."""
        return 4 * max(self.lower, self.upper) > self.n

    @property
    def rows(self) -> int:
        """Rows that are stored: where loops pass the edge, there are rows of zeros behind it."""
        return self.n if self.clipped else self.n + self.lower

    @property
    def entries(self) -> int:
        """Length of the factors, with a vector to solve in behind them."""
        return self.rows * self.width + self.lower + self.n + self.upper

    @property
    def operations(self) -> int:
        """Operations of the factorisation; a product with a subtraction counts as two."""
        total = 3 * self.n + len(self.weights) + len(self.places)
        for left in range(self.n) if self.clipped else [self.n] * self.n:
            total += min(left, self.lower) * (3 + 2 * min(left, self.upper))
        return total

    @property
    def solve_operations(self) -> int:
        """Operations of the solution."""
        return self.n * (2 * (self.lower + self.upper) + 1)


def band_plan(
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None = None,
) -> BandPlan:
    """Find an order of rows and columns with a narrow band.

    Parameters
    ----------
    n : int
        Number of rows and columns.
    pattern : iterable of (int, int)
        Row and column of each entry of ``J``, in the order of the array ``j``.
    mass : mapping of (int, int) to float, optional
        Entries of ``M``; the identity if none is given. Zeros may be left out.

    Raises
    ------
    InputError
        If an index is outside of the matrix, an entry is given twice or not finite, or ``W`` is
        singular whatever its values.
    """
    places = checked_pattern(n, pattern)
    weights = {(i, i): 1.0 for i in range(n)} if mass is None else checked_mass(n, mass)
    row_of = matched_rows(n, places, weights)
    pivot_of = {row: k for k, row in enumerate(row_of)}
    # From here on rows go by the column of their pivot.
    entries = {(pivot_of[row], column) for row, column in (*places, *weights)}
    orders = [list(range(n)), _cuthill_mckee(n, entries)]
    order = min(orders, key=lambda order: sum(_band(order, entries)))
    lower, upper = _band(order, entries)
    step = _inverse(order)

    def stored(place: tuple[int, int]) -> int:
        row, column = step[pivot_of[place[0]]], step[place[1]]
        return row * (lower + 1 + upper) + lower + column - row

    return BandPlan(
        n=n,
        lower=lower,
        upper=upper,
        order=tuple((row_of[k], k) for k in order),
        places=tuple(map(stored, places)),
        mass_places=tuple(map(stored, weights)),
        weights=tuple(weights.values()),
    )


def _inverse(order: Sequence[int]) -> list[int]:
    step = [0] * len(order)
    for i, k in enumerate(order):
        step[k] = i
    return step


def _band(order: Sequence[int], entries: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return the width of the band below and above the diagonal."""
    step = _inverse(order)
    offsets = [step[column] - step[row] for row, column in entries]
    return -min(0, *offsets), max(0, *offsets)


def _cuthill_mckee(n: int, entries: Iterable[tuple[int, int]]) -> list[int]:
    """Return the reverse Cuthill-McKee order of a matrix and its transpose put together."""
    neighbours: list[set[int]] = [set() for _ in range(n)]
    for row, column in entries:
        if row != column:
            neighbours[row].add(column)
            neighbours[column].add(row)
    order: list[int] = []
    seen: set[int] = set()
    for start in sorted(range(n), key=lambda k: len(neighbours[k])):
        if start not in seen:
            order += _levels(_peripheral(start, neighbours), neighbours)[0]
            seen.update(order)
    return order[::-1]


def _peripheral(start: int, neighbours: Sequence[set[int]]) -> int:
    """Return a node at an end of the part of the graph that holds ``start``."""
    depth = -1
    while True:
        nodes, levels = _levels(start, neighbours)
        if levels[nodes[-1]] <= depth:
            return start
        depth = levels[nodes[-1]]
        last = [node for node in nodes if levels[node] == depth]
        start = min(last, key=lambda node: len(neighbours[node]))


def _levels(start: int, neighbours: Sequence[set[int]]) -> tuple[list[int], dict[int, int]]:
    """Return the nodes breadth first, those with few neighbours first, and their distances."""
    levels = {start: 0}
    nodes = [start]
    for node in nodes:
        for other in sorted(neighbours[node] - levels.keys(), key=lambda k: len(neighbours[k])):
            levels[other] = levels[node] + 1
            nodes.append(other)
    return nodes, levels
