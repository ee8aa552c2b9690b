"""Solutions as xarray datasets and pandas tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_kernels.labels import RunRecord, result_names, run_records
from cubie_kernels.solver import Solver
from cubie_kernels.status import Status
from cubie_kernels.version import __version__

if TYPE_CHECKING:
    import pandas
    import xarray

    from cubie_kernels.solution import Solution

__all__ = ["provenance", "to_dataset", "to_frame"]


def provenance(solver: Solver) -> dict[str, str | int | float | list[float]]:
    """Return attributes that say how results were computed, of types that any store can hold."""
    system = solver.system
    attributes: dict[str, Any] = {
        "model": system.text,
        "model_name": system.name,
        "model_hash": system.content_hash,
        "method": _listed(choice.tableau.name for choice in solver.choices),
        "step_control": "adaptive" if solver.adaptive else "fixed",
        "t_span": list(solver.t_span),
        "precision": solver.precision,
        "target": solver.target,
        "max_steps": solver.max_steps,
        "fixed_values": json.dumps(solver.fixed),
        "source": f"cubie_kernels {__version__}",
    }
    if solver.adaptive:
        attributes |= {
            "controller": _listed(choice.controller.name for choice in solver.choices),
            "rtol": _short(solver.rtol.tolist()),
            "atol": _short(solver.atol.tolist()),
            "dt_min": solver.dt_min,
            "dt_max": solver.dt_max,
        }
    linear = solver.choices[-1].linear
    if linear is not None:
        attributes["linear_solver"] = linear.name
        if solver.choices[-1].damped:
            attributes["newton"] = "damped"
    if solver.dt is not None:
        attributes["dt" if not solver.adaptive else "first_dt"] = solver.dt
    return attributes


def to_dataset(solution: Solution) -> xarray.Dataset:
    """Return a solution as a dataset; see :meth:`~cubie_kernels.Solution.to_xarray`."""
    import xarray

    solver, grid = solution.solver, solution.grid
    names = result_names(solver.system)
    time = () if solver.times is None else (names["time"],)
    coordinates: dict[str, Any] = {}
    if solver.times is not None:
        coordinates[names["time"]] = (time, solver.times, {"long_name": "time"})
    for name, label in grid.labels.items():
        dims = (label,) if grid.kind == "product" else grid.dims
        what = "parameter" if name in solver.system.parameters else "initial value of"
        coordinates[label] = (dims, grid.axes[name], {"long_name": f"{what} {name}"})
    variables: dict[str, Any] = {
        name: ((*time, *grid.dims), values) for name, values in solution.arrays.items()
    }
    for record in _records(solver):
        values = getattr(solution, record.name)
        variables[names[record.name]] = (grid.dims, values, record.attributes)
    return xarray.Dataset(variables, coordinates, provenance(solver))


def to_frame(solution: Solution) -> pandas.DataFrame:
    """Return a solution as a table; see :meth:`~cubie_kernels.Solution.to_pandas`."""
    import pandas

    solver, grid = solution.solver, solution.grid
    names = result_names(solver.system)
    rows = 1 if solver.times is None else len(solver.times)
    table: dict[str, Any] = {}
    if solver.times is not None:
        table[names["run"]] = np.repeat(np.arange(grid.runs), rows)
    for name, column in grid.columns().items():
        table[grid.labels[name]] = np.repeat(column.block(0, grid.runs), rows)
    if solver.times is not None:
        table[names["time"]] = np.tile(solver.times, grid.runs)
    for name, values in solution.arrays.items():
        table[name] = values.reshape(rows, grid.runs).T.reshape(-1)
    for record in _records(solver):
        table[names[record.name]] = np.repeat(getattr(solution, record.name).reshape(-1), rows)
    words = [status.name for status in Status]
    table[names["status"]] = pandas.Categorical.from_codes(
        table[names["status"]].astype(np.int8), categories=words
    )
    frame = pandas.DataFrame(table)
    if solver.times is None:
        frame.index.name = names["run"]
    return frame


def _records(solver: Solver) -> tuple[RunRecord, ...]:
    """Return what is told of each run, the status first."""
    *others, status = run_records(solver.kind)
    return (status, *others)


def _short(values: list[float]) -> float | list[float]:
    return values[0] if len(set(values)) == 1 else values


def _listed(names: Iterable[str]) -> str:
    """Return different names in a row."""
    return ", ".join(dict.fromkeys(names))
