"""Stiff models of any size, for builds and linear solvers."""

from __future__ import annotations

import math

import numpy as np
from stiff_problems import StiffProblem

__all__ = ["brusselator"]


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

    def rhs(t, y, p):
        u, v = y[0::2], y[1::2]
        scale = (cells + 1) ** 2 * p[0]
        out = np.empty(2 * cells)
        out[0::2] = 1.0 + u * u * v - 4.0 * u + scale * np.diff(u, 2, prepend=1.0, append=1.0)
        out[1::2] = 3.0 * u - u * u * v + scale * np.diff(v, 2, prepend=3.0, append=3.0)
        return out

    return StiffProblem(
        name=f"brusselator_{2 * cells}",
        title=f"Brusselator of {cells} cells, {2 * cells} states, t = 0 … 10",
        text="\n".join(lines),
        states=states,
        parameters={"a": 0.02},
        rhs=rhs,
        columns=lambda runs: {"a": np.geomspace(0.01, 0.04, runs)},
        t_end=10.0,
        rtol=1e-6,
        atol=(1e-8,) * (2 * cells),
        componentwise=False,
    )
