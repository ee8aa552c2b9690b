"""heyoka.py: Taylor's method in SIMD batches, one integrator per thread reused over the runs.

This is the arrangement with the least Python per run: the ensemble functions of the package
make an object for each integration. F. Biscani, D. Izzo, Revisiting high-order Taylor methods
for astrodynamics and celestial mechanics, MNRAS 504 (2021) 2614-2628.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import pairwise

import numpy as np

__all__ = ["end_states"]

_CHUNKS_PER_THREAD = 8


def end_states(rhs: Callable, states: int, parameters: int, tolerance: float) -> Callable:
    """``f(p (runs, parameters), y0 (runs, states), t_end, threads) -> out (runs, states)``."""
    import heyoka as hy

    variables = hy.make_vars(*[f"y{i}" for i in range(states)])
    symbols = [hy.par[i] for i in range(parameters)]
    equations = list(zip(variables, rhs(hy.time, variables, symbols), strict=True))
    lanes = hy.recommended_simd_size()
    template = hy.taylor_adaptive_batch(
        equations,
        np.zeros((states, lanes)),
        pars=np.zeros((parameters, lanes)),
        tol=tolerance,
        fast_math=True,
    )

    def solve(p: np.ndarray, y0: np.ndarray, t_end: float, threads: int) -> np.ndarray:
        runs = len(p)
        batches = -(-runs // lanes)
        index = np.minimum(np.arange(batches * lanes), runs - 1).reshape(batches, lanes)
        start = np.ascontiguousarray(y0[index].transpose(0, 2, 1))
        pars = np.ascontiguousarray(p[index].transpose(0, 2, 1))
        out = np.empty((batches, states, lanes))

        def work(chunk: range) -> None:
            integrator = deepcopy(template)
            state, values = integrator.state, integrator.pars
            for b in chunk:
                integrator.set_time(0.0)
                state[:] = start[b]
                values[:] = pars[b]
                integrator.propagate_until(t_end)
                out[b] = state

        pieces = min(batches, _CHUNKS_PER_THREAD * threads)
        edges = np.linspace(0, batches, pieces + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, (range(a, b) for a, b in pairwise(edges))))
        return out.transpose(0, 2, 1).reshape(-1, states)[:runs]

    return solve
