"""Stores as single files of other formats, written chunk by chunk."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_dask.plans.plan import Plan
from cubie_dask.stores.storage import StorePath
from cubie_dask.stores.store import open_sweep
from cubie_kernels.errors import InputError
from cubie_kernels.labels import free_name

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["to_netcdf", "to_parquet"]


def to_netcdf(store: StorePath, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the results of a sweep into one netCDF-4 file.

    The file has the variables, coordinates and attributes of `open_sweep`'s dataset, compressed
    (deflate, level 1) in the chunks of the store. Runs that weren't computed have the status 0 and
    NaN. One chunk of one variable is in memory at a time. The file gets its name when it is whole.

    Parameters
    ----------
    store : path or str
        The store of a sweep, finished or not: a path or a URL.
    path : path
        The file to write.
    overwrite : bool, default False
        Whether to replace a file of that name.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If h5netcdf or h5py is missing, the file exists, or its folder doesn't.
    StoreError
        If there is no store, or it is not one of a sweep.
    """
    _need("to_netcdf", "h5netcdf", "h5py")
    import h5netcdf

    dataset, plan = _opened(store)
    beside = " ".join(str(name) for name in dataset.coords if name not in dataset.dims)
    with _part(Path(path), overwrite) as part, h5netcdf.File(part, "w") as file:
        # Any: its module has no types.
        target: Any = file
        target.dimensions = {str(dim): size for dim, size in dataset.sizes.items()}
        target.attrs.update(dataset.attrs)
        for name in dataset.variables:
            array = dataset[name]
            held = _held(target, array)
            if beside and name in dataset.data_vars:
                held.attrs["coordinates"] = beside
            for where in _places(array, plan):
                held[tuple(where.get(str(dim), slice(None)) for dim in array.dims)] = array.isel(
                    where
                ).values
    return Path(path)


def to_parquet(store: StorePath, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the results of a sweep into one Parquet file, one row for each run and save time.

    The columns are ``run`` (its number in the grid, the last dimension fastest), the swept values,
    ``time`` if there are saves, the states and observables, and what is recorded of each run, the
    status as its name. The runs of a chunk follow each other, the times of a run too. Runs that
    weren't computed have the status ``NOT_RUN`` and NaN. One chunk is in memory at a time. The file
    gets its name when it is whole.

    Parameters
    ----------
    store, path, overwrite
        As of `to_netcdf`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If pyarrow is missing, the file exists, or its folder doesn't.
    StoreError
        If there is no store, or it is not one of a sweep.
    """
    _need("to_parquet", "pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    dataset, plan = _opened(store)
    told = {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in dataset.attrs.items()
    }
    writer: Any = None
    with _part(Path(path), overwrite) as part:
        try:
            for chunk in range(plan.chunks):
                table = pa.table(_rows(dataset, plan, chunk)).replace_schema_metadata(told)
                if writer is None:
                    writer = parquet.ParquetWriter(part, table.schema, compression="zstd")
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
    return Path(path)


def _opened(store: StorePath) -> tuple[xr.Dataset, Plan]:
    dataset = open_sweep(store, chunks=None)
    # That marks a store with a ledger, which the file is not.
    dataset.attrs.pop("cubie_format")
    return dataset, Plan.from_dict(json.loads(dataset.attrs["cubie_plan"]))


def _need(function: str, *packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            raise InputError(f"{function} needs {package}: install cubie[export].")


@contextmanager
def _part(path: Path, overwrite: bool) -> Iterator[Path]:
    """Give a name to write to, and rename that file once it is written."""
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise InputError(f"{path}: there is no folder for it, or it is a folder itself.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: give another name, or say that it is to be overwritten.")
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _held(file: Any, array: xr.DataArray) -> Any:
    """Return a new variable of a netCDF file, without its values."""
    is_real = array.dtype.kind == "f"
    held = file.create_variable(
        str(array.name),
        array.dims,
        array.dtype,
        fillvalue=np.array(np.nan, array.dtype)[()] if is_real else None,
        chunks=array.encoding.get("chunks"),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    for name, value in array.attrs.items():
        # CF: flags are of the type of what they explain.
        held.attrs[name] = np.array(value, array.dtype) if name == "flag_values" else value
    return held


def _places(array: xr.DataArray, plan: Plan) -> Iterator[dict[str, slice]]:
    """Return the boxes in which a variable is copied: all of a small one, or chunk by chunk."""
    if not set(plan.dims) <= set(array.dims):
        yield {}
        return
    for chunk in range(plan.chunks):
        yield dict(zip(plan.dims, plan.block(chunk).slices, strict=True))


def _rows(dataset: xr.Dataset, plan: Plan, chunk: int) -> dict[str, Any]:
    """Return the columns of a chunk's runs."""
    import xarray as xr

    block = plan.block(chunk)
    part = dataset.isel(dict(zip(plan.dims, block.slices, strict=True))).load()
    status = next(v for v in part.data_vars.values() if "flag_meanings" in v.attrs)
    time = next((dim for dim in part.dims if dim not in plan.dims), None)
    repeats = 1 if time is None else part.sizes[time]
    numbers = np.zeros(1, np.int64)
    for start, length, size in zip(block.start, block.shape, plan.shape, strict=True):
        numbers = (numbers[:, np.newaxis] * size + np.arange(start, start + length)).ravel()
    columns: dict[str, Any] = {
        free_name("run", {str(name) for name in part.variables}): np.repeat(numbers, repeats)
    }
    swept = sorted(str(name) for name in part.coords if name != time)
    swept.sort(key=lambda name: plan.dims.index(name) if name in plan.dims else 0)
    for name in (*swept, *([] if time is None else [time]), *part.data_vars):
        array = xr.broadcast(part[name], status)[0]
        if time is not None and time not in array.dims:
            array = array.expand_dims({time: repeats})
        order = [*plan.dims] if time is None else [*plan.dims, time]
        columns[str(name)] = array.transpose(*order).values.reshape(-1)
    columns[str(status.name)] = _named(columns[str(status.name)], status.attrs)
    return columns


def _named(values: np.ndarray, attributes: dict[str, Any]) -> Any:
    """Return numbers of statuses as their names, each held once."""
    import pyarrow as pa

    names = [word.upper() for word in attributes["flag_meanings"].split()]
    places = np.searchsorted(np.asarray(attributes["flag_values"]), values)
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int8)), pa.array(names))
