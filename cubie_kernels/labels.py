"""Names of dimensions and variables in labelled results, and what is recorded of each run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_kernels.status import Status

if TYPE_CHECKING:
    from cubie_kernels.model.system import System

__all__ = ["RunRecord", "free_name", "result_names", "run_labels", "run_records"]


@dataclass(frozen=True)
class RunRecord:
    """A number that results hold of each run, beside its values.

    Attributes
    ----------
    name : str
        What results call it.
    field : str
        Where :class:`~cubie_kernels.run.batch.Outcome` has it.
    dtype : str
        Its type.
    attributes : dict
        What is said of it in labelled results.
    """

    name: str
    field: str
    dtype: str
    attributes: dict[str, Any]


def run_records(kind: str) -> tuple[RunRecord, ...]:
    """Return what results hold of each run, in the order of writing: the status is the last.

    Parameters
    ----------
    kind : {"explicit", "implicit", "auto"}
        Of the method: iterations are counted of the solvers of an implicit one, and ``"auto"``
        tells in addition which runs that was.
    """
    counts = [
        ("accepted_steps", "accepted", "accepted steps"),
        ("rejected_steps", "rejected", "rejected steps"),
    ]
    if kind != "explicit":
        counts += [
            ("newton_iterations", "newton_iterations", "iterations of Newton's method"),
            ("linear_iterations", "linear_iterations", "iterations of the linear solver"),
        ]
    stiff = RunRecord("stiff", "stiff", "uint8", {"long_name": "integrated by the implicit method"})
    return (
        *(
            RunRecord(name, field, "int32", {"long_name": f"number of {what}"})
            for name, field, what in counts
        ),
        *([stiff] if kind == "auto" else []),
        RunRecord("final_time", "final_time", "float64", {"long_name": "time that the run got to"}),
        RunRecord("status", "status", "uint8", _status_attributes()),
    )


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return ``wanted``, with as many ``_`` behind it as it takes to be none of ``taken``."""
    while wanted in taken:
        wanted += "_"
    return wanted


def result_names(system: System) -> dict[str, str]:
    """Return what results call the time, the run and what is recorded of each run.

    These are the keys themselves, unless the model has a quantity of that name: it keeps the name
    and the other gets a ``_`` behind.
    """
    taken = _names(system)
    wanted = ("time", "run", *(record.name for record in run_records("auto")))
    return {name: free_name(name, taken) for name in wanted}


def run_labels(system: System, swept: Iterable[str]) -> dict[str, str]:
    """Return the label of each swept quantity: its dimension or coordinate in the results.

    A parameter keeps its own name. The initial value of the state ``x`` is called ``x_0``, since
    ``x`` is the solution itself; where the model has an ``x_0`` of its own, ``x_0_``.
    """
    taken = _names(system)
    return {
        name: name if name in system.parameters else free_name(f"{name}_0", taken) for name in swept
    }


def _status_attributes() -> dict[str, Any]:
    """Return the attributes by which CF conventions explain a status variable."""
    return {
        "long_name": "how the run ended",
        "flag_values": np.array([int(status) for status in Status], dtype=np.uint8),
        "flag_meanings": " ".join(status.name.lower() for status in Status),
    }


def _names(system: System) -> set[str]:
    return {*system.states, *system.parameters, *system.observables}
