"""Names of dimensions and variables in labelled results."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_kernels.status import Status

if TYPE_CHECKING:
    from cubie_kernels.model.system import System

__all__ = ["free_name", "result_names", "run_labels", "status_attributes"]


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
    wanted = ("time", "run", "status", "accepted_steps", "rejected_steps", "final_time")
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


def status_attributes() -> dict[str, Any]:
    """Return the attributes by which CF conventions explain a status variable."""
    return {
        "long_name": "how the run ended",
        "flag_values": np.array([int(status) for status in Status], dtype=np.uint8),
        "flag_meanings": " ".join(status.name.lower() for status in Status),
    }


def _names(system: System) -> set[str]:
    return {*system.states, *system.parameters, *system.observables}
