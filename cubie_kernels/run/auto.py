"""Runs that an explicit method finds stiff go to an implicit one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from cubie_kernels.build.builder import Kernel
from cubie_kernels.run.batch import Batch, Column, Outcome
from cubie_kernels.run.execute import execute
from cubie_kernels.status import Status

__all__ = ["execute_auto"]

# An explicit method that ends so may have met a problem that only an implicit one can solve.
_HANDED_ON = (Status.STIFF, Status.STEP_TOO_SMALL, Status.STEP_BUDGET)
# Results of this many bytes are computed beside those of the whole batch.
_PIECE_BYTES = 32 << 20


def execute_auto(
    explicit: Kernel, implicit: Callable[[], Kernel], batch: Batch, threads: int | None = None
) -> Outcome:
    """Integrate all runs of a batch, the stiff ones from their start with an implicit method.

    Parameters
    ----------
    explicit : Kernel
        Kernel that detects stiffness.
    implicit : callable
        Returns the kernel for stiff runs; called if there are any, maybe several times.
    batch : Batch
        Inputs of all runs.
    threads : int, optional
        As for `execute`.

    Returns
    -------
    Outcome
        Results of all runs; ``stiff`` tells which ones the implicit method computed.
    """
    outcome = execute(explicit, batch, threads)
    stiff = np.isin(outcome.status, _HANDED_ON)
    outcome = replace(
        outcome,
        stiff=stiff.astype(np.uint8),
        newton_iterations=np.zeros(batch.runs, np.int32),
        linear_iterations=np.zeros(batch.runs, np.int32),
    )
    for piece in _pieces(np.flatnonzero(stiff), outcome):
        found = execute(implicit(), _chosen(batch, piece), threads)
        for field in fields(Outcome):
            target, values = getattr(outcome, field.name), getattr(found, field.name)
            if target is not None and values is not None:
                target[..., piece] = values
    return outcome


def _pieces(runs: NDArray[np.intp], outcome: Outcome) -> Iterator[NDArray[np.intp]]:
    arrays = (getattr(outcome, field.name) for field in fields(Outcome))
    size = sum(array.nbytes // array.shape[-1] for array in arrays if array is not None)
    length = max(1, _PIECE_BYTES // size)
    for start in range(0, len(runs), length):
        yield runs[start : start + length]


def _chosen(batch: Batch, runs: NDArray[np.intp]) -> Batch:
    """Return the batch of some of the runs."""
    return replace(
        batch,
        runs=len(runs),
        parameters=tuple(Column(whole.at(runs)) for whole in batch.parameters),
        initial=tuple(Column(whole.at(runs)) for whole in batch.initial),
    )
