"""Sections on tasks: many short ones, plans of a million, resume, workers that are killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from distributed import Client, WorkerPlugin
from ensembles_timing import Figure, Settings, Table, Timing, ratio
from sweeps_workload import Workload, plain_processes, timed, within

from cubie_dask import local_cluster, open_sweep
from cubie_dask.progress.events import ChunkFinished, SweepStarted
from cubie_dask.recipe import Recipe
from cubie_dask.stores.ledger import Record
from cubie_dask.stores.store import prepare_store

__all__ = ["killed_workers", "large_plan", "resume", "short_tasks"]

HERE = Path(__file__).resolve().parent
WORKERS = 2
RUNS = 64
CHUNKS_BETWEEN = 5


class WrongResultError(Exception):
    """Results differ, so times don't count."""


def short_tasks(settings: Settings, folder: Path, many: int, timed_tasks: int) -> Table:
    """Chunks of 50 ms, and many chunks that take no time, with a scheduler of their own."""
    workload = within(Workload(RUNS * timed_tasks, RUNS, steps=20_000), 0.05)
    sweep, chunks = workload.sweep(), timed_tasks
    share = range(min(chunks, 2000))
    plain, wall = [], []
    with plain_processes(WORKERS, workload, sweep.plan()) as integrate:
        before = integrate(share) / len(share)
        with local_cluster(WORKERS) as client:
            small = Workload(RUNS * 20, RUNS, steps=100).sweep()
            small.run(folder / "warm.zarr", client, progress="none", threads=1)
            # All stores stay until the end: for minutes after files are deleted, ext4 passes over
            # their inodes one by one whenever it makes a new file, to 3 ms for each chunk.
            for i in range(1 if chunks > len(share) else settings.rounds):
                wall.append(timed(_complete, sweep, folder / f"{i}.zarr", client) / chunks)
                after = integrate(share) / len(share)
                plain.append((before + after) / 2)
                before = after
    with _cluster(folder) as (client, scheduler):
        tiny = Workload(RUNS * many, RUNS, steps=20)
        many_seconds, grown = _growth(tiny, folder, client, scheduler)
    times = [
        Timing(name, tuple(values), tuple(values))
        for name, values in (("plain processes", plain), ("sweep on two workers", wall))
    ]
    efficiency = ratio(*times)
    return Table(
        f"{chunks:,} chunks of {1000 * WORKERS * times[0].median:.0f} ms, "
        f"{many:,} of next to nothing",
        ("what", "best ms a chunk", "median ms a chunk"),
        [
            *([one.name, f"{1000 * one.best:.2f}", f"{1000 * one.median:.2f}"] for one in times),
            [f"{many:,} chunks", f"{1000 * many_seconds / many:.2f}", ""],
        ],
        [
            Figure("efficiency of 50 ms chunks", *efficiency[:2], None, 0.85, unit=""),
            Figure(f"scheduler's growth, {many:,} chunks", grown, None, None, 100, False, "MB"),
        ],
        [
            "Efficiency is the time of the same kernels in two plain processes, with no Dask and "
            "no store, over that of the sweep, its beginning and end included: the mean of the "
            "times before and after each sweep. The scheduler's memory is that of its process, "
            "after a tenth of the chunks and at the end."
        ],
    )


def large_plan(settings: Settings, chunks: int) -> Table:
    """A plan of a million chunks, and a driver that sees all of them end, in a new process."""
    done = subprocess.run(
        [sys.executable, str(HERE / "sweeps_simulated.py"), str(chunks)],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    return Table(
        f"A simulated sweep of {chunks:,} chunks",
        ("what", ""),
        [[name.replace("_", " "), f"{value:,.3g}"] for name, value in found.items()],
        [
            Figure("planning", *[found["planning_seconds"]] * 2, None, 5, False, "s"),
            Figure("memory of the driver", *[found["peak_megabytes"]] * 2, None, 500, False, "MB"),
        ],
        ["The tasks of the simulation end at once; half of them are known to be finished before."],
    )


def resume(settings: Settings, folder: Path, chunks: int) -> Table:
    """Run a finished sweep again."""
    sweep = Workload(RUNS * chunks, RUNS).sweep()
    store = folder / "a.zarr"
    opened = prepare_store(store, Recipe(sweep.solver, sweep.grid, sweep.plan()))
    record = Record(0, RUNS, {"SUCCESS": RUNS}, 1000, 0.01, 0.01, 2624, 1, 1, "a:1", "", "")
    opened.ledger.write(record)
    # All are alike, since the chunk is in the name.
    data = (store / opened.ledger.name(0)).read_bytes()
    for chunk in range(1, chunks):
        with open(f"{store}/{opened.ledger.name(chunk)}", "wb", buffering=0) as file:
            file.write(data)
    known, whole = [], []
    for _ in range(settings.rounds):
        start, told = time.perf_counter(), []
        sweep.run(store, progress=lambda event: told.append((event, time.perf_counter())))  # noqa: B023
        whole.append(time.perf_counter() - start)
        known += [when - start for event, when in told if isinstance(event, SweepStarted)]
        if sum(isinstance(event, ChunkFinished) for event, _ in told):
            raise WrongResultError("a finished chunk was computed again")
    shutil.rmtree(store)
    return Table(
        f"Resume of a finished store of {chunks:,} chunks",
        ("what", "best s", "median s"),
        [
            ["to know what is missing", f"{min(known):.3f}", f"{np.median(known):.3f}"],
            ["the whole call, with its report", f"{min(whole):.3f}", f"{np.median(whole):.3f}"],
        ],
        [
            Figure("nothing is missing", min(known), float(np.median(known)), None, 2, False, "s"),
            Figure("the whole call", min(whole), float(np.median(whole)), None, None, False, "s"),
        ],
        ["The report reads all records, for how the runs ended."],
    )


def killed_workers(settings: Settings, folder: Path, chunks: int, every: float) -> Table:
    """A sweep whose workers are killed every few seconds, and one that is left alone."""
    workload = within(Workload(RUNS * chunks, RUNS, steps=20_000), 0.15)
    sweep = workload.sweep()
    sweep.run(folder / "alone.zarr", progress="none")
    notes = folder / "notes.txt"
    notes.touch()
    with local_cluster(WORKERS) as client:
        client.register_plugin(Counting(str(notes)), "counting")
        finished: list[int] = []

        def tell(event) -> None:
            if isinstance(event, ChunkFinished):
                finished.append(event.record.chunk)

        with _killing(client, every, finished) as killed:
            wall = timed(lambda: sweep.run(folder / "a.zarr", client, progress=tell, threads=1))
    _same(folder / "alone.zarr", folder / "a.zarr")
    attempts = {
        record.chunk: record.attempt
        for record in prepare_store(
            folder / "a.zarr", Recipe(sweep.solver, sweep.grid, sweep.plan())
        ).records()
    }
    begun = Counter(int(line) for line in notes.read_text().split())
    more = sum(1 for chunk, count in begun.items() if count > attempts[chunk])
    rows = [
        ["chunks", f"{len(attempts):,}"],
        ["workers killed", f"{len(killed)}"],
        ["seconds", f"{wall:.1f}"],
        ["chunks begun more than once", f"{sum(count > 1 for count in begun.values())}"],
        ["most begins of a chunk", f"{max(begun.values())}"],
        ["most attempts of a record", f"{max(attempts.values())}"],
        ["bits that differ from a sweep left alone", "0"],
    ]
    return Table(
        f"Workers killed every {every:g} s",
        ("what", ""),
        rows,
        [Figure("chunks begun more often than recorded", more, more, None, 0, False, "chunks")],
        [
            "One of the workers is killed at a time, once a few chunks were finished since the "
            "last: on a busy machine a new worker needs longer to start. Every array of both "
            "stores is compared bit for bit; a difference stops the benchmark."
        ],
    )


class Counting(WorkerPlugin):
    """Notes each chunk that a worker begins to integrate."""

    def __init__(self, notes: str) -> None:
        self.notes = notes

    def setup(self, worker) -> None:
        import cubie_dask.execution.worker as module

        integrate = module.compute_chunk

        def counted(store, chunk, *more):
            with open(self.notes, "ab", buffering=0) as file:
                file.write(f"{chunk}\n".encode())
            return integrate(store, chunk, *more)

        module.compute_chunk = counted


def _complete(sweep, store, client) -> None:
    if not sweep.run(store, client, progress="none", threads=1).complete:
        raise WrongResultError("the sweep is not complete")


def _growth(
    workload: Workload, folder: Path, client: Client, scheduler: int
) -> tuple[float, float]:
    """Seconds of a sweep, and megabytes by which the scheduler's process grew meanwhile."""
    sweep, store = workload.sweep(), folder / "many.zarr"
    process, finished, sizes = psutil.Process(scheduler), 0, []
    tenth = sweep.plan().chunks // 10

    def tell(event) -> None:
        nonlocal finished
        if isinstance(event, ChunkFinished):
            finished += 1
            if finished == tenth:
                sizes.append(process.memory_info().rss)

    seconds = timed(lambda: sweep.run(store, client, progress=tell, threads=1))
    sizes.append(process.memory_info().rss)
    shutil.rmtree(store)
    return seconds, (sizes[-1] - sizes[0]) / 1e6


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[Client, int]]:
    """A scheduler and workers, each in a process of its own; gives the scheduler's number too."""
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard", "--host", "127.0.0.1"]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *common]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(command, **quiet)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", *common]
    worker += ["--local-directory", str(folder)]
    try:
        while not file.exists():
            time.sleep(0.05)
        processes += [subprocess.Popen(worker, **quiet) for _ in range(WORKERS)]
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(WORKERS, timeout=60)
            yield client, processes[0].pid
            client.shutdown()
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)


@contextmanager
def _killing(client: Client, every: float, finished: list[int]) -> Iterator[list[int]]:
    """Kill a worker now and then until the end, if chunks were finished since the last."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        choose, before = random.Random(0), 0
        while not over.wait(every):
            if len(finished) < before + CHUNKS_BETWEEN:
                continue
            before = len(finished)
            found = client.run(os.getpid, on_error="ignore")
            if found:
                killed.append(choose.choice(sorted(found.values())))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def _same(first: Path, second: Path) -> None:
    one, other = open_sweep(first, chunks=None), open_sweep(second, chunks=None)
    for name in one.variables:
        if one[name].values.tobytes() != other[name].values.tobytes():
            raise WrongResultError(f"{name} differs after workers were killed")
