"""The arrays and attributes that a store is made with."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie_dask.grids.grid import ProductGrid, SampleGrid
from cubie_dask.plans.plan import Plan
from cubie_dask.recipe import Recipe
from cubie_dask.stores.labelled import Variable, variables

__all__ = [
    "FORMAT",
    "WHOLE",
    "add_coordinate",
    "add_coordinates",
    "add_variables",
    "codec",
    "store_attributes",
]

FORMAT = 2
"""Number of the format, which tells stores of other versions."""

_COORDINATE_CHUNK = 1 << 20

WHOLE: Any = {"write_empty_chunks": True}
"""The configuration of all arrays."""


def store_attributes(recipe: Recipe) -> dict[str, Any]:
    """Return the attributes of a new store."""
    attributes = {"Conventions": "CF-1.11", "cubie_format": FORMAT} | recipe.to_attributes()
    if not isinstance(recipe.grid, ProductGrid):
        # Where xarray looks for the coordinates that are no dimensions.
        attributes["coordinates"] = " ".join(recipe.labels.values())
    return attributes


def add_coordinates(group: Any, recipe: Recipe) -> None:
    """Make the arrays of the times and of the swept values."""
    plan, grid = recipe.plan, recipe.grid
    if recipe.solver.times is not None:
        add_coordinate(group, recipe.names["time"], recipe.solver.times, (recipe.names["time"],))
    for position, name in enumerate(grid.names):
        attributes = {"long_name": recipe.long_names[name]}
        label = recipe.labels[name]
        if isinstance(grid, ProductGrid):
            add_coordinate(group, label, grid.axes[name], (plan.dims[position],), attributes)
            continue
        array = group.create_array(
            label,
            shape=plan.shape,
            chunks=plan.chunk,
            dtype="float64",
            fill_value=np.nan,
            dimension_names=plan.dims,
            attributes=attributes,
            **codec(),
        )
        if not isinstance(grid, SampleGrid):
            (step,) = plan.chunk
            for part in (slice(first, first + step) for first in range(0, plan.runs, step)):
                array[part] = np.asarray(grid.values[name][part])  # pyright: ignore[reportAttributeAccessIssue]


def add_coordinate(
    group: Any,
    name: str,
    values: np.ndarray,
    dims: tuple[str, ...],
    attributes: dict[str, Any] | None = None,
) -> None:
    """Make the array of a coordinate, in place of one that is there."""
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(min(length, _COORDINATE_CHUNK) for length in values.shape),
        dtype=values.dtype,
        fill_value=np.nan,
        dimension_names=dims,
        attributes=attributes or {},
        overwrite=True,
        **codec(),
    )
    array[:] = values


def add_variables(group: Any, recipe: Recipe) -> None:
    """Make the arrays of the results."""
    plan, names, solver = recipe.plan, recipe.names, recipe.solver
    for variable in variables(recipe):
        time = (len(solver.times),) if variable.has_time and solver.times is not None else ()
        group.create_array(
            variable.name,
            shape=time + plan.shape,
            **_pieces(variable, plan, time),
            dtype=variable.dtype,
            fill_value=np.nan if variable.dtype.startswith("float") else 0,
            dimension_names=((names["time"],) if time else ()) + plan.dims,
            attributes=variable.attributes,
            **codec("keepbits" in variable.attributes),
        )


def _pieces(variable: Variable, plan: Plan, time: tuple[int, ...]) -> dict[str, Any]:
    """Return the zarr chunks of a variable, and the shards that hold those of a chunk."""
    if variable.name not in plan.variables or plan.zarr_chunk == plan.chunk:
        return {"chunks": time + plan.chunk}
    shards = {"shards": time + plan.chunk} if plan.sharded else {}
    return {"chunks": time + plan.zarr_chunk, **shards}


def codec(is_rounded: bool = False) -> dict[str, Any]:
    """Return what zarr is told of the compression of an array."""
    from zarr.codecs import BloscCodec

    fast = BloscCodec(cname="lz4", clevel=1, shuffle="shuffle")
    # The zeros at the ends of rounded numbers make whole bytes when their bits lie together.
    small = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
    return {
        "compressors": small if is_rounded else fast,
        "config": WHOLE,
    }
