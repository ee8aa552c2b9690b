"""Constant mass matrices: what is given for ``M`` in ``M y' = f(t, y, p)``, and its null spaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels.errors import EquationError, nearest
from cubie_kernels.model.names import finite

__all__ = [
    "Entries",
    "Given",
    "MassLike",
    "NullSpaces",
    "Vector",
    "completed",
    "described",
    "given_mass",
    "null_spaces",
    "pairs",
    "triples",
]

Entries: TypeAlias = Mapping[tuple[int, int], float]
"""Values by row and column."""

Given: TypeAlias = tuple[tuple[int, int, float], ...]
"""Row, column and value of each entry that was given."""

MassLike: TypeAlias = Mapping[str, float] | Mapping[tuple[str, str], float] | ArrayLike
"""A mapping from a state, or a pair of row's and column's state, to an entry; or a matrix."""

Vector: TypeAlias = Mapping[int, float]
"""The elements of a vector that aren't 0."""

_EPS = float(np.finfo(np.float64).eps)
_REGULAR = 1e8  # condition number up to which a block has full rank without closer inspection
_MOST_SHOWN = 8


def given_mass(given: Any, states: Sequence[str]) -> Given:
    """Return the entries of a mass matrix that were given, checked; zeros are kept.

    Parameters
    ----------
    given : mapping or array_like, shape (states, states)
        See ``System.from_equations``.
    states : sequence of str
        Names of rows and columns.

    Raises
    ------
    EquationError
        For unknown names, entries given twice, values that are no finite numbers, other shapes.
    """
    if isinstance(given, Mapping):
        return _by_names(given, states)
    n = len(states)
    try:
        array = np.asarray(given)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (n, n) or array.dtype.kind not in "iuf":
        shown = f"shape {array.shape}, {array.dtype}" if array.size else f"{given!r:.60}"
        raise EquationError(
            f"The mass matrix of {n} states is an array of numbers of the shape ({n}, {n}) or a "
            f"mapping such as {{{states[0]!r}: 0.0}} or {{({states[0]!r}, {states[-1]!r}): 2.0}}, "
            f"not {shown}."
        )
    return tuple(
        (i, j, finite(_called(states[i], states[j]), array[i, j].item()))
        for i in range(n)
        for j in range(n)
        if i == j or array[i, j] != 0
    )


def _by_names(given: Mapping[Any, Any], states: Sequence[str]) -> Given:
    index = {name: i for i, name in enumerate(states)}
    found: dict[tuple[int, int], float] = {}
    for key, value in given.items():
        pair = (key, key) if isinstance(key, str) else key
        if not (isinstance(pair, tuple) and [type(name) for name in pair] == [str, str]):
            raise EquationError(
                "The mass matrix has entries such as {'z': 0.0} on the diagonal and "
                f"{{('x', 'y'): 2.0}} in the row of 'x' and the column of 'y', not {key!r}."
            )
        for name in pair:
            if name not in index:
                raise EquationError(
                    f"The mass matrix has an entry for {name!r}, which is no state."
                    f"{nearest(name, states)} States: {_shown(states)}."
                )
        place = index[pair[0]], index[pair[1]]
        if place in found:
            raise EquationError(f"{_called(*pair)} is given twice.")
        found[place] = finite(_called(*pair), value)
    return tuple((*place, value) for place, value in found.items())


def _called(row: str, column: str) -> str:
    return f"The mass matrix's entry in the row of {row!r} and the column of {column!r}"


def _shown(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _MOST_SHOWN else ""
    return ", ".join(map(repr, names[:_MOST_SHOWN])) + more


def completed(given: Given, n: int, algebraic: Iterable[int]) -> Entries | None:
    """Return all non-zero entries of a mass matrix, by row, then column; None for the identity.

    Parameters
    ----------
    given : tuple of (int, int, float)
        Entries given; diagonals that aren't are 1.
    n : int
        Number of states.
    algebraic : iterable of int
        Rows whose diagonal is 0 instead.
    """
    identity = {(i, i): 1.0 for i in range(n)}
    entries = identity | {(i, i): 0.0 for i in algebraic} | {(i, j): v for i, j, v in given}
    kept = {place: value for place, value in sorted(entries.items()) if value != 0.0}
    return None if kept == identity else kept


def triples(mass: Entries, states: Sequence[str]) -> list[list[Any]]:
    """Return what differs from the identity as rows of (row's state, column's state, value)."""
    diagonal = {(i, i): mass.get((i, i), 0.0) for i in range(len(states))}
    return [
        [states[i], states[j], value]
        for (i, j), value in sorted((diagonal | dict(mass)).items())
        if i != j or value != 1.0
    ]


def pairs(stored: Any) -> dict[tuple[str, str], Any]:
    """Return :func:`triples` as a mapping from pairs of names."""
    try:
        rows = [((row, column), value) for row, column, value in stored]
        found = dict(rows)
    except (TypeError, ValueError):
        raise EquationError(
            f"mass must be rows of two states and a value, not {stored!r}."
        ) from None
    if len(found) != len(rows):
        raise EquationError(f"mass has an entry twice: {[list(place) for place, _ in rows]}.")
    return found


def described(mass: Entries, states: Sequence[str]) -> str:
    """Say in a few words what a mass matrix makes of a model."""
    rank = len(states) - len(null_spaces(len(states), mass).left)
    if rank == len(states):
        return f"nonsingular, entries: {len(mass)}"
    columns = {column for _, column in mass}
    without = [name for i, name in enumerate(states) if i not in columns]
    if len(without) == len(states) - rank:
        more = ", ..." if len(without) > _MOST_SHOWN else ""
        return f"index-1 DAE: algebraic {', '.join(without[:_MOST_SHOWN])}{more}"
    return f"index-1 DAE: rank {rank} of {len(states)}"


@dataclass(frozen=True)
class NullSpaces:
    """Bases of the null spaces of a matrix, as sparse as its blocks are.

    Attributes
    ----------
    left : tuple of mapping of int to float
        Rows with factors: ``sum(factor * row)`` is 0. Each gives an algebraic equation.
    right : tuple of mapping of int to float
        Columns with factors: ``sum(factor * column)`` is 0. Each is a direction in which the
        states may move while ``M y`` stays; its largest factor is 1.
    """

    left: tuple[Vector, ...]
    right: tuple[Vector, ...]


def null_spaces(n: int, mass: Entries | None) -> NullSpaces:
    """Compute the null spaces of a mass matrix.

    Blocks that share neither rows nor columns are taken one by one; those of 0 or 1 entries need
    no arithmetic. In the others null vectors come from an elimination with complete pivoting. They
    count as such if ``|L^T M R|`` is not above what rounding each entry of ``M`` makes of it: so
    the rank depends neither on units nor on the rounding of entries such as ``C1 + C2``.

    Parameters
    ----------
    n : int
        Number of rows and columns.
    mass : mapping of (int, int) to float or None
        Entries; None for the identity.
    """
    left: list[Vector] = []
    right: list[Vector] = []
    for rows, columns in _blocks(n, mass) if mass is not None else ():
        if len(rows) == len(columns) == 1:
            continue
        block = np.array([[(mass or {}).get((i, j), 0.0) for j in columns] for i in rows])
        at_left, at_right = _null(block.reshape(len(rows), len(columns)))
        left += [_sparse(vector, rows) for vector in at_left.T]
        right += [_sparse(vector, columns) for vector in at_right.T]
    return NullSpaces(tuple(left), tuple(right))


def _sparse(vector: NDArray[np.float64], places: Sequence[int]) -> Vector:
    return {places[k]: float(vector[k]) for k in map(int, np.flatnonzero(vector))}


def _blocks(n: int, mass: Entries) -> Iterable[tuple[list[int], list[int]]]:
    """Yield rows and columns that hang together."""
    links: list[list[int]] = [[] for _ in range(2 * n)]  # columns count from n
    for row, column in mass:
        links[row].append(n + column)
        links[n + column].append(row)
    seen: set[int] = set()
    for start in range(2 * n):
        if start in seen:
            continue
        block = [start]
        seen.add(start)
        for at in block:
            fresh = [other for other in links[at] if other not in seen]
            seen.update(fresh)
            block += fresh
        yield sorted(i for i in block if i < n), sorted(i - n for i in block if i >= n)


def _null(block: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bases of the left and of the right null space of a matrix, as columns."""
    m, c = block.shape
    if not block.size:
        return np.eye(m), np.eye(c)
    by_row = _scales(block, 1)
    scaled = block * by_row[:, None]
    by_column = _scales(scaled, 0)
    scaled *= by_column
    if m == c and np.linalg.cond(scaled) < _REGULAR:
        return np.empty((m, 0)), np.empty((c, 0))
    factors = _eliminated(scaled)
    pivots = np.abs(np.diagonal(factors.lu))
    rank = next((r for r in range(len(pivots)) if pivots[r] == 0.0), len(pivots))
    left, right = factors.null_vectors(rank)
    for r in range(rank):
        if pivots[r] < pivots[0] / _REGULAR:
            wide_left, wide_right = factors.null_vectors(r)
            noise = np.abs(wide_left.T) @ np.abs(scaled) @ np.abs(wide_right)
            if (np.abs(wide_left.T @ scaled @ wide_right) <= 4 * (m + c) * _EPS * noise).all():
                left, right = wide_left, wide_right
                break
    return _clean(left, by_row), _clean(right, by_column)


def _scales(a: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return powers of 2 that bring the largest of each row or column to about 1."""
    return np.exp2(-np.clip(np.frexp(np.abs(a).max(axis=axis))[1], -1000, 1000).astype(float))


def _clean(vectors: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop rounding errors from vectors, undo the scaling of their elements; largest become 1."""
    noise = 64 * len(vectors) * _EPS * np.abs(vectors).max(axis=0, initial=0.0)
    vectors = np.where(np.abs(vectors) > noise, vectors, 0.0) * scales[:, None]
    return vectors / np.abs(vectors).max(axis=0, initial=0.0)


@dataclass(frozen=True)
class _Factors:
    """LU factors in one matrix, and which rows and columns of the matrix theirs are."""

    lu: NDArray[np.float64]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]

    def null_vectors(self, rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return those of the matrix that ends with the first ``rank`` pivots, as columns."""
        m, c = self.lu.shape
        lower = np.tril(self.lu[:rank, :rank], -1) + np.eye(rank)
        upper = np.triu(self.lu[:rank, :rank])
        left, right = np.zeros((m, m - rank)), np.zeros((c, c - rank))
        left[self.rows[:rank]] = -np.linalg.solve(lower.T, self.lu[rank:, :rank].T)
        right[self.columns[:rank]] = -np.linalg.solve(upper, self.lu[:rank, rank:])
        left[self.rows[rank:]] = np.eye(m - rank)
        right[self.columns[rank:]] = np.eye(c - rank)
        return left, right


def _eliminated(a: NDArray[np.float64]) -> _Factors:
    """Factorise a matrix with complete pivoting."""
    lu = a.copy()
    rows, columns = np.arange(lu.shape[0]), np.arange(lu.shape[1])
    for k in range(min(lu.shape)):
        live = np.abs(lu[k:, k:])
        i, j = divmod(int(live.argmax()), live.shape[1])
        if live[i, j] == 0.0:
            break
        for table in (lu, rows):
            table[[k, k + i]] = table[[k + i, k]]
        for table in (lu.T, columns):
            table[[k, k + j]] = table[[k + j, k]]
        lu[k + 1 :, k] /= lu[k, k]
        lu[k + 1 :, k + 1 :] -= np.outer(lu[k + 1 :, k], lu[k, k + 1 :])
    return _Factors(lu, rows, columns)
