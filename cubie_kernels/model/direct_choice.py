"""Which direct solver suits a matrix, if any does: from its pattern and counts of operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cubie_kernels.model.banded_lu import band_plan
from cubie_kernels.model.lu_plan import lu_plan
from cubie_kernels.model.sparse_lu import lu_pair_source

__all__ = ["DirectChoice", "choose_direct"]

MOST_STRAIGHT = 6_000
"""Operations of straight-line code; each costs 2 to 3 ms of compilation."""

MOST_INDEXED = 400_000
"""Operations of loops over tables, which have an entry for every second operation."""

MOST_ZEROS = 2.0
"""Operations of loops over a band, zeros included, for each operation of a sparse elimination.

An operation of loops over tables takes one and a half times as long where the band is narrow, three
times where it is wide.
"""

MOST_ITERATIONS = 30
"""Iterations of a matrix-free solver that a factorisation may cost as much as."""

VECTOR_OPERATIONS = 40
"""Operations of such an iteration for each unknown, beside the product with the Jacobian."""


@dataclass(frozen=True)
class DirectChoice:
    """A choice and its reason.

    Attributes
    ----------
    kind : {'lu', 'banded', 'indexed', 'none'}
        Straight-line factors, loops over a band, loops over tables of places, or rather a solver
        without the matrix.
    reason : str
        One sentence.
    """

    kind: str
    reason: str


def choose_direct(
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None = None,
    pair: bool = False,
) -> DirectChoice:
    """Choose how ``W = a*M - J`` is best factorised.

    Parameters
    ----------
    n : int
        Number of rows and columns.
    pattern : iterable of (int, int)
        Row and column of each entry of ``J``.
    mass : mapping of (int, int) to float, optional
        Entries of ``M``; the identity if none is given.
    pair : bool, optional
        Whether ``(a + b*i)*M - J`` is factorised too.

    Raises
    ------
    InputError
        If the matrix is singular whatever its values, or an entry is wrong.
    """
    pattern = tuple(pattern)
    plan = lu_plan(n, pattern, mass)
    straight = plan.operations + plan.scalings + plan.solve_operations
    if pair and straight <= MOST_STRAIGHT:
        code = lu_pair_source(n, pattern, mass)
        straight += code.operations + code.solve_operations
    limit = f"{MOST_STRAIGHT:,}"
    if straight <= MOST_STRAIGHT:
        return DirectChoice(
            "lu", f"its factors are {straight:,} operations without a loop, at most {limit}"
        )
    beside = f"its factors would be {straight:,} operations without a loop, more than {limit}"
    band = band_plan(n, pattern, mass)
    kind, count, most = "indexed", plan.operations, MOST_INDEXED
    loops = f"loops over tables take {count:,} to factorise it"
    if band.operations <= MOST_ZEROS * plan.operations:
        kind, count, most = "banded", band.operations, band.operations
        width = f"{band.lower} + 1 + {band.upper}"
        loops = f"loops over a band of {width} take {count:,} to factorise it"
    iterations = MOST_ITERATIONS * (2 * len(pattern) + VECTOR_OPERATIONS * n)
    if count > min(most, iterations):
        return DirectChoice("none", f"{beside}; {loops}, more than {min(most, iterations):,}")
    return DirectChoice(kind, f"{beside}; {loops}")
