"""Section on uneven work: order of the runs, and a few slow ones among many."""

from __future__ import annotations

import numpy as np
from ensembles_checks import WrongResultError, attempted, require_success
from ensembles_timing import (
    THROUGHPUT,
    Figure,
    Settings,
    Table,
    Timing,
    interleave,
    ratio,
    throughput_table,
)
from problems import OSCILLATOR

__all__ = ["heterogeneous"]

SLOW = 16
SLOW_FACTOR = 400.0


def heterogeneous(settings: Settings) -> Table:
    """A 10:1 sweep in two orders; 16 runs of 400 times the work among many."""
    from cubie_kernels import solve

    system = OSCILLATOR.system()
    options = OSCILLATOR.options() | {"max_steps": 10_000_000, "threads": settings.threads}
    order, mixed, sweeps = _sweeps(settings)
    times, results = interleave(
        {
            name: lambda omega=omega: solve(system, {"omega": omega}, **options)
            for name, omega in sweeps.items()
        },
        settings.rounds,
    )
    for solution in results.values():
        require_success(solution)
    rows = throughput_table(
        list(times.values()),
        [len(omega) for omega in sweeps.values()],
        [attempted(solution) for solution in results.values()],
        settings.threads,
    )
    found = [results[name]["x"] for name in sweeps]
    _require_equal(found[0][order], found[1])
    _require_equal(found[4], np.where(mixed == 1.0, found[2][0], found[3][0]))
    return Table(
        "Harmonic oscillators, t = 0 … 20, rtol 1e-6, atol 1e-8",
        THROUGHPUT,
        rows,
        _figures(list(times.values())),
        [
            f"A slow run has {SLOW_FACTOR:g} times the frequency. The second and third figure "
            "divide by the sum of the times of the fast runs and of the slow ones by themselves."
        ],
    )


def _sweeps(settings: Settings) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return the random order, the frequencies with slow ones anywhere, and all sweeps by name."""
    runs = settings.runs(200_000)
    many = settings.runs(100_000)
    random = np.random.default_rng(7)
    ascending = np.geomspace(OSCILLATOR.low, OSCILLATOR.high, runs)
    order = random.permutation(runs)
    mixed = np.ones(many)
    slow = np.full(SLOW, SLOW_FACTOR)
    mixed[random.choice(many, SLOW, replace=False)] = SLOW_FACTOR
    clustered = np.ones(many)
    clustered[-SLOW:] = SLOW_FACTOR
    return (
        order,
        mixed,
        {
            "decade, ascending": ascending,
            "decade, random order": ascending[order],
            f"{many:,} fast": np.ones(many),
            f"{SLOW} slow alone": slow,
            f"{many:,} with {SLOW} slow anywhere": mixed,
            f"{many:,} with {SLOW} slow at the end": clustered,
        },
    )


def _figures(times: list[Timing]) -> list[Figure]:
    ordered, shuffled, fast, alone, anywhere, end = times
    both = Timing(
        "fast, then slow",
        tuple(a + b for a, b in zip(fast.seconds, alone.seconds, strict=True)),
        tuple(a + b for a, b in zip(fast.core_seconds, alone.core_seconds, strict=True)),
    )
    return [
        Figure(
            "10:1 sweep: random order against ascending",
            *ratio(shuffled, ordered),
            1.05,
            False,
        ),
        Figure(
            f"{SLOW} slow runs anywhere: time against fast ones plus slow ones alone",
            *ratio(anywhere, both),
            1.05,
            False,
        ),
        Figure(
            f"{SLOW} slow runs at the end: the same",
            *ratio(end, both),
            1.05,
            False,
        ),
    ]


def _require_equal(one: np.ndarray, other: np.ndarray) -> None:
    if not np.array_equal(one, other):
        raise WrongResultError("the end state of a run depends on its neighbours or its place")
