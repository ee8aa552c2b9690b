"""Sections on throughput: a large sweep on two workers, and a gigabyte into a store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from distributed import Client
from ensembles_timing import Figure, Settings, Table, Timing, ratio
from sweeps_workload import Workload, plain_arrays, plain_processes, timed

from cubie_dask import local_cluster
from cubie_dask.execution.worker import compute_chunk, write_chunk
from cubie_dask.recipe import Recipe
from cubie_dask.stores.store import prepare_store

__all__ = ["large_sweep", "store_writes"]

WORKERS = 2
WRITERS = 2


class WrongResultError(Exception):
    """Results differ, so times don't count."""


def large_sweep(settings: Settings, folder: Path) -> Table:
    """End states of ten million runs: plain kernels and a plain write, one worker, two."""
    workload = Workload(settings.runs(10_000_000, 200_000))
    sweep = workload.sweep()
    plan = sweep.plan(workers=WORKERS)
    columns = sweep.grid.columns(_all(plan))
    whole, rho = sweep.solver.run(columns, plan.runs), columns["rho"].values
    seconds: dict[str, list[float]] = {}
    with (
        plain_processes(1, workload, plan) as alone,
        plain_processes(WORKERS, workload, plan) as integrate,
    ):
        store = folder / "a.zarr"
        for round_ in range(-1, settings.rounds):
            turn = {"kernels": integrate(range(plan.chunks))}
            turn["kernels, one process"] = alone(range(plan.chunks))
            turn["write"] = timed(_plain_write, folder / "plain.zarr", plan, whole, rho)
            for name, workers in (("two workers", WORKERS), ("one worker", 1)):
                with _warm_cluster(workers, folder / "warm.zarr") as client:
                    turn[name] = timed(_run, sweep, store, client)
                if round_ < 0:
                    _check(store, whole)
                shutil.rmtree(store)
            for name, value in turn.items() if round_ >= 0 else ():
                seconds.setdefault(name, []).append(value)
    found = {name: _timing(name, values) for name, values in seconds.items()}
    base = _timing(
        "kernels and write", map(sum, zip(seconds["kernels"], seconds["write"], strict=True))
    )
    rows = [_row(timing, plan.runs) for timing in (*found.values(), base)]
    over = ratio(found["two workers"], base)
    gain = ratio(found["one worker"], found["two workers"])
    plain = ratio(found["kernels, one process"], found["kernels"])
    return Table(
        f"A sweep of {plan.runs:,} end states",
        ("contender", "best s", "median s", "runs/s"),
        rows,
        [
            Figure("two workers over plain kernels and write", *over[:2], None, 1.10, False),
            Figure("two workers over one", *gain[:2], None, 1.85),
            Figure("two plain processes over one, kernels alone", *plain[:2], None),
        ],
        [
            "`kernels`: the same kernels in two plain processes, on the chunks of the plan, with "
            "no results kept, and in one: what the machine's second core gives at most; `write`: "
            "their results by one assignment to each zarr array, with chunks and codec of the "
            "store, and of the swept values. Workers are started before, for each round anew, and "
            "have swept a little; each has one thread for kernels, and a core that it is bound to "
            "with all that it does: the driver has the others too. The pilot is part of their "
            "time. "
            f"{plan.chunks} chunks are planned without it."
        ],
    )


def store_writes(settings: Settings, folder: Path) -> Table:
    """A gigabyte of results that are in memory, into a store and into plain zarr arrays."""
    workload = Workload(settings.runs(1_000_000, 25_000), saves=41)
    sweep = workload.sweep()
    plan = sweep.plan()
    recipe = Recipe(sweep.solver, sweep.grid, plan)
    scratch = prepare_store(folder / "recipe.zarr", recipe)
    computed = [compute_chunk(scratch, chunk) for chunk in range(plan.chunks)]
    size = plan.runs * plan.run_bytes
    seconds: dict[str, list[float]] = {}
    for round_ in range(-1, settings.rounds):
        turn = {}
        store = prepare_store(folder / "a.zarr", recipe)
        turn["store"] = timed(_in_threads, lambda one: write_chunk(store, one), computed)  # noqa: B023
        shutil.rmtree(folder / "a.zarr")
        arrays = plain_arrays(folder / "plain.zarr", plan, computed[0].outcome)
        turn["plain zarr"] = timed(_in_threads, lambda one: _plain_chunk(arrays, one), computed)  # noqa: B023
        shutil.rmtree(folder / "plain.zarr")
        for name, value in turn.items() if round_ >= 0 else ():
            seconds.setdefault(name, []).append(value)
    found = {name: _timing(name, values) for name, values in seconds.items()}
    rate = ratio(found["plain zarr"], found["store"])
    rows = [
        [one.name, f"{one.best:.3f}", f"{one.median:.3f}", f"{size / one.best / 1e6:,.0f}"]
        for one in found.values()
    ]
    return Table(
        f"Writing {size / 1e9:.2f} GB",
        ("contender", "best s", "median s", "MB/s"),
        rows,
        [Figure("store over plain zarr, throughput", *rate[:2], None, 0.80)],
        [
            f"{plan.chunks} chunks of {plan.chunk_runs:,} runs, {WRITERS} threads each, lz4 after "
            "a shuffle. `store` computes checksums and writes the status last and a record, "
            "flushed to the disk, for each chunk."
        ],
    )


@contextmanager
def _warm_cluster(workers: int, store: Path) -> Iterator[Client]:
    """Start workers, bound to cores, that have loaded all they need; others would idle along."""
    with local_cluster(workers) as client:
        _bind(client)
        _run(Workload(100_000).sweep(), store, client)
        shutil.rmtree(store)
        yield client


def _bind(client) -> None:
    """Bind each worker to a core of its own."""
    workers = client.scheduler_info()["workers"]
    for core, address in zip(sorted(os.sched_getaffinity(0)), workers, strict=False):
        client.run(_bind_process, core, workers=[address])


def _bind_process(core: int) -> None:
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {core})


def _all(plan):
    from cubie_dask.grids.grid import Block

    return Block((0,) * len(plan.shape), plan.shape)


def _run(sweep, store, client) -> None:
    report = sweep.run(store, client, progress="none", threads=1)
    if not report.complete:
        raise WrongResultError(f"the sweep is not complete: {report}")


def _check(store, whole) -> None:
    from cubie_dask import open_sweep

    found = open_sweep(store, chunks=None)
    for values, expected in zip((found.x, found.y, found.z), whole.final_state, strict=True):
        if not np.array_equal(values, expected):
            raise WrongResultError("the store differs from one call of the kernel")


def _plain_write(path, plan, outcome, rho) -> None:
    for array, values in plain_arrays(path, plan, outcome).values():
        array[:] = values
    zarr.open_group(str(path)).create_array("rho", data=rho, chunks=plan.chunk)
    shutil.rmtree(path)


def _plain_chunk(arrays, computed) -> None:
    outcome, block = computed.outcome, computed.block
    names = ("accepted", "rejected", "final_time", "status")
    values = dict(zip(arrays, outcome.states, strict=False))
    values |= {name: getattr(outcome, name) for name in names}
    for name, value in values.items():
        arrays[name][0][(..., *block.slices)] = value


def _in_threads(function, items) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(function, items):
            pass


def _timing(name, seconds) -> Timing:
    seconds = tuple(seconds)
    return Timing(name, seconds, seconds)


def _row(timing: Timing, runs: int) -> list[str]:
    return [
        timing.name,
        f"{timing.best:.3f}",
        f"{timing.median:.3f}",
        f"{runs / timing.best:,.0f}",
    ]
