"""How large a chunk is best, and whether there is room for it; all errors of size are from here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from cubie_dask.errors import CapacityError
from cubie_dask.plans.plan import MOST_FILES, MOST_ZARR_BYTES, Plan, size_text, with_boxes
from cubie_kernels.checks import count

__all__ = ["Workers", "are_few", "check_disk", "least_lost", "less_to_save", "make_plan"]

MOST_TASKS = 100_000
_MOST_CHUNKS = 10_000_000

_VARIABLE_BYTES = 8 << 20
_CHUNK_BYTES = 128 << 20
_LARGE_CHUNK_BYTES = 512 << 20
_FEW_CHUNKS = 16
_FEW_EACH = 32
_SMALL_CHUNK = 16_384

_SHORT, _LONG = 1.0, 60.0
# What a task costs whatever its runs; of a chunk by itself its files and its record as well.
_TASK_COST_SECONDS = 0.01
# Of a task, on average; half of one if costly chunks did not come first.
_LOST_AT_THE_END = 0.25


@dataclass(frozen=True)
class Workers:
    """What computes a sweep, as far as it is known.

    Attributes
    ----------
    count : int
        Number of workers.
    run_seconds : float, optional
        Seconds that one of them takes for a run.
    memory : int, optional
        Bytes that each may use.
    in_hand : int
        Number of chunks of which a worker holds the results at a time.
    run_bytes : int
        Bytes that a worker needs for each of their runs beside the results.
    fixed_bytes : int
        Bytes that it needs whatever the size of a chunk.
    """

    count: int = 1
    run_seconds: float | None = None
    memory: int | None = None
    in_hand: int = 1
    run_bytes: int = 0
    fixed_bytes: int = 0

    def bytes_for(self, plan: Plan) -> int:
        """Return what a worker needs for the chunks of a plan."""
        return self.fixed_bytes + self.in_hand * plan.chunk_runs * self._run_bytes(plan)

    def most_runs(self, plan: Plan) -> int:
        """Return the largest chunk that fits into the memory; 0 if none does."""
        if self.memory is None:
            return plan.runs
        room = self.memory - self.fixed_bytes
        return max(0, room // (self.in_hand * self._run_bytes(plan)))

    def _run_bytes(self, plan: Plan) -> int:
        return plan.run_bytes + self.run_bytes


def make_plan(
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    saves: int,
    variables: tuple[str, ...],
    dtype: str,
    chunk_runs: int | None = None,
    *,
    kind: str = "explicit",
    swept: int = 0,
    workers: Workers | None = None,
) -> tuple[Plan, str]:
    """Cut a grid into boxes of runs.

    Parameters
    ----------
    dims, shape, saves, variables, dtype, kind, swept
        As in `Plan`.
    chunk_runs : int, optional
        Largest number of runs in a chunk. By default as many as make 8 MB of one variable and at
        most 128 MB of all, but few enough for 16 chunks of 16,384 runs or more. Where it is known
        how long a run takes, a chunk that would take less than a second or more than a minute is
        made larger or smaller; and chunks are made larger for no more than 100,000 tasks and files.
    workers : Workers, optional
        What computes them.

    Returns
    -------
    plan, reason : Plan, str
        The chunks, and what their size comes from.

    Raises
    ------
    InputError
        For a `chunk_runs` that isn't a whole number of 1 or more.
    CapacityError
        If a run or a chunk is too large, for a zarr chunk or for the memory, or there are too many
        chunks: with the numbers, and what to change.
    """
    whole = Plan(dims, shape, shape, saves, variables, dtype, kind, swept=swept)
    workers = workers or Workers()
    if whole.value_bytes > MOST_ZARR_BYTES:
        raise CapacityError(
            f"One run with {saves:,} times is {size_text(whole.value_bytes)} a variable, and a "
            f"zarr chunk can have 2 GB: save {MOST_ZARR_BYTES // np.dtype(dtype).itemsize:,} "
            "times or fewer."
        )
    if chunk_runs is not None:
        runs, reason = count("chunk_runs", chunk_runs, 2**40), "chunk_runs"
        plan = with_boxes(whole, runs)
    else:
        runs, reason = _wanted(whole, workers)
        plan = _few_enough(_shared_out(with_boxes(whole, runs), workers.count))
    _check_count(plan)
    _check_memory(plan, workers)
    return plan, reason


def _wanted(whole: Plan, workers: Workers) -> tuple[int, str]:
    """Return the best number of runs in a chunk, and why."""
    few = max(_FEW_CHUNKS, 4 * workers.count)
    choices = [
        (_VARIABLE_BYTES // whole.value_bytes, "zarr chunks of 8 MB"),
        (_CHUNK_BYTES // whole.run_bytes, "128 MB of results in a chunk"),
        (max(-(-whole.runs // few), _SMALL_CHUNK), f"{few} chunks or more"),
    ]
    runs, reason = min(choices)
    if runs >= whole.runs:
        runs, reason = whole.runs, "few runs"
    if workers.run_seconds is not None:
        aim = _aimed_seconds(max(1, runs) * workers.run_seconds, whole.runs, workers)
        if aim is not None:
            runs, reason = int(aim / workers.run_seconds), f"tasks of about {aim:.2g} s"
            large = _LARGE_CHUNK_BYTES // whole.run_bytes
            if runs > large:
                runs, reason = large, "512 MB of results in a chunk"
    runs, reason = _for_files(whole, max(1, runs), reason, workers.run_seconds)
    least = -(-whole.runs // MOST_TASKS)
    if runs < least:
        runs, reason = least, f"{MOST_TASKS:,} tasks or fewer"
    most = workers.most_runs(whole)
    if runs > most >= least:
        runs, reason = most, "memory of a worker"
    return min(runs, whole.runs), reason


def are_few(plan: Plan, workers: int) -> bool:
    """Tell whether workers have so few chunks each that it matters how they are shared out."""
    return 1 < workers < plan.chunks <= _FEW_EACH * workers


def least_lost(share: float) -> float:
    """Return how long a task should take, in seconds.

    With n tasks for each worker, a task's own cost is lost n times, and at the end a quarter of a
    task, while the others are at their last: both together are least at this root.

    Parameters
    ----------
    share : float
        Seconds that each worker computes in all.
    """
    return math.sqrt(_TASK_COST_SECONDS * share / _LOST_AT_THE_END)


def _aimed_seconds(seconds: float, runs: int, workers: Workers) -> float | None:
    """Return how long a chunk should take, or None if that is well as it is."""
    assert workers.run_seconds is not None
    share = runs * workers.run_seconds / workers.count
    aim = min(_LONG, max(least_lost(share), min(_SHORT, share / _FEW_CHUNKS)))
    longest = max(aim, min(_LONG, share / _FEW_CHUNKS))
    if workers.count == 1:
        # Nobody waits for it.
        longest = max(longest, _SHORT)
    if min(_SHORT, aim / 4) <= seconds <= longest:
        return None
    return aim


def _for_files(whole: Plan, runs: int, reason: str, run_seconds: float | None) -> tuple[int, str]:
    """Return a larger number of runs where there would be too many files, if it stays sensible."""
    a_chunk = len(whole.variables) + whole.chunk_files
    wanted = -(-whole.runs * a_chunk // MOST_FILES)
    most = _LARGE_CHUNK_BYTES // whole.run_bytes
    if run_seconds is not None:
        most = min(most, int(_LONG / run_seconds))
    wanted = min(wanted, most)
    return (wanted, f"{MOST_FILES:,} files or fewer") if wanted > runs else (runs, reason)


def _few_enough(plan: Plan) -> Plan:
    """Return the plan with chunks large enough for the limit of tasks, which rounding may pass."""
    runs = plan.chunk_runs
    while plan.chunks > MOST_TASKS:
        runs += max(1, runs // 8)
        plan = with_boxes(plan, runs)
    return plan


def _shared_out(plan: Plan, workers: int) -> Plan:
    """Return the plan with as many chunks for each worker, where they are few."""
    if not are_few(plan, workers) or plan.chunks % workers == 0:
        return plan
    each = -(-plan.chunks // workers)
    shared = with_boxes(plan, -(-plan.runs // (each * workers)))
    return shared if shared.chunks == each * workers else plan


def _check_count(plan: Plan) -> None:
    if plan.chunk_runs * 8 > MOST_ZARR_BYTES:
        raise CapacityError(
            f"A chunk of {plan.chunk_runs:,} runs has {size_text(plan.chunk_runs * 8)} of what is "
            f"recorded of each run, and a zarr chunk can have 2 GB: give chunk_runs="
            f"{MOST_ZARR_BYTES // 8:,} or less."
        )
    if plan.chunks > _MOST_CHUNKS:
        raise CapacityError(
            f"Chunks of {plan.chunk_runs:,} runs make {plan.chunks:,} tasks and {plan.files:,} "
            f"files, and a sweep can have {_MOST_CHUNKS:,} tasks: leave chunk_runs out, or give "
            f"{-(-plan.runs // MOST_TASKS):,} for {MOST_TASKS:,} tasks."
        )


def _check_memory(plan: Plan, workers: Workers) -> None:
    if workers.memory is None:
        return
    needed = workers.bytes_for(plan)
    if needed <= workers.memory:
        return
    most = min(workers.most_runs(plan), plan.chunk_runs - 1)
    a_run = replace(plan, chunk=(1,) * len(plan.shape), zarr_chunk=())
    if most < 1:
        remedy = f"give each worker {size_text(workers.bytes_for(a_run))}, the least for one run"
    elif -(-plan.runs // most) > MOST_TASKS:
        remedy = (
            f"give each worker {size_text(needed)} (fewer runs in a chunk would make more than "
            f"{MOST_TASKS:,} tasks; chunk_runs={most:,} allows that)"
        )
    else:
        remedy = f"give each worker {size_text(needed)}, or chunk_runs={most:,} or less"
    raise CapacityError(
        f"A worker needs {size_text(needed)} for {workers.in_hand} chunks of "
        f"{plan.chunk_runs:,} runs with {size_text(plan.run_bytes)} each and "
        f"{size_text(workers.fixed_bytes)} for itself, and may use {size_text(workers.memory)}: "
        f"{remedy}, or save fewer times or quantities."
    )


def check_disk(plan: Plan, needed: int, free: int, where: str) -> None:
    """Raise if results don't fit on a disk.

    Parameters
    ----------
    plan : Plan
        The chunks.
    needed, free : int
        Bytes that are still to be written, before compression, and bytes that are free.
    where : str
        The store.

    Raises
    ------
    CapacityError
        With the numbers and what to change.
    """
    if needed <= free:
        return
    raise CapacityError(
        f"The results take {size_text(needed)} before compression, and {where} has "
        f"{size_text(free)} free: give a store with more room, {less_to_save(plan, free / needed)}"
        ", or take statistics of the lazy dataset in place of a store. Smooth results take a "
        "quarter less once compressed, noisy ones do not."
    )


def less_to_save(plan: Plan, part: float) -> str:
    """Return what to change for results that take a part of what they do, as words."""
    less = math.floor(plan.saves * part)
    fewer = f"save {less:,} times instead of {plan.saves:,}" if less else "save fewer quantities"
    return fewer + (", compute in float32" if plan.dtype == "float64" else "")
