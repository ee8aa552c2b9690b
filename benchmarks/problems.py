"""The problems of the ensemble benchmarks: equations, sweeps and tolerances.

Each problem exists twice: as the text given to ``System.from_equations`` and as the plain
Python right-hand side that the hand-written baselines compile with Numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cubie_kernels import System

__all__ = ["HODGKIN_HUXLEY", "LORENZ", "OSCILLATOR", "Problem", "fhn_ring"]


@dataclass(frozen=True)
class Problem:
    """An ensemble over one swept parameter.

    Attributes
    ----------
    text, states, parameters
        What ``System.from_equations`` takes.
    rhs
        The same equations as ``rhs(t, y, p)`` returning a tuple; `p` holds the values of
        `parameters` in their order. ``None`` where the baseline brings its own.
    swept
        The parameter that differs between the runs, from `low` to `high`.
    save_at
        Times to save at; ``None`` asks for the end state.
    """

    name: str
    text: str
    states: dict[str, float]
    parameters: dict[str, float]
    swept: str
    low: float
    high: float
    t_end: float
    rtol: float
    atol: float
    rhs: Callable | None = None
    save_at: np.ndarray | None = field(default=None, compare=False)

    def system(self) -> System:
        from cubie_kernels import System

        return System.from_equations(
            self.text, states=self.states, parameters=self.parameters, name=self.name
        )

    def sweep(self, runs: int) -> np.ndarray:
        """Values of the swept parameter, shape (runs,)."""
        return np.linspace(self.low, self.high, runs)

    def rows(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters (runs, parameters) and initial states (runs, states) for a baseline."""
        p = np.tile(np.array(list(self.parameters.values()), float), (len(values), 1))
        p[:, list(self.parameters).index(self.swept)] = values
        return p, np.tile(np.array(list(self.states.values()), float), (len(values), 1))

    def options(self) -> dict:
        """Keyword arguments of ``solve`` that state the problem and its tolerances."""
        options = {"t_span": (0.0, self.t_end), "rtol": self.rtol, "atol": self.atol}
        if self.save_at is not None:
            options["save_at"] = self.save_at
        return options


def _lorenz(t, y, p):
    return (
        p[0] * (y[1] - y[0]),
        y[0] * (p[1] - y[2]) - y[1],
        y[0] * y[1] - p[2] * y[2],
    )


LORENZ = Problem(
    name="lorenz",
    text="""
    dx = sigma*(y - x)
    dy = x*(rho - z) - y
    dz = x*y - beta*z
    """,
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"sigma": 10.0, "rho": 21.0, "beta": 8.0 / 3.0},
    swept="rho",
    low=0.0,
    high=21.0,
    t_end=1.0,
    rtol=1e-8,
    atol=1e-8,
    rhs=_lorenz,
)


def _oscillator(t, y, p):
    return (y[1], -p[0] * p[0] * y[0])


OSCILLATOR = Problem(
    name="oscillator",
    text="""
    dx = v
    dv = -omega*omega*x
    """,
    states={"x": 1.0, "v": 0.0},
    parameters={"omega": 1.0},
    swept="omega",
    low=1.0,
    high=10.0,
    t_end=20.0,
    rtol=1e-6,
    atol=1e-8,
    rhs=_oscillator,
)


def _hodgkin_huxley(t, y, p):
    V = y[0]
    m = y[1]
    h = y[2]
    n = y[3]
    a_m = 0.1 * (V + 40.0) / (1.0 - math.exp(-0.1 * (V + 40.0)))
    b_m = 4.0 * math.exp(-(V + 65.0) / 18.0)
    a_h = 0.07 * math.exp(-(V + 65.0) / 20.0)
    b_h = 1.0 / (1.0 + math.exp(-0.1 * (V + 35.0)))
    a_n = 0.01 * (V + 55.0) / (1.0 - math.exp(-0.1 * (V + 55.0)))
    b_n = 0.125 * math.exp(-(V + 65.0) / 80.0)
    i_na = 120.0 * m * m * m * h * (V - 50.0)
    i_k = 36.0 * n * n * n * n * (V + 77.0)
    i_l = 0.3 * (V + 54.387)
    return (
        p[0] - i_na - i_k - i_l,
        a_m * (1.0 - m) - b_m * m,
        a_h * (1.0 - h) - b_h * h,
        a_n * (1.0 - n) - b_n * n,
    )


HODGKIN_HUXLEY = Problem(
    name="hodgkin_huxley",
    text="""
    a_m = 0.1*(V + 40)/(1 - exp(-0.1*(V + 40)))
    b_m = 4*exp(-(V + 65)/18)
    a_h = 0.07*exp(-(V + 65)/20)
    b_h = 1/(1 + exp(-0.1*(V + 35)))
    a_n = 0.01*(V + 55)/(1 - exp(-0.1*(V + 55)))
    b_n = 0.125*exp(-(V + 65)/80)
    i_na = 120*m**3*h*(V - 50)
    i_k = 36*n**4*(V + 77)
    i_l = 0.3*(V + 54.387)
    dV = i_ext - i_na - i_k - i_l
    dm = a_m*(1 - m) - b_m*m
    dh = a_h*(1 - h) - b_h*h
    dn = a_n*(1 - n) - b_n*n
    """,
    states={
        "V": -65.0,
        "m": 0.05293248525724958,
        "h": 0.5961207535084603,
        "n": 0.3176769140606974,
    },
    parameters={"i_ext": 10.0},
    swept="i_ext",
    low=0.0,
    high=20.0,
    t_end=200.0,
    rtol=1e-6,
    atol=1e-8,
    rhs=_hodgkin_huxley,
    save_at=np.linspace(0.0, 200.0, 201)[1:],
)


def fhn_ring(cells: int) -> Problem:
    """A ring of `cells` FitzHugh-Nagumo cells: states v_0..v_(cells-1), then the w_i."""
    lines = []
    states = {}
    for i in range(cells):
        left, right = (i - 1) % cells, (i + 1) % cells
        lines.append(
            f"dv{i} = v{i} - v{i}**3/3 - w{i} + 0.5 + D*(v{left} - 2*v{i} + v{right})\n"
            f"dw{i} = 0.08*(v{i} + 0.7 - 0.8*w{i})"
        )
        states[f"v{i}"] = 2.0 * math.sin(2.0 * math.pi * i / cells)
    for i in range(cells):
        states[f"w{i}"] = 0.5 * math.cos(2.0 * math.pi * i / cells)
    return Problem(
        name=f"fhn_ring_{2 * cells}",
        text="\n".join(lines),
        states=states,
        parameters={"D": 0.5},
        swept="D",
        low=0.0,
        high=1.0,
        t_end=100.0,
        rtol=1e-6,
        atol=1e-8,
    )
