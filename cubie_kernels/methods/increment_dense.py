"""Values within a step from the increments of its stages alone.

A mass matrix stands between increments and values of f, and algebraic states have no f at all. The
increments hold for all states alike, so that a polynomial made of them needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cubie_kernels.methods.rosenbrock import RosenbrockTableau
from cubie_kernels.methods.tableau import Tableau

__all__ = ["IncrementDense", "ends_on_stage", "increment_dense"]

Vector = NDArray[np.floating[Any]]
Matrix = NDArray[np.floating[Any]]

# Of differential states and of algebraic ones: the first that there is an extension of is taken.
_ORDERS = ((3, 3), (3, 2), (2, 2), (3, 1), (2, 1), (1, 1))


class _Condition(NamedTuple):
    """Where the factors of the increments must add up to ``value * theta**power``."""

    increments: Vector
    power: int
    value: float


@dataclass(frozen=True)
class IncrementDense:
    """Continuous extension of an implicit method in the increments of its implicit stages.

    With ``u_j`` the increments, ``y(t + theta*h) = y + sum_j w_j(theta) * u_j``, where ::

        w_j(theta) = theta*(n_0j + (1 - theta)*(n_1j + theta*n_2j))

    and ``n_dj`` is ``nested[d][j]``. ``w_j(1)`` are the weights of the method's own step.

    Parameters
    ----------
    order : int
        Uniform order of differential states: the local error is ``O(h**(order + 1))``.
    algebraic_order : int, or None
        That of algebraic states in systems of index 1; None where the method can't take these.
    nested : tuple of tuple of float, shape (degree, increments)
        Coefficients of the nested form; a degree of one is the straight line.
    """

    order: int
    algebraic_order: int | None
    nested: tuple[tuple[float, ...], ...]


def ends_on_stage(tableau: Tableau | RosenbrockTableau) -> bool:
    """Tell whether a step of an implicit method ends on its last stage."""
    if isinstance(tableau, RosenbrockTableau):
        return tableau.stiffly_accurate
    return tableau.implicit and tableau.a[-1] == tableau.b


@cache
def increment_dense(tableau: Tableau | RosenbrockTableau) -> IncrementDense:
    """Return the extension of the highest order that an implicit method's increments allow.

    Of all of that order it is the one with the smallest factors. The conditions for differential
    states are those of every rooted tree; those for algebraic ones are in Hairer and Wanner,
    Solving Ordinary Differential Equations II, sections VI.1 and VI.4.

    Parameters
    ----------
    tableau : Tableau or RosenbrockTableau
        An implicit method.
    """
    algebraic = ends_on_stage(tableau)
    if isinstance(tableau, RosenbrockTableau):
        end, states, others = _of_rosenbrock(tableau)
    else:
        end, states, others = _of_stages(tableau)
    for order, second in _ORDERS:
        conditions = [c for c in states if c.power <= order]
        if algebraic:
            conditions += [c for c in others if c.power <= second]
        nested = _solved(end, conditions, order)
        if nested is not None:
            rows = tuple(tuple(map(float, row)) for row in nested)
            return IncrementDense(order, second if algebraic else None, rows)
    raise AssertionError(f"{tableau.name} has no order")


def _solved(end: Vector, conditions: list[_Condition], degree: int) -> Matrix | None:
    """Return the smallest nested coefficients that meet conditions; None if none do."""
    trees = np.array([c.increments for c in conditions])
    # theta**2 and theta**3 in the nested form take away from what the end of the step gives.
    wanted = np.array([[-c.value * (c.power > d) for d in range(1, degree)] for c in conditions])
    inner = (np.linalg.pinv(trees, rcond=1e-10) @ wanted).T.reshape(degree - 1, len(end))
    met = np.allclose(trees @ end, [c.value for c in conditions], rtol=1e-10, atol=1e-10)
    if not met or not np.allclose(inner @ trees.T, wanted.T, rtol=1e-9, atol=1e-9):
        return None
    return np.concatenate([end[None], inner])


def _of_stages(tableau: Tableau) -> tuple[Vector, list[_Condition], list[_Condition]]:
    """Return the step's own weights, and the conditions of both kinds of states.

    Stage values of algebraic states are functions of those of the others, of the stage itself.
    """
    a, b, c = np.array(tableau.a), np.array(tableau.b), np.array(tableau.c)
    implicit = slice(0 if a[0].any() else 1, None)
    end = np.linalg.solve(a[implicit, implicit].T, b[implicit])

    def condition(values: Any, power: int, value: float) -> _Condition:
        return _Condition(values[implicit], power, value)

    states = [
        condition(c, 1, 1.0),
        condition(a @ c, 2, 1 / 2),
        condition(a @ c**2, 3, 1 / 3),
        condition(a @ a @ c, 3, 1 / 6),
    ]
    others = [
        condition(c**2, 2, 1.0),
        condition(c**3, 3, 1.0),
        condition(c * (a @ c), 3, 1 / 2),
    ]
    return end, states, others


def _of_rosenbrock(
    tableau: RosenbrockTableau,
) -> tuple[Vector, list[_Condition], list[_Condition]]:
    """As for stages; one tree more holds the algebraic states' part in those of the others."""
    alpha, gamma = np.array(tableau.alpha), np.array(tableau.gamma)
    c, both = np.array(tableau.alpha_sums), alpha + gamma
    slopes = np.linalg.solve(both, c**2)

    def condition(values: Any, power: int, value: float) -> _Condition:
        return _Condition(gamma @ values, power, value)

    states = [
        condition(np.ones_like(c), 1, 1.0),
        condition(both.sum(axis=1), 2, 1 / 2),
        condition(c**2, 3, 1 / 3),
        condition(both @ both.sum(axis=1), 3, 1 / 6),
    ]
    others = [
        condition(slopes, 2, 1.0),
        condition(np.linalg.solve(both, c**3), 3, 1.0),
        condition(np.linalg.solve(both, c * (alpha @ both.sum(axis=1))), 3, 1 / 2),
        condition(np.linalg.solve(both, c * (alpha @ slopes)), 3, 1.0),
    ]
    if tableau.stiffly_accurate:
        states.append(condition(c * (alpha @ slopes), 3, 1 / 3))
    return np.array(tableau.m), states, others
