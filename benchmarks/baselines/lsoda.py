"""LSODA over an ensemble: numbalsoda's, called from a ``prange`` loop, or else SciPy's.

L. Petzold, SIAM J. Sci. Stat. Comput. 4 (1983) 136-148. numbalsoda calls a translation to C++ of
ODEPACK's code without any Python per step; it takes one absolute tolerance for all states, and no
Jacobian. Where it isn't installed SciPy's stands in, on one core and with a right-hand side called
from Python: a lower bound of what LSODA can do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np

__all__ = ["MISSING", "end_states", "installed"]

MISSING = (
    "**numbalsoda isn't installed, so SciPy's LSODA stands in: the figures flatter `solve()` and "
    "aren't to be quoted.** Its installation is described in benchmarks/README.md."
)
_STEPS = 10_000_000
# Runs that a thread takes at once: few, so that threads stay busy when some runs take longer.
_CHUNK = 8

Ensemble = Callable[[np.ndarray, np.ndarray, float, float, float], np.ndarray]


def installed() -> bool:
    """Whether numbalsoda is there; else `end_states` takes SciPy's LSODA."""
    return find_spec("numbalsoda") is not None


def end_states(rhs: Callable, states: int, parameters: int) -> Ensemble:
    """``f(p (runs, parameters), y0 (runs, states), t_end, rtol, atol) -> out (runs, states)``.

    Runs that LSODA gives up are NaN.
    """
    return _compiled(rhs, states, parameters) if installed() else partial(_by_scipy, rhs)


def _compiled(rhs: Callable, states: int, parameters: int) -> Ensemble:
    import numba
    from numbalsoda import lsoda, lsoda_sig

    inlined = numba.njit(fastmath=True, error_model="numpy")(rhs)

    @numba.cfunc(lsoda_sig, fastmath=True)
    def derivative(t, y, dy, p):
        values = inlined(t, numba.carray(y, (states,)), numba.carray(p, (parameters,)))
        out = numba.carray(dy, (states,))
        for i in range(states):
            out[i] = values[i]

    @numba.njit(parallel=True)
    def ensemble(address, p, y0, times, rtol, atol):
        out = np.empty(y0.shape)
        for r in numba.prange(len(y0)):
            found, ok = lsoda(address, y0[r], times, p[r], rtol, atol, _STEPS)
            if ok:
                out[r] = found[1]
            else:
                out[r] = np.nan
        return out

    def solve(p, y0, t_end, rtol, atol):
        with numba.parallel_chunksize(_CHUNK):
            return ensemble(derivative.address, p, y0, np.array([0.0, t_end]), rtol, atol)

    return solve


def _by_scipy(rhs, p, y0, t_end, rtol, atol):
    from scipy.integrate import solve_ivp

    out = np.full(y0.shape, np.nan)
    for r in range(len(y0)):
        found = solve_ivp(rhs, (0.0, t_end), y0[r], "LSODA", args=(p[r],), rtol=rtol, atol=atol)
        if found.success:
            out[r] = found.y[:, -1]
    return out
