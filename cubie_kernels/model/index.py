"""Whether equations fit their mass matrix, as far as their pattern tells: index 1 or higher.

With null spaces ``L`` and ``R`` of the mass matrix (``L^T M = 0``, ``M R = 0``) the algebraic
equations are ``L^T f = 0`` and the states not fixed by ``M y`` are ``R v``. The index is 1 where
``L^T J R`` is regular (Hairer and Wanner, Solving Ordinary Differential Equations II, 2nd ed.,
section VI.1). A pattern without a perfect matching is singular for all values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cubie_kernels.model.equations import Declared, places
from cubie_kernels.model.mass import Given, NullSpaces

__all__ = ["check_pattern", "check_rows"]

_MOST_SHOWN = 8


def check_rows(source: str, declared: Declared, algebraic: Iterable[int], given: Given) -> None:
    """Raise an ``EquationError`` if a mass matrix has an entry in the row of a ``0 = ...``."""
    rows = frozenset(algebraic)
    for row, column, value in given:
        if value != 0.0 and row in rows:
            text, tokens = places(source, declared)
            text.fail_at(
                "An equation 0 = ... has no derivatives, but the mass matrix has the entry "
                f"{value:g} in its row, that of {declared.states[row]!r}, and the column of "
                f"{declared.states[column]!r}. Write d{declared.states[row]}/dt = ... instead, "
                "or leave the entry out.",
                tokens[row],
            )


def check_pattern(
    source: str, declared: Declared, spaces: NullSpaces, pattern: Iterable[tuple[int, int]]
) -> None:
    """Refuse algebraic equations that can't determine the algebraic states, whatever the values.

    Parameters
    ----------
    source : str
        Equations of the model.
    declared : Declared
        Its names.
    spaces : NullSpaces
        Of the mass matrix.
    pattern : iterable of (int, int)
        Row and column of the Jacobian's entries.

    Raises
    ------
    EquationError
        That names the states and the lines, and points at the first of these.
    """
    at_row = _holders(spaces.left)
    at_column = _holders(spaces.right)
    entries = {(i, j) for r, c in pattern for i in at_row.get(r, ()) for j in at_column.get(c, ())}
    equations, held = _crowded(len(spaces.left), entries)
    if not equations:
        return
    undetermined, _ = _crowded(len(spaces.right), {(j, i) for i, j in entries})
    text, tokens = places(source, declared)

    def states(directions: Iterable[int]) -> str:
        found = sorted({place for k in directions for place in spaces.right[k]})
        return _listed([repr(declared.states[i]) for i in found])

    rows = [sorted(spaces.left[k]) for k in equations]
    lines = [
        "line " + " and ".join(str(tokens[row].line) for row in combined)
        + (" without the derivatives" if len(combined) > 1 else "")
        for combined in rows
    ]  # fmt: skip
    text.fail_at(
        f"The algebraic equations don't determine {states(undetermined)}: {_listed(lines)} "
        f"hold{'s' if len(lines) == 1 else ''} "
        f"{f'only {states(held)} of the algebraic states' if held else 'no algebraic state'}. "
        "The index is higher than 1: differentiate the constraint with respect to t and put the "
        "derivatives of the states in, until it holds such a state, or reduce the index in "
        "another way.",
        tokens[rows[0][0]],
    )


def _listed(words: Sequence[str]) -> str:
    more = f", ... {len(words) - _MOST_SHOWN} more" if len(words) > _MOST_SHOWN else ""
    return ", ".join(words[:_MOST_SHOWN]) + more


def _holders(vectors: Iterable[Iterable[int]]) -> dict[int, list[int]]:
    """Return which of the vectors have each element."""
    found: dict[int, list[int]] = {}
    for k, vector in enumerate(vectors):
        for place in vector:
            found.setdefault(place, []).append(k)
    return found


def _crowded(count: int, entries: set[tuple[int, int]]) -> tuple[Sequence[int], Sequence[int]]:
    """Return rows that have entries in fewer columns than they are, and those columns.

    Empty if each row can be given a column of its own (Hall's theorem).
    """
    columns_of: list[list[int]] = [[] for _ in range(count)]
    for row, column in sorted(entries):
        columns_of[row].append(column)
    row_of: dict[int, int] = {}
    for start in range(count):
        came: dict[int, int] = {}  # from which row a column was reached
        queue = [start]
        end = None
        for row in queue:
            for column in columns_of[row]:
                if column not in came:
                    came[column] = row
                    if column not in row_of:
                        end = column
                        break
                    queue.append(row_of[column])
            if end is not None:
                break
        if end is None:
            return sorted(queue), sorted(came)
        matched = {row: column for column, row in row_of.items() if row in queue}
        while end is not None:
            row = came[end]
            row_of[end], end = row, matched.get(row)
    return (), ()
