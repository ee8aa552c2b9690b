"""Butcher tableaus as frozen data that checks itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from cubie_kernels.errors import TableauError
from cubie_kernels.methods.transform import FilteredError, StageTransform

__all__ = ["DenseOutput", "Tableau", "difference", "hermite_nested", "lower_triangle"]

Row = tuple[float, ...]

# Residuals are compared with this many units of rounding of the terms that cancel in them.
_ROUNDINGS = 64
_EPSILON = 2.0**-52


@dataclass(frozen=True)
class DenseOutput:
    """A method's continuous extension, as polynomials in the fraction of the step.

    With ``k_j`` the derivatives of the method's stages followed by those of the extra stages,
    ``y(t + theta*h) = y + h * sum_j b_j(theta) * k_j`` for ``0 <= theta <= 1``, where ::

        b_j(theta) = theta*(n_j0 + (1 - theta)*(n_j1 + theta*(n_j2 + (1 - theta)*(n_j3 + ...))))

    and ``n_jd`` is ``nested[j][d]``. The brackets keep the digits that powers of ``theta`` lose:
    for the methods of high order these have coefficients of up to a million that cancel.
    ``b_j(1)`` is ``nested[j][0]`` exactly.

    Parameters
    ----------
    order : int
        Uniform order: the local error is ``O(h**(order + 1))`` for each ``theta``.
    nested : tuple of tuple of float, shape (stages + extra stages, degree)
        Coefficients of the nested form.
    extra_a : tuple of tuple of float
        Rows of the extra stages. Row ``i`` has an entry for each stage of the method and for
        each extra stage before it.
    extra_c : tuple of float
        Nodes of the extra stages.
    """

    order: int
    nested: tuple[Row, ...]
    extra_a: tuple[Row, ...] = ()
    extra_c: Row = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "nested", _matrix(self.nested))
        object.__setattr__(self, "extra_a", _matrix(self.extra_a))
        object.__setattr__(self, "extra_c", _row(self.extra_c))

    def at(self, theta: float) -> Row:
        """Return the weights ``b_j(theta)`` of all stages, the extra ones included."""
        factors = (theta, 1.0 - theta)
        totals = []
        for row in self.nested:
            total = 0.0
            for d in reversed(range(len(row))):
                total = (row[d] + total) * factors[d % 2]
            totals.append(total)
        return tuple(totals)

    @cached_property
    def weights(self) -> tuple[Row, ...]:
        """Coefficients of the powers of ``theta``, shape (stages + extra stages, degree).

        ``b_j(theta) = sum_d weights[j][d] * theta**(d + 1)``; the sum loses digits that the
        nested form keeps.
        """
        return tuple(_powers(row) for row in self.nested)


@dataclass(frozen=True)
class Tableau:
    """Coefficients of one Runge-Kutta method.

    ``k_i = f(t + c_i*h, y + h * sum_j a_ij * k_j)`` and ``y_next = y + h * sum_j b_j * k_j``.

    Parameters
    ----------
    name : str
        Canonical name, as accepted by :func:`cubie_kernels.methods.get_method`.
    family : str
        ``"erk"`` for explicit Runge-Kutta methods, ``"dirk"`` for diagonally and ``"firk"`` for
        fully implicit ones.
    order : int
        Order of ``b``.
    a : tuple of tuple of float, shape (stages, stages)
        Coefficients of the stages.
    b, c : tuple of float, shape (stages,)
        Weights and nodes.
    reference : str
        Where the coefficients were published.
    embedded_order : int, optional
        Order of the embedded weights ``b - error``.
    error : tuple of float, shape (stages,), optional
        Weights of the error estimate, ``b`` less the embedded weights.
    embedded_order_2, error_2 : optional
        A second estimate of the error. The norms of the two are then combined to
        ``q = q_1**2 / sqrt(q_1**2 + 0.01 * q_2**2)``.
    error_factor : float, default 1
        What the estimate of a diagonally implicit method is multiplied by, if the embedded
        solution is so near that their distance says too little: the norm of the coefficients of
        ``h**(order + 1)`` in the error over that of ``h**error_power`` in the estimate.
    transform : StageTransform, optional
        What splits the system of a fully implicit method.
    filtered_error : FilteredError, optional
        The error estimate of a fully implicit method, instead of ``error``.
    dense : DenseOutput, optional
        The method's own continuous extension. Without one, the cubic Hermite polynomial through
        both ends of the step is used.
    aliases : tuple of str, optional
        Other names of the method; no part of its value.

    Raises
    ------
    TableauError
        The coefficients have the wrong shape, are not finite, or break the row-sum or quadrature
        conditions that every method of the stated order meets. The message names the method, the
        row and the residual.
    """

    name: str
    family: str
    order: int
    a: tuple[Row, ...]
    b: Row
    c: Row
    reference: str
    embedded_order: int | None = None
    error: Row | None = None
    embedded_order_2: int | None = None
    error_2: Row | None = None
    error_factor: float = 1.0
    transform: StageTransform | None = None
    filtered_error: FilteredError | None = None
    dense: DenseOutput | None = None
    aliases: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", _matrix(self.a))
        for name in ("b", "c", "error", "error_2"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else _row(value))
        _check_shapes(self)
        for i, (row, node) in enumerate(zip(self.a, self.c, strict=True)):
            self._expect(f"row a[{i}] sums", row, node, f"c[{i}]")
        self._check_quadrature("b", self.b, self.order)
        for name, order in (
            ("error", self.embedded_order),
            ("error_2", self.embedded_order_2),
        ):
            error = getattr(self, name)
            if error is not None and order is not None:
                self._check_quadrature(f"b - {name}", difference(self.b, error), order)
        if self.transform is not None:
            self._check_transform(self.transform)
        if self.filtered_error is not None and self.embedded_order is not None:
            self._check_filtered(self.filtered_error, self.embedded_order)
        if self.dense is not None:
            self._check_dense(self.dense)

    @property
    def stages(self) -> int:
        """Number of stages, the last one of a first-same-as-last method included."""
        return len(self.b)

    @cached_property
    def implicit(self) -> bool:
        """Whether a stage depends on itself or on a later one."""
        return any(any(row[i:]) for i, row in enumerate(self.a))

    @cached_property
    def fsal(self) -> bool:
        """Whether the last stage is the derivative at the end of the step."""
        return self.stages > 1 and self.a[-1] == self.b and self.c[-1] == 1.0

    @cached_property
    def error_power(self) -> int | None:
        """Exponent ``q`` of ``error estimate = O(h**q)``; None without an embedded method."""
        if self.embedded_order is None:
            return None
        power = min(self.order, self.embedded_order) + 1
        if self.embedded_order_2 is None:
            return power
        return 2 * power - (min(self.order, self.embedded_order_2) + 1)

    def _expect(self, what: str, terms: Iterable[float], wanted: float, where: str) -> None:
        terms = tuple(terms)
        total = math.fsum(terms)
        limit = _ROUNDINGS * _EPSILON * max(1.0, math.fsum(map(abs, terms)))
        if not abs(total - wanted) <= limit:
            raise TableauError(
                f"Tableau {self.name!r}: {what} to {total!r}, but {where} is {wanted!r} "
                f"(residual {total - wanted:.3g}, at most {limit:.1g} is legal). "
                "Compare the coefficients with the published ones."
            )

    def _check_quadrature(self, name: str, weights: Row, order: int) -> None:
        for q in range(1, order + 1):
            self._expect(
                f"row {name} times c**{q - 1} sums",
                (w * node ** (q - 1) for w, node in zip(weights, self.c, strict=True)),
                1.0 / q,
                f"the integral 1/{q}",
            )

    def _check_transform(self, transform: StageTransform) -> None:
        unit = tuple(tuple(float(i == j) for j in range(self.stages)) for i in range(self.stages))
        weights, t = transform.weights, transform.t
        for name, left, right, wanted in (
            ("a @ transform.inverse", self.a, transform.inverse, unit),
            ("transform.weights @ a", (weights,), self.a, (self.b,)),
            ("transform.t @ t_inverse", t, transform.t_inverse, unit),
            ("transform.inverse @ t", transform.inverse, t, _product(t, transform.blocks)),
        ):
            for i, row in enumerate(left):
                for j, column in enumerate(zip(*right, strict=True)):
                    terms = (x * y for x, y in zip(row, column, strict=True))
                    where = f"entry [{i}][{j}] of what it is equal to"
                    self._expect(f"{name}[{i}][{j}] sums", terms, wanted[i][j], where)

    def _check_filtered(self, error: FilteredError, order: int) -> None:
        embedded = [
            b + x for b, x in zip(self.b, _product((error.weights,), self.a)[0], strict=True)
        ]
        self._expect(
            "gamma and the embedded weights sum", (error.gamma, *embedded), 1.0, "the whole"
        )
        for q in range(2, order + 1):
            self._expect(
                f"the embedded weights of filtered_error times c**{q - 1} sum",
                (w * node ** (q - 1) for w, node in zip(embedded, self.c, strict=True)),
                1.0 / q,
                f"the integral 1/{q}",
            )

    def _check_dense(self, dense: DenseOutput) -> None:
        for i, (row, node) in enumerate(zip(dense.extra_a, dense.extra_c, strict=True)):
            self._expect(f"row dense.extra_a[{i}] sums", row, node, f"dense.extra_c[{i}]")
        end = self.b + (0.0,) * len(dense.extra_c)
        for j, (row, weight) in enumerate(zip(dense.nested, end, strict=True)):
            self._expect(f"row dense.nested[{j}] at theta = 1 comes", row[:1], weight, f"b[{j}]")
        for d, column in enumerate(zip(*dense.nested, strict=True)):
            wanted = 1.0 if d == 0 else 0.0
            self._expect(f"column {d} of dense.nested sums", column, wanted, "its part of theta")


def lower_triangle(*rows: Sequence[float]) -> tuple[Row, ...]:
    """Return a square matrix from the rows of an explicit method, shape (stages, stages).

    ``rows`` are those of the second stage onwards, row ``i`` with ``i + 1`` entries.
    """
    stages = len(rows) + 1
    return tuple((*row, *(0.0,) * (stages - len(row))) for row in ((), *rows))


def hermite_nested(b: Sequence[float], end: int, higher: Sequence[Row]) -> tuple[Row, ...]:
    """Return the nested coefficients of a continuously differentiable extension.

    Its first three columns follow from the ends of the step (they alone are the cubic Hermite
    polynomial); only the others are particular to the method.

    Parameters
    ----------
    b : sequence of float
        Weights of the method.
    end : int
        Index of the stage, or extra stage, that is the derivative at the end of the step.
    higher : sequence of tuple of float, shape (stages + extra stages, degree - 3)
        The columns from the fourth onwards.
    """
    rows = []
    for j, row in enumerate(higher):
        weight = b[j] if j < len(b) else 0.0
        first, last = float(j == 0), float(j == end)
        rows.append((weight, first - weight, 2.0 * weight - first - last, *row))
    return tuple(rows)


def difference(left: Sequence[float], right: Sequence[float]) -> Row:
    """Return ``left - right`` entry by entry."""
    return tuple(x - y for x, y in zip(left, right, strict=True))


def _product(left: Sequence[Row], right: Sequence[Row]) -> tuple[Row, ...]:
    columns = [*zip(*right, strict=True)]
    return tuple(
        tuple(math.fsum(x * y for x, y in zip(row, column, strict=True)) for column in columns)
        for row in left
    )


def _row(values: Iterable[float]) -> Row:
    return tuple(float(value) for value in values)


def _matrix(rows: Iterable[Iterable[float]]) -> tuple[Row, ...]:
    return tuple(_row(row) for row in rows)


def _powers(row: Row) -> Row:
    """Expand one row of the nested form into powers of theta, in exact arithmetic."""
    powers = [Fraction(0)]
    for d in reversed(range(len(row))):
        powers[0] += Fraction(row[d])
        shifted = [Fraction(0), *powers]
        powers = (
            shifted if d % 2 == 0 else [x - y for x, y in zip([*powers, 0], shifted, strict=True)]
        )
    return tuple(float(power) for power in powers[1:])


def _check_shapes(tableau: Tableau) -> None:
    """Raise TableauError unless all rows have as many finite entries as they should."""
    stages = len(tableau.b)

    def check(where: str, row: Sequence[float], length: int) -> None:
        if len(row) != length or length == 0:
            raise TableauError(
                f"Tableau {tableau.name!r}: {where} has {len(row)} entries, but {length} are "
                f"wanted for the {stages} weights in b. Add or remove coefficients."
            )
        for j, value in enumerate(row):
            if not math.isfinite(value):
                raise TableauError(
                    f"Tableau {tableau.name!r}: entry {j} of {where} is {value}; "
                    "all coefficients must be finite numbers."
                )

    check("b", tableau.b, stages)
    check("c", tableau.c, stages)
    check("the list of rows a", [0.0] * len(tableau.a), stages)
    for i, row in enumerate(tableau.a):
        check(f"row a[{i}]", row, stages)
    for name in ("error", "error_2"):
        order_name = name.replace("error", "embedded_order")
        error, order = getattr(tableau, name), getattr(tableau, order_name)
        filtered = tableau.filtered_error if name == "error" else None
        if (error is not None) + (filtered is not None) != (order is not None):
            raise TableauError(
                f"Tableau {tableau.name!r}: {name} is {error} and {order_name} is {order}; "
                "give both or neither, and filtered_error instead of error only."
            )
        if error is not None:
            check(name, error, stages)
    if tableau.filtered_error is not None:
        check("filtered_error.weights", tableau.filtered_error.weights, stages)
    if tableau.transform is not None:
        check("transform.weights", tableau.transform.weights, stages)
        for name in ("inverse", "t", "t_inverse"):
            rows = getattr(tableau.transform, name)
            check(f"the list of rows transform.{name}", [0.0] * len(rows), stages)
            for i, row in enumerate(rows):
                check(f"row transform.{name}[{i}]", row, stages)
    if tableau.dense is not None:
        dense, extra = tableau.dense, len(tableau.dense.extra_c)
        if extra:
            check("the list of rows dense.extra_a", [0.0] * len(dense.extra_a), extra)
            check("dense.extra_c", dense.extra_c, extra)
        for i, row in enumerate(dense.extra_a):
            check(f"row dense.extra_a[{i}]", row, stages + i)
        check("the list of rows dense.nested", [0.0] * len(dense.nested), stages + extra)
        for j, row in enumerate(dense.nested):
            check(f"row dense.nested[{j}]", row, len(dense.nested[0]))
