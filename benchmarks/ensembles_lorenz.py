"""Sections on the Lorenz sweep: adaptive, fixed steps against the FMA peak, precision."""

from __future__ import annotations

import numpy as np
from baselines import peak, scalar
from baselines.tsit5 import Control
from ensembles_checks import attempted, require_agreement, require_success
from ensembles_machine import vector_units
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
from problems import LORENZ

__all__ = ["adaptive", "fixed_step", "precision"]

FIXED_STEP_FLOPS = 174
"""Operations of a Tsit5 step of the Lorenz model, an FMA as two: 6 evaluations of 8, and 21 FMA
for each of 3 components with the step folded into the coefficients."""


def adaptive(settings: Settings) -> Table:
    """Tsit5 at 1e-8, end state: `solve` against ordinary Numba."""
    from cubie_kernels import solve

    runs = settings.runs(1_000_000)
    rho = LORENZ.sweep(runs)
    system = LORENZ.system()
    part = rho[:: max(1, runs // settings.runs(100_000, 10_000))]
    p, y0 = LORENZ.rows(part)
    shuffled = p[np.random.default_rng(1).permutation(len(part))]
    ensemble = scalar.adaptive(LORENZ.rhs, 3, Control.like("pi"))
    end = np.array([LORENZ.t_end])
    arguments = (0.0, LORENZ.t_end, LORENZ.rtol, LORENZ.atol, end)
    times, results = interleave(
        {
            "solve()": lambda: solve(
                system, {"rho": rho}, threads=settings.threads, **LORENZ.options()
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
    states = np.stack([solution[name] for name in LORENZ.states], 1)[:: runs // len(part)]
    difference = float(np.abs(states - out[:, -1]).max())
    require_agreement("Lorenz, adaptive", difference, 1e-7, *counts)
    scale = runs / len(part)
    aim = 10.0 if vector_units() == "AVX-512" else 5.0
    return Table(
        "Lorenz, Tsit5 at rtol = atol = 1e-8, end state",
        THROUGHPUT,
        throughput_table([ours, plain, mixed], [runs, *[len(part)] * 2], counts, settings.threads),
        [
            Figure(
                "Lorenz, adaptive: solve() against scalar Numba", *ratio(plain, ours, scale), aim
            ),
            Figure("the same, baseline with shuffled runs", *ratio(mixed, ours, scale)),
        ],
        [
            "Both take Hairer's first step and PI control with the same coefficients; the largest "
            f"difference of an end state is {difference:.1e}. `prange` "
            "splits the sweep in halves of unequal work; shuffled runs show it without that. The "
            "baseline integrates every tenth run of the sweep: its time per run is the same.",
        ],
    )


def fixed_step(settings: Settings) -> Table:
    """Tsit5 at dt = 1e-3 against the FMA peak of the machine."""
    from cubie_kernels import solve

    runs, steps = settings.runs(1_000_000), 1000
    rho = LORENZ.sweep(runs)
    system = LORENZ.system()
    few = max(runs // 10, 64)
    p, y0 = LORENZ.rows(LORENZ.sweep(few))
    ensemble = scalar.fixed(LORENZ.rhs, 3)
    kernels = peak.peak_kernels(settings.threads)
    names = {width: f"FMA loop, {width} x f64" for width in kernels}
    times, results = interleave(
        {names[width]: call for width, (call, _) in kernels.items()}
        | {
            "solve()": lambda: solve(
                system,
                {"rho": rho},
                t_span=(0.0, 1.0),
                dt=1e-3,
                adaptive=False,
                threads=settings.threads,
            ),
            "Numba, one run per iteration": lambda: ensemble(p, y0, 0.0, 1e-3, steps),
        },
        settings.rounds,
    )
    require_success(results["solve()"])
    ours, plain = times["solve()"], times["Numba, one run per iteration"]
    ends = np.stack([results["solve()"][name][[0, -1]] for name in LORENZ.states], 1)
    difference = float(np.abs(ends - results[plain.name][[0, -1]]).max())
    require_agreement("Lorenz, fixed step", difference, 1e-10)
    rates = {w: flops / times[names[w]].best for w, (_, flops) in kernels.items()}
    width = max(rates, key=rates.get)
    flops = kernels[width][1]
    own = runs * steps * FIXED_STEP_FLOPS
    rows = [
        [names[w], "", f"{rate / 1e9:.1f}", f"{rate / rates[width]:.0%}"]
        for w, rate in rates.items()
    ]
    for timing, count in ((ours, runs), (plain, few)):
        rate = count * steps * FIXED_STEP_FLOPS / timing.best
        rows.append(
            [
                timing.name,
                f"{count / timing.best:,.0f}",
                f"{rate / 1e9:.1f}",
                f"{rate / rates[width]:.0%}",
            ]
        )
    fraction = ratio(times[names[width]], ours, 100.0 * own / flops)
    return Table(
        "Lorenz, Tsit5 at dt = 1e-3, 1000 steps, end state",
        ("contender", "runs/s", "GFLOP/s", "of the FMA peak"),
        rows,
        [Figure("Lorenz, fixed step: share of the f64 FMA peak", *fraction, 80.0, unit="%")],
        [f"{FIXED_STEP_FLOPS} operations a step, an FMA counted as two."],
    )


def precision(settings: Settings) -> Table:
    """f32 at 1e-5 against f64 at 1e-8, time per step."""
    from cubie_kernels import Solver, solve
    from cubie_kernels.run.batch import Column

    runs = settings.runs(1_000_000)
    rho = LORENZ.sweep(runs)
    system = LORENZ.system()
    options = {
        "float64": LORENZ.options(),
        "float32": LORENZ.options() | {"rtol": 1e-5, "atol": 1e-5, "precision": "float32"},
    }

    def whole(kind):
        return lambda: solve(system, {"rho": rho}, threads=settings.threads, **options[kind])

    def kernel(kind):
        solver = Solver(system, swept=("rho",), **options[kind])
        columns = {"rho": Column(rho)}
        return lambda: solver.run(columns, runs, settings.threads)

    times, results = interleave(
        {f"solve(), {kind}": whole(kind) for kind in options}
        | {f"Solver.run(), {kind}": kernel(kind) for kind in options},
        settings.rounds,
    )
    counts = {kind: attempted(results[f"solve(), {kind}"]) for kind in options}
    for kind in options:
        require_success(results[f"solve(), {kind}"])
    single, double = (results[f"solve(), {kind}"]["x"] for kind in ("float32", "float64"))
    require_agreement("Lorenz, f32 against f64", float(np.abs(single - double).max()), 1e-2)
    scale = counts["float32"] / counts["float64"]

    def per_step(what: str) -> tuple[float, float, float]:
        pair: list[Timing] = [times[f"{what}, {kind}"] for kind in options]
        return ratio(*pair, scale)

    return Table(
        "Lorenz, f32 at 1e-5 against f64 at 1e-8",
        THROUGHPUT,
        throughput_table(
            list(times.values()),
            [runs] * 4,
            [*counts.values(), *counts.values()],
            settings.threads,
        ),
        [
            Figure("f32 at 1e-5: steps per second against f64 at 1e-8", *per_step("solve()"), 1.4),
            Figure("the same, Solver.run() alone", *per_step("Solver.run()")),
        ],
    )
