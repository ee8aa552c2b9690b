"""Ordinary Numba: Tsit5 with scalar variables, one run per ``prange`` iteration.

The code for n states is written out by a small generator: it is what one types by hand for two
to four states. FSAL, Hairer's first step, dense output at the save times, exact end time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from baselines import tsit5
from baselines.tsit5 import Control

__all__ = ["adaptive", "fixed"]

_JIT = {"fastmath": True, "error_model": "numpy"}


class _Source:
    """Lines of a function under construction."""

    def __init__(self, header: str):
        self.lines = [header]

    def add(self, line: str, depth: int = 1) -> None:
        self.lines.append("    " * depth + line)

    def compile(self, name: str, **names) -> Callable:
        import numba

        space = {"math": math, "np": np, **names}
        exec("\n".join(self.lines), space)
        return numba.njit(**_JIT)(space[name])


def _names(prefix: str, n: int) -> str:
    return ", ".join(f"{prefix}{i}" for i in range(n))


def _call(out: str, at: str, n: int, t: str) -> str:
    return f"{_names(out, n)} = f({t}, ({_names(at, n)},), p)"


def _stages(source: _Source, n: int, depth: int, count: int) -> None:
    """Stages 2 to `count` and, from the row of the last one, the new state u."""
    for s in range(1, 7):
        for i in range(n):
            total = " + ".join(f"{a!r} * k{j}_{i}" for j, a in enumerate(tsit5.A[s]))
            source.add(f"u{i} = y{i} + h * ({total})", depth)
        if s < count:
            source.add(_call(f"k{s}_", "u", n, f"t + {tsit5.C[s]!r} * h"), depth)


def _first_step(source: _Source, n: int) -> None:
    """Hairer, Norsett & Wanner, Solving ODEs I, section II.4."""
    source.add("d0 = 0.0; d1 = 0.0; d2 = 0.0")
    for i in range(n):
        source.add(f"s = atol + rtol * abs(y{i})")
        source.add(f"d0 += (y{i} / s) ** 2; d1 += (k0_{i} / s) ** 2")
    source.add(f"d0 = math.sqrt(d0 / {n}); d1 = math.sqrt(d1 / {n})")
    source.add("h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1")
    for i in range(n):
        source.add(f"u{i} = y{i} + h0 * k0_{i}")
    source.add(_call("k1_", "u", n, "t + h0"))
    for i in range(n):
        source.add(f"d2 += ((k1_{i} - k0_{i}) / (atol + rtol * abs(y{i}))) ** 2")
    source.add(f"dm = max(d1, math.sqrt(d2 / {n}) / h0)")
    source.add("h1 = (0.01 / dm) ** (1.0 / 6.0) if dm > 1e-15 else max(1e-6, h0 * 1e-3)")
    source.add("h = min(100.0 * h0, h1, t1 - t0)")


def _saves(source: _Source, n: int) -> None:
    source.add("while saved < ts.size and ts[saved] <= t_new:", 3)
    source.add("if ts[saved] == t_new:", 4)
    for i in range(n):
        source.add(f"out[saved, {i}] = u{i}", 5)
    source.add("else:", 4)
    source.add("x = (ts[saved] - t) / h; xx = x * x", 5)
    for j, text in enumerate(tsit5.INTERPOLANT):
        source.add(f"b{j} = {text}", 5)
    for i in range(n):
        total = " + ".join(f"b{j} * k{j}_{i}" for j in range(7))
        source.add(f"out[saved, {i}] = y{i} + h * ({total})", 5)
    source.add("saved += 1", 4)


def _adaptive_source(n: int, control: Control) -> _Source:
    source = _Source("def integrate(p, start, t0, t1, rtol, atol, ts, out):")
    for i in range(n):
        source.add(f"y{i} = start[{i}]")
    source.add("t = t0; saved = 0; accepted = 0; rejected = 0")
    source.add(f"e_old = 1.0; most = {control.most!r}")
    source.add(_call("k0_", "y", n, "t"))
    _first_step(source, n)
    source.add("while t < t1:")
    source.add("last = t + h >= t1", 2)
    source.add("if last: h = t1 - t", 2)
    _stages(source, n, 2, 7)
    source.add("e = 0.0", 2)
    for i in range(n):
        total = " + ".join(f"{e!r} * k{j}_{i}" for j, e in enumerate(tsit5.E))
        source.add(f"s = atol + rtol * max(abs(y{i}), abs(u{i}))", 2)
        source.add(f"e += (({total}) / s) ** 2", 2)
    source.add(f"e = max(h * math.sqrt(e / {n}), 1e-100)", 2)
    source.add("if e <= 1.0:", 2)
    source.add("t_new = t1 if last else t + h", 3)
    _saves(source, n)
    source.add("t = t_new; accepted += 1", 3)
    for i in range(n):
        source.add(f"y{i} = u{i}; k0_{i} = k6_{i}", 3)
    source.add(f"h *= {control.accepted}", 3)
    source.add(f"e_old = e; most = {control.most!r}", 3)
    source.add("else:", 2)
    source.add("rejected += 1; most = 1.0", 3)
    source.add(f"h *= {control.rejected}", 3)
    source.add("if not h > 1e-14 * abs(t):", 3)
    source.add("out[saved:, :] = math.nan", 4)
    source.add("break", 4)
    source.add("return accepted, rejected")
    return source


def adaptive(rhs: Callable, states: int, control: Control) -> Callable:
    """``f(p, y0, t0, t1, rtol, atol, ts) -> (out (runs, times, states), steps (runs, 2))``."""
    import numba

    f = numba.njit(**_JIT)(rhs)
    integrate = _adaptive_source(states, control).compile("integrate", f=f)

    @numba.njit(parallel=True, **_JIT)
    def ensemble(p, y0, t0, t1, rtol, atol, ts):
        runs = p.shape[0]
        out = np.empty((runs, ts.size, states))
        steps = np.empty((runs, 2), np.int32)
        for r in numba.prange(runs):
            steps[r, 0], steps[r, 1] = integrate(p[r], y0[r], t0, t1, rtol, atol, ts, out[r])
        return out, steps

    return ensemble


def fixed(rhs: Callable, states: int) -> Callable:
    """``f(p, y0, t0, h, steps) -> out (runs, states)``: Tsit5 with a fixed step."""
    import numba

    source = _Source("def integrate(p, start, t0, h, steps, out):")
    for i in range(states):
        source.add(f"y{i} = start[{i}]")
    source.add("for step in range(steps):")
    source.add("t = t0 + step * h", 2)
    source.add(_call("k0_", "y", states, "t"), 2)
    _stages(source, states, 2, 6)
    for i in range(states):
        source.add(f"y{i} = u{i}", 2)
    for i in range(states):
        source.add(f"out[{i}] = y{i}")
    integrate = source.compile("integrate", f=numba.njit(**_JIT)(rhs))

    @numba.njit(parallel=True, **_JIT)
    def ensemble(p, y0, t0, h, steps):
        out = np.empty((p.shape[0], states))
        for r in numba.prange(p.shape[0]):
            integrate(p[r], y0[r], t0, h, steps, out[r])
        return out

    return ensemble
