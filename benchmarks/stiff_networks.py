"""Stiff models of many states, for builds and linear solvers."""

from __future__ import annotations

import math
import re

import numpy as np
from stiff_problems import StiffProblem

__all__ = ["brusselator", "pollution"]


def brusselator(cells: int) -> StiffProblem:
    """The Brusselator with diffusion in `cells` cells: two states a cell, of neighbouring places.

    Hairer, Wanner, Solving Ordinary Differential Equations II, section IV.1. The diffusion differs
    between the runs.
    """
    rate = f"{(cells + 1) ** 2}*a"
    lines = []
    states = {}
    for i in range(cells):
        u, v = ([f"{s}{j}" for j in (i - 1, i, i + 1)] for s in "uv")
        if i == 0:
            u[0], v[0] = "1", "3"
        if i == cells - 1:
            u[2], v[2] = "1", "3"
        lines.append(
            f"du{i} = 1 + u{i}**2*v{i} - 4*u{i} + {rate}*({u[0]} - 2*{u[1]} + {u[2]})\n"
            f"dv{i} = 3*u{i} - u{i}**2*v{i} + {rate}*({v[0]} - 2*{v[1]} + {v[2]})"
        )
        states[f"u{i}"] = 1.0 + math.sin(2.0 * math.pi * (i + 1) / (cells + 1))
        states[f"v{i}"] = 3.0
    return StiffProblem(
        name=f"brusselator_{2 * cells}",
        title=f"Brusselator of {cells} cells",
        text="\n".join(lines),
        states=states,
        parameters={"a": 0.02},
        rhs=None,
        columns=lambda runs: {"a": np.geomspace(0.01, 0.04, runs)},
        t_end=10.0,
        rtol=1e-6,
        atol=(1e-8,) * (2 * cells),
        componentwise=False,
    )


_RATES = (
    ("0.35", "y1"),
    ("26.6", "y2*y4"),
    ("12300", "y5*y2"),
    ("0.00086", "y7"),
    ("0.00082", "y7"),
    ("15000", "y7*y6"),
    ("0.00013", "y9"),
    ("24000", "y9*y6"),
    ("16500", "y11*y2"),
    ("9000", "y11*y1"),
    ("0.022", "y13"),
    ("12000", "y10*y2"),
    ("1.88", "y14"),
    ("16300", "y1*y6"),
    ("4.8e6", "y3"),
    ("0.00035", "y4"),
    ("0.0175", "y4"),
    ("1e8", "y16"),
    ("4.44e11", "y16"),
    ("1240", "y17*y6"),
    ("2.1", "y19"),
    ("5.78", "y19"),
    ("0.0474", "y1*y4"),
    ("1780", "y19*y1"),
    ("3.12", "y20"),
)
_BALANCES = """
    -1 -10 -14 -23 -24 +2 +3 +9 +11 +12 +22 +25
    -2 -3 -9 -12 +1 +21
    -15 +1 +17 +19 +22
    -2 -16 -17 -23 +15
    -3 +4 +4 +6 +7 +13 +20
    -6 -8 -14 -20 +3 +18 +18
    -4 -5 -6 +13
    +4 +5 +6 +7
    -7 -8
    -12 +7 +9
    -9 -10 +8 +11
    +9
    -11 +10
    -13 +12
    +14
    -18 -19 +16
    -20
    +20
    -21 -22 -24 +23 +25
    -25 +24
"""


def pollution() -> StiffProblem:
    """25 reactions of 20 substances in the air; the light, and so its reactions, differ.

    J. G. Verwer, Gauss-Seidel iteration for stiff ODEs from chemical kinetics, SIAM J. Sci.
    Comput. 15 (1994) 1243-1250.
    """
    light = {1, 4, 5, 17}
    lines = [
        f"r{i} = {'light*' if i in light else ''}{rate}*{product}"
        for i, (rate, product) in enumerate(_RATES, 1)
    ]
    for i, balance in enumerate(_BALANCES.strip().splitlines(), 1):
        lines.append(f"dy{i} = " + re.sub(r"([+-])", r"\1 r", balance.strip()))
    start = {"y2": 0.2, "y4": 0.04, "y7": 0.1, "y8": 0.3, "y9": 0.01, "y17": 0.007}
    states = {f"y{i}": start.get(f"y{i}", 0.0) for i in range(1, 21)}
    return StiffProblem(
        name="pollution",
        title="Pollution",
        text="\n".join(lines),
        states=states,
        parameters={"light": 1.0},
        rhs=None,
        columns=lambda runs: {"light": np.geomspace(0.3, 3.0, runs)},
        t_end=60.0,
        rtol=1e-6,
        atol=(1e-10,) * 20,
        componentwise=False,
    )
