"""Incomplete LU factors on the pattern of ``W = a*M - J``, as straight-line code.

Entries outside of the pattern are left out (ILU(0); Saad, Iterative Methods for Sparse Linear
Systems, 2nd ed., section 10.3). Rows are matched to columns where the diagonal is empty, and then
eliminated in the order of the unknowns: orders with little fill-in would leave out larger entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cubie_kernels.model.lu_plan import LuPlan, checked_mass, checked_pattern, matched_rows
from cubie_kernels.model.sparse_lu import (
    LuCode,
    _Writer,  # pyright: ignore[reportPrivateUsage]
)

__all__ = ["incomplete_lu_pair_source", "incomplete_lu_source"]


def incomplete_lu_source(
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None = None,
) -> LuCode:
    """Write the incomplete factorisation of ``W = a*M - J``.

    Parameters
    ----------
    n : int
        Number of rows and columns.
    pattern : iterable of (int, int)
        Row and column of each entry of ``J``, in the order of the array ``j``.
    mass : mapping of (int, int) to float, optional
        Entries of ``M``; the identity if none is given. Zeros may be left out.

    Returns
    -------
    LuCode
        ``ilu_factor(j, a, w)`` writes the factors ``w`` and returns a number that is finite if all
        pivots are usable; ``ilu_solve(w, b)`` replaces ``b``. As `lu_source` has them.

    Raises
    ------
    InputError
        If an index is outside of the matrix, an entry is given twice or not finite, or ``W`` is
        singular whatever its values.
    """
    return _code(n, pattern, mass, pair=False)


def incomplete_lu_pair_source(
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None = None,
) -> LuCode:
    """Write the incomplete factorisation of ``W = (a + b*i)*M - J``.

    Arguments and errors are those of :func:`incomplete_lu_source`.

    Returns
    -------
    LuCode
        ``ilu_factor_pair(j, a, b, w)`` and ``ilu_solve_pair(w, x, y)`` for ``x + y*i``.
    """
    return _code(n, pattern, mass, pair=True)


def _code(
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None,
    pair: bool,
) -> LuCode:
    code = _Writer(_plan(n, pattern, mass), pair=pair).code()
    text = code.text.replace("def lu_", "def ilu_")
    return LuCode(text, code.entries, code.order, code.operations, code.solve_operations)


def _plan(
    n: int, pattern: Iterable[tuple[int, int]], mass: Mapping[tuple[int, int], float] | None
) -> LuPlan:
    """Return the plan of a factorisation without fill-in."""
    places = checked_pattern(n, pattern)
    weights = {(i, i): 1.0 for i in range(n)} if mass is None else checked_mass(n, mass)
    row_of = matched_rows(n, places, weights)
    present: list[set[int]] = [set() for _ in range(n)]
    for row, column in (*places, *weights):
        present[row].add(column)
    rows = tuple(tuple(sorted(present[row_of[k]])) for k in range(n))
    entries = sum(map(len, rows))
    taken = sum(
        3 + 2 * sum(c > k and c in row for c in rows[k])
        for i, row in enumerate(rows)
        for k in row
        if k < i
    )
    return LuPlan(
        entries=entries,
        order=tuple((row_of[k], k) for k in range(n)),
        operations=3 * n + taken,
        solve_operations=2 * entries - n,
        rows=rows,
        places=places,
        weights=weights,
    )
