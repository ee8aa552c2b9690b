"""What a sweep costs over its kernel and a plain write of the same arrays.

A million Lorenz runs with 41 saves of three states, about 1 GB, three ways in one process:

* ``kernel``: ``Solver.run`` over all runs, results left in memory;
* ``write``: those arrays into a plain zarr group with the chunks and codec of the sweep's store;
* ``sweep``: ``Sweep.run`` into a store.

The ratio is ``sweep / (kernel + write)``, over rounds in which the three take turns: of the
medians, and of the least times, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from cubie_dask import Grid, Plan, Sweep
from cubie_dask.grids.grid import Block
from cubie_kernels import System
from cubie_kernels.run.batch import Outcome

LORENZ = System.from_equations(
    "dx = sigma*(y - x)\ndy = x*(rho - z) - y\ndz = x*y - beta*z",
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"rho": 28.0, "sigma": 10.0, "beta": 8.0 / 3.0},
    name="lorenz",
)


def make_sweep(runs: int, saves: int) -> Sweep:
    return Sweep(
        LORENZ,
        Grid.product(rho=np.linspace(0.0, 21.0, runs)),
        t_span=(0.0, 1.0),
        save_at=np.linspace(0.0, 1.0, saves),
        rtol=1e-8,
        atol=1e-8,
    )


def run_kernel(sweep: Sweep) -> Outcome:
    runs = sweep.grid.runs
    return sweep.solver.run(sweep.grid.columns(Block((0,), (runs,))), runs)


def plain_write(path: Path, plan: Plan, outcome: Outcome) -> None:
    group = zarr.create_group(str(path))
    assert outcome.states is not None
    arrays = dict(zip(plan.variables, outcome.states, strict=True))
    arrays |= {"status": outcome.status, "accepted": outcome.accepted}
    arrays |= {"rejected": outcome.rejected, "final_time": outcome.final_time}
    for name, values in arrays.items():
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape[:-1] + plan.chunk,
            dtype=values.dtype,
            compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
            config={"write_empty_chunks": True},
        )
        array[:] = values


def one_round(sweep: Sweep, folder: Path) -> dict[str, float]:
    seconds = {}
    start = time.perf_counter()
    outcome = run_kernel(sweep)
    seconds["kernel"] = time.perf_counter() - start
    start = time.perf_counter()
    plain_write(folder / "plain.zarr", sweep.plan(), outcome)
    seconds["write"] = time.perf_counter() - start
    del outcome
    shutil.rmtree(folder / "plain.zarr")
    start = time.perf_counter()
    report = sweep.run(folder / "sweep.zarr", progress="none")
    seconds["sweep"] = time.perf_counter() - start
    assert report.complete
    shutil.rmtree(folder / "sweep.zarr")
    seconds["ratio"] = seconds["sweep"] / (seconds["kernel"] + seconds["write"])
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--saves", type=int, default=41)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=None, help="where the stores go (default: temporary)")
    options = parser.parse_args()
    sweep = make_sweep(options.runs, options.saves)
    print(sweep.plan())
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {sys.version[:6]}")
    small = make_sweep(1000, options.saves)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        one_round(small, Path(folder))
        rounds = []
        print(f"{'kernel':>8} {'write':>8} {'sweep':>8} {'ratio':>8}")
        for _ in range(options.rounds):
            rounds.append(one_round(sweep, Path(folder)))
            print(" ".join(f"{value:8.3f}" for value in rounds[-1].values()), flush=True)
    for name, pick in (("median", statistics.median), ("least", min)):
        kernel, write, whole = (
            pick([r[key] for r in rounds]) for key in ("kernel", "write", "sweep")
        )
        ratio = whole / (kernel + write)
        print(f"{kernel:8.3f} {write:8.3f} {whole:8.3f} {ratio:8.3f}  {name}")


if __name__ == "__main__":
    main()
