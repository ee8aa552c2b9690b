"""Sections on other models: Hodgkin-Huxley, rings of FitzHugh-Nagumo cells."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from baselines import arrays, scalar
from baselines.tsit5 import Control
from ensembles_checks import attempted, require_agreement, require_success
from ensembles_startup import Process, run_python, summary
from ensembles_timing import (
    THROUGHPUT,
    Figure,
    Settings,
    Table,
    interleave,
    ratio,
    throughput_table,
)
from problems import HODGKIN_HUXLEY, fhn_ring

__all__ = ["hodgkin_huxley", "ring_large", "ring_small"]


def hodgkin_huxley(settings: Settings) -> Table:
    """Exp-heavy model with 200 saves against ordinary Numba with dense output."""
    from cubie_kernels import solve

    problem = HODGKIN_HUXLEY
    runs = settings.runs(20_000, 5_000)
    current = problem.sweep(runs)
    system = problem.system()
    p, y0 = problem.rows(current[::5])
    shuffled = p[np.random.default_rng(1).permutation(len(p))]
    ensemble = scalar.adaptive(problem.rhs, 4, Control.like("pi"))
    arguments = (0.0, problem.t_end, problem.rtol, problem.atol, problem.save_at)
    times, results = interleave(
        {
            "solve()": lambda: solve(
                system, {"i_ext": current}, threads=settings.threads, **problem.options()
            ),
            "Numba, one run per iteration": lambda: ensemble(p, y0, *arguments),
            "the same, runs shuffled": lambda: ensemble(shuffled, y0, *arguments),
        },
        settings.rounds,
    )
    ours, plain, mixed = times.values()
    solution = results["solve()"]
    require_success(solution)
    out, steps = results["Numba, one run per iteration"]
    counts = [attempted(solution)] + [float(steps.sum(1).mean())] * 2
    volts = np.moveaxis(solution["V"], solution["V"].shape.index(runs), 0)[::5]
    apart = np.abs(volts - out[:, :, 0])
    require_agreement("Hodgkin-Huxley", float(np.median(apart)), 1e-4, *counts)
    return Table(
        "Hodgkin-Huxley, 200 ms, rtol 1e-6, atol 1e-8, 200 saves",
        THROUGHPUT,
        throughput_table([ours, plain, mixed], [runs, len(p), len(p)], counts, settings.threads),
        [
            Figure(
                "Hodgkin-Huxley, 200 saves: against scalar Numba", *ratio(plain, ours, 5.0), 12.0
            ),
            Figure("the same, baseline with shuffled runs", *ratio(mixed, ours, 5.0)),
        ],
        [
            f"Difference of the saved potentials: median {np.median(apart):.1e} mV, largest "
            f"{apart.max():.1e} mV (spikes shift within the tolerance). The baseline "
            "integrates every fifth run of the sweep."
        ],
    )


def _ring(settings: Settings, cells: int, runs: int, kind: str) -> tuple:
    from cubie_kernels import solve

    problem = fhn_ring(cells)
    coupling = problem.sweep(runs)
    system = problem.system()
    p, y0 = problem.rows(coupling)
    ensemble = getattr(arrays, kind)(cells, Control.like("pi"))
    name = {"scalar": "Numba, per-run arrays", "vectorised": "Numba, vectorised over states"}[kind]
    times, results = interleave(
        {
            "solve()": lambda: solve(
                system, {"D": coupling}, threads=settings.threads, **problem.options()
            ),
            name: lambda: ensemble(p, y0, 0.0, problem.t_end, problem.rtol, problem.atol),
        },
        settings.rounds,
    )
    solution = results["solve()"]
    require_success(solution)
    out, steps = results[name]
    counts = [attempted(solution), float(steps.sum(1).mean())]
    rows = throughput_table(list(times.values()), [runs, runs], counts, settings.threads)
    states = np.stack([solution[state] for state in problem.states], 1)
    difference = float(np.abs(states - out).max())
    require_agreement(problem.name, difference, 1e-4, *counts)
    processes, note = build(cells, 1 if settings.quick else 3)
    note = f"The largest difference of an end state is {difference:.1e}. {note}"
    return rows, ratio(times[name], times["solve()"]), summary(processes), note


def ring_small(settings: Settings) -> Table:
    """16 cells, 32 states, against ordinary code over per-run arrays."""
    rows, speed, seconds, note = _ring(settings, 16, settings.runs(20_000, 2_000), "scalar")
    return Table(
        "Ring of 16 FitzHugh-Nagumo cells, 32 states, t = 0 … 100, rtol 1e-6, atol 1e-8",
        THROUGHPUT,
        rows,
        [
            Figure("ring of 32 states: against scalar Numba over arrays", *speed, 6.0),
            Figure("build of 32 states from nothing, whole process", *seconds, 5.0, False, "s"),
        ],
        [note],
    )


def ring_large(settings: Settings) -> Table:
    """100 cells, 200 states, against code that vectorises over states."""
    rows, speed, seconds, note = _ring(settings, 100, settings.runs(4_000, 400), "vectorised")
    return Table(
        "Ring of 100 FitzHugh-Nagumo cells, 200 states, t = 0 … 100, rtol 1e-6, atol 1e-8",
        THROUGHPUT,
        rows,
        [
            Figure("ring of 200 states: against Numba vectorised over states", *speed, 1.3),
            Figure("build of 200 states from nothing, whole process", *seconds, 15.0, False, "s"),
        ],
        [note],
    )


_BUILD = """
import json, sys, time
sys.path.insert(0, {folder!r})
from problems import fhn_ring
import cubie_kernels as ck
start = time.perf_counter()
problem = fhn_ring({cells})
system = problem.system()
model = time.perf_counter()
ck.Solver(system, swept=("D",), **problem.options()).build()
print(json.dumps(dict(model=model - start, build=time.perf_counter() - model)))
"""


def build(cells: int, rounds: int) -> tuple[list[Process], str]:
    """Build a ring in fresh processes, each with an empty cache; and say what took how long."""
    source = _BUILD.format(folder=str(Path(__file__).parent), cells=cells)
    processes = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            processes.append(run_python(source, cache))
    best = json.loads(min(processes, key=lambda process: process.seconds).printed)
    return processes, (
        f"Of the quickest build from an empty cache, {best['build']:.2f} s are the kernel and "
        f"{best['model']:.2f} s the model; the rest is Python and imports."
    )
