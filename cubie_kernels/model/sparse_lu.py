"""LU factors of a sparse matrix as straight-line code for one pattern.

The matrix is ``W = a*M - J`` with a scalar ``a`` of each lane, real or complex, a constant mass
matrix ``M`` and a Jacobian ``J`` of known pattern. `cubie_kernels.model.lu_plan` chooses the pivots
beforehand. Rows are eliminated one after the other (Doolittle), so that few values are alive at a
time.

Real rows of U whose entries stay in registers are stored divided by their pivots: a solution then
waits for one operation in each row instead of two.

A number is a pair of texts, its real and its imaginary part; the imaginary part of what is real
whatever the values is empty, and takes no operation. Real code is complex code without any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cubie_kernels.model.lu_plan import LuPlan, lu_plan

__all__ = ["LuCode", "lu_pair_source", "lu_source"]

_MOST_TERMS = 8  # products in one line

_Number = tuple[str, str]


@dataclass(frozen=True)
class LuCode:
    """The code of a factorisation.

    Attributes
    ----------
    text : str
        Two functions, which factorise and solve.
    entries : int
        Length of ``w``, the factors. Pivots are stored as their reciprocals.
    order : tuple of (int, int)
        Row and column of each pivot.
    operations : int
        Operations of the factorisation; a product with a subtraction counts as two.
    solve_operations : int
        Operations of the solution.
    """

    text: str
    entries: int
    order: tuple[tuple[int, int], ...]
    operations: int
    solve_operations: int


def lu_source(
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None = None,
) -> LuCode:
    """Write the factorisation of ``W = a*M - J``; arguments and errors are `lu_plan`'s.

    Returns
    -------
    LuCode
        ``lu_factor(j, a, w)`` reads the Jacobian's entries ``j`` (in the pattern's order) and a
        real ``a``, and writes the factors ``w``. It returns their growth: the sum of the squares of
        the entries of L, its diagonal of ones included. That is more than the square of the largest
        multiplier, and not a finite number where a pivot is zero, infinite or undefined.
        ``lu_solve(w, b)`` replaces ``b`` by the solution. ``w`` must not overlap ``j`` or ``b``.
    """
    return _Writer(lu_plan(n, pattern, mass), pair=False).code()


def lu_pair_source(
    n: int,
    pattern: Iterable[tuple[int, int]],
    mass: Mapping[tuple[int, int], float] | None = None,
) -> LuCode:
    """Write the factorisation of ``W = (a + b*i)*M - J``; arguments and errors are `lu_plan`'s.

    Returns
    -------
    LuCode
        ``lu_factor_pair(j, a, b, w)`` and ``lu_solve_pair(w, x, y)``, as :func:`lu_source` has
        them; ``x + y*i`` is the right-hand side and becomes the solution.
    """
    return _Writer(lu_plan(n, pattern, mass), pair=True).code()


class _Writer:
    """Writes both functions; rows and columns go by their place in the order of pivots."""

    def __init__(self, plan: LuPlan, pair: bool) -> None:
        self._plan = plan
        self._pair = pair
        self._rows = plan.rows
        self._scaled = plan.kept and not pair
        self._imaginary = self._with_imaginary_part() if pair else set[tuple[int, int]]()
        self._index: dict[tuple[int, int], int] = {}
        self._entries = 0
        for i, row in enumerate(plan.rows):
            for j in row:
                self._index[i, j] = self._entries
                self._entries += 2 if (i, j) in self._imaginary else 1

    def code(self) -> LuCode:
        """Return the code and its counts."""
        end = "_pair" if self._pair else ""
        shift, sides = ("a, b", "x, y") if self._pair else ("a", "b")
        factor = "\n".join([f"def lu_factor{end}(j, {shift}, w):", *self._factor()])
        solve = "\n".join([f"def lu_solve{end}(w, {sides}):", *self._solve()])
        return LuCode(
            text=f"{factor}\n\n\n{solve}\n",
            entries=self._entries,
            order=self._plan.order,
            operations=_operations(factor),
            solve_operations=_operations(solve),
        )

    def _with_imaginary_part(self) -> set[tuple[int, int]]:
        """Return the entries of the factors that are not real whatever the values."""
        found: set[tuple[int, int]] = set()
        for i, row in enumerate(self._rows):
            for j in row:
                sources = [place for k in self._inner(i, j) for place in ((i, k), (k, j))]
                if j < i:
                    sources.append((j, j))
                if self._place(i, j) in self._plan.weights or not found.isdisjoint(sources):
                    found.add((i, j))
        return found

    def _inner(self, i: int, j: int) -> list[int]:
        """Return the pivots whose products are taken off an entry."""
        filled = self._rows
        return [k for k in filled[i] if k < min(i, j) and j in filled[k]]

    def _place(self, i: int, j: int) -> tuple[int, int]:
        return self._plan.order[i][0], self._plan.order[j][1]

    def _factor(self) -> list[str]:
        lines: list[str] = []
        for i, entries in enumerate(self._rows):
            for j in entries:
                lines += self._entry(i, j)
            lines += self._reciprocal(i)
            lines += self._store(i, i, self._pivot(i))
            if self._scaled:
                for j in entries:
                    if j > i:
                        (value, _), (pivot, _) = self._local(i, j), self._pivot(i)
                        lines += self._store(i, j, (f"{value} * {pivot}", ""))
        return [*lines, "    return _g"]

    def _entry(self, i: int, j: int) -> list[str]:
        """Return the lines that compute and store an entry of a factor; pivots aren't stored yet.

        An entry of L is final once the products with the pivots before its column are taken off
        and the sum is divided by the pivot of its column.
        """
        products = [(self._local(i, k), self._factor_of(k, j)) for k in self._inner(i, j)]
        name, given = self._local(i, j), self._given(i, j)
        parts = [part for product in products for _, part in product]
        value = name[0], name[1] if any([given[1], *parts]) else ""
        lines = _less(value, given, products)
        if j < i:
            lines += _times(name, value, self._factor_of(j, j))
            lines.append(f"    _g = _g{''.join(f' + {part} * {part}' for part in name if part)}")
        if j < i or (j > i and not self._scaled):
            lines += self._store(i, j, name)
        return lines

    def _reciprocal(self, i: int) -> list[str]:
        """Return the lines for the reciprocal of a pivot.

        Its product with the pivot is 1 but for pivots that have none.
        """
        (real, imaginary), (name, name_i) = self._local(i, i), self._pivot(i)
        before = "_g + " if i else ""
        if not imaginary:
            return [f"    {name} = 1.0 / {real}", f"    _g = {before}{real} * {name}"]
        return [
            f"    _s = 1.0 / maximum(fabs({real}), fabs({imaginary}))",
            f"    {name} = {real} * _s",
            f"    {name_i} = {imaginary} * _s",
            f"    _s = _s / ({name} * {name} + {name_i} * {name_i})",
            f"    {name} = {name} * _s",
            f"    {name_i} = -({name_i} * _s)",
            f"    _g = {before}{real} * {name} - {imaginary} * {name_i}",
        ]

    def _store(self, i: int, j: int, value: _Number) -> list[str]:
        targets = self._stored(i, j)
        return [f"    {w} = {part}" for w, part in zip(targets, value, strict=True) if w]

    def _stored(self, i: int, j: int) -> _Number:
        """Return the text of an entry in memory."""
        at = self._index[i, j]
        return f"w[{at}]", f"w[{at + 1}]" if (i, j) in self._imaginary else ""

    def _local(self, i: int, j: int) -> _Number:
        """Return the text of an entry in the row under way."""
        name = f"_w{i}_{j}"
        return name, f"{name}i" if (i, j) in self._imaginary else ""

    def _pivot(self, i: int) -> _Number:
        """Return the text of the reciprocal of a pivot."""
        return f"_p{i}", f"_p{i}i" if (i, i) in self._imaginary else ""

    def _factor_of(self, i: int, j: int) -> _Number:
        """Return the text of a final entry of an earlier row."""
        if not self._plan.kept:
            return self._stored(i, j)
        return self._pivot(i) if i == j else self._local(i, j)

    def _given(self, i: int, j: int) -> _Number:
        """Return the text of an entry of W; empty where there is none."""
        place = self._place(i, j)
        weight, entry = self._plan.weights.get(place), self._plan.places.get(place)
        if weight is None:
            return "" if entry is None else f"-j[{entry}]", ""
        scale = "" if weight == 1.0 else f"{weight!r} * "
        minus = "" if entry is None else f" - j[{entry}]"
        return f"{scale}a{minus}", f"{scale}b" if self._pair else ""

    def _solve(self) -> list[str]:
        lines: list[str] = []
        sides = ("x", "y") if self._pair else ("b", "")
        names = [(f"_b{i}", f"_b{i}i" if self._pair else "") for i in range(len(self._rows))]
        for i, (row, _) in enumerate(self._plan.order):
            products = [(self._stored(i, k), names[k]) for k in self._rows[i] if k < i]
            first = f"{sides[0]}[{row}]", f"{sides[1]}[{row}]" if self._pair else ""
            lines += _less(names[i], first, products)
        for i in reversed(range(len(names))):
            # Those that are known first come first: the others are waited for.
            later = sorted((k for k in self._rows[i] if k > i), reverse=True)
            products = [(self._stored(i, k), names[k]) for k in later]
            scaled = _times(names[i], names[i], self._stored(i, i))
            rest = _less(names[i], names[i], products) if products else []
            lines += [*scaled, *rest] if self._scaled else [*rest, *scaled]
        stores = sorted((column, i) for i, (_, column) in enumerate(self._plan.order))
        for side, part in zip(sides, (0, 1), strict=True):
            if side:
                lines += [f"    {side}[{column}] = {names[i][part]}" for column, i in stores]
        return lines


def _operations(text: str) -> int:
    signs = (" * ", " + ", " - ", " / ", "= -(")
    return sum(text.count(sign) for sign in signs)


def _less(name: _Number, first: _Number, products: list[tuple[_Number, _Number]]) -> list[str]:
    """Return lines for ``name = first - product - product ...``."""
    real, imaginary = [], []
    for (a, a_i), (b, b_i) in products:
        real.append(f" - {a} * {b}")
        if a_i and b_i:
            real.append(f" + {a_i} * {b_i}")
        if b_i:
            imaginary.append(f" - {a} * {b_i}")
        if a_i:
            imaginary.append(f" - {a_i} * {b}")
    lines = _sum(name[0], first[0], real)
    return lines + _sum(name[1], first[1], imaginary) if name[1] else lines


def _sum(name: str, first: str, terms: list[str]) -> list[str]:
    lines = []
    if not first:
        first, terms = f"-({terms[0][3:]})", terms[1:]
    while True:
        lines.append(f"    {name} = {first}{''.join(terms[:_MOST_TERMS])}")
        first, terms = name, terms[_MOST_TERMS:]
        if not terms:
            return lines


def _times(name: _Number, value: _Number, factor: _Number) -> list[str]:
    """Return lines for ``name = value * factor``; both have the same real part's name."""
    (a, a_i), (b, b_i) = value, factor
    if not b_i:
        return [f"    {part} = {part} * {b}" for part in value if part]
    if not a_i:
        return [f"    {name[1]} = {a} * {b_i}", f"    {a} = {a} * {b}"]
    return [
        f"    _t = {a} * {b} - {a_i} * {b_i}",
        f"    {a_i} = {a} * {b_i} + {a_i} * {b}",
        f"    {a} = _t",
    ]
