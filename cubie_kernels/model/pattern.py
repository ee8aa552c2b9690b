"""Square patterns: can each row have a column of its own, and which parts can be solved in turn."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cubie_kernels.model.mass import NullSpaces

__all__ = ["Matching", "algebraic_pattern", "matching", "solvable_parts"]

Places = Collection[tuple[int, int]]


@dataclass(frozen=True)
class Matching:
    """Columns for rows.

    Attributes
    ----------
    column_of : mapping of int to int
        A column for each row, no two alike.
    crowded : tuple of int
        Rows that have entries in fewer columns than they are, if there are such (Hall's theorem).
    shared : tuple of int
        Those columns.
    """

    column_of: dict[int, int]
    crowded: tuple[int, ...] = ()
    shared: tuple[int, ...] = ()


def algebraic_pattern(spaces: NullSpaces, pattern: Iterable[tuple[int, int]]) -> Places:
    """Return where ``L^T J R`` has entries.

    Parameters
    ----------
    spaces : NullSpaces
        ``L`` and ``R``.
    pattern : iterable of (int, int)
        Row and column of the entries of ``J``.
    """
    rows, columns = _holders(spaces.left), _holders(spaces.right)
    return {(i, j) for r, c in pattern for i in rows.get(r, ()) for j in columns.get(c, ())}


def _holders(vectors: Iterable[Iterable[int]]) -> dict[int, list[int]]:
    """Return which of the vectors have each element."""
    found: dict[int, list[int]] = {}
    for k, vector in enumerate(vectors):
        for place in vector:
            found.setdefault(place, []).append(k)
    return found


def _by_row(count: int, entries: Places) -> list[list[int]]:
    columns_of: list[list[int]] = [[] for _ in range(count)]
    for row, column in sorted(entries):
        columns_of[row].append(column)
    return columns_of


def matching(count: int, entries: Places) -> Matching:
    """Give each of ``count`` rows a column in which it has an entry.

    Row after row, others move where that needs it; the search is breadth first.
    """
    columns_of = _by_row(count, entries)
    row_of: dict[int, int] = {}
    column_of: dict[int, int] = {}
    for start in range(count):
        came: dict[int, int] = {}  # from which row a column was reached
        queue = [start]
        end = None
        for row in queue:
            fresh = [column for column in columns_of[row] if column not in came]
            came |= dict.fromkeys(fresh, row)
            end = next((column for column in fresh if column not in row_of), None)
            if end is not None:
                break
            queue += [row_of[column] for column in fresh]
        if end is None:
            return Matching(column_of, tuple(sorted(queue)), tuple(sorted(came)))
        while end is not None:
            row = came[end]
            row_of[end], column_of[row], end = row, end, column_of.get(row)
    return Matching(column_of)


def solvable_parts(count: int, entries: Places) -> list[tuple[list[int], list[int]]]:
    """Split a matrix into blocks that can be solved in turn: rows and columns of each.

    A row has no entries in columns of later blocks, and no block can be split further: the strongly
    connected components (Tarjan, SIAM Journal on Computing 1, 1972) of which row needs which.

    Parameters
    ----------
    count : int
        Number of rows and columns; each row must have a column of its own.
    entries : collection of (int, int)
        Row and column of each entry.
    """
    column_of = matching(count, entries).column_of
    owner = {column: row for row, column in column_of.items()}
    needs = [[owner[c] for c in columns] for columns in _by_row(count, entries)]
    parts: list[tuple[list[int], list[int]]] = []
    number: dict[int, int] = {}
    lowest: dict[int, int] = {}
    waiting: list[int] = []
    done: set[int] = set()
    for start in range(count):
        path = [] if start in number else [(start, iter(needs[start]))]
        while path:
            row, rest = path[-1]
            if row not in number:
                number[row] = lowest[row] = len(number)
                waiting.append(row)
            for other in rest:
                if other not in number:
                    path.append((other, iter(needs[other])))
                    break
                if other not in done:
                    lowest[row] = min(lowest[row], number[other])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[row])
                if lowest[row] == number[row]:
                    at = waiting.index(row)
                    rows = sorted(waiting[at:])
                    del waiting[at:]
                    done.update(rows)
                    parts.append((rows, sorted(column_of[r] for r in rows)))
    return parts
