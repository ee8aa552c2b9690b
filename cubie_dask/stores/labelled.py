"""What the results of a sweep are called, which dimensions they have, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cubie_dask.recipe import Recipe
from cubie_dask.stores.rounding import rounded
from cubie_kernels.labels import run_records
from cubie_kernels.run.batch import Outcome

__all__ = ["Variable", "results", "variables"]


@dataclass(frozen=True)
class Variable:
    """A variable of the results.

    Attributes
    ----------
    name : str
        What it is called.
    dtype : str
        Its type.
    has_time : bool
        Whether the save times are its first dimension, before those of the runs.
    attributes : dict
        What is said of it, as values that JSON holds.
    """

    name: str
    dtype: str
    has_time: bool = False
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])


def variables(recipe: Recipe) -> tuple[Variable, ...]:
    """Return the variables that hold a sweep's results: states, observables, records of runs."""
    plan, has_time = recipe.plan, recipe.solver.times is not None
    rounding = {} if recipe.keepbits is None else {"keepbits": recipe.keepbits}
    return (
        *(Variable(name, plan.dtype, has_time, rounding) for name in plan.variables),
        *(
            Variable(
                recipe.names[record.name],
                record.dtype,
                attributes={
                    key: value.tolist() if isinstance(value, np.ndarray) else value
                    for key, value in record.attributes.items()
                },
            )
            for record in run_records(recipe.solver.kind)
        ),
    )


def results(recipe: Recipe, outcome: Outcome) -> Iterator[tuple[str, np.ndarray]]:
    """Name the parts of an outcome, in the order of `variables`: the status is the last.

    Returns
    -------
    iterator of (str, ndarray of shape ([T,] R))
        Of R runs, the run axis is the last: views into the outcome, but for what is rounded.
    """
    solver = recipe.solver
    saves = solver.times is not None
    states = outcome.states if saves else outcome.final_state
    observables = outcome.observables if saves else outcome.final_observables
    for saved, values in ((solver.saved_states, states), (solver.saved_observables, observables)):
        assert values is not None or not saved
        for i, name in enumerate(saved):
            found: np.ndarray = values[i]  # pyright: ignore[reportOptionalSubscript]
            yield name, found if recipe.keepbits is None else rounded(found, recipe.keepbits)
    for record in run_records(solver.kind):
        yield recipe.names[record.name], getattr(outcome, record.field)
