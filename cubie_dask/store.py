"""The labelled zarr store of a sweep: made once, then filled chunk by chunk.

A store is a plain zarr v3 group: one array for each state or observable with the dimensions
``(time, …)``, ``status``, ``accepted_steps``, ``rejected_steps``, ``final_time``, with an implicit
method ``newton_iterations`` and ``linear_iterations``, and the values of the grid as coordinates.
What the sweep was made of lies in the group's attributes as text.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_dask.errors import StoreError
from cubie_dask.grid import Block, ProductGrid, SampleGrid
from cubie_dask.labelled import results, variables
from cubie_dask.ledger import Record, finished, read_records
from cubie_dask.plan import Plan
from cubie_dask.recipe import Recipe

if TYPE_CHECKING:
    import xarray as xr

    from cubie_kernels.run.batch import Column, Outcome

__all__ = ["SweepStore", "create_store", "open_store", "open_sweep", "read_attributes"]

_FORMAT = 1


@dataclass(frozen=True)
class SweepStore:
    """An open store.

    Attributes
    ----------
    path : Path
        Its folder.
    recipe : Recipe
        The sweep it holds.
    arrays : dict of str to zarr.Array
        Its arrays by name.
    """

    path: Path
    recipe: Recipe
    arrays: dict[str, Any]

    @property
    def ledger(self) -> Path:
        """The folder of the records."""
        return self.path / self.recipe.names["status"] / "ledger"

    def finished(self) -> set[int]:
        """Return the numbers of all finished chunks."""
        return finished(self.ledger)

    def records(self) -> list[Record]:
        """Return the records of all finished chunks."""
        return read_records(self.ledger)

    def write(self, block: Block, columns: dict[str, Column], outcome: Outcome) -> tuple[int, int]:
        """Write the results of a block of runs, its status last.

        Returns
        -------
        bytes, crc32 : int
            Size and checksum of what was written.
        """
        size, checksum = 0, 0
        for name, values in self._parts(columns, outcome):
            array = self.arrays[name]
            # The run axis of an outcome is contiguous with the last dimension fastest: a view.
            whole = values.reshape(*values.shape[:-1], *block.shape)
            array[(slice(None),) * (whole.ndim - len(block.shape)) + block.slices] = whole
            size += values.nbytes
            checksum = zlib.crc32(values.data, checksum)
        return size, checksum

    def _parts(self, columns: dict[str, Column], outcome: Outcome):
        recipe = self.recipe
        if isinstance(recipe.grid, SampleGrid):
            for name, column in columns.items():
                yield recipe.labels[name], column.values
        yield from results(recipe, outcome)


def create_store(path: Path, recipe: Recipe) -> None:
    """Make a store with all its metadata and no results, in one step that others see as whole.

    Raises
    ------
    StoreError
        If there is something at the path already.
    """
    import zarr

    path.parent.mkdir(parents=True, exist_ok=True)
    build = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        group = zarr.create_group(str(build), zarr_format=3, attributes=_attributes(recipe))
        _add_coordinates(group, recipe)
        _add_variables(group, recipe)
        (build / recipe.names["status"] / "ledger").mkdir()
        # A rename replaces an empty folder and nothing else.
        os.rename(build, path)
    except OSError as fault:
        if path.exists() and any(path.iterdir()):
            raise StoreError(f"{path} was made by another process meanwhile.") from fault
        raise
    finally:
        shutil.rmtree(build, ignore_errors=True)


def open_store(path: str | os.PathLike[str]) -> SweepStore:
    """Open the store of a sweep for reading its records or writing its chunks.

    Raises
    ------
    StoreError
        If there is no store, it is not one of a sweep, or of a later format than is known here.
    """
    import zarr

    path = Path(path)
    attributes = read_attributes(path)
    found = attributes.get("cubie_format")
    if found != _FORMAT:
        raise StoreError(
            f"The store {path} has format {found!r}, and this version knows {_FORMAT}: open it "
            "with the version that made it."
        )
    group = zarr.open_group(str(path), mode="r+", zarr_format=3, use_consolidated=False)
    arrays = dict(group.arrays())
    return SweepStore(path, Recipe.from_attributes(attributes, arrays), arrays)


def open_sweep(path: str | os.PathLike[str], chunks: Any = "store") -> xr.Dataset:
    """Return the results of a sweep, finished or not, as a labelled dataset.

    Parameters
    ----------
    path : path
        The store.
    chunks : optional
        Chunks of the Dask arrays, as for :func:`xarray.open_zarr`; by default one for each chunk
        of the store, and ``None`` for no Dask. Larger ones suit stores of many chunks.

    Returns
    -------
    xarray.Dataset
        One variable for each state or observable. Runs that were not computed yet have the
        status 0 (not run) and NaN everywhere else.

    Raises
    ------
    StoreError
        If there is no store, or it is not one of a sweep.
    """
    import xarray as xr

    plan = Plan.from_dict(json.loads(read_attributes(Path(path))["cubie_plan"]))
    chunks = {} if isinstance(chunks, str) and chunks == "store" else chunks
    dataset = xr.open_zarr(str(path), consolidated=False, chunks=chunks)
    beside = sorted(str(name) for name in dataset.data_vars if name not in plan.variables)
    return dataset[[*plan.variables, *beside]]


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of the store of a sweep.

    Raises
    ------
    StoreError
        If there is no store, or it is not one of a sweep.
    """
    try:
        attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except FileNotFoundError:
        there = "holds something else" if path.exists() else "does not exist"
        raise StoreError(
            f"{path} {there}, and no store of a sweep: give the path that Sweep.run was given, or "
            "a new one to run a sweep into."
        ) from None
    except (ValueError, KeyError, NotADirectoryError) as fault:
        raise StoreError(f"{path} is not a zarr v3 store of a sweep ({fault!r}).") from fault
    if "cubie_format" not in attributes:
        raise StoreError(
            f"{path} is a zarr store, but no sweep made it: give a new path to run a sweep into."
        )
    return attributes


def _attributes(recipe: Recipe) -> dict[str, Any]:
    attributes = {"Conventions": "CF-1.11", "cubie_format": _FORMAT} | recipe.to_attributes()
    if not isinstance(recipe.grid, ProductGrid):
        # Where xarray looks for the coordinates that are no dimensions.
        attributes["coordinates"] = " ".join(recipe.labels.values())
    return attributes


def _add_coordinates(group: Any, recipe: Recipe) -> None:
    plan, grid = recipe.plan, recipe.grid
    if recipe.solver.times is not None:
        _add(group, recipe.names["time"], recipe.solver.times, (recipe.names["time"],))
    for position, name in enumerate(grid.names):
        attributes = {"long_name": recipe.long_names[name]}
        label = recipe.labels[name]
        if isinstance(grid, ProductGrid):
            _add(group, label, grid.axes[name], (plan.dims[position],), attributes)
            continue
        array = group.create_array(
            label,
            shape=plan.shape,
            chunks=plan.chunk,
            dtype="float64",
            fill_value=np.nan,
            dimension_names=plan.dims,
            attributes=attributes,
            **_codec(),
        )
        if not isinstance(grid, SampleGrid):
            array[:] = grid.values[name]  # pyright: ignore[reportAttributeAccessIssue]


def _add(
    group: Any,
    name: str,
    values: np.ndarray,
    dims: tuple[str, ...],
    attributes: dict[str, Any] | None = None,
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        fill_value=np.nan,
        dimension_names=dims,
        attributes=attributes or {},
        **_codec(),
    )
    array[:] = values


def _add_variables(group: Any, recipe: Recipe) -> None:
    plan, names, solver = recipe.plan, recipe.names, recipe.solver
    for variable in variables(recipe):
        time = (len(solver.times),) if variable.has_time and solver.times is not None else ()
        group.create_array(
            variable.name,
            shape=time + plan.shape,
            chunks=time + plan.chunk,
            dtype=variable.dtype,
            fill_value=np.nan if variable.dtype.startswith("float") else 0,
            dimension_names=((names["time"],) if time else ()) + plan.dims,
            attributes=variable.attributes,
            **_codec(),
        )


def _codec() -> dict[str, Any]:
    from zarr.codecs import BloscCodec

    return {
        "compressors": BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
        # Without this zarr compares each chunk with the fill value, and leaves out equal ones.
        "config": {"write_empty_chunks": True},
    }
