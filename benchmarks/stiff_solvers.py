"""Section on linear solvers: factors as straight-line code and in loops, and matrix-free ones."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
from ensembles_checks import attempted, require_agreement, require_success
from ensembles_timing import Figure, Settings, Table, Timing, interleave, ratio
from stiff_networks import brusselator, pollution
from stiff_problems import HIRES, ROBERTSON, StiffProblem

__all__ = ["stiff_solvers"]

METHOD = "rodas5p"
SOLVERS: dict[str, dict[str, str]] = {
    "lu": {"linear_solver": "lu"},
    "banded": {"linear_solver": "banded"},
    "indexed": {"linear_solver": "indexed"},
    "gmres, ilu": {"linear_solver": "gmres", "preconditioner": "ilu"},
    "gmres, jacobi": {"linear_solver": "gmres", "preconditioner": "jacobi"},
    "auto": {},
}
_AGREEMENT = 1e-4


def _cases() -> list[tuple[StiffProblem, int]]:
    """Models of 3, 8, 20, 60 and 200 states, and how many runs of each."""
    return [
        (ROBERTSON, 10_000),
        (HIRES, 10_000),
        (pollution(), 4_000),
        (brusselator(30), 1_000),
        (brusselator(100), 256),
    ]


def stiff_solvers(settings: Settings) -> Table:
    """Time of a batch by linear solver and number of states."""
    rows, figures, notes = [], [], []
    for problem, runs in _cases():
        found, figure, note = _compare(problem, settings.runs(runs), settings)
        rows += found
        figures.append(figure)
        notes.append(note)
    return Table(
        f"Linear solvers of {METHOD} at rtol 1e-6",
        (
            "model",
            "states",
            "linear solver",
            "iterations/step",
            "runs",
            "first call s",
            "best s",
            "median s",
            "runs/s",
            "time beside the quickest",
        ),
        rows,
        figures,
        ["The first call compiles the kernel.", *notes],
    )


def _compare(
    problem: StiffProblem, runs: int, settings: Settings
) -> tuple[list[list[str]], Figure, str]:
    from cubie_kernels import solve
    from cubie_kernels.errors import InputError

    system, columns = problem.system(), problem.columns(runs)
    calls, first, refused = {}, {}, []
    for name, options in SOLVERS.items():
        call = functools.partial(
            solve,
            system,
            columns,
            grid="zip",
            threads=settings.threads,
            method=METHOD,
            **options,
            **problem.options(),
        )
        start = time.perf_counter()
        try:
            require_success(call())
        except InputError as error:
            refused.append(f"{name}: {error}")
            continue
        first[name] = time.perf_counter() - start
        calls[name] = call
    times, results = interleave(calls, settings.rounds)
    _require_equal(problem, results)
    quickest = min((t for name, t in times.items() if name != "auto"), key=lambda t: t.best)
    rows = [
        [problem.title, str(len(problem.states)), name, *_cells(times[name], results[name], runs)]
        for name in calls
    ]
    for row, name in zip(rows, calls, strict=True):
        row.insert(5, f"{first[name]:.1f}")
        row.append(f"{times[name].best / quickest.best:.2f}")
    chosen = results["auto"].solver.choices[-1].linear
    return (
        rows,
        Figure(
            f"{len(problem.states)} states: linear_solver='auto' against {quickest.name}",
            *ratio(times["auto"], quickest),
            1.1,
            False,
        ),
        f"{problem.title}, {len(problem.states)} states: `auto` is `{chosen.name}`, since "
        f"{chosen.reason}. {' '.join(refused)}".strip(),
    )


def _cells(times: Timing, solution: Any, runs: int) -> list[str]:
    iterations = float(np.mean(solution.linear_iterations)) / attempted(solution)
    return [
        f"{iterations:.1f}",
        f"{runs:,}",
        f"{times.best:.4f}",
        f"{times.median:.4f}",
        f"{runs / times.best:,.0f}",
    ]


def _require_equal(problem: StiffProblem, results: dict[str, Any]) -> None:
    ends = {
        name: np.stack([solution[state] for state in problem.states], 1)
        for name, solution in results.items()
    }
    for name, end in ends.items():
        difference = float(problem.errors(end, ends["lu"]).max())
        require_agreement(f"{problem.title}, {name} and lu", difference, _AGREEMENT)
