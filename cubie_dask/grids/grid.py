"""The runs of a sweep: product grids, values that belong together, and samples.

A grid describes all runs and makes the inputs of any block of them on its own, so that a worker
never needs, and is never sent, the whole.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from cubie_dask.errors import GridError
from cubie_dask.grids.sampling import SAMPLERS
from cubie_dask.grids.values import Survey, checked_values, survey
from cubie_kernels.checks import choice, count, numbers
from cubie_kernels.errors import InputError
from cubie_kernels.run.batch import Column

__all__ = ["MOST_RUNS", "Block", "Grid", "ProductGrid", "SampleGrid", "ZipGrid"]

MOST_RUNS = 2**40
"""The largest number of runs of a grid."""


@dataclass(frozen=True)
class Block:
    """A box of runs: where it starts along each dimension of the grid, and its lengths."""

    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def runs(self) -> int:
        """Number of runs in the box."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box as an index into an array over the whole grid."""
        return tuple(slice(s, s + n) for s, n in zip(self.start, self.shape, strict=True))


class Grid(ABC):
    """Which values each run of a sweep has; made by `product`, `zip` or `sample`.

    Names are those of parameters and, for initial values, of states; the sweep looks them up in
    its model. Two grids are equal when they describe the same runs.

    Attributes
    ----------
    names : tuple of str
        The swept quantities.
    shape : tuple of int
        Lengths of the dimensions; their product is the number of runs.
    """

    kind: ClassVar[str]
    names: tuple[str, ...]
    shape: tuple[int, ...]

    @staticmethod
    def product(axes: Mapping[str, ArrayLike] | None = None, /, **more: ArrayLike) -> ProductGrid:
        """Return all combinations of the given values, one dimension each, the last fastest.

        Parameters
        ----------
        axes : mapping of str to array_like, shape (k,), optional
            The values, in the order of the dimensions.
        **more : array_like, shape (k,)
            Further values, after those.

        Raises
        ------
        GridError
            With no axes, an empty axis, a name given twice, or more than 2**40 runs.
        InputError
            For values that aren't finite numbers.
        """
        return ProductGrid(_arrays("product", axes, more))

    @staticmethod
    def zip(values: Mapping[str, Any] | None = None, /, **more: Any) -> ZipGrid:
        """Return runs whose values belong together: the first with the first, and so on.

        Parameters
        ----------
        values : mapping of str to array_like, shape (runs,), optional
            The values of all runs. They may be larger than memory: a memory map, an array of zarr
            or Dask (in xarray, too), or the path or URL of a ``.npy`` file or a zarr array.
        **more : array_like, shape (runs,)
            Further values.

        Raises
        ------
        GridError
            With nothing given, no runs, a name given twice, arrays of unequal length, or a file
            that can't be read.
        InputError
            For values that aren't finite numbers.
        """
        return ZipGrid(_arrays("zip", values, more))

    @staticmethod
    def sample(
        n: int,
        ranges: Mapping[str, Any] | None = None,
        /,
        *,
        kind: str = "sobol",
        seed: int = 0,
        **more: Any,
    ) -> SampleGrid:
        """Return a seeded random or quasi-random sample of a box of values.

        Parameters
        ----------
        n : int
            Number of runs. Sobol samples are best balanced when it is a power of 2.
        ranges : mapping of str to (low, high) or ("log", low, high), optional
            Range of each quantity, sampled evenly or evenly in its logarithm.
        kind : {"sobol", "latin-hypercube", "uniform"}, default "sobol"
            Scrambled Sobol sequence, Latin hypercube, or independent random numbers.
        seed : int, default 0
            The same seed gives the same sample.
        **more : (low, high) or ("log", low, high)
            Further ranges; put names such as ``kind`` and ``seed`` into `ranges` instead.

        Raises
        ------
        GridError
            For ranges that are missing, malformed, empty, or logarithmic and not above 0.
        InputError
            For an unknown kind, or an `n` or `seed` that isn't a whole number in its limits.
        """
        given = _merged("sample", ranges, more)
        return SampleGrid(
            n=count("n", n, MOST_RUNS),
            method=choice("kind", kind, tuple(SAMPLERS)),
            seed=0 if seed == 0 else count("seed", seed, 2**63),
            ranges=tuple(_range(name, value) for name, value in given.items()),
        )

    @property
    def runs(self) -> int:
        """Number of runs."""
        return math.prod(self.shape)

    @abstractmethod
    def columns(self, block: Block) -> dict[str, Column]:
        """Return the values of a block's runs; within a block the last dimension is fastest."""

    @abstractmethod
    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the least and the largest value of each quantity."""

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """Return what makes this grid another one, by field."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the description without its arrays, for JSON."""

    def __eq__(self, other: object) -> bool:
        """Compare the described runs."""
        return isinstance(other, Grid) and self.identity() == other.identity()

    def __hash__(self) -> int:
        """Hash the described runs."""
        return hash(tuple(self.identity().items()))


class _ArrayGrid(Grid):
    """A grid that is made of an array for each quantity."""

    @abstractmethod
    def _by_name(self) -> dict[str, Any]:
        """Return the arrays by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """The swept quantities, in the order given."""
        return tuple(self._by_name())

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the least and the largest value of each quantity."""
        return {name: (found.low, found.high) for name, found in self._surveys.items()}

    def identity(self) -> dict[str, str]:
        """Return the kind and each array's length, ends and hash."""
        return {"kind": self.kind, "names": ", ".join(self.names)} | {
            name: found.identity for name, found in self._surveys.items()
        }

    @cached_property
    def _surveys(self) -> dict[str, Survey]:
        return {name: survey(name, values) for name, values in self._by_name().items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the description without its arrays, for JSON."""
        return {"kind": self.kind, "names": list(self.names)}


@dataclass(frozen=True, eq=False)
class ProductGrid(_ArrayGrid):
    """All combinations of some axes; see `Grid.product`."""

    axes: dict[str, Any]
    kind: ClassVar[str] = "product"

    def __post_init__(self) -> None:
        """Refuse a product that no store can count."""
        runs = math.prod(values.shape[0] for values in self.axes.values())
        if runs > MOST_RUNS:
            listed = " x ".join(f"{name}: {v.shape[0]:,}" for name, v in self.axes.items())
            raise GridError(
                f"The product {listed} makes {runs:.3g} runs, more than {MOST_RUNS:.3g}: use "
                "fewer values, or Grid.sample."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each."""
        return tuple(values.shape[0] for values in self.axes.values())

    def columns(self, block: Block) -> dict[str, Column]:
        """Return each axis' part in the block, repeated by its stride."""
        found, stride = {}, block.runs
        for (name, values), part, length in zip(
            self.axes.items(), block.slices, block.shape, strict=True
        ):
            stride //= length
            found[name] = Column(values[part], stride)
        return found

    def _by_name(self) -> dict[str, Any]:
        return self.axes


@dataclass(frozen=True, eq=False)
class ZipGrid(_ArrayGrid):
    """Values that belong together; see `Grid.zip`.

    The values may be anything that is sliced like an array, such as an array of a store.
    """

    values: dict[str, Any]
    kind: ClassVar[str] = "zip"

    def __post_init__(self) -> None:
        """Refuse arrays of unequal length."""
        lengths = {name: values.shape[0] for name, values in self.values.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name}: {length:,}" for name, length in lengths.items())
            raise GridError(
                f"Grid.zip needs arrays of one length, not {listed}. Grid.product makes all "
                "combinations."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of runs."""
        return (next(iter(self.values.values())).shape[0],)

    def columns(self, block: Block) -> dict[str, Column]:
        """Return the values of the block's runs."""
        (part,) = block.slices
        return {name: Column(np.asarray(values[part])) for name, values in self.values.items()}

    def _by_name(self) -> dict[str, Any]:
        return self.values


@dataclass(frozen=True, eq=False)
class SampleGrid(Grid):
    """A seeded sample of a box; see `Grid.sample`."""

    n: int
    method: str
    seed: int
    ranges: tuple[tuple[str, str, float, float], ...]
    kind: ClassVar[str] = "sample"

    @property
    def names(self) -> tuple[str, ...]:
        """The swept quantities."""
        return tuple(name for name, *_ in self.ranges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of runs."""
        return (self.n,)

    def columns(self, block: Block) -> dict[str, Column]:
        """Return the values of the block's runs, the same however the sample is cut."""
        (part,) = block.slices
        points = SAMPLERS[self.method](part.start, part.stop, len(self.ranges), self.n, self.seed)
        return {
            name: Column(_scaled(row, scale, low, high))
            for row, (name, scale, low, high) in zip(points, self.ranges, strict=True)
        }

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the ends of the ranges."""
        return {name: (low, high) for name, _, low, high in self.ranges}

    def identity(self) -> dict[str, str]:
        """Return the kind of sample, its size, seed and ranges."""
        fixed = {"kind": self.method, "names": ", ".join(self.names)}
        fixed |= {"n": str(self.n), "seed": str(self.seed)}
        return fixed | {name: f"{scale} {low!r}…{high!r}" for name, scale, low, high in self.ranges}

    def to_dict(self) -> dict[str, Any]:
        """Return the whole description, for JSON."""
        return {
            "kind": self.kind,
            "n": self.n,
            "method": self.method,
            "seed": self.seed,
            "ranges": [list(one) for one in self.ranges],
        }


def _merged(what: str, given: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise GridError(
            f"Grid.{what} needs a mapping of names to values, or name=values, not "
            f"{type(given).__name__}."
        )
    given = dict(given or {})
    twice = [name for name in given if name in more]
    if twice:
        raise GridError(f"Grid.{what} was given {twice[0]!r} twice.")
    given |= more
    if not given:
        raise GridError(f"Grid.{what} needs at least one swept quantity, and was given none.")
    return given


def _arrays(what: str, given: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, values in _merged(what, given, more).items():
        array = checked_values(what, name, values)
        found[name] = np.asarray(array[:], np.float64) if what == "product" else array
    return found


def _range(name: str, given: Any) -> tuple[str, str, float, float]:
    legal = 'Give (low, high) or ("log", low, high).'
    try:
        scale, *ends = ("even", *given) if len(given) == 2 else given
        low, high = numbers(f"The range of {name!r}", ends).tolist()
    except InputError:
        raise
    except (TypeError, ValueError) as fault:
        raise GridError(f"The range of {name!r} is {given!r}. {legal}") from fault
    if scale not in ("even", "log"):
        raise GridError(f"The range of {name!r} is {given!r}: {scale!r} is unknown. {legal}")
    if not low < high:
        raise GridError(f"The range of {name!r} is {given!r}: the low end must be below the high.")
    if scale == "log" and low <= 0:
        raise GridError(f"The range of {name!r} is {given!r}: a logarithm needs ends above 0.")
    return name, scale, low, high


def _scaled(unit: np.ndarray, scale: str, low: float, high: float) -> np.ndarray:
    if scale == "even":
        values = low + (high - low) * unit
    else:
        values = np.exp(math.log(low) + (math.log(high) - math.log(low)) * unit)
    return np.clip(values, low, high)
