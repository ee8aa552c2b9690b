"""Sweeps as Dask arrays, whose chunks are integrated when a computation asks for them."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Protocol

import dask.array as da
import numpy as np
from dask.base import compute
from dask.delayed import delayed

from cubie_dask.clusters.profiler import stop_profiler
from cubie_dask.grids.grid import ProductGrid, ZipGrid
from cubie_dask.grids.values import is_stored
from cubie_dask.plans.plan import Plan
from cubie_dask.recipe import Recipe
from cubie_dask.stores.labelled import Variable, results, variables
from cubie_kernels.run.execute import available_threads
from cubie_kernels.version import __version__

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Reduction", "kernel_share", "lazy_dataset", "merged_blocks"]

_MERGED_AT_ONCE = 8

# Dask runs many tasks of a process at once; each kernel uses all the cores that are the process's.
_one_kernel = threading.Lock()


def lazy_dataset(recipe: Recipe, threads: int | None = None) -> xr.Dataset:
    """Return the results of a sweep as arrays that are computed when needed.

    One task integrates a chunk and all its variables are picked from that. The recipe is one more
    task, so that a graph carries it once. The names of tasks follow from the recipe's content.

    Parameters
    ----------
    recipe : Recipe
        The sweep and its chunks.
    threads : int, optional
        As for `kernel_share`.

    Returns
    -------
    xarray.Dataset
        As `open_sweep` returns of the same sweep, once it is finished.
    """
    import xarray as xr

    plan, token = recipe.plan, _token(recipe)
    given = delayed(recipe, name=f"cubie-recipe-{token}", traverse=False)
    boxes = _boxes(_integrated, plan, f"cubie-chunk-{token}", given, threads=threads)
    time = () if recipe.solver.times is None else (recipe.names["time"],)
    contents = {}
    for variable in variables(recipe):
        dims = (*time, *plan.dims) if variable.has_time else plan.dims
        picked = _picked(boxes, variable, f"cubie-{variable.name}-{token}", plan.saves)
        contents[variable.name] = (dims, picked, variable.attributes)
    # As in a dataset from a store: what is recorded of the runs comes last, by its name.
    ordered = [*plan.variables, *sorted(set(contents) - set(plan.variables))]
    attributes = {"Conventions": "CF-1.11"} | recipe.to_attributes()
    coordinates = _coordinates(recipe, given, token)
    return xr.Dataset({name: contents[name] for name in ordered}, coordinates, attributes)


def kernel_share(asked: int | None = None) -> int:
    """Return how many threads a kernel may use where this is called, if no other kernel runs.

    Parameters
    ----------
    asked : int, optional
        What the user said. By default a worker of a ``distributed`` cluster has as many as it runs
        tasks at once, a child of ``multiprocessing`` one, and any other process all its cores.
    """
    if asked is not None:
        return asked
    from distributed import get_worker

    try:
        return max(1, min(get_worker().state.nthreads, available_threads()))
    except ValueError:
        is_child = multiprocessing.parent_process() is not None
        return 1 if is_child else available_threads()


class Reduction(Protocol):
    """What `merged_blocks` does with blocks; it is sent to workers. A state is no list."""

    def begin(self, *blocks: np.ndarray) -> Any:
        """Return the state of one block of each array."""
        ...

    def merge(self, first: Any, second: Any) -> Any:
        """Return the state of two neighbours, without changing either."""
        ...

    def finish(self, state: Any) -> Any:
        """Return what is wanted of the state that remains."""
        ...


def merged_blocks(
    arrays: Sequence[xr.DataArray], over: tuple[str, ...], job: Reduction, client: Any = None
) -> list[tuple[dict[str, slice], Any]]:
    """Reduce the blocks of arrays in a tree whose shape depends on the chunks alone.

    Parameters
    ----------
    arrays : sequence of DataArray
        The first has the dimensions whose blocks are reduced one by one; further dimensions of
        the others come whole.
    over : tuple of str
        The dimensions that are reduced.
    job : Reduction
        How.
    client : distributed.Client, optional
        Where; by default what Dask uses at present.

    Returns
    -------
    list of (dict of str to slice, object)
        For each block of the dimensions that remain, where it lies and what ``job.finish``
        returned.
    """
    dims = [str(dim) for dim in arrays[0].dims]
    pairs = [item for array in arrays for item in (array.chunk().data, array.dims)]
    nothing = np.empty((0,) * len(dims), object)
    states: Any = da.blockwise(
        job.begin, dims, *pairs, concatenate=True, meta=nothing, dtype=object, token="cubie-begin"
    )
    axes = tuple(dims.index(dim) for dim in over)
    wide = max(2, round(_MERGED_AT_ONCE ** (1 / len(axes))))
    tree: Any = da.reduction(
        states,
        chunk=_unchanged,
        combine=partial(_combined, job=job),
        aggregate=partial(_finished, job=job),
        axis=axes,
        keepdims=True,
        concatenate=False,
        dtype=object,
        meta=nothing,
        split_every=dict.fromkeys(axes, wide),
        name="cubie-merge",
    )
    blocks = tree.to_delayed()
    tasks = blocks.ravel().tolist()
    found = compute(*tasks) if client is None else client.compute(tasks, sync=True)
    starts = [np.cumsum([0, *lengths]).tolist() for lengths in states.chunks]
    places = [
        {
            dims[axis]: slice(starts[axis][k], starts[axis][k + 1])
            for axis, k in enumerate(index)
            if axis not in axes
        }
        for index in np.ndindex(blocks.shape)
    ]
    return list(zip(places, found, strict=True))


def _token(recipe: Recipe) -> str:
    described = [recipe.fingerprint, recipe.plan.to_dict(), __version__]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]


def _boxes(function: Callable[..., Any], plan: Plan, name: str, given: Any, **more: Any) -> Any:
    """Return an array whose blocks are what a function makes of the recipe and a chunk."""
    starts = [range(0, n, c) for n, c in zip(plan.shape, plan.chunk, strict=True)]
    lengths = zip(starts, plan.shape, plan.chunk, strict=True)
    chunks = tuple(tuple(min(c, n - start) for start in along) for along, n, c in lengths)
    meta = np.empty((0,) * len(chunks), object)
    return da.map_blocks(function, given, chunks=chunks, name=name, meta=meta, **more)


def _picked(boxes: Any, variable: Variable, name: str, saves: int) -> Any:
    time = ((saves,),) if variable.has_time else ()
    return da.map_blocks(
        _pick,
        boxes,
        variable.name,
        name=name,
        new_axis=0 if time else None,
        chunks=time + boxes.chunks,
        meta=np.empty((0,) * (boxes.ndim + len(time)), variable.dtype),
    )


def _integrated(
    recipe: Recipe, *, threads: int | None, block_id: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Integrate a chunk, and return the values of all variables."""
    stop_profiler()
    block = recipe.plan.block(int(np.ravel_multi_index(block_id, recipe.plan.counts)))
    columns = recipe.grid.columns(block)
    with _one_kernel:
        outcome = recipe.solver.run(columns, block.runs, kernel_share(threads))
    return {
        name: values.reshape(*values.shape[:-1], *block.shape)
        for name, values in results(recipe, outcome)
    }


def _sampled(recipe: Recipe, *, block_id: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the swept values of a chunk's runs."""
    block = recipe.plan.block(int(np.ravel_multi_index(block_id, recipe.plan.counts)))
    columns = recipe.grid.columns(block)
    return {recipe.labels[name]: column.block(0, block.runs) for name, column in columns.items()}


def _pick(box: dict[str, np.ndarray], name: str) -> np.ndarray:
    # A copy, since a view would keep the other variables in memory.
    return box[name].copy()


def _coordinates(recipe: Recipe, given: Any, token: str) -> dict[str, Any]:
    plan, grid, found = recipe.plan, recipe.grid, {}
    if recipe.solver.times is not None:
        found[recipe.names["time"]] = (recipe.names["time"], recipe.solver.times)
    boxes = None
    for position, name in enumerate(grid.names):
        label, attributes = recipe.labels[name], {"long_name": recipe.long_names[name]}
        if isinstance(grid, ProductGrid):
            found[label] = (plan.dims[position], grid.axes[name], attributes)
            continue
        if isinstance(grid, ZipGrid) and not is_stored(grid.values[name]):
            found[label] = (plan.dims, grid.values[name], attributes)
            continue
        if boxes is None:
            boxes = _boxes(_sampled, plan, f"cubie-values-{token}", given)
        values = _picked(boxes, Variable(label, "float64"), f"cubie-{label}-{token}", 0)
        found[label] = (plan.dims, values, attributes)
    return found


def _unchanged(block: Any, axis: Any = None, keepdims: Any = None) -> Any:
    return block


def _combined(blocks: Any, job: Reduction, axis: Any = None, keepdims: Any = None) -> Any:
    return reduce(job.merge, _flat(blocks))


def _finished(blocks: Any, job: Reduction, axis: Any = None, keepdims: Any = None) -> Any:
    return job.finish(_combined(blocks, job))


def _flat(blocks: Any) -> Iterator[Any]:
    if isinstance(blocks, list):
        for block in blocks:
            yield from _flat(block)
    else:
        yield blocks
