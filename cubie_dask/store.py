"""The labelled zarr store of a sweep: made once, then filled chunk by chunk.

A store is a plain zarr v3 group: one array for each state or observable with the dimensions
``(time, …)``, ``status``, ``accepted_steps``, ``rejected_steps``, ``final_time``, with an implicit
method ``newton_iterations`` and ``linear_iterations``, and the values of the grid as coordinates.
What the sweep was made of lies in the group's attributes as text.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_dask.errors import StoreError
from cubie_dask.grid import Block, ProductGrid, SampleGrid
from cubie_dask.labelled import Variable, results, variables
from cubie_dask.ledger import Ledger, Record
from cubie_dask.plan import Plan
from cubie_dask.recipe import Recipe
from cubie_dask.storage import Storage, StorePath, open_storage

if TYPE_CHECKING:
    import xarray as xr

    from cubie_kernels.run.batch import Column, Outcome

__all__ = [
    "SweepStore",
    "create_store",
    "is_vacant",
    "open_store",
    "open_sweep",
    "prepare_store",
    "read_attributes",
]

_FORMAT = 2
_WHOLE: Any = {"write_empty_chunks": True}


@dataclass(frozen=True)
class SweepStore:
    """An open store.

    Attributes
    ----------
    storage : Storage
        Where its files are.
    recipe : Recipe
        The sweep it holds.
    arrays : dict of str to zarr.Array
        Its arrays by name.
    """

    storage: Storage
    recipe: Recipe
    arrays: dict[str, Any]

    @property
    def folder(self) -> str:
        """The folder of what isn't zarr's: names given to `storage` begin with it and a slash."""
        return self.recipe.names["status"]

    @property
    def ledger(self) -> Ledger:
        """The records."""
        return Ledger(self.storage, f"{self.folder}/ledger", self.recipe.plan.counts)

    def finished(self) -> set[int]:
        """Return the numbers of all finished chunks."""
        return self.ledger.finished()

    def records(self) -> list[Record]:
        """Return the records of all finished chunks."""
        return self.ledger.records()

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


def is_vacant(storage: Storage) -> bool:
    """Return whether a store can be made there.

    Raises
    ------
    StoreError
        If it can't be reached; StoreBusyError if another process is making one just now.
    """
    with _reached(storage):
        return storage.vacant()


def prepare_store(store: StorePath | Storage, recipe: Recipe) -> SweepStore:
    """Make a store if there is none, check that it is one of this sweep, and open it.

    Raises
    ------
    StoreError
        As `open_store` does; or if another process is making the store just now.
    ChangedSweepError
        If it is one of another sweep.
    """
    storage = open_storage(store)
    if is_vacant(storage):
        create_store(storage, recipe)
    recipe.check_same(read_attributes(storage), str(storage))
    return open_store(storage)


def create_store(store: StorePath | Storage, recipe: Recipe) -> None:
    """Make a store with all its metadata and no results, in one step that others see as whole.

    Raises
    ------
    StoreError
        If there is something already.
    """
    import zarr

    with open_storage(store).making() as made:
        group = zarr.create_group(made, zarr_format=3)
        _add_coordinates(group, recipe)
        _add_variables(group, recipe)
        # Last, since these make it a store of a sweep.
        group.attrs.put(_attributes(recipe))


def open_store(store: StorePath | Storage) -> SweepStore:
    """Open the store of a sweep for reading its records or writing its chunks.

    Raises
    ------
    StoreError
        If there is no store, it is not one of a sweep, or of another format than is known here.
    """
    import zarr

    storage = open_storage(store)
    attributes = read_attributes(storage)
    found = attributes.get("cubie_format")
    if found != _FORMAT:
        raise StoreError(
            f"The store {storage} has format {found!r}, and this version knows {_FORMAT}: open it "
            "with the version that made it."
        )
    group = zarr.open_group(storage.zarr(), mode="r+", zarr_format=3, use_consolidated=False)
    # The store doesn't keep this: without it, chunks that equal the fill value have no file.
    arrays = {name: array.with_config(_WHOLE) for name, array in group.arrays()}
    return SweepStore(storage, Recipe.from_attributes(attributes, arrays), arrays)


def open_sweep(store: StorePath | Storage, chunks: Any = "store") -> xr.Dataset:
    """Return the results of a sweep, finished or not, as a labelled dataset.

    Parameters
    ----------
    store : path or str
        The store: a path or a URL.
    chunks : optional
        Chunks of the Dask arrays, as for :func:`xarray.open_zarr`; by default one for each chunk
        of the sweep, and ``None`` for no Dask. Larger ones suit stores of many chunks.

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

    storage = open_storage(store)
    plan = Plan.from_dict(json.loads(read_attributes(storage)["cubie_plan"]))
    is_default = isinstance(chunks, str) and chunks == "store"
    wanted: Any = dict(zip(plan.dims, plan.chunk, strict=True)) if is_default else chunks
    dataset = xr.open_zarr(storage.zarr(read_only=True), consolidated=False, chunks=wanted)
    beside = sorted(str(name) for name in dataset.data_vars if name not in plan.variables)
    return dataset[[*plan.variables, *beside]]


def read_attributes(storage: Storage) -> dict[str, Any]:
    """Return the attributes of the store of a sweep.

    Raises
    ------
    StoreError
        If there is no store, it is not one of a sweep, or it can't be reached.
    """
    try:
        with _reached(storage):
            attributes = json.loads(storage.read("zarr.json")).get("attributes", {})
    except FileNotFoundError:
        with _reached(storage):
            there = "holds something else" if storage.exists() else "does not exist"
        raise StoreError(
            f"{storage} {there}, and no store of a sweep: give the path or URL that Sweep.run was "
            "given, or a new one to run a sweep into."
        ) from None
    except (ValueError, AttributeError, NotADirectoryError) as fault:
        raise StoreError(f"{storage} is not a zarr v3 store of a sweep ({fault!r}).") from fault
    if "cubie_format" not in attributes:
        raise StoreError(
            f"{storage} is a zarr store, but no sweep made it, or not to the end: give a new path "
            "or URL to run a sweep into."
        )
    return attributes


@contextmanager
def _reached(storage: Storage) -> Iterator[None]:
    """Say of a service that doesn't answer, or refuses, which one it is and what to do."""
    try:
        yield
    except (StoreError, FileNotFoundError, NotADirectoryError, ValueError):
        raise
    except Exception as fault:
        raise StoreError(
            f"{storage} can't be used: {type(fault).__name__}: {fault}. A path needs the right to "
            "read and write; for a URL see that the address and the rights are in the environment "
            "or the configuration of fsspec (for s3://, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID …)."
        ) from fault


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
            **_pieces(variable, plan, time),
            dtype=variable.dtype,
            fill_value=np.nan if variable.dtype.startswith("float") else 0,
            dimension_names=((names["time"],) if time else ()) + plan.dims,
            attributes=variable.attributes,
            **_codec("keepbits" in variable.attributes),
        )


def _pieces(variable: Variable, plan: Plan, time: tuple[int, ...]) -> dict[str, Any]:
    """Return the zarr chunks of a variable, and the shards that hold those of a chunk."""
    if variable.name not in plan.variables or plan.zarr_chunk == plan.chunk:
        return {"chunks": time + plan.chunk}
    shards = {"shards": time + plan.chunk} if plan.sharded else {}
    return {"chunks": time + plan.zarr_chunk, **shards}


def _codec(is_rounded: bool = False) -> dict[str, Any]:
    from zarr.codecs import BloscCodec

    fast = BloscCodec(cname="lz4", clevel=1, shuffle="shuffle")
    # The zeros at the ends of rounded numbers make whole bytes when their bits lie together.
    small = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
    return {
        "compressors": small if is_rounded else fast,
        "config": _WHOLE,
    }
