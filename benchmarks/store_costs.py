"""What stores cost, and what it costs workers to share cores badly: figures of ``docs/``.

* ``sizes``: Lorenz runs on a product grid, stored with all bits of the mantissa and with fewer;
* ``flush``: the files of a chunk, left to the operating system or flushed to the disk (``fsync``);
* ``verify``: how fast `verify_sweep` reads a store, of large and of small chunks;
* ``graph``: memory of Dask's list of tasks when statistics of a sweep are computed;
* ``threads``: one sweep on two workers, whose kernels use the cores that the sweep gives them, or
  all cores each.

Contenders take turns. Where a range stands, nine of ten values of ``flush`` lie in it, and all of
the others. Processor time of the workers is hardly disturbed by other programs; wall times are, and
on a busy machine more threads get a larger part of it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import dask
import numpy as np
import psutil
from sweeps_workload import LORENZ, Workload

from cubie_dask import Grid, Sweep, local_cluster, verify_sweep
from cubie_dask.analysis.statistics import ensemble_statistics

KEEPBITS = (None, 20, 12, 7)
FILES = ((9, 100_000), (1, 8_000_000))


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def lorenz(shape: tuple[int, int], **options: object) -> Sweep:
    grid = Grid.product(rho=np.linspace(0.0, 28.0, shape[0]), sigma=np.linspace(8, 12, shape[1]))
    given = {"t_span": (0.0, 10.0), "save_every": 1.0, "rtol": 1e-6, "atol": 1e-8}
    return Sweep(LORENZ, grid, **given | options)


def sizes(folder: Path, quick: bool) -> None:
    shape = (20, 200) if quick else (200, 2000)
    print(f"\nsizes: {shape[0] * shape[1]:,} runs, 3 states at 11 times\n")
    print(f"{'keepbits':>9} {'MB':>8} {'stored':>8} {'ratio':>7}")
    for keepbits in KEEPBITS:
        sweep = lorenz(shape, keepbits=keepbits)
        store = folder / f"keepbits{keepbits}"
        sweep.run(store, progress="none")
        plain = 3 * 11 * 8 * sweep.grid.runs
        stored = sum(
            path.stat().st_size for name in "xyz" for path in (store / name).rglob("c/**/*")
            if path.is_file()
        )  # fmt: skip
        row = f"{keepbits or 'all 52':>9} {plain / 1e6:8.1f} {stored / 1e6:8.1f}"
        print(f"{row} {stored / plain:7.2f}", flush=True)


def flush(folder: Path, quick: bool) -> None:
    def write(count: int, data: bytes, to_disk: bool) -> None:
        for number in range(count):
            with open(folder / f"{number}.bin", "wb", buffering=0) as file:
                file.write(data)
                if to_disk:
                    os.fsync(file.fileno())

    print("\nflush: milliseconds for the files of a chunk\n")
    print(f"{'files':>16} {'left':>16} {'flushed':>16} {'ratio':>7}")
    for count, size in FILES:
        data = np.random.default_rng(0).bytes(size)
        taken: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(3 if quick else 50):
            for to_disk, found in taken.items():
                found.append(seconds(lambda c=count, d=data, f=to_disk: write(c, d, f)))
        left, flushed = (spread(found, 1e3) for found in taken.values())
        ratio = np.median(taken[True]) / np.median(taken[False])
        print(f"{f'{count} of {size / 1e6:g} MB':>16} {left:>16} {flushed:>16} {ratio:7.1f}")


def spread(found: list[float], unit: float) -> str:
    """Return the range in which nine of ten values lie."""
    low, high = np.quantile(found, [0.05, 0.95]) * unit
    return f"{low:.1f} to {high:.1f}"


def verify(folder: Path, quick: bool) -> None:
    print("\nverify: MB of results before compression, read in a second\n")
    print(f"{'chunks':>8} {'MB each':>8} {'keepbits':>9} {'MB/s':>14}")
    shape = (20, 200) if quick else (200, 2000)
    for chunk_runs, keepbits in ((None, None), (None, 12), (500, None)):
        store = folder / f"verified{chunk_runs}{keepbits}"
        lorenz(shape, chunk_runs=chunk_runs, keepbits=keepbits).run(store, progress="none")
        rates: list[float] = []
        for _ in range(1 if quick else 5):
            start = time.perf_counter()
            found = verify_sweep(store)
            rates.append(found.bytes / 1e6 / (time.perf_counter() - start))
            assert found.whole, str(found)
        each = found.bytes / 1e6 / found.chunks
        shown = f"{min(rates):,.0f} to {max(rates):,.0f}"
        print(f"{found.chunks:8,} {each:8.2f} {keepbits or 'all 52':>9} {shown:>14}", flush=True)


def graph(folder: Path, quick: bool) -> None:
    del folder

    def peak(chunks: int) -> int:
        sweep = lorenz((chunks, 1), t_span=(0.0, 0.1), save_every=None, chunk_runs=1)
        tracemalloc.start()
        with dask.config.set(scheduler="synchronous"):
            ensemble_statistics(sweep, None, ["mean"])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = (100, 300) if quick else (1000, 5000)
    peak(10)
    each = (peak(many) - peak(few)) / (many - few)
    print(f"\ngraph: {each / 1e3:.1f} kB for each chunk, from {few:,} to {many:,} chunks")


def processor_seconds() -> float:
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def threads(folder: Path, quick: bool) -> None:
    cores = len(os.sched_getaffinity(0))
    work = Workload(runs=20_000 if quick else 2_000_000, chunk_runs=1000 if quick else 20_000)
    sweep = work.sweep()
    print(f"\nthreads: {work.runs:,} runs on two workers with {cores} cores between them\n")
    walls: dict[str, list[float]] = {"shared": [], "all each": []}
    processors: dict[str, list[float]] = {name: [] for name in walls}
    with local_cluster(2) as client:
        for turn in range(3 if quick else 9):
            for name, given in (("shared", None), ("all each", cores)):
                store, before = folder / f"{name}{turn}", processor_seconds()
                took = seconds(
                    lambda s=store, g=given: sweep.run(s, client, progress="none", threads=g)
                )
                if turn:  # Before that the workers compile.
                    walls[name].append(took)
                    processors[name].append(processor_seconds() - before)
                shutil.rmtree(store)
    print(f"{'threads':>9} {'wall s':>14} {'processor s':>14}")
    for name, found in walls.items():
        print(f"{name:>9} {between(found):>14} {between(processors[name]):>14}")
    for what, found in (("wall", walls), ("processor", processors)):
        shared, each = (np.median(values) for values in found.values())
        print(f"all cores each / shared, medians of {what} time: {each / shared:.2f}")


def between(found: list[float]) -> str:
    return f"{min(found):.2f} to {max(found):.2f}"


SECTIONS = {one.__name__: one for one in (sizes, flush, verify, graph, threads)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--folder", default=None, help="where the stores go (default: temporary)")
    options = parser.parse_args()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {sys.version[:6]}")
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            SECTIONS[name](Path(folder), options.quick)


if __name__ == "__main__":
    main()
