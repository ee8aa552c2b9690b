"""Ensembles of stiff problems: equations, sweeps, tolerances and how an error is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cubie_kernels import System

__all__ = ["HIRES", "PROBLEMS", "ROBERTSON", "VAN_DER_POL", "VAN_DER_POL_LONG", "StiffProblem"]


@dataclass(frozen=True)
class StiffProblem:
    """An ensemble whose runs differ in some parameters.

    Attributes
    ----------
    title
        What it is, in words.
    text, states, parameters
        What ``System.from_equations`` takes.
    rhs
        The same equations as ``rhs(t, y, p)`` returning a tuple, where there are other contenders.
    columns
        Of a number of runs, the swept parameters: arrays of shape (runs,).
    rtol, atol
        Tolerances that a ladder scales; `atol` by state.
    componentwise
        Whether each state has its own scale in the error.
    """

    name: str
    title: str
    text: str
    states: dict[str, float]
    parameters: dict[str, float]
    rhs: Callable | None
    columns: Callable[[int], dict[str, np.ndarray]]
    t_end: float
    rtol: float
    atol: tuple[float, ...]
    componentwise: bool

    def system(self) -> System:
        from cubie_kernels import System

        return System.from_equations(
            self.text, states=self.states, parameters=self.parameters, name=self.name
        )

    def rows(self, runs: int) -> tuple[np.ndarray, np.ndarray]:
        """Parameters (runs, parameters) and initial states (runs, states) of the sweep."""
        swept = self.columns(runs)
        p = [swept.get(name, np.full(runs, value)) for name, value in self.parameters.items()]
        return np.column_stack(p), np.tile(list(self.states.values()), (runs, 1))

    def options(self, scale: float = 1.0) -> dict:
        """Keyword arguments of ``solve``, with tolerances times `scale`."""
        return {
            "t_span": (0.0, self.t_end),
            "rtol": self.rtol * scale,
            "atol": [value * scale for value in self.atol],
        }

    def errors(self, found: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """Relative error of each end state; both (runs, states), the result (runs,).

        The largest component by the norm of the exact state, or where components have scales of
        their own, the largest of their relative errors.
        """
        apart, size = np.abs(found - exact), np.abs(exact)
        if self.componentwise:
            return (apart / size).max(1)
        return apart.max(1) / size.max(1)

    def beyond(self, found: np.ndarray, exact: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Error of each end state over the tolerance asked for, the result (runs,).

        The largest ``|error| / (atol + rtol*|y|)`` of a component, with tolerances times `scale`.
        """
        tolerance = scale * (np.array(self.atol) + self.rtol * np.abs(exact))
        return (np.abs(found - exact) / tolerance).max(1)


def _spread(runs: int, dimensions: int) -> np.ndarray:
    """Low-discrepancy points of the unit cube, (runs, dimensions): M. Roberts' R sequence.

    Its steps are powers of 1 / g, with g the root of g**(dimensions + 1) = g + 1.
    """
    g = 2.0
    for _ in range(64):
        g = (1.0 + g) ** (1.0 / (dimensions + 1))
    steps = g ** -np.arange(1.0, dimensions + 1.0)
    return (0.5 + np.outer(np.arange(1, runs + 1), steps)) % 1.0


def _around(centre: dict[str, float]) -> Callable[[int], dict[str, np.ndarray]]:
    """Each parameter over a decade around its centre, evenly in the logarithm."""

    def columns(runs: int) -> dict[str, np.ndarray]:
        factors = 10.0 ** (_spread(runs, len(centre)) - 0.5)
        return {name: v * f for (name, v), f in zip(centre.items(), factors.T, strict=True)}

    return columns


def _stiffness(runs: int) -> dict[str, np.ndarray]:
    return {"mu": np.geomspace(1.0, 1000.0, runs)}


def _stiffness_and_span(runs: int) -> dict[str, np.ndarray]:
    mu = np.geomspace(1.0, 1000.0, runs)
    return {"mu": mu, "span": np.maximum(20.0, 3.0 * mu)}


def _van_der_pol(t, y, p):
    return (y[1], p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0])


def _van_der_pol_long(t, y, p):
    return (p[1] * y[1], p[1] * (p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0]))


def _robertson(t, y, p):
    first = p[0] * y[0]
    second = p[1] * y[1] * y[1]
    third = p[2] * y[1] * y[2]
    return (third - first, first - third - second, second)


def _hires(t, y, p):
    binding = p[1] * y[5] * y[7]
    return (
        -p[0] * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007,
        p[0] * y[0] - 8.75 * y[1],
        -(8.32 + p[0]) * y[2] + 0.43 * y[3] + 0.035 * y[4],
        8.32 * y[1] + p[0] * y[2] - 1.12 * y[3],
        -(p[0] + 0.035) * y[4] + 0.43 * y[5] + 0.43 * y[6],
        -binding + 0.69 * y[3] + p[0] * y[4] - 0.43 * y[5] + 0.69 * y[6],
        binding - 1.81 * y[6],
        -binding + 1.81 * y[6],
    )


VAN_DER_POL = StiffProblem(
    name="van_der_pol",
    title="Van der Pol to t = 20, mu = 1 … 1000",
    text="""
    dx = v
    dv = mu*(1 - x*x)*v - x
    """,
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 1.0},
    rhs=_van_der_pol,
    columns=_stiffness,
    t_end=20.0,
    rtol=1e-6,
    atol=(1e-8, 1e-8),
    componentwise=False,
)

VAN_DER_POL_LONG = StiffProblem(
    name="van_der_pol_long",
    title="Van der Pol to t = max(20; 3 mu), mu = 1 … 1000",
    # Every run takes its own span as unit of time, so that all of them end at 1.
    text="""
    dx = span*v
    dv = span*(mu*(1 - x*x)*v - x)
    """,
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 1.0, "span": 20.0},
    rhs=_van_der_pol_long,
    columns=_stiffness_and_span,
    t_end=1.0,
    rtol=1e-6,
    atol=(1e-8, 1e-8),
    componentwise=False,
)

ROBERTSON = StiffProblem(
    name="robertson",
    title="Robertson, three rates over a decade each, to t = 1e5",
    text="""
    dx = k3*y*z - k1*x
    dy = k1*x - k3*y*z - k2*y*y
    dz = k2*y*y
    """,
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"k1": 0.04, "k2": 3e7, "k3": 1e4},
    rhs=_robertson,
    columns=_around({"k1": 0.04, "k2": 3e7, "k3": 1e4}),
    t_end=1e5,
    rtol=1e-6,
    atol=(1e-8, 1e-10, 1e-8),
    componentwise=True,
)

HIRES = StiffProblem(
    name="hires",
    title="HIRES, 8 states, two rates over a decade each, to t = 321.8122",
    # The sums 10.03 and 1.745 of the usual form follow k1, which keeps the model stable.
    text="""
    binding = k4*y6*y8
    dy1 = -k1*y1 + 0.43*y2 + 8.32*y3 + 0.0007
    dy2 = k1*y1 - 8.75*y2
    dy3 = -(8.32 + k1)*y3 + 0.43*y4 + 0.035*y5
    dy4 = 8.32*y2 + k1*y3 - 1.12*y4
    dy5 = -(k1 + 0.035)*y5 + 0.43*y6 + 0.43*y7
    dy6 = -binding + 0.69*y4 + k1*y5 - 0.43*y6 + 0.69*y7
    dy7 = binding - 1.81*y7
    dy8 = -binding + 1.81*y7
    """,
    states={f"y{i}": {1: 1.0, 8: 0.0057}.get(i, 0.0) for i in range(1, 9)},
    parameters={"k1": 1.71, "k4": 280.0},
    rhs=_hires,
    columns=_around({"k1": 1.71, "k4": 280.0}),
    t_end=321.8122,
    rtol=1e-6,
    atol=(1e-8,) * 8,
    componentwise=True,
)

PROBLEMS = (VAN_DER_POL, VAN_DER_POL_LONG, ROBERTSON, HIRES)
"""All from Hairer, Wanner, Solving Ordinary Differential Equations II (1996), IV.1 and IV.10."""
