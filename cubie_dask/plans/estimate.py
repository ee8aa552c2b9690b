"""What a plan costs: memory of a worker, memory of a device, time, and what these rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cubie_dask.grids.grid import Grid, ProductGrid
from cubie_dask.plans.capacity import Workers
from cubie_dask.plans.plan import Plan, size_text, time_text

if TYPE_CHECKING:
    from cubie_kernels.solver import Solver

__all__ = ["Estimate", "estimate", "known_workers"]

# A process with NumPy, Numba, zarr and distributed, before its first chunk: 230 MB on Linux.
_PROCESS_BYTES = 256 << 20
# Threads that are resident on the largest devices: 132 multiprocessors of 2048.
_DEVICE_LANES = 132 * 2048
# Values of a swept quantity: made, put in order, and handed to the kernel.
_COPIES = 3

# A worker of a cluster computes a chunk, writes another, and packs parts of that. A process without
# one writes with as many threads as it has cores, to eight, and keeps one more chunk waiting.
_IN_HAND = 3


@dataclass(frozen=True)
class Estimate:
    """What a plan costs.

    Attributes
    ----------
    workers : int
        Number of workers.
    chunks_in_hand : int
        Chunks of which a worker holds the results at a time: computed and written.
    memory : int or None
        Bytes that each worker may use, if that was said.
    memory_needed : int
        Bytes that each needs: the process, scratch memory of its kernel, the chunks in hand.
    scratch_bytes : int
        Bytes of the kernel's buffers for one lane, from their layout.
    device_bytes : int
        Bytes of a GPU's memory for a chunk: its values and results, and buffers of the runs that
        are integrated at a time.
    run_seconds : float or None
        Seconds that one worker takes for a run.
    basis : str
        What the time rests on: ``"a pilot"``, ``"what was given"`` or ``"nothing"``.
    chunk_seconds, seconds : float or None
        Time of one chunk, and of all; computing alone.
    limited_by : str
        What the size of a chunk comes from.
    disk_free : int or None
        Bytes that are free where the store is or will be, if that was asked for.
    """

    workers: int
    chunks_in_hand: int
    memory: int | None
    memory_needed: int
    scratch_bytes: int
    device_bytes: int
    run_seconds: float | None
    basis: str
    chunk_seconds: float | None
    seconds: float | None
    limited_by: str
    disk_free: int | None = None

    def table(self) -> dict[str, str]:
        """Return what there is to say, line by line."""
        may = "" if self.memory is None else f" of {size_text(self.memory)}"
        rows = {
            "limit": f"the size of a chunk comes from: {self.limited_by}",
            "memory": f"{size_text(self.memory_needed)}{may} a worker, with "
            f"{self.chunks_in_hand} chunks in hand; kernel {size_text(self.scratch_bytes)} a lane",
            "device": f"{size_text(self.device_bytes)} a chunk, if it were a GPU",
        }
        if self.disk_free is not None:
            rows["disk"] = f"{size_text(self.disk_free)} free"
        if self.seconds is None or self.chunk_seconds is None or self.run_seconds is None:
            return rows | {"time": "not known: a pilot tells it, plan(pilot=True) or --pilot"}
        each = f"{self.workers:,} worker{'s' if self.workers > 1 else ''}"
        return rows | {
            "time": f"{time_text(self.seconds)} of computing on {each}: "
            f"{time_text(self.chunk_seconds)} a chunk, {self.run_seconds:.2g} s a run; rests on "
            f"{self.basis}"
        }


def known_workers(
    solver: Solver,
    grid: Grid,
    *,
    workers: int | None = None,
    memory: int | None = None,
    run_seconds: float | None = None,
) -> Workers:
    """Return what is known of the workers of a sweep, by its model and grid.

    Parameters
    ----------
    solver, grid : Solver, Grid
        The sweep.
    workers : int, optional
        Number of worker processes. Default: this process, on all its cores.
    memory : int, optional
        Bytes that each may use.
    run_seconds : float, optional
        Seconds that one takes for a run.
    """
    from cubie_kernels.run.execute import available_threads

    cores = available_threads()
    threads = cores if workers is None else max(1, cores // workers)
    # A register has up to 32 lanes.
    scratch = 32 * threads * _scratch_bytes(solver, solver.target)
    per_run = 0 if isinstance(grid, ProductGrid) else 8 * len(grid.names) * _COPIES
    return Workers(
        count=workers or 1,
        run_seconds=run_seconds,
        memory=memory,
        in_hand=_IN_HAND if workers else 2 + min(8, max(2, cores)),
        run_bytes=per_run,
        fixed_bytes=_PROCESS_BYTES + scratch,
    )


def estimate(
    plan: Plan, solver: Solver, workers: Workers, reason: str, *, is_pilot: bool, free: int | None
) -> Estimate:
    """Return what a plan costs.

    Parameters
    ----------
    plan : Plan
        The chunks.
    solver : Solver
        How runs are integrated.
    workers : Workers
        What computes them.
    reason : str
        What the size of a chunk comes from.
    is_pilot : bool
        Whether the time of a run was measured.
    free : int or None
        Bytes that are free for the store.
    """
    scratch = _scratch_bytes(solver, solver.target)
    on_device = _scratch_bytes(solver, "cuda") * min(plan.chunk_runs, _DEVICE_LANES)
    seconds = workers.run_seconds
    turns = -(-plan.chunks // workers.count)
    return Estimate(
        workers=workers.count,
        chunks_in_hand=workers.in_hand,
        memory=workers.memory,
        memory_needed=workers.bytes_for(plan),
        scratch_bytes=scratch,
        device_bytes=on_device + plan.chunk_runs * (plan.run_bytes + 8 * len(solver.swept)),
        run_seconds=seconds,
        basis="nothing" if seconds is None else "a pilot" if is_pilot else "what was given",
        chunk_seconds=None if seconds is None else seconds * plan.chunk_runs,
        seconds=None if seconds is None else seconds * plan.runs * turns / plan.chunks,
        limited_by=reason,
        disk_free=free,
    )


def _scratch_bytes(solver: Solver, target: str) -> int:
    """Return the bytes of a kernel's buffers for one lane, as their layout has them."""
    from cubie_kernels.build.module import kernel_registry
    from cubie_kernels.kernels.scratch import LOOP

    sizes = []
    for choice in range(len(solver.choices)):
        layout = kernel_registry(replace(solver.config(choice), target=target)).layout(LOOP)
        sizes.append(layout.shared.bytes + layout.persistent.bytes + layout.local.bytes)
    return max(sizes)
