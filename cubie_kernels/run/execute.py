"""Running a built kernel over a batch, on this machine's cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cubie_kernels.build.builder import Kernel
from cubie_kernels.lane.abi import RESULTS, Control, Setting
from cubie_kernels.methods import get_method
from cubie_kernels.run.batch import Batch, Column, Outcome

__all__ = ["available_threads", "execute"]

# Values of swept quantities are handed over for this many bytes of runs at a time, so that a
# long list of parameter sets isn't copied whole. A product grid needs the axes only.
_INPUT_BYTES = 64 << 20
_ALIGNMENT = 64
# Most runs that a thread takes at a time: enough that a line of the results belongs to one thread.
_CHUNK_RUNS = 1024
# Lanes of the NumPy target; more runs than that are refilled as on the other targets.
_NUMPY_LANES = 1024


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def execute(kernel: Kernel, batch: Batch, threads: int | None = None) -> Outcome:
    """Integrate all runs of a batch.

    Parameters
    ----------
    kernel : Kernel
        The built kernel.
    batch : Batch
        Inputs of all runs.
    threads : int, optional
        Threads to use; by default one for each core that this process may use. Results don't
        depend on it.

    Returns
    -------
    Outcome
        Results of all runs.

    Raises
    ------
    KeyboardInterrupt
        After an interrupt; the threads have ended by then.
    """
    if kernel.config.target == "numpy":
        threads = 1
    threads = threads or available_threads()
    outcome = _empty_outcome(kernel, batch)
    for part in _parts(batch):
        _Call(kernel, batch, part, outcome, threads).run(threads)
    return outcome


def _empty_outcome(kernel: Kernel, batch: Batch) -> Outcome:
    config, runs = kernel.config, batch.runs
    dtype = np.dtype(config.precision)
    n, m = len(config.saved_states), len(config.saved_observables)
    times = 0 if batch.save_at is None else len(batch.save_at)
    saves = config.saves
    implicit = get_method(config.method).implicit
    return Outcome(
        final_state=np.empty((n, runs), dtype),
        final_observables=np.empty((m, runs), dtype),
        final_time=np.empty(runs),
        states=np.empty((n, times, runs), dtype) if saves else None,
        observables=np.empty((m, times, runs), dtype) if saves else None,
        status=np.zeros(runs, np.uint8),
        accepted=np.zeros(runs, np.int32),
        rejected=np.zeros(runs, np.int32),
        newton_iterations=np.zeros(runs, np.int32) if implicit else None,
        linear_iterations=np.zeros(runs, np.int32) if implicit else None,
    )


@dataclass(frozen=True)
class _Part:
    """Runs ``start`` to ``stop`` of a batch, with the values that they need."""

    start: int
    stop: int
    values: NDArray[np.float64]
    table: NDArray[np.int64]


def _parts(batch: Batch) -> Iterator[_Part]:
    """Cut a batch so that copies of its inputs stay small; a grid of axes is not cut."""
    columns = (*batch.parameters, *batch.initial)
    long = [column for column in columns if len(column.values) * column.stride >= batch.runs]
    size = sum(len(column.values) for column in long if column.stride == 1) * 8
    pieces = max(1, -(-size // _INPUT_BYTES))
    if pieces == 1:
        yield _part(columns, 0, batch.runs, whole=True)
        return
    length = -(-batch.runs // pieces)
    for start in range(0, batch.runs, length):
        yield _part(columns, start, min(start + length, batch.runs), whole=False)


def _part(columns: tuple[Column, ...], start: int, stop: int, whole: bool) -> _Part:
    values, table, first = [], [], 0
    for column in columns:
        taken = column.values if whole else column.block(start, stop)
        table += [first, column.stride if whole else 1, len(taken)]
        values.append(taken)
        first += len(taken)
    joined = np.concatenate(values) if values else np.zeros(1)
    return _Part(start, stop, joined, np.array(table or [0], np.int64))


class _Call:
    """One part of a batch, as the arrays that the entry takes."""

    def __init__(
        self, kernel: Kernel, batch: Batch, part: _Part, outcome: Outcome, threads: int
    ) -> None:
        dtype = np.dtype(kernel.config.precision)
        self.kernel, self.dtype = kernel, dtype
        self.control = np.zeros(len(Control), np.int64)
        self.settings = np.zeros(len(Setting))
        self._set_control(batch, part, threads)
        self._set_settings(batch)
        times = np.empty(0) if batch.save_at is None else batch.save_at
        nothing = np.zeros(1, dtype)
        self.inputs = (
            part.table,
            part.values.astype(dtype, copy=False),
            batch.fixed_parameters.astype(dtype),
            batch.fixed_initial.astype(dtype),
            batch.rtol.astype(dtype),
            batch.atol.astype(dtype),
            np.append(times, np.inf),
        )
        results = (getattr(outcome, name) for name in RESULTS)
        self.outputs = tuple(
            nothing if array is None or not array.size else array.reshape(-1)[part.start :]
            for array in results
        )

    def _set_control(self, batch: Batch, part: _Part, threads: int) -> None:
        self.control[Control.RUNS] = part.stop - part.start
        self.control[Control.STRIDE] = batch.runs
        self.control[Control.CHUNK] = _CHUNK_RUNS
        self.control[Control.SHARE] = 8 * threads
        self.control[Control.TIMES] = 0 if batch.save_at is None else len(batch.save_at)
        self.control[Control.MAX_STEPS] = batch.max_steps

    def _set_settings(self, batch: Batch) -> None:
        self.settings[Setting.T0], self.settings[Setting.T1] = batch.t0, batch.t1
        self.settings[Setting.DT] = batch.dt or 0.0
        self.settings[Setting.DT_MIN] = max(batch.dt_min, float(np.finfo(self.dtype).tiny))
        self.settings[Setting.DT_MAX] = batch.dt_max
        if not self.kernel.config.adaptive and batch.dt is not None:
            full, rest = fixed_steps(batch.t0, batch.t1, batch.dt)
            self.control[Control.FULL_STEPS] = full
            self.control[Control.PART_STEPS] = int(rest > 0)
            self.settings[Setting.DT_PART] = rest

    def run(self, threads: int) -> None:
        """Let the threads work until no run is left."""
        if self.kernel.config.target == "numpy":
            self._work_numpy()
            return
        faults: list[BaseException] = []

        def work() -> None:
            try:
                self._work_cpu()
            except BaseException as fault:
                faults.append(fault)

        # This thread only waits, so that it can take an interrupt and tell the others.
        workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        except BaseException:
            self.control[Control.STOP] = 1
            for worker in workers:
                if worker.ident is not None:
                    worker.join()
            raise
        if faults:
            raise faults[0]

    def _work_cpu(self) -> None:
        arena = np.zeros(self.kernel.arena * self.kernel.width + _ALIGNMENT, self.dtype)
        start = -(-arena.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        arrays = (self.control, self.settings, *self.inputs, *self.outputs)
        self.kernel.call(*(array.ctypes.data for array in arrays), start)

    def _work_numpy(self) -> None:
        width = min(_NUMPY_LANES, int(self.control[Control.RUNS]))
        arena = np.zeros((self.kernel.arena, width), self.dtype)
        self.kernel.call(self.control, self.settings, *self.inputs, *self.outputs, arena)


def fixed_steps(t0: float, t1: float, dt: float) -> tuple[int, float]:
    """Return how many steps of ``dt`` fit into a time span, and the length of what is left.

    A rest below a billionth of the step is rounding and belongs to the last full step.
    """
    full = int(np.floor((t1 - t0) / dt * (1.0 + 1e-12)))
    rest = t1 - (t0 + full * dt)
    return full, rest if rest > 1e-9 * dt else 0.0
