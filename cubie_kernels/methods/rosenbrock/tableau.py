"""Tableaus of Rosenbrock methods as frozen data that checks itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cubie_kernels.errors import TableauError

__all__ = ["RosenbrockDense", "RosenbrockTableau"]

Row = tuple[float, ...]

# Residuals are compared with this many units of rounding of the terms that cancel in them.
_ROUNDINGS = 64
_EPSILON = 2.0**-52


@dataclass(frozen=True)
class RosenbrockDense:
    """Continuous extension of a Rosenbrock method, in its increments.

    ``y(t + theta*h) = (1 - theta)*y + theta*(y_next + (1 - theta)*D)`` for ``0 <= theta <= 1``
    with ``D = sum_r theta**r * sum_j bend[r][j] * u_j``.

    Parameters
    ----------
    order : int
        Uniform order: the local error is ``O(h**(order + 1))`` for each ``theta``.
    bend : tuple of tuple of float, shape (degree - 1, stages)
        Coefficients of the increments.
    """

    order: int
    bend: tuple[Row, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "bend", _matrix(self.bend))

    def at(self, theta: float, m: Sequence[float]) -> Row:
        """Return the factors of the increments at ``theta``, of a method with weights ``m``."""
        factors = []
        for j, weight in enumerate(m):
            total = 0.0
            for row in reversed(self.bend):
                total = total * theta + row[j]
            factors.append(theta * (weight + (1.0 - theta) * total))
        return tuple(factors)


@dataclass(frozen=True)
class RosenbrockTableau:
    r"""Coefficients of one Rosenbrock method, in the form that needs no product with the Jacobian.

    With ``J`` the Jacobian and ``f_t`` the derivative with respect to time at the start of the
    step, the increments ``u_i`` solve ::

        (I/(h*diagonal) - J) u_i = f(t + alpha_sums[i]*h, y + sum_j a_ij u_j)
                                   + sum_j (c_ij/h) u_j + gamma_sums[i]*h*f_t

    and ``y_next = y + sum_j m_j u_j``; the error estimate is ``sum_j e_j u_j``. This is equation
    7.25 of Hairer, Wanner, Solving Ordinary Differential Equations II, section IV.7. The form that
    order conditions are written in is derived: ``k_i = f(y + h sum_j alpha_ij k_j)
    + h J sum_j gamma_ij k_j`` and ``y_next = y + h sum_j b_j k_j``.

    Parameters
    ----------
    name : str
        Canonical name, as accepted by :func:`cubie_kernels.methods.get_method`.
    order : int
        Order of ``m`` with the exact Jacobian.
    diagonal : float
        The common diagonal entry of ``gamma``.
    a, c : tuple of tuple of float, shape (stages, stages)
        Strictly lower triangular coefficients of the increments.
    m : tuple of float, shape (stages,)
        Weights of the increments.
    alpha_sums, gamma_sums : tuple of float, shape (stages,)
        Row sums of ``alpha``, which are the nodes, and of ``gamma``.
    w_order : int
        Order that holds whatever matrix stands in for the Jacobian, ``f_t`` being exact. At least
        1 for any method.
    reference : str
        Where the coefficients were published.
    embedded_order : int, optional
        Order of the embedded weights ``m - e``.
    e : tuple of float, shape (stages,), optional
        Weights of the error estimate.
    error_factor : float, default 1
        What the estimate is multiplied by, if it is known to say too little.
    dense : RosenbrockDense, optional
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
    order: int
    diagonal: float
    a: tuple[Row, ...]
    c: tuple[Row, ...]
    m: Row
    alpha_sums: Row
    gamma_sums: Row
    w_order: int
    reference: str
    embedded_order: int | None = None
    e: Row | None = None
    error_factor: float = 1.0
    dense: RosenbrockDense | None = None
    aliases: tuple[str, ...] = field(default=(), compare=False)
    family: str = field(default="rosenbrock", init=False)

    def __post_init__(self) -> None:
        for name in ("a", "c"):
            object.__setattr__(self, name, _matrix(getattr(self, name)))
        for name in ("m", "e", "alpha_sums", "gamma_sums"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else _row(value))
        _check_shapes(self)
        for i in range(self.stages):
            terms = self._alpha_terms(i)
            self._expect(f"row alpha[{i}] sums", terms, self.alpha_sums[i], f"alpha_sums[{i}]")
            row, wanted = self.gamma[i], self.gamma_sums[i]
            self._expect(f"row gamma[{i}] sums", row, wanted, f"gamma_sums[{i}]")
        self._check_quadrature("b", self.m, self.order)
        if self.e is not None and self.embedded_order is not None:
            rest = [m - e for m, e in zip(self.m, self.e, strict=True)]
            self._check_quadrature("b - error", rest, self.embedded_order)

    @property
    def stages(self) -> int:
        """Number of stages, each of them one solution of a linear system."""
        return len(self.m)

    @cached_property
    def gamma(self) -> tuple[Row, ...]:
        """Lower triangular coefficients of the Jacobian, the diagonal included."""
        rows: list[Row] = []
        for i, factors in enumerate(self.c):
            unit = [float(i == j) for j in range(self.stages)]
            known = _combined(factors[:i], rows, self.stages)
            rows.append(
                tuple(self.diagonal * (x + one) for x, one in zip(known, unit, strict=True))
            )
        return tuple(rows)

    @cached_property
    def alpha(self) -> tuple[Row, ...]:
        """Strictly lower triangular coefficients of the stages' arguments."""
        return tuple(_combined(row, self.gamma, self.stages) for row in self.a)

    @cached_property
    def b(self) -> Row:
        """Weights of the derivatives."""
        return _combined(self.m, self.gamma, self.stages)

    @cached_property
    def error(self) -> Row | None:
        """Weights of the derivatives in the error estimate."""
        return None if self.e is None else _combined(self.e, self.gamma, self.stages)

    @cached_property
    def error_power(self) -> int | None:
        """Exponent ``q`` of ``error estimate = O(h**q)``; None without an embedded method."""
        if self.embedded_order is None:
            return None
        return min(self.order, self.embedded_order) + 1

    @cached_property
    def w_method(self) -> bool:
        """Whether the order holds whatever matrix stands in for the Jacobian."""
        return self.w_order == self.order

    @cached_property
    def implicit(self) -> bool:
        """Whether a stage depends on itself."""
        return self.diagonal != 0.0

    @cached_property
    def fsal(self) -> bool:
        """Whether the last stage takes its derivative at the new state."""
        return self.stages > 1 and self.a[-1] == self.m and self.alpha_sums[-1] == 1.0

    @cached_property
    def stiffly_accurate(self) -> bool:
        """Whether the new state is the last argument and the last increment added to it."""
        last = (0.0,) * (self.stages - 1) + (1.0,)
        rest = tuple(m - a for m, a in zip(self.m, self.a[-1], strict=True))
        return rest == last and self.alpha_sums[-1] == 1.0 and self.gamma_sums[-1] == 0.0

    @cached_property
    def arguments(self) -> tuple[int, ...]:
        """For each stage the first one that takes its derivative at the same state and time."""
        keys = [*zip(self.a, self.alpha_sums, strict=True)]
        return tuple(keys.index(key) for key in keys)

    def _alpha_terms(self, i: int) -> Row:
        return tuple(
            factor * value
            for factor, row in zip(self.a[i], self.gamma, strict=True)
            for value in row
        )

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

    def _check_quadrature(self, name: str, weights: Sequence[float], order: int) -> None:
        b = _combined(weights, self.gamma, self.stages)
        for q in range(1, order + 1):
            nodes = self.alpha_sums
            if q == 2:
                nodes = [x + y for x, y in zip(self.alpha_sums, self.gamma_sums, strict=True)]
            self._expect(
                f"row {name} times {'(alpha_sums + gamma_sums)' if q == 2 else 'alpha_sums'}"
                f"**{q - 1} sums",
                (w * node ** (q - 1) for w, node in zip(b, nodes, strict=True)),
                1.0 / q,
                f"the integral 1/{q}",
            )


def _combined(factors: Sequence[float], rows: Sequence[Row], length: int) -> Row:
    """Return the sum of the rows times their factors."""
    pairs = [*zip(factors, rows, strict=True)]
    return tuple(math.fsum(factor * row[j] for factor, row in pairs) for j in range(length))


def _row(values: Iterable[float]) -> Row:
    return tuple(float(value) for value in values)


def _matrix(rows: Iterable[Iterable[float]]) -> tuple[Row, ...]:
    return tuple(_row(row) for row in rows)


def _check_shapes(tableau: RosenbrockTableau) -> None:
    """Raise TableauError unless all rows have as many finite entries as they should."""
    stages = len(tableau.m)

    def check(where: str, row: Sequence[float], length: int, most: int) -> None:
        if len(row) != length or length == 0:
            raise TableauError(
                f"Tableau {tableau.name!r}: {where} has {len(row)} entries, but {length} are "
                f"wanted for the {stages} weights in m. Add or remove coefficients."
            )
        for j, value in enumerate(row):
            if not math.isfinite(value) or (j >= most and value != 0.0):
                raise TableauError(
                    f"Tableau {tableau.name!r}: entry {j} of {where} is {value}; all coefficients "
                    "must be finite numbers, and zero on the diagonal of a and c and above."
                )

    if not (math.isfinite(tableau.diagonal) and tableau.diagonal > 0.0):
        raise TableauError(
            f"Tableau {tableau.name!r}: diagonal is {tableau.diagonal}, but must be a positive "
            "finite number."
        )
    for name in ("m", "alpha_sums", "gamma_sums"):
        check(name, getattr(tableau, name), stages, stages)
    for name in ("a", "c"):
        rows = getattr(tableau, name)
        check(f"the list of rows {name}", [0.0] * len(rows), stages, stages)
        for i, row in enumerate(rows):
            check(f"row {name}[{i}]", row, stages, i)
    if (tableau.e is None) != (tableau.embedded_order is None):
        raise TableauError(
            f"Tableau {tableau.name!r}: e is {tableau.e} and embedded_order is "
            f"{tableau.embedded_order}; give both or neither."
        )
    if tableau.e is not None:
        check("e", tableau.e, stages, stages)
    if tableau.dense is not None:
        for r, row in enumerate(tableau.dense.bend):
            check(f"row dense.bend[{r}]", row, stages, stages)
