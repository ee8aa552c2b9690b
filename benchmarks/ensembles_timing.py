"""Interleaved timing, and what a section of the benchmark reports."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Figure", "Settings", "Table", "Timing", "interleave", "ratio", "throughput_table"]


@dataclass(frozen=True)
class Settings:
    """How large and how long.

    Attributes
    ----------
    quick
        Small sizes and few rounds: to see that it works, not to quote.
    threads
        Threads of every contender.
    rounds
        Timed rounds; each contender runs once in each.
    """

    quick: bool
    threads: int
    rounds: int

    def runs(self, full: int, quick: int | None = None) -> int:
        return (quick or max(full // 20, 64)) if self.quick else full


@dataclass(frozen=True)
class Timing:
    """Seconds of one call of a contender, by round: on the clock, and summed over its cores."""

    name: str
    seconds: tuple[float, ...]
    core_seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Figure:
    """One figure to reach: its value by best and median times and by processor time; its aim.

    A figure that is no time has but the first value.
    """

    what: str
    best: float
    median: float | None
    cores: float | None
    aim: float | None = None
    at_least: bool = True
    unit: str = "x"

    @property
    def verdict(self) -> str:
        if self.aim is None:
            return "for information"
        by_clock = self._reached(self.best)
        if self.cores is None or self._reached(self.cores) == by_clock:
            return by_clock
        return f"{by_clock} (processor time: {self._reached(self.cores)})"

    def _reached(self, value: float) -> str:
        assert self.aim is not None
        return "pass" if (value >= self.aim if self.at_least else value <= self.aim) else "miss"

    def cells(self) -> tuple[str, ...]:
        sign = "≥" if self.at_least else "≤"
        aim = "" if self.aim is None else f"{sign} {self.aim:g} {self.unit}"
        return (
            self.what,
            aim,
            f"{self.best:.3g} {self.unit}",
            "" if self.median is None else f"{self.median:.3g} {self.unit}",
            "" if self.cores is None else f"{self.cores:.3g} {self.unit}",
            self.verdict,
        )


@dataclass(frozen=True)
class Table:
    """What one section found."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = field(default=())

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _row(self.header), _row(["---"] * len(self.header))]
        lines += [_row(row) for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join([*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def figures_markdown(figures: Sequence[Figure]) -> str:
    """The table of all figures with their verdicts."""
    header = ("figure", "aim", "by best times", "by median times", "by processor time", "verdict")
    lines = [_row(header), _row(["---"] * len(header))]
    return "\n".join([*lines, *(_row(figure.cells()) for figure in figures), ""])


def interleave(
    calls: Mapping[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, Timing], dict[str, Any]]:
    """Time the calls in turn, ABC ABC …, after one untimed call of each.

    Quick contenders are called several times in a row, so that all turns last about as long: on a
    busy machine a short turn meets a quiet moment that a long one never does.

    Returns
    -------
    timings, results
        By name; the results are those of the untimed calls.
    """
    results = {name: call() for name, call in calls.items()}
    once = {name: _timed(call, 1)[0] for name, call in calls.items()}
    turn = min(max(once.values()), LONGEST_TURN)
    repeats = {name: max(1, round(turn / seconds)) for name, seconds in once.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(_timed(call, repeats[name]))
    return {
        name: Timing(name, *zip(*seconds, strict=True)) for name, seconds in found.items()
    }, results


def _timed(call: Callable[[], Any], times: int) -> tuple[float, float]:
    """Mean seconds of a call: on the clock, and of all this process's threads together."""
    start, cores = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times, (time.process_time() - cores) / times


def ratio(above: Timing, below: Timing, scale: float = 1.0) -> tuple[float, float, float]:
    """``scale * above / below``: of best times, median over rounds, of least processor times."""
    rounds = [scale * a / b for a, b in zip(above.seconds, below.seconds, strict=True)]
    return (
        scale * above.best / below.best,
        statistics.median(rounds),
        scale * min(above.core_seconds) / min(below.core_seconds),
    )


LONGEST_TURN = 2.0
THROUGHPUT = (
    "contender",
    "runs",
    "best s",
    "median s",
    "runs/s",
    "steps/run",
    "core-ns/step",
    "processor-ns/step",
)


def throughput_table(
    timings: Sequence[Timing], runs: Sequence[int], steps: Sequence[float], threads: int
) -> list[list[str]]:
    """Rows under `THROUGHPUT`; `runs` and attempted `steps` per run by contender."""
    return [
        [
            timing.name,
            f"{n:,}",
            f"{timing.best:.4f}",
            f"{timing.median:.4f}",
            f"{n / timing.best:,.0f}",
            f"{count:.2f}",
            f"{timing.best * threads * 1e9 / (n * count):.2f}",
            f"{min(timing.core_seconds) * 1e9 / (n * count):.2f}",
        ]
        for timing, n, count in zip(timings, runs, steps, strict=True)
    ]


def available_threads() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
