"""Section on linear solvers: factors as straight-line code and in loops, and matrix-free ones."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from ensembles_checks import attempted, require_agreement, require_success
from ensembles_timing import Figure, Settings, Table, Timing, interleave, ratio
from stiff_networks import brusselator, pollution
from stiff_problems import HIRES, ROBERTSON, StiffProblem

if TYPE_CHECKING:
    from cubie_kernels import System

__all__ = ["stiff_solvers"]

METHOD = "rodas5p"
SOLVERS: dict[str, dict[str, str]] = {
    "lu": {"linear_solver": "lu"},
    "banded": {"linear_solver": "banded"},
    "indexed": {"linear_solver": "indexed"},
    "gmres, ilu": {"linear_solver": "gmres", "preconditioner": "ilu"},
    "gmres, jacobi": {"linear_solver": "gmres", "preconditioner": "jacobi"},
}
_AGREEMENT = 1e-3


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
        notes += [note] if note else []
    return Table(
        f"Linear solvers of {METHOD} at rtol 1e-6",
        (
            "model",
            "states",
            "linear solver",
            "iterations/step",
            "apart from lu",
            "runs",
            "first call s",
            "best s",
            "median s",
            "runs/s",
            "time beside the quickest",
        ),
        rows,
        figures,
        [
            "The first call compiles the kernel. `auto` builds the kernel of one of the others, "
            "whose time counts for it.",
            *notes,
        ],
    )


def _compare(
    problem: StiffProblem, runs: int, settings: Settings
) -> tuple[list[list[str]], Figure, str]:
    from cubie_kernels import solve
    from cubie_kernels.errors import InputError

    system, columns = problem.system(), problem.columns(runs)
    calls, first, refused = {}, {}, []
    for name, options in (SOLVERS | {"auto": {}}).items():
        if name == "auto" and _chosen(problem, system) in calls:
            continue
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
    apart = _differences(problem, results)
    quickest = min(times.values(), key=lambda timing: timing.best)
    rows = [
        [
            problem.title.partition(",")[0],
            str(len(problem.states)),
            name,
            f"{float(np.mean(result.linear_iterations)) / attempted(result):.1f}",
            f"{apart[name]:.1e}",
            f"{runs:,}",
            f"{first[name]:.1f}",
            f"{times[name].best:.4f}",
            f"{times[name].median:.4f}",
            f"{runs / times[name].best:,.0f}",
            f"{times[name].best / quickest.best:.2f}",
        ]
        for name, result in results.items()
    ]
    return rows, _figure(problem, system, times, quickest), " ".join(refused)


def _automatic(problem: StiffProblem, system: System) -> Any:
    from cubie_kernels import Solver

    return Solver(system, method=METHOD, **problem.options()).choices[-1].linear


def _chosen(problem: StiffProblem, system: System) -> str:
    """The contender whose kernel `auto` would build, or ``"auto"`` if there is none."""
    solver = _automatic(problem, system).solver
    return solver if isinstance(solver, str) and solver in SOLVERS else "auto"


def _figure(
    problem: StiffProblem, system: System, times: dict[str, Timing], quickest: Timing
) -> Figure:
    name = _chosen(problem, system)
    chosen = f"'auto' ({_automatic(problem, system).name})"
    what = f"{len(problem.states)} states: linear_solver={chosen} against {quickest.name}"
    return Figure(what, *ratio(times[name], quickest), 1.1, False)


def _differences(problem: StiffProblem, results: dict[str, Any]) -> dict[str, float]:
    """Largest relative difference of end states from those with factors in straight-line code."""
    ends = {
        name: np.stack([solution[state] for state in problem.states], 1)
        for name, solution in results.items()
    }
    found = {name: float(problem.errors(end, ends["lu"]).max()) for name, end in ends.items()}
    for name, difference in found.items():
        require_agreement(f"{problem.title}, {name} and lu", difference, _AGREEMENT)
    return found
