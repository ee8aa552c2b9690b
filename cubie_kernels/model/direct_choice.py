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

MOST_ITERATIONS = 30
"""Iterations of a matrix-free solver that a factorisation may cost as much as."""

VECTOR_OPERATIONS = 40
"""Operations of such an iteration for each unknown, beside the product with the Jacobian."""


@dataclass(frozen=True)
class DirectChoice:
    """A choice and its reason.

    Attributes
    ----------
    kind : {'lu', 'banded', 'none'}
        Straight-line factors, loops over a band, or rather a solver without the matrix.
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
    straight = plan.operations + plan.solve_operations
    if pair and straight <= MOST_STRAIGHT:
        code = lu_pair_source(n, pattern, mass)
        straight += code.operations + code.solve_operations
    limit = f"{MOST_STRAIGHT:,}"
    if straight <= MOST_STRAIGHT:
        return DirectChoice(
            "lu", f"its factors are {straight:,} operations without a loop, at most {limit}"
        )
    band = band_plan(n, pattern, mass)
    most = MOST_ITERATIONS * (2 * len(pattern) + VECTOR_OPERATIONS * n)
    beside = f"its factors would be {straight:,} operations without a loop, more than {limit}"
    width = f"a band of {band.lower} + 1 + {band.upper} takes {band.operations:,} in loops"
    iterations = f"the {most:,} of {MOST_ITERATIONS} matrix-free iterations"
    if band.operations <= most:
        return DirectChoice("banded", f"{beside}; {width}, less than {iterations}")
    return DirectChoice("none", f"{beside}; {width}, more than {iterations}")
