"""What steps do inside: a few runs integrated anew, with all that their kernel computes kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from cubie_kernels.errors import InputError, TargetError
from cubie_kernels.labels import free_name, result_names, run_records
from cubie_kernels.run_grid import RunGrid, run_grid
from cubie_kernels.solution_export import provenance
from cubie_kernels.solver import Solver
from cubie_kernels.solver_checks import check_system
from cubie_kernels.solver_options import SolverOptions, check_options
from cubie_kernels.solver_start import consistent_batch, given_values, mark_inconsistent
from cubie_kernels.status import Status

if TYPE_CHECKING:
    import xarray

    from cubie_kernels.model.system import System
    from cubie_kernels.run.batch import Outcome
    from cubie_kernels.run.record import Recorded

__all__ = ["record"]

_MOST_RUNS = 100
_LONG_NAMES = {
    "time": "time at the start of the step",
    "step_size": "length of the step",
    "error_norm": "error norm, accepted up to 1",
    "accepted": "what became of the step",
    "trouble": "what kept the equations of the step from being solved",
    "start_state": "state at the start of the step",
    "new_state": "state that the step would end on",
    "stage_state": "state at which the stage's derivative was computed last",
    "stage_derivative": "derivative of the stage",
    "stage_increment": "solution of the stage's linear system",
    "newton_iterations": "number of iterations of Newton's method",
    "newton_residual_norm": "norm of what the stage's equations lack, over the tolerances",
    "newton_delta_norm": "norm of the change by a Newton iteration, over the tolerances",
    "newton_length": "part of a Newton update that was taken",
    "newton_rate": "rate at which changes by Newton iterations shrink",
    "linear_code": "how the linear solver ended",
    "linear_iterations": "number of iterations of the linear solver",
    "linear_residual": "norm of the linear residual over the one asked for",
    "error_linear_iterations": "number of iterations of the linear solver for the error estimate",
}
_NOT_ATTEMPTED = {-1: "not_attempted"}
_FLAGS = {
    "accepted": {**_NOT_ATTEMPTED, 0: "rejected", 1: "accepted"},
    "trouble": {
        **_NOT_ATTEMPTED,
        0: "none",
        **{
            int(status): status.name.lower()
            for status in (
                Status.NONFINITE,
                Status.NEWTON_DIVERGED,
                Status.LINEAR_SOLVER_LIMIT,
                Status.SINGULAR_MATRIX,
            )
        },
    },
    "linear_code": {**_NOT_ATTEMPTED, 0: "solved", 4: "not_solved"},
}
_OF_RUNS = ("accepted_steps", "rejected_steps", "final_time", "status")


def record(
    system: System,
    parameters: Mapping[str, ArrayLike] | None = None,
    initial_values: Mapping[str, ArrayLike] | None = None,
    *,
    grid: str = "product",
    **options: Unpack[SolverOptions],
) -> xarray.Dataset:
    """Integrate a few runs and keep what every attempted step computed.

    The kernel is that of ``target="numpy"``, from the same source; recording doesn't change a bit
    of what it computes.

    Parameters
    ----------
    system : System
        The model.
    parameters, initial_values : mapping of str to float or array_like of shape (k,), optional
        As for :func:`~cubie_kernels.solve`.
    grid : {"product", "zip"}
        As there; at most 100 runs.
    **options
        As there, but for ``target`` and ``method="auto"``. What is saved doesn't matter here.

    Returns
    -------
    xarray.Dataset
        Over ``run`` (with the swept values as coordinates), ``attempt`` (steps accepted or not, as
        many as the longest run has), and as the method has them ``stage``, ``iteration`` (of
        Newton's method), ``linear_iteration`` and ``state``:

        ``time``, ``step_size``, ``start_state``, ``new_state``, ``error_norm``
            The step, in the model's units, and the estimate of its error over the tolerances.
        ``accepted``, ``trouble``
            What became of it, and what kept its equations from being solved.
        ``stage_state``, ``stage_derivative``, ``stage_increment``
            Where the derivatives of the stages were computed, what they are, and in Rosenbrock
            methods the solutions of the stages' linear systems.
        ``newton_iterations``, ``newton_residual_norm``, ``newton_delta_norm``, ``newton_rate``
            Newton's method; ``newton_length`` of the damped one.
        ``linear_code``, ``linear_iterations``, ``linear_residual``
            The linear solver; residuals of a matrix-free one.
        ``status``, ``final_time``, ``accepted_steps``, ``rejected_steps``
            How each run ended.

        Where a run has nothing, reals are NaN, counts 0 and other integers -1. A name that the
        model has itself gets a ``_`` behind.

    Raises
    ------
    InputError
        For anything that can't be used, too many runs, or more than fits.
    TargetError
        For another target than ``"numpy"``.

    Examples
    --------
    >>> from cubie_kernels import System, record
    >>> decay = System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0})
    >>> steps = record(decay, {"k": [1.0, 50.0]}, t_span=(0, 1), method="rodas4")
    >>> steps["accepted"].sizes["run"], steps["stage_state"].sizes["stage"]
    (2, 6)
    """
    check_system(system)
    check_options("record()", options, ("grid",))
    runs = run_grid(system, parameters, initial_values, grid)
    _check_runs(runs.runs)
    options["target"] = _checked_target(options.get("target", "numpy"))
    solver = Solver(system, swept=tuple(runs.axes), fixed=runs.fixed, **options)
    if solver.method == "auto":
        names = " or ".join(f"method={choice.tableau.name!r}" for choice in solver.choices)
        raise InputError(f"method='auto' integrates stiff runs twice: record it with {names}.")
    outcome, recorded = _recorded(solver, runs)
    return _dataset(solver, runs, outcome, recorded)


def _check_runs(runs: int) -> None:
    if runs > _MOST_RUNS:
        raise InputError(
            f"All steps of {runs:,} runs are too much to record; the most is {_MOST_RUNS} runs. "
            "Find the runs to look at with solve(), by their status, and record these: with "
            'grid="zip", arrays of their parameters and initial values.'
        )


def _checked_target(target: str) -> str:
    if target not in ("auto", "numpy"):
        raise TargetError(
            f"Steps are recorded on target='numpy', not on {target!r}: leave target out. It "
            "computes with the same source."
        )
    return "numpy"


def _recorded(solver: Solver, runs: RunGrid) -> tuple[Outcome, dict[str, Recorded]]:
    """Integrate the runs with an instrumented kernel."""
    from cubie_kernels.build import build_kernel
    from cubie_kernels.run.execute import execute
    from cubie_kernels.run.record import Recorder

    kernel = build_kernel(replace(solver.config(), records=True))
    recorder = Recorder(len(solver.system.states))
    columns = runs.columns()
    batch, failed = consistent_batch(
        solver.system, solver.batch(columns, runs.runs), columns, solver.fixed, solver.precision
    )
    outcome = execute(replace(kernel, call=partial(kernel.call, **recorder.calls())), batch)
    start = given_values(solver.saved_states, failed, columns, solver.fixed)
    mark_inconsistent(outcome, failed, batch.t0, start)
    return outcome, recorder.arrays(runs.runs, failed)


def _dataset(
    solver: Solver, runs: RunGrid, outcome: Outcome, recorded: dict[str, Recorded]
) -> xarray.Dataset:
    import xarray

    system = solver.system
    taken = {*system.states, *system.parameters, *system.observables}
    of_runs = result_names(system)
    variables: dict[str, Any] = {}

    def put(name: str, dims: tuple[str, ...], values: Any) -> None:
        attributes: dict[str, Any] = {"long_name": _LONG_NAMES[name]}
        if name in _FLAGS:
            attributes["flag_values"] = np.array(list(_FLAGS[name]), values.dtype)
            attributes["flag_meanings"] = " ".join(_FLAGS[name].values())
        named = tuple(free_name(dim, taken) for dim in dims)
        variables[free_name(name, taken)] = (named, values, attributes)

    for name in _LONG_NAMES:
        if name in recorded and (solver.adaptive or name != "error_norm"):
            put(name, *recorded[name])
        elif name == "newton_iterations" and "newton_delta_norm" in recorded:
            dims, codes = recorded["linear_code"]
            axis = dims.index("iteration")
            solved = (codes >= 0).sum(axis, dtype=np.int32)
            put(name, (*dims[:axis], *dims[axis + 1 :]), solved)
    for row in run_records(solver.kind):
        if row.name in _OF_RUNS:
            values = getattr(outcome, row.field)
            variables[of_runs[row.name]] = (of_runs["run"], values, row.attributes)
    coordinates: dict[str, Any] = {free_name("state", taken): list(system.states)}
    for name, column in runs.columns().items():
        what = "parameter" if name in system.parameters else "initial value of"
        values = column.block(0, runs.runs)
        coordinates[runs.labels[name]] = (of_runs["run"], values, {"long_name": f"{what} {name}"})
    return xarray.Dataset(variables, coordinates, provenance(solver))
