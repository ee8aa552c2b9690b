"""Section on work against achieved error: Verner methods and heyoka's Taylor method."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ensembles_checks import require_success
from ensembles_curves import Curve, Point, draw
from ensembles_timing import Figure, Settings, Table, interleave
from problems import LORENZ

__all__ = ["PICTURE", "work_precision"]

PICTURE = "work_precision_lorenz.png"
REFERENCE_RUNS = 100
METHODS = ("tsit5", "vern7", "vern8", "vern9", "dop853")
_LOOSE_FOR = {"tsit5": (1e-6, 1e-8, 1e-10), "dop853": (1e-6, 1e-8, 1e-10, 1e-12)}
_VERNER = (1e-6, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13)
_HEYOKA = (1e-4, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14)


def reference() -> np.ndarray:
    """End states of the reference runs, (runs, 3): extended precision, checked with DOP853."""
    import heyoka as hy
    from scipy.integrate import solve_ivp

    p, y0 = LORENZ.rows(LORENZ.sweep(REFERENCE_RUNS))
    real = np.longdouble
    variables = hy.make_vars("x", "y", "z")
    equations = LORENZ.rhs(hy.time, variables, [hy.par[i] for i in range(3)])
    integrator = hy.taylor_adaptive(
        list(zip(variables, equations, strict=True)),
        np.zeros(3, real),
        pars=np.zeros(3, real),
        tol=real(1e-19),
        fp_type=real,
    )
    out = np.empty((REFERENCE_RUNS, 3), real)
    for r in range(REFERENCE_RUNS):
        integrator.time = real(0.0)
        integrator.state[:] = y0[r]
        integrator.pars[:] = p[r]
        integrator.propagate_until(real(LORENZ.t_end))
        out[r] = integrator.state
    for r in (0, REFERENCE_RUNS // 2, REFERENCE_RUNS - 1):
        other = solve_ivp(
            LORENZ.rhs, (0, LORENZ.t_end), y0[r], "DOP853", args=(p[r],), rtol=3e-14, atol=1e-16
        )
        if not np.allclose(other.y[:, -1], out[r].astype(float), rtol=1e-11, atol=1e-14):
            raise RuntimeError(f"two references disagree: {other.y[:, -1]} and {out[r]}")
    return out


def median_error(states: np.ndarray, exact: np.ndarray) -> float:
    """Median over runs of ``max|y - exact| / max|exact|``."""
    return float(np.median(np.abs(states - exact).max(1) / np.abs(exact).max(1)))


def _ours(settings: Settings, method: str, tolerance: float) -> tuple[Callable, Callable]:
    from cubie_kernels import solve

    system = LORENZ.system()
    options = LORENZ.options() | {"rtol": tolerance, "atol": tolerance, "method": method}

    def run(rho):
        solution = solve(system, {"rho": rho}, threads=settings.threads, **options)
        require_success(solution)
        return np.stack([solution[name] for name in LORENZ.states], 1)

    return run, lambda rho: solve(system, {"rho": rho}, threads=settings.threads, **options)


def _theirs(
    settings: Settings, tolerance: float, t_end: float = LORENZ.t_end
) -> tuple[Callable, Callable]:
    from baselines.heyoka_batch import end_states

    solver = end_states(LORENZ.rhs, 3, 3, tolerance)

    def run(rho):
        p, y0 = LORENZ.rows(rho)
        return solver(p, y0, t_end, settings.threads)

    return run, run


def work_precision(settings: Settings, folder: Path) -> Table:
    """Time of a sweep against its achieved error; heyoka is optional."""
    header = (
        "contender",
        "tolerance",
        "median error",
        "best s",
        "median s",
        "processor s",
        "runs/s",
    )
    title = "Lorenz, work against achieved error"
    if find_spec("heyoka") is None:
        return Table(title, header, [], notes=["heyoka isn't installed (extra `bench`): left out."])
    runs = settings.runs(100_000, 20_000)
    rho, few = LORENZ.sweep(runs), LORENZ.sweep(REFERENCE_RUNS)
    exact = reference()
    points = {("heyoka", tol): _theirs(settings, tol) for tol in _HEYOKA}
    for method in METHODS:
        for tol in _LOOSE_FOR.get(method, _VERNER):
            points[method, tol] = _ours(settings, method, tol)
    points["heyoka, calls alone", 1e-8] = _theirs(settings, 1e-8, t_end=1e-9)
    errors = {key: median_error(states(few), exact) for key, (states, _) in points.items()}
    times, _ = interleave(
        {key: (lambda f=f: f(rho)) for key, (_, f) in points.items()}, max(3, settings.rounds)
    )
    curves = {
        name: Curve.through([Point(errors[k], runs, times[k]) for k in points if k[0] == name])
        for name in ("heyoka", *METHODS)
    }
    draw(curves, title, folder / PICTURE, peers=["heyoka"])
    rows = [
        [
            key[0],
            f"{key[1]:.0e}",
            f"{errors[key]:.1e}",
            f"{t.best:.4f}",
            f"{t.median:.4f}",
            f"{min(t.core_seconds):.4f}",
            f"{runs / t.best:,.0f}",
        ]
        for key, t in times.items()
    ]
    figures, note = _compare(curves)
    calls = times["heyoka, calls alone", 1e-8].best
    fastest = runs * 10.0 ** curves["heyoka"].seconds[0].min()
    note += (
        f" They take {calls:.4f} s of the {fastest:.4f} s of its fastest "
        "sweep, so the ratios are about the package as used from Python, not its steps alone."
    )
    return Table(title, header, rows, figures, [note, f"![work and precision]({PICTURE})"])


def _compare(curves: dict[str, Curve]) -> tuple[list[Figure], str]:
    theirs = curves["heyoka"]
    ours = {name: curve for name, curve in curves.items() if name != "heyoka"}
    figures, parts = [], []
    for exponent in range(-6, -15, -1):
        error = 10.0**exponent
        method = min(ours, key=lambda name, at=error: ours[name].at(at)[0])
        best, median, cores = ours[method].speed_against(theirs, error)
        if not np.isfinite(best) or best == 0.0:
            continue
        parts.append(f"1e{exponent}: {best:.2f} ({method})")
        if exponent in (-8, -10, -12):
            what = f"Lorenz at an achieved error of 1e{exponent}: against heyoka, {method}"
            figures.append(Figure(what, best, median, cores, 5.0))
    note = (
        f"Speed against heyoka at equal achieved error: {', '.join(parts)}. `calls alone` is "
        "heyoka over a span of 1e-9: what calling it for each batch costs in any case."
    )
    return figures, note
