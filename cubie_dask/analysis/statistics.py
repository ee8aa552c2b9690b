"""Statistics of the runs of a sweep, chunk by chunk, without keeping the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_dask.analysis.accumulators import Accumulator, Extremes, Histogram, Moments, Quantiles
from cubie_dask.sweep import Sweep
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.labels import free_name, run_records
from cubie_kernels.status import Status

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

__all__ = ["Histogram", "Quantiles", "ensemble_statistics"]

Statistic = str | Histogram | Quantiles

_NAMES = ("count", "mean", "variance", "std", "min", "max", "quantiles")
_LONG_NAMES = {
    "count": "number of values of",
    "mean": "mean of",
    "variance": "variance of",
    "std": "standard deviation of",
    "min": "least value of",
    "max": "largest value of",
    "histogram": "number of values by bin of",
    "below": "number of values below the bins of",
    "above": "number of values above the bins of",
    "quantile": "quantile of",
}
_OF_THE_SAME_UNIT = ("mean", "std", "min", "max", "quantile")


def ensemble_statistics(
    source: Sweep | xr.Dataset,
    dim: str | Iterable[str] | None = None,
    statistics: Sequence[Statistic] | Mapping[str, Sequence[Statistic]] = ("mean", "variance"),
    client: Client | None = None,
) -> xr.Dataset:
    """Return statistics of the runs along some dimensions of a sweep.

    Chunks are reduced one by one, and what is left of them is merged in a tree whose shape depends
    on the chunks alone: the same bits come out in whichever order, and wherever, chunks are
    finished. Other chunks give the same numbers, minima, maxima, histograms and quantiles; mean and
    variance then agree to rounding.

    Runs that failed or weren't computed, and values that aren't finite, are left out. How many runs
    ended how is in ``status_count``, and how many values are in it in ``x_count`` …

    Parameters
    ----------
    source : Sweep or xarray.Dataset
        A sweep is integrated on the way, and nothing of it is stored. Else a dataset with the
        status of each run: of `open_sweep`, `Sweep.dataset` or a `Solution`, also cut down by
        ``sel``, or with further variables computed from its own.
    dim : str or iterable of str, optional
        The dimensions of the runs to reduce; default: all of them.
    statistics : sequence, or mapping of variables to sequences
        Any of ``"mean"``, ``"variance"`` (divided by the number of values), ``"std"``, ``"min"``,
        ``"max"``, ``"quantiles"``, a `Histogram` and a `Quantiles`; for all states and observables,
        or for each variable its own.
    client : distributed.Client, optional
        The cluster to compute on. Default: what Dask uses at present, which is this process or the
        client that was made last.

    Returns
    -------
    xarray.Dataset
        In memory: ``x_count``, ``x_mean`` … of each variable ``x`` with the dimensions that remain;
        ``x_quantile`` with a ``quantile`` more; ``x_histogram`` with an ``x_bin`` more, and beside
        it ``x_below`` and ``x_above`` for what lies outside.

    Raises
    ------
    InputError
        For a dimension, variable or statistic that isn't there, or a dataset without status.

    Examples
    --------
    >>> ensemble_statistics(sweep, "rho", ["mean", Quantiles([0.1, 0.9])])      # doctest: +SKIP
    """
    from cubie_dask.analysis.lazy import merged_blocks

    dataset = source.dataset() if isinstance(source, Sweep) else source
    status = _status(dataset)
    over = _reduced(dim, status)
    kept = tuple(str(d) for d in status.dims if d not in over)
    wanted = _wanted(statistics, dataset, status)
    arrays = [status.transpose(*kept, *over)]
    arrays += [dataset[name].transpose(..., *kept, *over) for name in wanted]
    tables = tuple(_accumulators(chosen) for chosen in wanted.values())
    flags = tuple(int(flag) for flag in np.atleast_1d(status.attrs["flag_values"]))
    words = tuple(str(status.attrs["flag_meanings"]).split())
    job = _Job(
        tuple(wanted), tables, len(over), flags, flags[words.index(Status.SUCCESS.name.lower())]
    )
    found = _assembled(merged_blocks(arrays, over, job, client), job, arrays)
    return _labelled(dataset, found, wanted, arrays, words)


@dataclass(frozen=True)
class _Job:
    """What is done with the blocks: a status and a variable each, the reduced dimensions last.

    Attributes
    ----------
    names : tuple of str
        The variables.
    tables : tuple of tuple of Accumulator
        What is gathered of each.
    reduced : int
        Number of reduced dimensions.
    flags : tuple of int
        All values that a status has.
    success : int
        The one that counts.
    """

    names: tuple[str, ...]
    tables: tuple[tuple[Accumulator, ...], ...]
    reduced: int
    flags: tuple[int, ...]
    success: int

    def begin(self, status: np.ndarray, *blocks: np.ndarray) -> tuple[Any, ...]:
        """Return the state of a chunk: of the status, then of each variable, with its shape."""
        ended = [(status == flag).reshape(*self._kept(status), -1).sum(-1) for flag in self.flags]
        states: list[Any] = [np.stack(ended, axis=-1)]
        for block, table in zip(blocks, self.tables, strict=True):
            values = np.asarray(block, np.float64)
            counted = np.isfinite(values) & (status == self.success)
            runs = math.prod(values.shape[values.ndim - self.reduced :])
            values, counted = values.reshape(-1, runs), counted.reshape(-1, runs)
            gathered = tuple(one.begin(values, counted) for one in table)
            states.append((self._kept(block), gathered))
        return tuple(states)

    def merge(self, first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the state of two neighbours."""
        states: list[Any] = [first[0] + second[0]]
        for table, (shape, mine), (_, theirs) in zip(
            self.tables, first[1:], second[1:], strict=True
        ):
            pairs = zip(table, mine, theirs, strict=True)
            states.append((shape, tuple(one.merge(a, b) for one, a, b in pairs)))
        return tuple(states)

    def finish(self, state: tuple[Any, ...]) -> list[dict[str, np.ndarray]]:
        """Return the arrays of the status and of each variable, by statistic."""
        found = [{"count": state[0]}]
        for table, (shape, gathered) in zip(self.tables, state[1:], strict=True):
            cells = math.prod(shape)
            arrays: dict[str, np.ndarray] = {}
            for one, its_state in zip(table, gathered, strict=True):
                arrays |= one.finish(its_state, cells)
            found.append({k: v.reshape((*shape, *v.shape[1:])) for k, v in arrays.items()})
        return found

    def _kept(self, block: np.ndarray) -> tuple[int, ...]:
        return block.shape[: block.ndim - self.reduced]


def _status(dataset: Any) -> xr.DataArray:
    import xarray as xr

    if not isinstance(dataset, xr.Dataset):
        raise InputError(
            f"ensemble_statistics needs a Sweep or an xarray.Dataset, not "
            f"{type(dataset).__name__}: open_sweep(path) returns the dataset of a store."
        )
    word = Status.SUCCESS.name.lower()
    for array in dataset.data_vars.values():
        if word in str(array.attrs.get("flag_meanings", "")).split():
            if not array.dims:
                raise InputError("The dataset holds one run: there is nothing to reduce.")
            return array
    raise InputError(
        "The dataset has no variable that says how each run ended (by flag_values and "
        'flag_meanings), so failed runs would be counted: keep it, as in ds[["x", "status"]].'
    )


def _reduced(dim: str | Iterable[str] | None, status: xr.DataArray) -> tuple[str, ...]:
    legal = tuple(str(name) for name in status.dims)
    given = legal if dim is None else (dim,) if isinstance(dim, str) else tuple(dim)
    for name in given:
        if name not in legal:
            raise InputError(
                f"dim has {name!r}, which is no dimension of the runs.{nearest(str(name), legal)} "
                f"They have: {', '.join(legal)}."
            )
    if not given:
        raise InputError(f"dim is empty: name one or more of {', '.join(legal)}.")
    return tuple(name for name in legal if name in given)


def _wanted(
    statistics: Any, dataset: xr.Dataset, status: xr.DataArray
) -> dict[str, tuple[Statistic, ...]]:
    """Return the statistics of each variable, checked."""
    records = {record.attributes["long_name"] for record in run_records("auto")}
    fit = [str(k) for k, v in dataset.data_vars.items() if set(status.dims) <= set(v.dims)]
    if not isinstance(statistics, Mapping):
        named = [
            name
            for name in fit
            if dataset[name].dtype.kind == "f"
            and dataset[name].attrs.get("long_name") not in records
        ]
        statistics = dict.fromkeys(named, statistics)
    if not statistics:
        raise InputError("There is no variable to make statistics of: the dataset has none.")
    found = {}
    for name, given in statistics.items():
        if name not in fit:
            raise InputError(
                f"{name!r} is no variable of all runs.{nearest(str(name), fit)} There are: "
                f"{', '.join(fit)}."
            )
        found[name] = _checked(name, given)
    asked = {
        tuple(np.asarray(one.probabilities).tolist())
        for chosen in found.values()
        for one in chosen
        if isinstance(one, Quantiles)
    }
    if len(asked) > 1:
        raise InputError(
            "The variables have Quantiles of different probabilities: give all of them the same."
        )
    return found


def _checked(name: str, given: Any) -> tuple[Statistic, ...]:
    legal = f"{', '.join(_NAMES)}, Histogram(edges) and Quantiles(probabilities)"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"The statistics of {name!r} must be a list of {legal}; not {given!r}.")
    chosen = tuple(Quantiles() if one == "quantiles" else one for one in given)
    for one in chosen:
        if not isinstance(one, Histogram | Quantiles) and one not in _NAMES:
            raise InputError(
                f"There is no statistic {one!r}.{nearest(str(one), _NAMES)} There are: {legal}."
            )
    for kind in (Histogram, Quantiles):
        if sum(isinstance(one, kind) for one in chosen) > 1:
            raise InputError(f"{name!r} can have one {kind.__name__}; join them into one.")
    return chosen


def _accumulators(chosen: tuple[Statistic, ...]) -> tuple[Accumulator, ...]:
    found: list[Accumulator] = [Moments()]
    if "min" in chosen or "max" in chosen:
        found.append(Extremes())
    return (*found, *(one for one in chosen if not isinstance(one, str)))


def _assembled(
    parts: Iterable[tuple[dict[str, slice], list[dict[str, np.ndarray]]]],
    job: _Job,
    arrays: Sequence[xr.DataArray],
) -> list[dict[str, np.ndarray]]:
    """Join what is left of the blocks along the dimensions that remain."""
    kept = [array.dims[: array.ndim - job.reduced] for array in arrays]
    whole: list[dict[str, np.ndarray]] = [{} for _ in arrays]
    for where, found in parts:
        for i, array in enumerate(arrays):
            place = tuple(where.get(str(dim), slice(None)) for dim in kept[i])
            for name, values in found[i].items():
                if name not in whole[i]:
                    shape = (*array.shape[: len(place)], *values.shape[len(place) :])
                    whole[i][name] = np.empty(shape, values.dtype)
                whole[i][name][place] = values
    return whole


def _labelled(
    dataset: xr.Dataset,
    found: list[dict[str, np.ndarray]],
    wanted: dict[str, tuple[Statistic, ...]],
    arrays: Sequence[xr.DataArray],
    words: tuple[str, ...],
) -> xr.Dataset:
    """Return the arrays under their names, with coordinates and attributes."""
    import xarray as xr

    status, taken = arrays[0], {str(name) for name in (*dataset.variables, *dataset.dims)}
    kept = found[0]["count"].ndim - 1
    ended = free_name("ended", taken)
    coordinates: dict[str, Any] = {ended: (ended, list(words))}
    told = {"long_name": "number of runs by how they ended"}
    count = ((*status.dims[:kept], ended), found[0]["count"], told)
    contents: dict[str, Any] = {free_name(f"{status.name}_count", taken): count}
    remaining = set(status.dims[:kept])
    for (name, chosen), values, array in zip(wanted.items(), found[1:], arrays[1:], strict=True):
        dims = array.dims[: array.ndim - status.ndim + kept]
        remaining |= set(dims)
        further = _further_dims(name, chosen, taken, coordinates)
        for statistic, more in further.items():
            attributes = {"long_name": f"{_LONG_NAMES[statistic]} {name}"}
            if statistic in _OF_THE_SAME_UNIT and "units" in array.attrs:
                attributes["units"] = array.attrs["units"]
            label = free_name(f"{name}_{statistic}", taken)
            contents[label] = ((*dims, *more), values[statistic], attributes)
    for name, coordinate in dataset.coords.items():
        if set(coordinate.dims) <= remaining:
            coordinates[str(name)] = coordinate
    attributes = {k: v for k, v in dataset.attrs.items() if not str(k).startswith("cubie_")}
    return xr.Dataset(contents, coordinates, attributes)


def _further_dims(
    name: str, chosen: tuple[Statistic, ...], taken: set[str], coordinates: dict[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Return which dimensions each statistic of a variable has more, and add coordinates."""
    further: dict[str, tuple[str, ...]] = {"count": ()}
    for one in chosen:
        if isinstance(one, Histogram):
            bins = free_name(f"{name}_bin", taken)
            edges = np.asarray(one.edges)
            coordinates[bins] = (bins, (edges[:-1] + edges[1:]) / 2)
            coordinates[f"{bins}_left"] = (bins, edges[:-1])
            coordinates[f"{bins}_right"] = (bins, edges[1:])
            further |= {"histogram": (bins,), "below": (), "above": ()}
        elif isinstance(one, Quantiles):
            dim = free_name("quantile", taken)
            coordinates[dim] = (dim, np.asarray(one.probabilities))
            further["quantile"] = (dim,)
        else:
            further[one] = ()
    return further
