"""A small sample of a sweep's runs, integrated to see what all of them cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cubie_dask.grids.grid import Block, Grid
from cubie_dask.plans.plan import Plan
from cubie_kernels.run.batch import Column, Outcome

if TYPE_CHECKING:
    from cubie_kernels.solver import Solver

__all__ = ["Pilot", "more_runs", "run_pilot"]

_RUNS = 256
_MOST_RUNS = 1_000_000
_SECONDS = 0.005
_PATIENCE = 1.0
_FEW_NEAR = 8


@dataclass(frozen=True, eq=False)
class Pilot:
    """What a sample of n runs cost, of a grid with d dimensions.

    Attributes
    ----------
    run_seconds : float
        Seconds that a run takes.
    places : ndarray, shape (n, d)
        Where the runs are, as parts of each dimension's length.
    work : ndarray, shape (n,)
        Steps of each, and iterations of Newton's method.
    """

    run_seconds: float
    places: NDArray[np.float64]
    work: NDArray[np.int64]

    def costly_first(self, plan: Plan) -> list[int]:
        """Return all chunks of a plan, those first whose runs take most work.

        What a chunk takes is guessed from those of its runs that are in the sample, and where they
        are fewer than eight, from the next ones around it. Chunks that seem to take as much as each
        other stay in order.
        """
        chunks = np.stack(np.unravel_index(np.arange(plan.chunks), plan.counts), axis=-1)
        # In lengths of a chunk.
        places = self.places * plan.shape / plan.chunk
        guessed = [self._work_near(middle, places) for middle in chunks + 0.5]
        return np.argsort(np.negative(guessed), kind="stable").tolist()

    def _work_near(self, middle: NDArray[np.float64], places: NDArray[np.float64]) -> float:
        outside = np.maximum(np.abs(places - middle) - 0.5, 0.0).sum(axis=-1)
        near = max(_FEW_NEAR, np.count_nonzero(outside == 0.0))
        return float(self.work[np.argsort(outside, kind="stable")[:near]].mean())


def run_pilot(solver: Solver, grid: Grid, threads: int | None = None) -> Pilot:
    """Integrate some of a sweep's runs, spread over the grid.

    Up to 256 of them, fewer of a small grid, are integrated as often as it takes for a time that
    can be told.

    Parameters
    ----------
    solver, grid : Solver, Grid
        The sweep.
    threads : int, optional
        Threads of the kernel. Default: one for each core that this process may use.
    """
    solver.build()
    # Random places, but always the same.
    places = np.random.default_rng(0).random((min(_RUNS, grid.runs), len(grid.shape)))
    values = _values(grid, places)
    runs = 16
    while True:
        distinct = min(runs, len(places))
        repeats = runs // distinct
        columns = {k: Column(np.tile(v[:distinct], repeats)) for k, v in values.items()}
        runs = distinct * repeats
        seconds, outcome = _timed(solver, columns, runs, threads)
        more = more_runs(runs, seconds, grid.runs)
        if more is None and (seconds < _PATIENCE or len(solver.choices) > 1):
            # Whatever else is done can only make it longer, and the kernel for stiff runs may have
            # been compiled with the first that is.
            seconds = min(seconds, _timed(solver, columns, runs, threads)[0])
            more = more_runs(runs, seconds, grid.runs)
        if more is None:
            return Pilot(seconds / runs, places[:distinct], _work(outcome)[:distinct])
        runs = more


def more_runs(runs: int, seconds: float, whole: int) -> int | None:
    """Return how many runs to time next, or None if those that were timed tell enough.

    Parameters
    ----------
    runs : int
        Number of runs that were timed together.
    seconds : float
        How long they took.
    whole : int
        Number of runs in the sweep.
    """
    # A few runs leave most lanes idle: they don't tell of many, unless those are few as well.
    enough = min(_RUNS, whole // 100)
    is_told = seconds >= _SECONDS and runs >= enough
    if is_told or seconds >= _PATIENCE or runs >= _MOST_RUNS:
        return None
    # What a call costs by itself makes this too few rather than too many.
    return max(enough, int(runs * max(2.0, 1.5 * _SECONDS / seconds)))


def _timed(
    solver: Solver, columns: dict[str, Column], runs: int, threads: int | None
) -> tuple[float, Outcome]:
    start = time.perf_counter()
    outcome = solver.run(columns, runs, threads)
    return time.perf_counter() - start, outcome


def _work(outcome: Outcome) -> NDArray[np.int64]:
    work = outcome.accepted.astype(np.int64) + outcome.rejected
    return work if outcome.newton_iterations is None else work + outcome.newton_iterations


def _values(grid: Grid, places: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the values of runs at some places of a grid."""
    found: dict[str, list[float]] = {name: [] for name in grid.names}
    for place in np.floor(places * grid.shape).astype(np.int64).tolist():
        block = Block(tuple(place), (1,) * len(place))
        for name, column in grid.columns(block).items():
            found[name].append(float(column.values[0]))
    return {name: np.array(values) for name, values in found.items()}
