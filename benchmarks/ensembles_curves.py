"""Work against achieved error: curves through measured points, compared at equal error, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ensembles_timing import Timing

__all__ = ["Curve", "Point", "draw"]


@dataclass(frozen=True)
class Point:
    """A contender at one tolerance: its achieved error, and the time of so many runs."""

    error: float
    runs: int
    timing: Timing


@dataclass(frozen=True)
class Curve:
    """Time of a run by achieved error, through the points that none undercuts.

    Attributes
    ----------
    errors
        log10 of the errors, ascending, shape (points,).
    seconds
        log10 of the best, median and processor seconds of a run, shape (3, points).
    """

    errors: np.ndarray
    seconds: np.ndarray

    @classmethod
    def through(cls, points: Sequence[Point]) -> Curve:
        """The curve through the points that are faster than every more exact one."""
        kept: list[Point] = []
        for point in sorted(points, key=lambda point: point.error):
            if not kept or point.timing.best / point.runs < kept[-1].timing.best / kept[-1].runs:
                kept.append(point)
        times = [(p.timing.best, p.timing.median, min(p.timing.core_seconds)) for p in kept]
        runs = [p.runs for p in kept]
        return cls(np.log10([p.error for p in kept]), np.log10(np.array(times).T / runs))

    def at(self, error: float) -> np.ndarray:
        """log10 of the seconds of a run at this error, (3,), interpolated in logarithms.

        Infinite where the curve isn't as exact; where it is more exact throughout, its quickest.
        """
        exponent = np.log10(error)
        if exponent < self.errors[0]:
            return np.full(3, np.inf)
        return np.array([np.interp(exponent, self.errors, row) for row in self.seconds])

    def speed_against(self, other: Curve, error: float) -> tuple[float, float, float]:
        """How many times as fast as `other` at this error: by best, median, processor time.

        0 where this one doesn't reach it, else infinite where the other one doesn't.
        """
        ours, theirs = self.at(error), other.at(error)
        if not np.isfinite(ours).all():
            return (0.0, 0.0, 0.0)
        best, median, cores = 10.0 ** (theirs - ours)
        return float(best), float(median), float(cores)


def draw(curves: Mapping[str, Curve], title: str, path: Path, *, peers: Sequence[str]) -> None:
    """Draw runs per second against achieved error; `peers` in black and grey."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 4.6), layout="constrained")
    greys = iter(("black", "dimgrey", "darkgrey"))
    for name, curve in curves.items():
        style = {"color": next(greys), "linewidth": 2.2} if name in peers else {}
        axes.plot(
            10.0**curve.errors, 10.0 ** -curve.seconds[0], "o-", markersize=4, label=name, **style
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="achieved relative error at the end (median of 100 runs)",
        ylabel="runs per second",
        title=title,
    )
    axes.invert_xaxis()
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
