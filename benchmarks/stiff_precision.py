"""Sections on stiff ensembles: work against achieved error, LSODA and heyoka beside `solve`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from baselines import lsoda
from ensembles_checks import WrongResultError, attempted, require_success
from ensembles_curves import Curve, Point, draw
from ensembles_timing import Figure, Settings, Table, Timing, interleave
from stiff_problems import HIRES, ROBERTSON, VAN_DER_POL, VAN_DER_POL_LONG, StiffProblem
from stiff_references import REFERENCE_RUNS, reference

__all__ = ["available_methods", "picture", "stiff_precision"]

RUNS = 10_000
AIMS = {
    ROBERTSON.name: 100.0,
    HIRES.name: 50.0,
    VAN_DER_POL_LONG.name: 50.0,
    VAN_DER_POL.name: 25.0,
}

# By what the tolerances of methods of second, low, middle and high order are multiplied.
_LOWEST = (100.0, 10.0, 1.0)
_LOW = (10.0, 1.0, 1e-1)
_MIDDLE = (100.0, *_LOW, 1e-2)
_HIGH = (*_MIDDLE, 1e-3)
METHODS = {
    "auto": _HIGH,
    "rosenbrock23": _LOWEST,
    "tr-bdf2": _LOWEST,
    "rodas3": _LOW,
    "ros34pw2": _LOW,
    "kvaerno3": _LOW,
    "sdirk4": _LOW,
    "rodas4": _MIDDLE,
    "rodas4p": _MIDDLE,
    "rodas42": _MIDDLE,
    "rodas5": _HIGH,
    "rodas5p": _HIGH,
    "kvaerno5": _HIGH,
    "esdirk54": _HIGH,
    "radau-iia-5": _HIGH,
    "radau-iia-9": (*_HIGH, 1e-4),
}
"""Methods with their ladders of tolerances."""

# The errors of the peers at which an aim is set.
_AIMED = (5e-9, 1e-4)
# LSODA integrates every so many-th run of the sweep: its time for a run is the same.
_LSODA_STRIDES = {1.0: 5, 1e-1: 10, 1e-2: 10, 1e-3: 20, 1e-4: 40}
_HEYOKA_FOR = {VAN_DER_POL.name: (100.0, 1.0, 1e-2)}


PEERS = ("LSODA", "heyoka")
MOST_BEYOND = 10.0
"""What an achieved error may be of the tolerance asked for."""

Key = tuple[str, float]
Points = dict[Key, Point]
Speed = tuple[float, float, float]


@dataclass(frozen=True)
class Achieved:
    """Errors of the reference runs, both (runs,).

    Attributes
    ----------
    errors
        Relative ones, by which speeds are compared.
    beyond
        Errors over the tolerance asked for.
    """

    errors: np.ndarray
    beyond: np.ndarray


@dataclass(frozen=True)
class Contender:
    """One contender at one tolerance.

    Attributes
    ----------
    ends
        End states of the reference sweep, (runs, states).
    call
        What is timed: `runs` runs of the sweep.
    """

    name: str
    scale: float
    runs: int
    ends: Callable[[], np.ndarray]
    call: Callable[[], Any]

    @property
    def key(self) -> Key:
        return self.name, self.scale


def available_methods() -> list[str]:
    """Those of `METHODS` that this version offers."""
    from cubie_kernels import methods

    offered = {"auto", *(info.name for info in methods())}
    return [name for name in METHODS if name in offered]


def picture(problem: StiffProblem) -> str:
    """Name of the file of a problem's plot."""
    return f"work_precision_{problem.name}.png"


def _ours(problem: StiffProblem, settings: Settings) -> Iterator[Contender]:
    from cubie_kernels import solve

    system = problem.system()
    runs = settings.runs(RUNS)
    timed, few = problem.columns(runs), problem.columns(REFERENCE_RUNS)

    def call(columns, method, scale):
        return solve(
            system,
            columns,
            grid="zip",
            threads=settings.threads,
            method=method,
            **problem.options(scale),
        )

    def ends(method, scale):
        solution = call(few, method, scale)
        require_success(solution)
        return np.stack([solution[name] for name in problem.states], 1)

    for name in available_methods():
        for scale in METHODS[name]:
            yield Contender(
                name,
                scale,
                runs,
                functools.partial(ends, name, scale),
                functools.partial(call, timed, name, scale),
            )


def _lsoda(problem: StiffProblem, settings: Settings) -> Iterator[Contender]:
    ensemble = lsoda.end_states(problem.rhs, len(problem.states), len(problem.parameters))
    p, y0 = problem.rows(RUNS)
    few = problem.rows(REFERENCE_RUNS)
    slower = 1 if lsoda.installed() else 20
    for scale, stride in _LSODA_STRIDES.items():
        every = stride * slower * (5 if settings.quick else 1)
        tolerances = (problem.t_end, problem.rtol * scale, min(problem.atol) * scale)
        yield Contender(
            "LSODA",
            scale,
            len(p[::every]),
            functools.partial(ensemble, *few, *tolerances),
            functools.partial(ensemble, p[::every].copy(), y0[::every].copy(), *tolerances),
        )


def _heyoka(problem: StiffProblem, settings: Settings) -> Iterator[Contender]:
    from baselines.heyoka_batch import end_states

    timed, few = problem.rows(settings.runs(RUNS)), problem.rows(REFERENCE_RUNS)
    for scale in _HEYOKA_FOR[problem.name]:
        ensemble = end_states(
            problem.rhs, len(problem.states), len(problem.parameters), problem.rtol * scale
        )
        span = (problem.t_end, settings.threads)
        yield Contender(
            "heyoka",
            scale,
            len(timed[0]),
            functools.partial(ensemble, *few, *span),
            functools.partial(ensemble, *timed, *span),
        )


def _contenders(problem: StiffProblem, settings: Settings) -> tuple[list[Contender], list[str]]:
    """All contenders, and what to say of those that are missing."""
    contenders = [*_ours(problem, settings), *_lsoda(problem, settings)]
    notes = [] if lsoda.installed() else [lsoda.MISSING]
    if problem.name in _HEYOKA_FOR:
        if find_spec("heyoka") is None:
            notes.append("**heyoka isn't installed (extra `bench`): left out.**")
        else:
            contenders += _heyoka(problem, settings)
    absent = [name for name in METHODS if name not in available_methods()]
    if absent:
        notes.append(f"**This version has no {', '.join(absent)}: left out.**")
    return contenders, notes


def _achieved(
    problem: StiffProblem, contenders: list[Contender]
) -> tuple[dict[Key, Achieved], list[str]]:
    """Errors of the reference runs by contender, and which ones failed."""
    exact = reference(problem)
    achieved, failed = {}, []
    for contender in contenders:
        try:
            ends = contender.ends()
        except WrongResultError:
            ends = np.full_like(exact, np.nan)
        if np.isfinite(ends).all():
            achieved[contender.key] = Achieved(
                problem.errors(ends, exact), problem.beyond(ends, exact, contender.scale)
            )
        else:
            failed.append(f"{contender.name} at {problem.rtol * contender.scale:.0e}")
    notes = [f"**Some runs failed, left out: {', '.join(failed)}.**"] if failed else []
    return achieved, notes


def stiff_precision(problem: StiffProblem, settings: Settings, folder: Path) -> Table:
    """Time of 10,000 runs against their achieved error, for all methods and the peers."""
    contenders, notes = _contenders(problem, settings)
    achieved, failures = _achieved(problem, contenders)
    contenders = [contender for contender in contenders if contender.key in achieved]
    times, results = interleave({c.key: c.call for c in contenders}, settings.rounds)

    def points(size: Callable[[np.ndarray], np.floating]) -> Points:
        return {
            c.key: Point(float(size(achieved[c.key].errors)), c.runs, times[c.key])
            for c in contenders
        }

    medians = points(np.median)
    if not settings.quick:
        draw(_curves(medians), problem.title, folder / picture(problem), peers=PEERS)
    return Table(
        problem.title,
        HEADER,
        [_row(problem, c, achieved[c.key], times[c.key], results[c.key]) for c in contenders],
        [*_figures(problem, medians), _tolerance_figure(problem, achieved)],
        [
            *notes,
            *failures,
            f"Speed at equal achieved error, median of the runs: {_speeds(medians)}.",
            f"Speed at equal largest error of the runs: {_speeds(points(np.max))}.",
            f"![work and precision]({picture(problem)})",
        ],
    )


HEADER = (
    "contender",
    "rtol",
    "median error",
    "largest error",
    "median error / tolerance",
    "largest error / tolerance",
    "steps/run",
    "runs",
    "best s",
    "median s",
    "processor s",
    "runs/s",
)


def _row(
    problem: StiffProblem, contender: Contender, achieved: Achieved, times: Timing, result: Any
) -> list[str]:
    errors, beyond = achieved.errors, achieved.beyond
    return [
        contender.name,
        f"{problem.rtol * contender.scale:.0e}",
        f"{np.median(errors):.1e}",
        f"{errors.max():.1e}",
        f"{np.median(beyond):.2g}",
        f"{beyond.max():.2g}",
        "" if isinstance(result, np.ndarray) else f"{attempted(result):.0f}",
        f"{contender.runs:,}",
        f"{times.best:.4f}",
        f"{times.median:.4f}",
        f"{min(times.core_seconds):.4f}",
        f"{contender.runs / times.best:,.0f}",
    ]


def _curves(points: Points) -> dict[str, Curve]:
    names = dict.fromkeys(name for name, _ in points)
    return {name: Curve.through([points[k] for k in points if k[0] == name]) for name in names}


def _against_peers(points: Points) -> Iterator[tuple[str, float, str, Speed]]:
    """Peer, its error, our quickest method there and its speed, where no peer is quicker."""
    curves = _curves(points)
    peers = [name for name in PEERS if name in curves]
    ours = [name for name in curves if name not in peers]
    for (name, _), point in points.items():

        def seconds(name: str, error: float = point.error) -> float:
            return curves[name].at(error)[0]

        if name in peers and name == min(peers, key=seconds):
            method = min(ours, key=seconds)
            speed = curves[method].speed_against(curves[name], point.error)
            yield name, point.error, method, speed


def _speeds(points: Points) -> str:
    return ", ".join(
        f"{error:.1e}: {speed[0]:.0f} ({method} against {peer})"
        for peer, error, method, speed in _against_peers(points)
    )


def _figures(problem: StiffProblem, points: Points) -> list[Figure]:
    what = problem.title.partition(",")[0]
    return [
        Figure(f"{what}, error {error:.0e}: {method} against {peer}", *speed, AIMS[problem.name])
        for peer, error, method, speed in _against_peers(points)
        if _AIMED[0] <= error <= _AIMED[1]
    ]


def _tolerance_figure(problem: StiffProblem, achieved: dict[Key, Achieved]) -> Figure:
    """The largest of our methods' median errors over the tolerance asked for."""
    medians = {
        key: float(np.median(found.beyond))
        for key, found in achieved.items()
        if key[0] not in PEERS
    }
    (name, scale), most = max(medians.items(), key=lambda item: item[1])
    what = problem.title.partition(",")[0]
    return Figure(
        f"{what}, error over the tolerance asked for, most of all methods: {name} at "
        f"{problem.rtol * scale:.0e}",
        most,
        None,
        None,
        MOST_BEYOND,
        at_least=False,
    )
