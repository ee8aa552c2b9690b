"""Work against achieved error: curves through measured points, compared at equal error, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    figure, axes = plt.subplots(figsize=(9.6, 5.4), layout="constrained")
    for name, style in _styles(list(curves), peers).items():
        curve = curves[name]
        axes.plot(10.0**curve.errors, 10.0 ** -curve.seconds[0], label=name, **style)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="relative error at the end, without unit (median of 100 runs)",
        ylabel="speed in runs/s (best round)",
    )
    figure.suptitle(title)
    axes.invert_xaxis()
    axes.grid(alpha=0.35)
    axes.grid(alpha=0.15, which="minor")
    figure.legend(loc="outside right center", frameon=False, handlelength=3.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


_COLOURS = {"erk": "Purples", "rosenbrock": "Blues", "dirk": "Oranges", "firk": "Greens"}
_SHADES = (0.45, 0.95)
_MARKERS = "osD^v*PX<>"
_DASHED = 3
_AUTO = {"color": "crimson", "marker": "d"}
_PEERS = ({"color": "black", "marker": "s"}, {"color": "dimgrey", "marker": "D"})


def _styles(names: Sequence[str], peers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each curve is drawn.

    A family has its colour, darker from method to method, and each of its methods another marker;
    those of low order are dashed. In the order of the legend: families, then the others.
    """
    import matplotlib

    from cubie_kernels.methods import get_method

    families: dict[str, list[str]] = {}
    others: dict[str, dict[str, Any]] = {}
    blacks = iter(_PEERS)
    for name in names:
        if name == "auto":
            others[name] = {**_AUTO, "linewidth": 1.4, "markersize": 6}
        elif name in peers:
            others[name] = {**next(blacks), "linewidth": 2.4, "markersize": 6}
        else:
            families.setdefault(get_method(name).family, []).append(name)
    styles: dict[str, dict[str, Any]] = {}
    for family, members in families.items():
        shades = matplotlib.colormaps[_COLOURS[family]](np.linspace(*_SHADES, len(members)))
        for name, shade, marker in zip(members, shades, _MARKERS, strict=False):
            styles[name] = {
                "color": shade,
                "marker": marker,
                "linestyle": "--" if get_method(name).order <= _DASHED else "-",
                "linewidth": 1.4,
                "markersize": 8 if marker == "*" else 5.5,
            }
    return styles | others
