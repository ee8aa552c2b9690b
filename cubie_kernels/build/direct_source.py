"""Direct linear solvers made for one matrix pattern: functions, tables, sizes of buffers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cubie_kernels.kernels import banded, direct_lu, indexed
from cubie_kernels.lane.specialise import specialise
from cubie_kernels.model.banded_lu import BandPlan, band_plan
from cubie_kernels.model.lu_plan import checked_mass, checked_pattern, lu_plan
from cubie_kernels.model.sparse_lu import lu_pair_source, lu_source

__all__ = ["LINEAR", "PAIR", "DirectSource", "banded_source", "direct_source"]

LINEAR = ("lin_jacobian", "lin_factors", "lin_mark", "lin_scratch", "lin_dense")
PAIR = ("lin_jacobian", "pair_factors", "pair_mark", "pair_scratch", "pair_dense")

_REAL_FUNCTIONS = (direct_lu.linear_prepare, direct_lu.linear_factor, direct_lu.linear_solve)
_PAIR_FUNCTIONS = (direct_lu.pair_factor, direct_lu.pair_solve)
_RESCUE_FUNCTIONS = (
    direct_lu.trial_side,
    direct_lu.less_mass,
    direct_lu.less_matrix,
    direct_lu.wrong_rest,
)
_DENSE_FUNCTIONS = (
    direct_lu.add_mass,
    direct_lu.add_matrix,
    direct_lu.exchange,
    direct_lu.dense_factor,
    direct_lu.dense_solve,
)


@dataclass(frozen=True)
class DirectSource:
    """The code of a direct solver.

    Attributes
    ----------
    inlined : tuple of str
        ``linear_prepare``, which calls the model's ``jacobian``, ``linear_factor`` and
        ``linear_solve``; then ``pair_factor`` and ``pair_solve`` if there is a pair.
    called : tuple of str
        Functions for lanes that may need pivots chosen by value: not to be inlined.
    factors : tuple of str
        ``lu_factor`` and ``lu_solve``, and those of the pair if there is one. They are called from
        several places, so that only small ones should be inlined.
    tables : mapping of str to tuple
        Numbers that the functions read by these names, with `cubie_kernels.lane.tables.reader`.
    sizes : mapping of str to int
        Length of each buffer in `LINEAR`, and in `PAIR` if there is a pair.
    operations : int
        Operations of ``factors``; 0 where they are loops.
    """

    inlined: tuple[str, ...]
    called: tuple[str, ...]
    factors: tuple[str, ...]
    tables: Mapping[str, tuple[float, ...]]
    sizes: Mapping[str, int]
    operations: int


def direct_source(
    kind: str,
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None = None,
    *,
    precision: str,
    pair: bool = False,
    most_dense: int = 100,
) -> DirectSource:
    """Write a direct solver for ``a*M - J`` and, for a pair, ``(a + b*i)*M - J``.

    Parameters
    ----------
    kind : {'lu', 'banded', 'indexed'}
        Straight-line factors, loops over a band, or loops over tables of places.
    n : int
        Number of rows and columns.
    pattern : iterable of (int, int)
        Row and column of each entry of ``J``, as ``System.jacobian_pattern`` has them.
    mass : mapping of (int, int) to float, optional
        Entries of ``M``; the identity if none is given. Zeros may be left out.
    precision : {'float16', 'float32', 'float64'}
        Of the state.
    pair : bool, optional
        Whether the functions of the pair are needed too.
    most_dense : int, optional
        Rows of the largest real matrix that a lane may factorise with pivots chosen by value, which
        takes the square of it in memory; a pair's has ``2 * n`` rows. Lanes of larger ones are
        singular when the static pivots do not serve.

    Raises
    ------
    InputError
        If the matrix is singular whatever its values, or an entry is wrong.
    """
    pattern = tuple(pattern)
    weights = {(i, i): 1.0 for i in range(n)} if mass is None else checked_mass(n, mass)
    rows, columns = _split(checked_pattern(n, pattern))
    mass_rows, mass_columns = _split(weights)
    made = _FACTORS[kind](n, pattern, mass, pair)
    # Factors whose entries are 1 or less do no harm, and one large entry, or two on the way of a
    # number, cost a quarter of its digits. More is looked at: the solution may be wrong by what an
    # approximate Jacobian would make of it, less than by one from differences.
    epsilon = float(np.finfo(precision).eps)
    dense, dense_pair = n <= most_dense, pair and 2 * n <= most_dense
    names: dict[str, Any] = {
        "N": n,
        "ENTRIES": len(rows),
        "WEIGHTS": len(weights),
        "DENSE": dense,
        "DENSE_PAIR": dense_pair,
        "FACTORS": made.sizes["lin_factors"],
        "GROWTH_LIMIT": made.sizes["lin_factors"] + epsilon**-0.25,
        "BACKWARD_ERROR": epsilon ** (2 / 3),
    }
    called = [*_RESCUE_FUNCTIONS, *(_DENSE_FUNCTIONS if dense else ()), direct_lu.linear_rescue]
    called += [direct_lu.less_pair, direct_lu.pair_rescue] if pair else []
    sizes = {
        "lin_jacobian": len(rows),
        "lin_mark": 1,
        "lin_scratch": 4 * n + len(rows) + made.sizes["lin_factors"],
        "lin_dense": n * (n + 2) if dense else 0,
    }
    if pair:
        sizes |= {
            "pair_mark": 1,
            "pair_scratch": 6 * n,
            "pair_dense": 2 * n * (2 * n + 2) if dense_pair else 0,
        }
    return replace(
        made,
        inlined=_made((*_REAL_FUNCTIONS, *(_PAIR_FUNCTIONS if pair else ())), names),
        called=_made(called, names),
        tables={
            # Not constants of the text: one copy of a function serves both sizes.
            "direct_sizes": (n, 2 * n),
            "direct_rows": rows,
            "direct_columns": columns,
            "mass_rows": mass_rows,
            "mass_columns": mass_columns,
            "mass_weights": tuple(weights.values()),
            **made.tables,
        },
        sizes={**sizes, **made.sizes},
    )


def banded_source(plan: BandPlan, pair: bool = False) -> tuple[str, ...]:
    """Return ``lu_factor`` and ``lu_solve`` as loops; for a pair those of complex factors too."""
    names = {
        "N": plan.n,
        "LOWER": plan.lower,
        "UPPER": plan.upper,
        "WIDTH": plan.width,
        "ROWS": plan.rows,
        "CLIPPED": plan.clipped,
        "ENTRIES": len(plan.places),
        "WEIGHTS": len(plan.weights),
    }
    complex_ones = (banded.lu_factor_pair, banded.lu_solve_pair) if pair else ()
    return _made((banded.lu_factor, banded.lu_solve, *complex_ones), names)


def _made(functions: Iterable[Any], names: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(specialise(function, names) for function in functions)


def _split(places: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    pairs = tuple(places)
    return tuple(row for row, _ in pairs), tuple(column for _, column in pairs)


def _lu(n: int, pattern: Any, mass: Any, pair: bool) -> DirectSource:
    codes = [lu_source(n, pattern, mass)]
    codes += [lu_pair_source(n, pattern, mass)] if pair else []
    return DirectSource(
        inlined=(),
        called=(),
        factors=tuple(part for code in codes for part in code.text.rstrip().split("\n\n\n")),
        tables={},
        sizes=dict(
            zip(("lin_factors", "pair_factors"), (code.entries for code in codes), strict=False)
        ),
        operations=sum(code.operations + code.solve_operations for code in codes),
    )


def _banded(n: int, pattern: Any, mass: Any, pair: bool) -> DirectSource:
    plan = band_plan(n, pattern, mass)
    rows, columns = _split(plan.order)
    return DirectSource(
        inlined=(),
        called=(),
        factors=banded_source(plan, pair),
        tables={
            "band_places": plan.places,
            "band_mass": plan.mass_places,
            "band_rows": rows,
            "band_columns": columns,
        },
        sizes={"lin_factors": plan.entries} | ({"pair_factors": 2 * plan.entries} if pair else {}),
        operations=0,
    )


def _indexed(n: int, pattern: Any, mass: Any, pair: bool) -> DirectSource:
    plan = lu_plan(n, pattern, mass)
    names = {
        "N": n,
        "PLACES": plan.entries,
        "ENTRIES": len(plan.places),
        "WEIGHTS": len(plan.weights),
    }
    functions = (indexed.lu_factor, indexed.lu_solve)
    functions += (indexed.lu_factor_pair, indexed.lu_solve_pair) if pair else ()
    length = plan.entries + n
    return DirectSource(
        inlined=(),
        called=(),
        factors=_made(functions, names),
        tables={f"lu_{name}": values for name, values in plan.tables().items()},
        sizes={"lin_factors": length} | ({"pair_factors": 2 * length} if pair else {}),
        operations=0,
    )


_FACTORS = {"lu": _lu, "banded": _banded, "indexed": _indexed}
