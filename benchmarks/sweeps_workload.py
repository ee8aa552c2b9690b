"""Sweeps that the benchmark runs, and the same kernels and writes without Dask and store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from cubie_dask import Grid, Plan, Sweep
from cubie_kernels import System
from cubie_kernels.run.batch import Outcome

__all__ = ["Workload", "plain_arrays", "plain_processes", "timed", "within"]

LORENZ = System.from_equations(
    "dx = sigma*(y - x)\ndy = x*(rho - z) - y\ndz = x*y - beta*z",
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"rho": 21.0, "sigma": 10.0, "beta": 8.0 / 3.0},
    name="lorenz",
)


@dataclass(frozen=True)
class Workload:
    """A sweep of Lorenz runs, described so that another process can make the same.

    Attributes
    ----------
    runs
        Number of runs, with rho from 0 to 21.
    chunk_runs
        Runs in a chunk; None for what the planner takes.
    saves
        Number of saves; 0 for the end state alone.
    end
        End of the time span.
    steps
        Number of fixed steps of RK4; 0 for adaptive ones of Tsit5 at 1e-8.
    """

    runs: int
    chunk_runs: int | None = None
    saves: int = 0
    end: float = 1.0
    steps: int = 0

    def sweep(self) -> Sweep:
        times = np.linspace(0.0, self.end, self.saves) if self.saves else None
        if self.steps:
            how = {"method": "rk4", "adaptive": False, "dt": self.end / self.steps}
            how["max_steps"] = 2 * self.steps
        else:
            how = {"rtol": 1e-8, "atol": 1e-8}
        grid = Grid.product(rho=np.linspace(0.0, 21.0, self.runs))
        return Sweep(
            LORENZ,
            grid,
            t_span=(0.0, self.end),
            save_at=times,
            chunk_runs=self.chunk_runs,
            **how,
        )


def within(workload: Workload, seconds: float) -> Workload:
    """The workload with as many steps as make a chunk take some time on one thread."""
    assert workload.chunk_runs is not None
    steps = workload.steps
    small = Workload(workload.chunk_runs, workload.chunk_runs, steps=steps)
    each = min(small.sweep().pilot(threads=1) for _ in range(3)) * workload.chunk_runs
    return Workload(workload.runs, workload.chunk_runs, steps=max(1, round(steps * seconds / each)))


@lru_cache(maxsize=2)
def _sweep(workload: Workload) -> Sweep:
    sweep = workload.sweep()
    sweep.solver.build()
    return sweep


def _integrate(workload: Workload, plan: Plan, chunk: int) -> int:
    """Integrate a chunk on one thread, keeping nothing."""
    sweep, block = _sweep(workload), plan.block(chunk)
    outcome = sweep.solver.run(sweep.grid.columns(block), block.runs, 1)
    return int(outcome.accepted.sum())


@contextmanager
def plain_processes(count: int, workload: Workload, plan: Plan) -> Iterator:
    """Processes that integrate chunks of a plan with no Dask and no store.

    Gives a function of the chunks that returns the seconds it took all of them together.
    """
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:

        def run(chunks: range) -> float:
            start = time.perf_counter()
            # The last ones take longest: begun first, they leave no process waiting at the end.
            # Of many, some are given together.
            size = max(1, len(chunks) // (16 * count))
            integrate = partial(_integrate, workload, plan)
            for _ in pool.map(integrate, reversed(chunks), chunksize=size):
                pass
            return time.perf_counter() - start

        run(range(2 * count))
        yield run


def plain_arrays(path: Path, plan: Plan, outcome: Outcome) -> dict:
    """Make the arrays of a sweep's store in a plain zarr group; returns (array, values) by name."""
    group = zarr.create_group(str(path))
    states = outcome.final_state if outcome.states is None else outcome.states
    values = dict(zip(plan.variables, states, strict=True))
    values |= {"accepted": outcome.accepted, "rejected": outcome.rejected}
    values |= {"final_time": outcome.final_time, "status": outcome.status}
    return {
        name: (
            group.create_array(
                name,
                shape=(*value.shape[:-1], plan.runs),
                chunks=value.shape[:-1] + plan.chunk,
                dtype=value.dtype,
                compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
                config={"write_empty_chunks": True},
            ),
            value,
        )
        for name, value in values.items()
    }


def timed(function, *given) -> float:
    start = time.perf_counter()
    function(*given)
    return time.perf_counter() - start
