"""Linear algebra of fully implicit methods: what splits a step's system into small ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FilteredError", "StageTransform"]

Row = tuple[float, ...]


@dataclass(frozen=True)
class StageTransform:
    """A fully implicit method in the increments ``z_i = Y_i - y`` of its stages.

    The inverse of ``a`` is ``t @ blocks @ t_inverse``, where ``blocks`` has on its diagonal the
    real eigenvalue, if there is one, and ``[[alpha, -beta], [beta, alpha]]`` for each pair. The
    Newton system in ``w = t_inverse @ z`` falls apart into a real one with ``real/h * I - J``
    and a complex one with ``(alpha + i*beta)/h * I - J`` in ``w[k] + i*w[k + 1]`` for each pair.

    Parameters
    ----------
    inverse : tuple of tuple of float, shape (stages, stages)
        Inverse of ``a``: ``h*k = inverse @ z``.
    weights : tuple of float, shape (stages,)
        ``y_next = y + sum_j weights[j] * z_j``.
    real : float, optional
        Real eigenvalue of ``inverse``; methods of an even number of stages have none.
    pairs : tuple of tuple of float, shape (stages // 2, 2)
        Real and imaginary part of the complex eigenvalues of ``inverse`` in the upper half plane.
    t, t_inverse : tuple of tuple of float, shape (stages, stages)
        The transformation and its inverse.
    """

    inverse: tuple[Row, ...]
    weights: Row
    real: float | None
    pairs: tuple[Row, ...]
    t: tuple[Row, ...]
    t_inverse: tuple[Row, ...]

    def __post_init__(self) -> None:
        for name in ("inverse", "pairs", "t", "t_inverse"):
            object.__setattr__(self, name, tuple(_row(row) for row in getattr(self, name)))
        object.__setattr__(self, "weights", _row(self.weights))

    @property
    def blocks(self) -> tuple[Row, ...]:
        """The block diagonal matrix between ``t`` and ``t_inverse``, shape (stages, stages)."""
        size = len(self.weights)
        rows = [[0.0] * size for _ in range(size)]
        first = 0
        if self.real is not None:
            rows[0][0] = self.real
            first = 1
        for k, (alpha, beta) in zip(range(first, size, 2), self.pairs, strict=True):
            rows[k][k : k + 2] = alpha, -beta
            rows[k + 1][k : k + 2] = beta, alpha
        return tuple(map(tuple, rows))


@dataclass(frozen=True)
class FilteredError:
    """An error estimate with the derivative at the start of the step, damped for stiff components.

    It is ``(I - h*gamma*J)**-1 (h*gamma*f(t, y) + sum_j weights[j] * z_j)``, with the increments
    ``z_j = Y_j - y`` of the stages: the difference between the method and an embedded one that
    gives the start of the step the weight ``gamma`` (Hairer, Wanner, Solving Ordinary Differential
    Equations II, section IV.8).

    Parameters
    ----------
    gamma : float
        Weight of the start. It is the real eigenvalue of ``a`` where there is one, so that the
        factors of the step's real system serve.
    weights : tuple of float, shape (stages,)
        Factors of the increments.
    exponent, part : float, default 1
        Less than 1 where the estimate is of a lower order than the method, on stiff models too.
        Not the tolerance but ``part * tolerance**exponent`` bounds the estimate then, if that is
        more. Errors are proportional to the tolerance with ``(embedded_order + 1) / order``
        (Söderlind and Wang, J. Comput. Appl. Math. 185, 2006, call that calibration; Hairer and
        Wanner's code RADAU5 has ``0.1 * tolerance**(2/3)``).
    """

    gamma: float
    weights: Row
    exponent: float = 1.0
    part: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _row(self.weights))


def _row(values: Iterable[float]) -> Row:
    return tuple(float(value) for value in values)
