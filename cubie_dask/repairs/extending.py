"""Adds points to the grid of a store, whose finished chunks stay as they are.

What is to be is written down in the store before anything changes. From then on nobody else opens
it, and the same call again, after a kill, does what is left.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_dask.errors import GridError, StoreError
from cubie_dask.execution.driver import WHOLE, driving
from cubie_dask.execution.room import full_disk_told
from cubie_dask.execution.stopping import Stopping
from cubie_dask.grids.grid import Grid, ProductGrid, SampleGrid, ZipGrid
from cubie_dask.plans.plan import Plan
from cubie_dask.progress.report import Report, report_of
from cubie_dask.recipe import Recipe, solver_of
from cubie_dask.repairs.added import Added, added_points
from cubie_dask.stores.layout import add_coordinate
from cubie_dask.stores.ledger import Ledger, Record
from cubie_dask.stores.patching import (
    Patch,
    check_intact,
    finish_patches,
    pending_patches,
    read_runs,
    save_patch,
)
from cubie_dask.stores.storage import Storage, StorePath, open_storage
from cubie_dask.stores.store import (
    EXTENDING,
    SweepStore,
    change_attributes,
    open_store,
    read_attributes,
)
from cubie_kernels.labels import result_names, run_labels
from cubie_kernels.model.system import System
from cubie_kernels.version import __version__

__all__ = ["extend_sweep"]

_HISTORY = "cubie_extensions"


def extend_sweep(
    store: StorePath | Storage,
    axes: Mapping[str, ArrayLike] | None = None,
    /,
    **more: ArrayLike,
) -> Report:
    """Add points to the grid of a store; `resume_sweep`, or ``Sweep.run``, then computes them.

    A product grid gets further values of an axis, or of several, behind those that it has; a zip
    further runs; a Sobol or uniform sample a larger `n`, which leaves the points so far as they
    are. Finished chunks are kept, but for those that the old edge of the grid cut off in the
    middle: they are computed again as a whole, to the same bits, and retried runs in them keep the
    results of their retry.

    A call that is ended in the middle, in any way, leaves the old store, or one that the same call
    again makes longer.

    Parameters
    ----------
    store : path or str
        Folder or URL of the store.
    axes : mapping of str to array_like, shape (k,), optional
        The new values of a product's axes or of all quantities of a zip, or the new number of runs
        of a sample as ``n``. Without any, what an earlier call began is brought to its end.
    **more : array_like, shape (k,)
        Further ones.

    Returns
    -------
    Report
        How far the longer sweep is.

    Raises
    ------
    GridError
        For values that are there already, come twice, or don't go on in the order of the axis; for
        unknown names; for a Latin hypercube, whose points depend on their number.
    InputError
        For values that aren't finite numbers, or don't fit the precision.
    StoreError
        If there is no store, or it can't be made longer; StoreBusyError if another process is at
        work on it.
    StorageFullError
        If the disk gets full.

    Examples
    --------
    >>> extend_sweep("lorenz.zarr", rho=[22, 23, 24])                           # doctest: +SKIP
    """
    storage = open_storage(store)
    asked = {**(axes or {}), **more}
    settings = json.loads(read_attributes(storage, extending=True)["cubie_solver"])
    folder = result_names(System.from_dict(settings["model"]))["status"]
    drivers = f"{folder}/drivers"
    with full_disk_told(storage), driving(storage, drivers, WHOLE, Stopping()):
        attributes = read_attributes(storage, extending=True)
        if EXTENDING in attributes:
            _check_same(storage, _load(storage, attributes), asked)
        else:
            _begin(open_store(storage), asked)
        _finish(storage)
    return report_of(open_store(storage))


def _begin(store: SweepStore, asked: Mapping[str, Any]) -> None:
    """Write down what is to be; the last step makes it so."""
    if finish_patches(store):
        store = open_store(store.storage)
    if pending_patches(store):
        raise StoreError(
            f"{store.storage} has retried runs in chunks that are to be computed again: cubie-dask "
            f"resume {store.storage}, or run, does that; then extend it."
        )
    added = added_points(store.recipe, asked)
    plan = store.recipe.plan
    for record in _cut_off(store, replace(plan, shape=added.shape)):
        if record.round:
            check_intact(store, record.chunk)
    file, name = io.BytesIO(), f"{store.folder}/extending.npz"
    new = {f"new_{key}": values for key, values in added.new.items()}
    axes = {f"axis_{key}": values for key, values in added.axes.items()}
    np.savez(file, allow_pickle=False, **new, **axes)
    store.storage.write(name, file.getvalue())
    told = json.dumps({"file": name, "shape": added.shape})
    change_attributes(store.storage, {EXTENDING: told})


def _load(storage: Storage, attributes: Mapping[str, Any]) -> Added:
    told = json.loads(attributes[EXTENDING])
    with np.load(io.BytesIO(storage.read(told["file"])), allow_pickle=False) as found:
        new, axes = (
            {key.removeprefix(kind): found[key] for key in found.files if key.startswith(kind)}
            for kind in ("new_", "axis_")
        )
    return Added(tuple(told["shape"]), new, axes)


def _check_same(storage: Storage, begun: Added, asked: Mapping[str, Any]) -> None:
    """Refuse another extension than the one that was begun."""
    is_same = not asked or (
        asked.keys() == begun.new.keys()
        and all(np.array_equal(np.atleast_1d(given), begun.new[k]) for k, given in asked.items())
    )
    if not is_same:
        listed = ", ".join(f"{name} by {len(new):,}" for name, new in begun.new.items())
        raise GridError(
            f"{storage} was left in the middle of another extension ({listed}): cubie-dask extend "
            f"{storage}, or extend_sweep without values, brings that to its end; then add others."
        )


def _finish(storage: Storage) -> None:
    """Do all that was written down; each step may have been done before."""
    attributes = read_attributes(storage, extending=True)
    with storage.changing("more points") as changed:
        _make_longer(changed, attributes, _load(storage, attributes))
    storage.delete(json.loads(attributes[EXTENDING])["file"])


def _make_longer(storage: Storage, attributes: Mapping[str, Any], added: Added) -> None:
    import zarr

    group = zarr.open_group(storage.zarr(), mode="r+", zarr_format=3, use_consolidated=False)
    arrays: dict[str, Any] = dict(group.arrays())
    solver = solver_of(json.loads(attributes["cubie_solver"]))
    plan = Plan.from_dict(json.loads(attributes["cubie_plan"]))
    new = replace(plan, shape=added.shape)
    given = json.loads(attributes["cubie_grid"])
    axes = run_labels(solver.system, given.get("names", ())) if given["kind"] == "product" else {}
    for name, array in arrays.items():
        if name not in axes.values():
            _resize(array, new)
    recipe = Recipe(solver, _grid(given, added, arrays, solver.system), plan)
    _release(SweepStore(storage, recipe, arrays), new)
    for name, values in added.axes.items():
        told = {"long_name": recipe.long_names[name]}
        add_coordinate(group, recipe.labels[name], values, (recipe.labels[name],), told)
    if isinstance(recipe.grid, ZipGrid):
        for name, values in added.new.items():
            arrays[recipe.labels[name]][plan.shape[0] :] = values
    _publish(storage, attributes, recipe, new)


def _publish(storage: Storage, attributes: Mapping[str, Any], recipe: Recipe, new: Plan) -> None:
    """Make the longer grid the store's, in one step."""
    step = {
        "from": recipe.plan.shape,
        "to": new.shape,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }
    steps = [*json.loads(attributes.get(_HISTORY, "[]")), step]
    grid = recipe.grid.to_dict() | {"identity": recipe.grid.identity()}
    changes = {
        "cubie_plan": json.dumps(new.to_dict()),
        "cubie_grid": json.dumps(grid),
        _HISTORY: json.dumps(steps),
    }
    change_attributes(storage, changes, without=[EXTENDING])


def _grid(
    given: Mapping[str, Any], added: Added, arrays: Mapping[str, Any], system: System
) -> Grid:
    """Return the longer grid; that of a zip reads its arrays, which hold the new values later."""
    if given["kind"] == "sample":
        ranges = tuple((name, scale, low, high) for name, scale, low, high in given["ranges"])
        return SampleGrid(added.shape[0], given["method"], given["seed"], ranges)
    labels = run_labels(system, given["names"])
    if given["kind"] == "zip":
        return ZipGrid({name: arrays[label] for name, label in labels.items()})
    axes = {
        name: added.axes[name] if name in added.axes else np.asarray(arrays[label][:])
        for name, label in labels.items()
    }
    return ProductGrid(axes)


def _cut_off(store: SweepStore, new: Plan) -> list[Record]:
    """Return the records of the chunks that have more runs in another plan."""
    plan = store.recipe.plan
    done = np.array(sorted(store.finished()), np.int64)
    is_cut = np.zeros(len(done), bool)
    for along, count, length, longer, size in zip(
        np.unravel_index(done, plan.counts),
        plan.counts,
        plan.shape,
        new.shape,
        plan.chunk,
        strict=True,
    ):
        if longer > length and length % size:
            is_cut |= np.asarray(along) == count - 1
    found: list[Record] = []
    for _, record in store.ledger.read(done[is_cut].tolist()):
        if isinstance(record, StoreError):
            raise record
        found.append(record)
    return found


def _release(store: SweepStore, new: Plan) -> None:
    """Take away the records of chunks that get more runs; keep what retries made in patches."""
    plan, ledger = store.recipe.plan, store.ledger
    longer = Ledger(ledger.storage, ledger.folder, new.counts)
    for record in _cut_off(store, new):
        if record.round:
            place = np.unravel_index(record.chunk, plan.counts)
            number = longer.chunk(ledger.name(record.chunk).rpartition("/")[2])
            assert number is not None, place
            save_patch(store, _kept(store, record, new.block(number).shape))
        ledger.delete(record.chunk)


def _kept(store: SweepStore, record: Record, shape: tuple[int, ...]) -> Patch:
    """Return the retried runs of a chunk as a patch of that chunk in another shape."""
    block, history = store.recipe.plan.block(record.chunk), store.history
    old: NDArray[np.int64] = np.flatnonzero(read_runs(store, history["round"], block))
    places = np.unravel_index(old, block.shape)
    runs = np.ravel_multi_index(places, shape).astype(np.int64)
    names = (*history.values(), *store.written)
    values = {name: read_runs(store, name, block)[..., old] for name in names}
    return Patch(record.chunk, record.round, 0.0, runs, values)


def _resize(array: Any, new: Plan) -> None:
    lengths = dict(zip(new.dims, new.shape, strict=True))
    dims = array.metadata.dimension_names or ()
    shape = tuple(lengths.get(dim, n) for dim, n in zip(dims, array.shape, strict=True))
    if shape != array.shape:
        array.resize(shape)
