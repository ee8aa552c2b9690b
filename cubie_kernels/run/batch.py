"""What goes into a kernel call and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cubie_kernels.errors import InputError

__all__ = ["Batch", "Column", "Outcome"]


@dataclass(frozen=True, eq=False)
class Column:
    """One quantity's value in every run, without a copy per run.

    Run ``r`` has ``values[(r // stride) % len(values)]``, so that an axis of a product grid takes
    the memory of the axis and not of the grid.

    Parameters
    ----------
    values : array_like, shape (k,)
        Finite numbers; kept as contiguous ``float64``. An array that is that already isn't copied.
    stride : int, default 1
        Number of successive runs that share a value.

    Raises
    ------
    InputError
        If the values are not numbers, not 1-D, none at all or not finite, or the stride is below 1.
    """

    values: NDArray[np.float64]
    stride: int = 1

    def __post_init__(self) -> None:
        try:
            values = np.ascontiguousarray(self.values, dtype=np.float64)
        except (TypeError, ValueError) as fault:
            raise InputError(f"A column needs numbers, not {self.values!r}.") from fault
        if np.ndim(self.values) != 1 or values.size == 0:
            raise InputError(
                f"A column needs one dimension and at least one value, not the shape "
                f"{np.shape(self.values)}."
            )
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(f"A column needs finite values; number {at} is {values[at]}.")
        if self.stride < 1:
            raise InputError(f"A column needs a stride of 1 or more, not {self.stride}.")
        object.__setattr__(self, "values", values)

    def block(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the values of the runs ``start`` to ``stop - 1`` as a new array."""
        if self.stride == 1 and stop <= len(self.values):
            return self.values[start:stop].copy()
        return self.at(np.arange(start, stop))

    def at(self, runs: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the values of some runs, by their numbers, as a new array."""
        return self.values[(runs // self.stride) % len(self.values)]


@dataclass(frozen=True, eq=False)
class Batch:
    """All numbers that one call of a kernel needs; made by :class:`~cubie_kernels.Solver`.

    With n states, P parameters and T save times:

    Attributes
    ----------
    runs : int
        Number of runs.
    parameters, initial : tuple of Column
        The swept parameters and initial values, in the order of the kernel's configuration.
    fixed_parameters : ndarray, shape (P,)
        Values of all parameters; those of swept ones are not read.
    fixed_initial : ndarray, shape (n,)
        Initial values of all states; those of swept ones are not read.
    t0, t1 : float
        Start and end, ``t0 < t1``.
    save_at : ndarray, shape (T,), or None
        Increasing times within ``[t0, t1]``.
    dt : float or None
        The step, or the first step when adaptive (None: chosen by the kernel).
    dt_min, dt_max : float
        Limits of an adaptive step; ``dt_max`` may be infinite.
    max_steps : int
        Largest number of attempted steps, accepted and rejected together.
    rtol, atol : ndarray, shape (n,)
        Tolerances of each state.
    """

    runs: int
    parameters: tuple[Column, ...]
    initial: tuple[Column, ...]
    fixed_parameters: NDArray[np.float64]
    fixed_initial: NDArray[np.float64]
    t0: float
    t1: float
    save_at: NDArray[np.float64] | None
    dt: float | None
    dt_min: float
    dt_max: float
    max_steps: int
    rtol: NDArray[np.float64] = field(repr=False)
    atol: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a kernel call returns; the run axis is last and contiguous.

    With n saved states, m saved observables, T save times and R runs; reals are in the kernel's
    precision:

    Attributes
    ----------
    final_state : ndarray, shape (n, R)
        The state at the end, or the last good one of a run that failed.
    final_observables : ndarray, shape (m, R)
        The observables there.
    final_time : ndarray, shape (R,)
        The end time, or the time of the last good state, in ``float64``.
    states : ndarray, shape (n, T, R), or None
        The saved states; NaN where a run failed before the time.
    observables : ndarray, shape (m, T, R), or None
        The saved observables.
    status : ndarray, shape (R,)
        A :class:`~cubie_kernels.Status` for each run, in ``uint8``.
    accepted, rejected : ndarray, shape (R,)
        Numbers of steps, in ``int32``.
    newton_iterations, linear_iterations : ndarray, shape (R,), or None
        Iterations of Newton's method and of the linear solver of an implicit method, in ``int32``.
    stiff : ndarray, shape (R,), or None
        1 for each run that ``method="auto"`` handed to the implicit method, else 0, in ``uint8``.
    """

    final_state: NDArray[np.floating]
    final_observables: NDArray[np.floating]
    final_time: NDArray[np.float64]
    states: NDArray[np.floating] | None
    observables: NDArray[np.floating] | None
    status: NDArray[np.uint8]
    accepted: NDArray[np.int32]
    rejected: NDArray[np.int32]
    newton_iterations: NDArray[np.int32] | None = None
    linear_iterations: NDArray[np.int32] | None = None
    stiff: NDArray[np.uint8] | None = None
