"""The pivots of a sparse LU factorisation, chosen from the pattern alone.

The matrix is ``W = a*M - J`` with a scalar ``a`` of each lane, a constant mass matrix ``M`` and a
Jacobian ``J`` of known pattern. Rows are matched to columns, so that each has a pivot; the pivot
with the smallest Markowitz product is next (Duff, Erisman and Reid, Direct Methods for Sparse
Matrices, 2nd ed., chapter 7), ties broken by fill-in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cubie_kernels.errors import InputError

__all__ = ["LuPlan", "checked_mass", "checked_pattern", "lu_plan", "matched_rows"]

_MOST_USES = 8  # operations per entry from which on factors are read back from memory
_MOST_TRIED = 8  # pivots of equal Markowitz product whose fill-in is counted


@dataclass(frozen=True)
class LuPlan:
    """A factorisation, before its code is written.

    Counts are those of a real ``a``; a complex one takes up to four times as many.

    Attributes
    ----------
    entries : int
        Number of entries of both factors, fill-in included.
    order : tuple of (int, int)
        Row and column of each pivot.
    operations : int
        Operations of ``lu_factor`` but ``scalings``; a product with a subtraction counts as two.
    solve_operations : int
        Operations of ``lu_solve``.
    rows : tuple of tuple of int
        Columns of the entries of each row of both factors; rows and columns go by their place in
        the order of pivots.
    places : mapping of (int, int) to int
        Index in ``j`` of each entry of the Jacobian.
    weights : mapping of (int, int) to float
        Entries of the mass matrix.
    """

    entries: int
    order: tuple[tuple[int, int], ...]
    operations: int
    solve_operations: int
    rows: tuple[tuple[int, ...], ...]
    places: Mapping[tuple[int, int], int]
    weights: Mapping[tuple[int, int], float]

    @property
    def kept(self) -> bool:
        """Whether straight-line code keeps all entries in registers while they are eliminated."""
        return self.operations <= _MOST_USES * self.entries

    @property
    def scalings(self) -> int:
        """Operations of ``lu_factor`` that divide U by its pivots, where entries are kept."""
        above = sum(len(row) - row.index(i) - 1 for i, row in enumerate(self.rows))
        return above if self.kept else 0

    def tables(self) -> dict[str, tuple[int, ...]]:
        """Return where loops over the factors find their entries.

        Returns
        -------
        dict
            Entries are numbered row by row. ``rows``, ``columns``: those of each pivot;
            ``starts``: the first entry of each row, and the number of all; ``pivots``: the pivot of
            each row; ``inner``: the column of each entry; ``places``, ``mass``: the entry for each
            of the Jacobian and of the mass matrix; ``targets``: the entry that each product is
            taken off, in the order of rows, of the entries of L in them, and of U in their rows.
        """
        numbers = {
            place: at
            for at, place in enumerate((i, k) for i, row in enumerate(self.rows) for k in row)
        }
        step_of = {row: i for i, (row, _) in enumerate(self.order)}
        column_of = {column: i for i, (_, column) in enumerate(self.order)}

        def number(place: tuple[int, int]) -> int:
            return numbers[step_of[place[0]], column_of[place[1]]]

        starts = [0]
        for row in self.rows:
            starts.append(starts[-1] + len(row))
        return {
            "rows": tuple(row for row, _ in self.order),
            "columns": tuple(column for _, column in self.order),
            "starts": tuple(starts),
            "pivots": tuple(numbers[i, i] for i in range(len(self.rows))),
            "inner": tuple(k for row in self.rows for k in row),
            "places": tuple(map(number, self.places)),
            "mass": tuple(map(number, self.weights)),
            "targets": tuple(
                numbers[i, c]
                for i, row in enumerate(self.rows)
                for k in row
                if k < i
                for c in self.rows[k]
                if c > k
            ),
        }


def lu_plan(
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None = None,
) -> LuPlan:
    """Choose the pivots of ``W = a*M - J``; count what its factorisation costs.

    The code of a large and dense matrix is large: its operations are known before it is written.

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
    present: list[set[int]] = [set() for _ in range(n)]
    for row, column in (*places, *weights):
        present[row].add(column)
    row_of = matched_rows(n, places, weights)
    # From here on rows go by the column of their pivot.
    filled = [set(present[row_of[k]]) for k in range(n)]
    order = _eliminated(filled)
    step = {k: i for i, k in enumerate(order)}
    rows = tuple(tuple(sorted(step[column] for column in filled[k])) for k in order)
    entries = sum(map(len, rows))
    above = [len(row) - row.index(i) - 1 for i, row in enumerate(rows)]
    taken = sum(3 + 2 * above[k] for i, row in enumerate(rows) for k in row if k < i)
    given = sum(1 for place in weights if place in places)
    given += sum(1 for weight in weights.values() if weight != 1.0)
    return LuPlan(
        entries=entries,
        order=tuple((row_of[k], k) for k in order),
        operations=3 * n - 1 + given + taken,
        solve_operations=2 * entries - n,
        rows=rows,
        places=places,
        weights=weights,
    )


def checked_pattern(n: int, pattern: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return the index of each place of a pattern."""
    if n < 1:
        raise InputError(f"A matrix needs 1 row or more, not {n}.")
    places: dict[tuple[int, int], int] = {}
    for k, place in enumerate(pattern):
        _check_place(n, place, "pattern")
        if place in places:
            raise InputError(f"The pattern has the entry {place} twice.")
        places[place] = k
    return places


def checked_mass(n: int, mass: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    """Return the entries of a mass matrix that are not zero."""
    for place, value in mass.items():
        _check_place(n, place, "mass matrix")
        if not math.isfinite(value):
            raise InputError(f"The mass matrix needs finite numbers; at {place} it has {value}.")
    return {place: float(value) for place, value in mass.items() if value != 0.0}


def _check_place(n: int, place: tuple[int, int], what: str) -> None:
    if not all(0 <= index < n for index in place):
        raise InputError(
            f"The {what} has an entry at {place}: rows and columns go from 0 to {n - 1}."
        )


def matched_rows(
    n: int, places: Iterable[tuple[int, int]], mass: Iterable[tuple[int, int]]
) -> list[int]:
    """Return for each column the row of its pivot.

    Entries of the mass matrix before others, as they grow with ``a``; the diagonal before what is
    beside it.
    """
    row_of = [-1] * n
    for entries in (set(mass), {*mass, *places}):
        free = set(range(n)) - set(row_of)
        for k in range(n):
            if row_of[k] < 0 and k in free and (k, k) in entries:
                row_of[k] = k
        holders: list[list[int]] = [[] for _ in range(n)]
        for row, column in sorted(entries):
            holders[column].append(row)
        stuck: set[int] = set()
        for column in range(n):
            if row_of[column] < 0:
                stuck |= _augment(column, row_of, holders)
    if stuck:
        rows = {row for column in stuck for row in holders[column]}
        raise InputError(
            f"a*M - J is singular whatever its values: the columns {sorted(stuck)} have entries "
            f"in {len(rows)} rows only. Each unknown needs an equation that determines it."
        )
    return row_of


def _augment(start: int, row_of: list[int], holders: list[list[int]]) -> set[int]:
    """Match one more column, others where that needs it; return the columns in the way if none can.

    Breadth first, so that few others change.
    """
    column_of = {row: k for k, row in enumerate(row_of) if row >= 0}
    came: dict[int, int] = {}
    queue = [start]
    for column in queue:
        for row in holders[column]:
            if row in came:
                continue
            came[row] = column
            if row in column_of:
                queue.append(column_of[row])
                continue
            while row >= 0:
                changed = came[row]
                row_of[changed], row = row, row_of[changed]
            return set()
    return set(queue)


def _eliminated(rows: list[set[int]]) -> list[int]:
    """Return the pivots' order; add the fill-in to ``rows``."""
    left = set(range(len(rows)))
    columns: list[set[int]] = [set() for _ in rows]
    for row, entries in enumerate(rows):
        for column in entries:
            columns[column].add(row)
    order = []
    while left:
        costs = {k: (len(rows[k] & left) - 1) * (len(columns[k] & left) - 1) for k in left}
        least = min(costs.values())
        tied = [k for k in sorted(left) if costs[k] == least][:_MOST_TRIED]
        pivot = tied[0] if least == 0 else min(tied, key=lambda k: _fill(k, rows, columns, left))
        left.discard(pivot)
        order.append(pivot)
        new = rows[pivot] & left
        for row in columns[pivot] & left:
            for column in new - rows[row]:
                columns[column].add(row)
            rows[row] |= new
    return order


def _fill(pivot: int, rows: list[set[int]], columns: list[set[int]], left: set[int]) -> int:
    new = rows[pivot] & left
    return sum(len(new - rows[row]) for row in columns[pivot] & left)
