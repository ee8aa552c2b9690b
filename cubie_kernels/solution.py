"""What a batch of runs gave, with its labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cubie_kernels.errors import InputError, nearest
from cubie_kernels.labels import result_names, run_records
from cubie_kernels.run.batch import Outcome
from cubie_kernels.run_grid import RunGrid
from cubie_kernels.solver import Solver
from cubie_kernels.status import Status
from cubie_kernels.summary import Ending, Summary

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["Solution"]

_SHOWN = 6


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    r"""The runs of a grid: values, coordinates, and how each run ended.

    ``solution["x"]`` is the array of a state or observable, or the coordinate of that name.
    Arrays have the dimensions of the grid, after ``time`` where there are saves; they are views of
    what the kernel wrote.

    Attributes
    ----------
    solver : Solver
        The recipe.
    grid : RunGrid
        The runs: ``grid.dims``, ``grid.shape``, ``grid.axes``.
    arrays : dict of str to ndarray
        Each kept state and observable: at the save times, shape (T, \*grid.shape), NaN where the
        run failed before; or without saves at the end, shape grid.shape.
    final : dict of str to ndarray, each of shape grid.shape
        The same quantities at ``final_time``: the end, or the last good state of a failed run.
    final_time : ndarray of shape grid.shape
        The time that each run got to, float64.
    status : ndarray of shape grid.shape
        A :class:`~cubie_kernels.Status` for each run, uint8.
    accepted_steps, rejected_steps : ndarray of shape grid.shape
        Numbers of steps, int32.
    newton_iterations, linear_iterations : ndarray of shape grid.shape, or None
        Iterations of Newton's method and of the linear solver of an implicit method, int32.
    stiff : ndarray of shape grid.shape, or None
        With ``method="auto"``: 1 for each run that the implicit method integrated, else 0; uint8.
    """

    solver: Solver
    grid: RunGrid
    arrays: dict[str, NDArray[np.floating]]
    final: dict[str, NDArray[np.floating]]
    final_time: NDArray[np.float64]
    status: NDArray[np.uint8]
    accepted_steps: NDArray[np.int32]
    rejected_steps: NDArray[np.int32]
    newton_iterations: NDArray[np.int32] | None = None
    linear_iterations: NDArray[np.int32] | None = None
    stiff: NDArray[np.uint8] | None = None
    ok: NDArray[np.bool_] = field(init=False)
    """Which runs succeeded, shape grid.shape."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ok", np.asarray(self.status == Status.SUCCESS))

    @classmethod
    def from_outcome(cls, solver: Solver, grid: RunGrid, outcome: Outcome) -> Solution:
        """Label what a kernel returned for the runs of a grid, without copying it."""
        kept = (
            (solver.saved_states, outcome.final_state, outcome.states),
            (solver.saved_observables, outcome.final_observables, outcome.observables),
        )
        final: dict[str, NDArray[np.floating]] = {}
        saved: dict[str, NDArray[np.floating]] = {}
        for names, ends, traces in kept:
            for i, name in enumerate(names):
                final[name] = ends[i].reshape(grid.shape)
                if traces is not None:
                    saved[name] = traces[i].reshape(-1, *grid.shape)
        return cls(
            solver=solver,
            grid=grid,
            arrays=final if solver.times is None else saved,
            final=final,
            **{
                record.name: getattr(outcome, record.field).reshape(grid.shape)
                for record in run_records(solver.kind)
            },
        )

    def __getitem__(self, name: str) -> NDArray[np.floating]:
        coordinates = {label: self.grid.axes[swept] for swept, label in self.grid.labels.items()}
        if self.solver.times is not None:
            coordinates[result_names(self.solver.system)["time"]] = self.solver.times
        known = coordinates | self.arrays
        if name not in known:
            raise InputError(
                f"The solution has no {name!r}.{nearest(str(name), known)} It has: "
                f"{', '.join(known)}."
            )
        return known[name]

    def to_xarray(self) -> xarray.Dataset:
        """Return the solution as a labelled dataset, without copying the arrays.

        Returns
        -------
        xarray.Dataset
            One variable for each state and observable, with the dimension ``time`` first where
            there are saves, then one for each swept quantity (product) or ``run`` (zip). A swept
            initial value of ``x`` is called ``x_0``. ``status`` (with CF flags),
            ``accepted_steps``, ``rejected_steps`` and ``final_time`` go with them, and with an
            implicit method ``newton_iterations`` and ``linear_iterations``. Where the model has
            one of these names itself, the model's variable keeps it and the other gets a ``_``
            behind.
        """
        from cubie_kernels.solution_export import to_dataset

        return to_dataset(self)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the solution as a tidy table: a row for each run, or each run and time.

        Columns as the variables of :meth:`to_xarray`, with the swept quantities first. The table
        takes its own memory, and repeats each run's inputs in each of its rows.
        """
        from cubie_kernels.solution_export import to_frame

        return to_frame(self)

    def summary(self) -> Summary:
        """Return how many runs ended in which way, and what to do about those that failed."""
        flat, times = self.status.reshape(-1), self.final_time.reshape(-1)
        endings = []
        for status in Status:
            ended_so = flat == status
            if count := int(np.count_nonzero(ended_so)):
                first = int(np.argmax(ended_so))
                endings.append(
                    Ending(
                        status=status,
                        runs=count,
                        first=first,
                        inputs=self.grid.inputs_of(first),
                        time=float(times[first]),
                    )
                )
        return Summary(
            model=self.solver.system.name,
            runs=flat.size,
            endings=tuple(endings),
            accepted=_spread(self.accepted_steps),
            rejected=_spread(self.rejected_steps),
            newton=None if self.newton_iterations is None else _spread(self.newton_iterations),
            linear=None if self.linear_iterations is None else _spread(self.linear_iterations),
            stiff=None if self.stiff is None else int(np.count_nonzero(self.stiff)),
        )

    def __repr__(self) -> str:
        solver, grid = self.solver, self.grid
        time = result_names(solver.system)["time"]
        axes = [(time, solver.times)] if solver.times is not None else []
        sizes = [f"{name}: {len(values):,}" for name, values in axes]
        sizes += [f"{dim}: {size:,}" for dim, size in zip(grid.dims, grid.shape, strict=True)]
        axes += [(grid.labels[name], values) for name, values in grid.axes.items()]
        runs = f"{grid.runs:,} {'run' if grid.runs == 1 else 'runs'}"
        lines = [f"<Solution of {solver.system.name!r}: {runs}, {self.summary().in_words()}>"]
        lines.append(f"  dimensions   ({', '.join(sizes)})")
        lines += [f"  {name:<12} {_range(values)}" for name, values in axes]
        lines.append(f"  values       {_listed(list(self.arrays))}")
        lines.append(f"  solved by    {solver.describe()}")
        lines.append("  see also     .to_xarray(), .to_pandas(), .summary()")
        return "\n".join(lines)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, … {len(names)} in all"


def _range(values: NDArray[Any]) -> str:
    if len(values) <= _SHOWN:
        return " ".join(f"{value:.6g}" for value in values)
    return f"{values[0]:.6g} {values[1]:.6g} … {values[-1]:.6g}"


def _spread(counts: NDArray[np.int32]) -> tuple[int, float, int]:
    return int(counts.min()), float(counts.mean()), int(counts.max())
