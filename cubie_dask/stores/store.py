"""The labelled zarr store of a sweep: made once, then filled chunk by chunk.

A store is a plain zarr v3 group: one array for each state or observable with the dimensions
``(time, …)``, ``status``, ``accepted_steps``, ``rejected_steps``, ``final_time``, with an implicit
method ``newton_iterations`` and ``linear_iterations``, and the values of the grid as coordinates.
What the sweep was made of lies in the group's attributes as text.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cubie_dask.errors import StoreError
from cubie_dask.grids.grid import Block, SampleGrid
from cubie_dask.plans.plan import Plan
from cubie_dask.recipe import Recipe
from cubie_dask.stores.labelled import results, variables
from cubie_dask.stores.layout import FORMAT, WHOLE, add_coordinates, add_variables, store_attributes
from cubie_dask.stores.ledger import Ledger, Record
from cubie_dask.stores.storage import LocalStorage, Storage, StorePath, open_storage
from cubie_dask.stores.whole_chunks import Packing, packing_of
from cubie_kernels.labels import free_name

if TYPE_CHECKING:
    import xarray as xr

    from cubie_kernels.run.batch import Column, Outcome

__all__ = [
    "EXTENDING",
    "SweepStore",
    "change_attributes",
    "create_store",
    "is_vacant",
    "open_store",
    "open_sweep",
    "prepare_store",
    "read_attributes",
]

EXTENDING = "cubie_extending"
"""The attribute of a store that is being made longer."""


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

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the arrays that a chunk writes, in the order in which its checksum is made."""
        recipe = self.recipe
        sampled = recipe.labels.values() if isinstance(recipe.grid, SampleGrid) else ()
        return (*sampled, *(variable.name for variable in variables(recipe)))

    @property
    def history(self) -> dict[str, str]:
        """Names of the arrays that tell of retried runs; see `cubie_dask.repairs.rounds`."""
        system = self.recipe.solver.system
        taken = {*system.states, *system.parameters, *system.observables}
        return {name: free_name(name, taken) for name in ("first_status", "round")}

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
        for name in self.history.values():
            if name in self.arrays:
                # These results are those of the sweep itself again.
                self.arrays[name][block.slices] = 0
        for name, values in self._parts(columns, outcome):
            array = self.arrays[name]
            # The run axis of an outcome is contiguous with the last dimension fastest: a view.
            whole = values.reshape(*values.shape[:-1], *block.shape)
            times = whole.ndim - len(block.shape)
            packing = self._packings.get(name)
            if packing is None:
                array[(slice(None),) * times + block.slices] = whole
            else:
                packing.write((0,) * times + block.start, whole)
            size += values.nbytes
            checksum = zlib.crc32(values.data, checksum)
        return size, checksum

    @cached_property
    def _packings(self) -> dict[str, Packing]:
        """How arrays in a folder are written, by name."""
        if not isinstance(self.storage, LocalStorage):
            return {}
        folder = self.storage.path
        found = {name: packing_of(self.arrays[name], folder) for name in self.written}
        return {name: packing for name, packing in found.items() if packing is not None}

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
        add_coordinates(group, recipe)
        add_variables(group, recipe)
        # Last, since these make it a store of a sweep.
        group.attrs.put(store_attributes(recipe))


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
    if found != FORMAT:
        raise StoreError(
            f"The store {storage} has format {found!r}, and this version knows {FORMAT}: open it "
            "with the version that made it."
        )
    files = storage.zarr()
    mode = "r" if files.read_only else "r+"
    group = zarr.open_group(files, mode=mode, zarr_format=3, use_consolidated=False)
    # The store doesn't keep this: without it, chunks that equal the fill value have no file.
    arrays = {name: array.with_config(WHOLE) for name, array in group.arrays()}
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


def read_attributes(storage: Storage, *, extending: bool = False) -> dict[str, Any]:
    """Return the attributes of the store of a sweep.

    Parameters
    ----------
    storage : Storage
        The store.
    extending : bool, default False
        Whether it may be one that is being made longer, where nothing else may be read.

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
    if EXTENDING in attributes and not extending:
        raise StoreError(
            f"A process that made {storage} longer was ended in the middle of that: cubie-dask "
            f"extend {storage}, or extend_sweep({str(storage)!r}), does the rest."
        )
    return attributes


def change_attributes(
    storage: Storage, changes: Mapping[str, Any], without: Iterable[str] = ()
) -> None:
    """Replace attributes of a store, all in one step.

    Parameters
    ----------
    storage : Storage
        The store.
    changes : mapping of str to object
        Attributes that are added or replaced.
    without : iterable of str
        Attributes that are taken away.
    """
    metadata = json.loads(storage.read("zarr.json"))
    kept = {k: v for k, v in metadata["attributes"].items() if k not in set(without)}
    storage.write("zarr.json", json.dumps(metadata | {"attributes": kept | dict(changes)}).encode())


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
