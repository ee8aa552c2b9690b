"""Numba baselines for larger systems: Tsit5 over arrays, one run per ``prange`` iteration.

`scalar` is what a user writes: per-run arrays and nested loops over states and stages.
`vectorised` is written for the compiler: the number of states is a constant, all vectors of a
run lie in one workspace at constant offsets and each stage is one loop over the states with its
sum written out, so that LLVM turns the state index into SIMD lanes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from baselines import tsit5
from baselines.tsit5 import Control

__all__ = ["scalar", "vectorised"]

_JIT = {"fastmath": True, "error_model": "numpy"}


def _ring_loops(cells: int) -> Callable:
    """The FitzHugh-Nagumo ring as a plain loop over cells with indices modulo `cells`."""
    import numba

    @numba.njit(**_JIT)
    def f(t, y, p, dy):
        for i in range(cells):
            v = y[i]
            w = y[cells + i]
            lap = y[(i + cells - 1) % cells] - 2.0 * v + y[(i + 1) % cells]
            dy[i] = v - v * v * v / 3.0 - w + 0.5 + p[0] * lap
            dy[cells + i] = 0.08 * (v + 0.7 - 0.8 * w)

    return f


_SCALAR = """
def integrate(p, y, t0, t1, rtol, atol, out, k, u):
    n = y.size
    t = t0
    accepted = 0
    rejected = 0
    f(t, y, p, k[0])
    d0 = 0.0
    d1 = 0.0
    d2 = 0.0
    for i in range(n):
        s = atol + rtol * abs(y[i])
        d0 += (y[i] / s) ** 2
        d1 += (k[0, i] / s) ** 2
    d0 = math.sqrt(d0 / n)
    d1 = math.sqrt(d1 / n)
    h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    for i in range(n):
        u[i] = y[i] + h0 * k[0, i]
    f(t + h0, u, p, k[1])
    for i in range(n):
        d2 += ((k[1, i] - k[0, i]) / (atol + rtol * abs(y[i]))) ** 2
    dm = max(d1, math.sqrt(d2 / n) / h0)
    h1 = (0.01 / dm) ** (1.0 / 6.0) if dm > 1e-15 else max(1e-6, h0 * 1e-3)
    h = min(100.0 * h0, h1, t1 - t0)
    e_old = 1.0
    most = {most!r}
    while t < t1:
        last = t + h >= t1
        if last:
            h = t1 - t
{stages}
        e = max(h * math.sqrt(e / n), 1e-100)
        if e <= 1.0:
            accepted += 1
            t = t1 if last else t + h
            for i in range(n):
                y[i] = u[i]
                k[0, i] = k[6, i]
            h *= {accepted}
            e_old = e
            most = {most!r}
        else:
            rejected += 1
            most = 1.0
            h *= {rejected}
            if not h > 1e-14 * abs(t):
                y[:] = math.nan
                break
    for i in range(n):
        out[i] = y[i]
    return accepted, rejected
"""

_NESTED_STAGES = """
        for s in range(1, 7):
            for i in range(n):
                total = 0.0
                for j in range(s):
                    total += A[s, j] * k[j, i]
                u[i] = y[i] + h * total
            f(t + C[s] * h, u, p, k[s])
        e = 0.0
        for i in range(n):
            total = 0.0
            for j in range(7):
                total += E[j] * k[j, i]
            e += (total / (atol + rtol * max(abs(y[i]), abs(u[i])))) ** 2
"""


def scalar(cells: int, control: Control) -> Callable:
    """``f(p, y0, t0, t1, rtol, atol) -> (out (runs, states), steps (runs, 2))``."""
    import numba

    a = np.zeros((7, 7))
    for s, row in enumerate(tsit5.A):
        a[s, : len(row)] = row
    source = _SCALAR.format(
        most=control.most,
        accepted=control.accepted,
        rejected=control.rejected,
        stages=_NESTED_STAGES,
    )
    space = {
        "math": math,
        "f": _ring_loops(cells),
        "A": a,
        "C": np.array(tsit5.C),
        "E": np.array(tsit5.E),
    }
    exec(source, space)
    integrate = numba.njit(**_JIT)(space["integrate"])
    states = 2 * cells

    @numba.njit(parallel=True, **_JIT)
    def ensemble(p, y0, t0, t1, rtol, atol):
        runs = p.shape[0]
        out = np.empty((runs, states))
        steps = np.empty((runs, 2), np.int32)
        for r in numba.prange(runs):
            k = np.empty((7, states))
            u = np.empty(states)
            steps[r, 0], steps[r, 1] = integrate(
                p[r], y0[r].copy(), t0, t1, rtol, atol, out[r], k, u
            )
        return out, steps

    return ensemble


def _ring_source(cells: int, y: int, dy: int) -> list[str]:
    """dy = f(y) inside the workspace w, ends of the ring apart from the inner loop."""
    m, n = cells, 2 * cells

    def cell(i, left, right):
        v, w = f"w[{y} + {i}]", f"w[{y + m} + {i}]"
        lap = f"w[{y} + {left}] - 2.0 * {v} + w[{y} + {right}]"
        return f"w[{dy} + {i}] = {v} - {v} * {v} * {v} / 3.0 - {w} + 0.5 + d * ({lap})"

    return [
        f"for i in range(1, {m - 1}):",
        "    " + cell("i", "i - 1", "i + 1"),
        cell(0, m - 1, 1),
        cell(m - 1, m - 2, 0),
        f"for i in range({m}):",
        f"    w[{dy + m} + i] = 0.08 * (w[{y} + i] + 0.7 - 0.8 * w[{y + m} + i])",
        f"# {n} states",
    ]


def _vectorised_source(cells: int, control: Control) -> str:
    n = 2 * cells
    u, k = n, [n * (2 + j) for j in range(7)]
    body: list[str] = []

    def add(depth, *lines):
        body.extend("    " * depth + line for line in lines)

    add(0, "def integrate(d, w, t0, t1, rtol, atol):")
    add(1, "t = t0; accepted = 0; rejected = 0", f"e_old = 1.0; most = {control.most!r}")
    add(1, *_ring_source(cells, 0, k[0]))
    add(1, "d0 = 0.0; d1 = 0.0; d2 = 0.0", f"for i in range({n}):")
    add(2, "s = atol + rtol * abs(w[i])")
    add(2, f"d0 += (w[i] / s) ** 2; d1 += (w[{k[0]} + i] / s) ** 2")
    add(1, f"d0 = math.sqrt(d0 / {n}); d1 = math.sqrt(d1 / {n})")
    add(1, "h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1")
    add(1, f"for i in range({n}):", f"    w[{u} + i] = w[i] + h0 * w[{k[0]} + i]")
    add(1, *_ring_source(cells, u, k[1]))
    add(1, f"for i in range({n}):")
    add(2, f"d2 += ((w[{k[1]} + i] - w[{k[0]} + i]) / (atol + rtol * abs(w[i]))) ** 2")
    add(1, f"dm = max(d1, math.sqrt(d2 / {n}) / h0)")
    add(1, "h1 = (0.01 / dm) ** (1.0 / 6.0) if dm > 1e-15 else max(1e-6, h0 * 1e-3)")
    add(1, "h = min(100.0 * h0, h1, t1 - t0)", "while t < t1:")
    add(2, "last = t + h >= t1", "if last: h = t1 - t")
    for s in range(1, 7):
        add(2, *(f"a{j} = h * {a!r}" for j, a in enumerate(tsit5.A[s])))
        total = " + ".join(f"a{j} * w[{k[j]} + i]" for j in range(s))
        add(2, f"for i in range({n}):", f"    w[{u} + i] = w[i] + ({total})")
        add(2, *_ring_source(cells, u, k[s]))
    total = " + ".join(f"{e!r} * w[{k[j]} + i]" for j, e in enumerate(tsit5.E))
    add(2, "e = 0.0", f"for i in range({n}):")
    add(3, f"s = atol + rtol * max(abs(w[i]), abs(w[{u} + i]))")
    add(3, f"e += (({total}) / s) ** 2")
    add(2, f"e = max(h * math.sqrt(e / {n}), 1e-100)", "if e <= 1.0:")
    add(3, "accepted += 1", "t = t1 if last else t + h", f"for i in range({n}):")
    add(4, f"w[i] = w[{u} + i]", f"w[{k[0]} + i] = w[{k[6]} + i]")
    add(3, f"h *= {control.accepted}", f"e_old = e; most = {control.most!r}")
    add(2, "else:", "    rejected += 1; most = 1.0", f"    h *= {control.rejected}")
    add(3, "if not h > 1e-14 * abs(t):", f"    w[:{n}] = math.nan", "    break")
    add(1, "return accepted, rejected")
    return "\n".join(body)


def vectorised(cells: int, control: Control) -> Callable:
    """As `scalar`, with loops that the compiler vectorises over the states of one run."""
    import numba

    space: dict = {"math": math}
    exec(_vectorised_source(cells, control), space)
    integrate = numba.njit(**_JIT)(space["integrate"])
    states = 2 * cells

    @numba.njit(parallel=True, **_JIT)
    def ensemble(p, y0, t0, t1, rtol, atol):
        runs = p.shape[0]
        out = np.empty((runs, states))
        steps = np.empty((runs, 2), np.int32)
        for r in numba.prange(runs):
            w = np.empty(9 * states)
            w[:states] = y0[r]
            steps[r, 0], steps[r, 1] = integrate(p[r, 0], w, t0, t1, rtol, atol)
            out[r] = w[:states]
        return out, steps

    return ensemble
