"""A picture of a sweep's results that suits its grid; needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_dask.grids.grid import ProductGrid
from cubie_dask.progress.report import Report
from cubie_dask.recipe import Recipe
from cubie_dask.stores.store import open_store
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.status import Status

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["check_picture", "chosen", "draw", "scale_of"]

_SUFFIXES = (".png", ".svg", ".pdf")
_MOST_PANELS = 4
_MOST_TRACES = 12
_MOST_PIXELS = 1000
_MOST_POINTS = 20_000


def check_picture(path: Path) -> None:
    """Raise if no picture could be written there, before hours of computing.

    Raises
    ------
    InputError
        For an unknown kind of file, a folder that isn't there, or if matplotlib is missing.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(
            f"--plot {path} must end in one of {', '.join(_SUFFIXES)}."
            f"{nearest(path.suffix.lower(), _SUFFIXES)}"
        )
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise InputError(f"--plot {path}: there is no folder for it, or it is a folder itself.")
    if find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib: install cubie[plot].")


def draw(report: Report, path: Path) -> None:
    """Draw the results: traces if runs are few, else ends against swept values.

    Two or more axes make an image (at the middle of the further ones), one a curve, and samples
    dots. Runs that failed or weren't computed are left out.

    Parameters
    ----------
    report : Report
        The sweep.
    path : Path
        File to write; its suffix says the format.
    """
    from matplotlib.figure import Figure

    recipe = open_store(report.store).recipe
    dataset = report.dataset()
    names = report.plan.variables[:_MOST_PANELS]
    rows, columns = (1, len(names)) if len(names) < 4 else (2, 2)
    figure = Figure(figsize=(1 + 4.0 * columns, 1 + 3.3 * rows), dpi=120, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    drawer, note = chosen(recipe, report, dataset)
    for panel, name in zip(panels, names, strict=True):
        drawer(panel, name)
    figure.suptitle(f"{report.name}: {note}", fontsize="medium")
    figure.savefig(path)


def chosen(
    recipe: Recipe, report: Report, dataset: xr.Dataset
) -> tuple[Callable[[Axes, str], None], str]:
    """Return what draws a variable into a panel, and what to say above all panels."""
    labels = [recipe.labels[name] for name in recipe.grid.names]
    is_product = isinstance(recipe.grid, ProductGrid)
    runs = f"{report.plan.runs:,} runs"
    if recipe.solver.times is not None and report.plan.runs <= _MOST_TRACES:
        return lambda panel, name: _traces(panel, dataset, recipe, labels, name), runs
    times = recipe.solver.t_span[1] if recipe.solver.times is None else recipe.solver.times[-1]
    note = f"{runs} at t = {times:g}"
    ends, more = _thinned(_ends(recipe, dataset), labels, is_product)
    if is_product and len(labels) > 1:
        return lambda panel, name: _image(panel, ends, labels, name), note + more
    if len(labels) == 1:
        style = {"marker": "."} if len(ends[labels[0]]) <= 60 else {}
        if not is_product:
            style = {"marker": ".", "linestyle": "none"}
        return lambda panel, name: _curve(panel, ends, labels[0], name, style), note + more
    return lambda panel, name: _dots(panel, ends, labels, name), note + more


def _ends(recipe: Recipe, dataset: xr.Dataset) -> xr.Dataset:
    time = recipe.names["time"]
    last = dataset if recipe.solver.times is None else dataset.isel({time: -1}, drop=True)
    return last.where(dataset[recipe.names["status"]] == Status.SUCCESS)


def _thinned(ends: xr.Dataset, labels: list[str], is_product: bool) -> tuple[xr.Dataset, str]:
    """Return no more values than a picture can show, and what was left out, in words."""
    if not is_product or len(labels) == 1:
        (dim,) = ends[labels[0]].dims
        stride = math.ceil(ends.sizes[dim] / _MOST_POINTS)
        return ends.isel({dim: slice(None, None, stride)}), _one_in(stride)
    middle = {name: ends.sizes[name] // 2 for name in labels[2:]}
    at = "".join(f", {name} = {float(ends[name][i]):.6g}" for name, i in middle.items())
    ends = ends.isel(middle)
    strides = {name: math.ceil(ends.sizes[name] / _MOST_PIXELS) for name in labels[:2]}
    ends = ends.isel({name: slice(None, None, stride) for name, stride in strides.items()})
    return ends, at + _one_in(math.prod(strides.values()))


def _one_in(stride: int) -> str:
    return f", one in {stride:,} shown" if stride > 1 else ""


def _traces(panel: Axes, dataset: xr.Dataset, recipe: Recipe, labels: list[str], name: str) -> None:
    time = recipe.names["time"]
    runs = dataset[[name, *labels]].stack(every=recipe.plan.dims, create_index=False).compute()
    for i in range(runs.sizes["every"]):
        run = runs.isel(every=i)
        said = ", ".join(f"{label} = {float(run[label]):.4g}" for label in labels)
        panel.plot(run[time], run[name].transpose(time), linewidth=1, label=said)
    panel.set(xlabel=time, ylabel=name)
    panel.legend(fontsize="x-small")


def _curve(panel: Axes, ends: xr.Dataset, label: str, name: str, style: dict[str, Any]) -> None:
    panel.plot(ends[label], ends[name], linewidth=1, **style)
    panel.set(xlabel=label, ylabel=name, xscale=scale_of(ends[label].values))


def _image(panel: Axes, ends: xr.Dataset, labels: list[str], name: str) -> None:
    x, y = labels[:2]
    values = ends[name].transpose(y, x).values
    image = panel.pcolormesh(
        ends[x], ends[y], values, shading="nearest", cmap="viridis", rasterized=True
    )
    panel.set(xlabel=x, ylabel=y, xscale=scale_of(ends[x].values), yscale=scale_of(ends[y].values))
    assert panel.figure is not None
    panel.set_title(name)
    panel.figure.colorbar(image, ax=panel)


def _dots(panel: Axes, ends: xr.Dataset, labels: list[str], name: str) -> None:
    x, y = labels[:2]
    size = 200 / math.sqrt(ends[name].size)
    dots = panel.scatter(ends[x], ends[y], c=ends[name], s=size, cmap="viridis", rasterized=True)
    panel.set(xlabel=x, ylabel=y, xscale=scale_of(ends[x].values), yscale=scale_of(ends[y].values))
    assert panel.figure is not None
    panel.set_title(name)
    panel.figure.colorbar(dots, ax=panel)


def scale_of(values: np.ndarray) -> str:
    """Return "log" for positive values whose ratios are evener than their distances."""
    values = np.unique(values)
    if len(values) < 3 or values[0] <= 0 or values[-1] < 10 * values[0]:
        return "linear"
    distances, ratios = np.diff(values), np.diff(np.log(values))
    return "log" if ratios.std() / ratios.mean() < distances.std() / distances.mean() else "linear"
