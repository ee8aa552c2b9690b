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
from cubie_kernels.model.pattern import algebraic_pattern, matching

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
    entries = algebraic_pattern(spaces, pattern)
    found = matching(len(spaces.left), entries)
    if not found.crowded:
        return
    undetermined = matching(len(spaces.right), {(j, i) for i, j in entries}).crowded
    text, tokens = places(source, declared)

    def states(directions: Iterable[int]) -> str:
        moved = sorted({place for k in directions for place in spaces.right[k]})
        return _listed([repr(declared.states[i]) for i in moved])

    rows = [sorted(spaces.left[k]) for k in found.crowded]
    lines = [
        "line " + " and ".join(str(tokens[row].line) for row in combined)
        + (" without the derivatives" if len(combined) > 1 else "")
        for combined in rows
    ]  # fmt: skip
    held = f"only {states(found.shared)} of the algebraic states"
    text.fail_at(
        f"The algebraic equations don't determine {states(undetermined)}: {_listed(lines)} "
        f"hold{'s' if len(lines) == 1 else ''} "
        f"{held if found.shared else 'no algebraic state'}. "
        "The index is higher than 1: differentiate the constraint with respect to t and put the "
        "derivatives of the states in, until it holds such a state, or reduce the index in "
        "another way.",
        tokens[rows[0][0]],
    )


def _listed(words: Sequence[str]) -> str:
    more = f", ... {len(words) - _MOST_SHOWN} more" if len(words) > _MOST_SHOWN else ""
    return ", ".join(words[:_MOST_SHOWN]) + more
