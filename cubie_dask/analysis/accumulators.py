"""Statistics that are built up piece by piece: states of fixed meaning that merge.

A piece is a table of C cells by R runs with a mask of what counts. Every state says the same of a
set of runs whichever way it was cut and merged: exactly, but for the mean and the variance, whose
last bits depend on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels.checks import numbers
from cubie_kernels.errors import InputError

__all__ = ["Accumulator", "Extremes", "Histogram", "Moments", "Quantiles"]

_LEAST_ERROR, _MOST_ERROR = 1e-6, 0.5
_SIGN_AND_EXPONENT, _MANTISSA = 12, 52
_MAGNITUDE = np.int64(2**63 - 1)


class Accumulator(Protocol):
    """A statistic of the runs of each cell."""

    def begin(self, values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Any:
        """Return the state of a piece: `values` and `counted` have the shape (C, R)."""
        ...

    def merge(self, first: Any, second: Any) -> Any:
        """Return the state of two pieces with the same cells."""
        ...

    def finish(self, state: Any, cells: int) -> dict[str, np.ndarray]:
        """Return the statistics by name, of shape (C,) or (C, k)."""
        ...


@dataclass(frozen=True)
class Moments:
    """Number, mean and variance, merged after Chan, Golub and LeVeque (1983).

    References
    ----------
    T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample variance:
    analysis and recommendations", The American Statistician 37 (1983) 242-247.
    """

    def begin(self, values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Any:
        """Return numbers, means and sums of squared distances from them."""
        number = counted.sum(axis=1, dtype=np.int64)
        divisor = np.maximum(number, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.where(counted, values, 0.0).sum(axis=1) / divisor
            distance = np.where(counted, values - mean[:, np.newaxis], 0.0)
            # What rounding left in the mean, taken out of both.
            rest = distance.sum(axis=1) / divisor
            squares = (distance**2).sum(axis=1) - divisor * rest**2
        return number, mean + rest, np.maximum(squares, 0.0)

    def merge(self, first: Any, second: Any) -> Any:
        """Return the numbers, means and squares of both."""
        (number_1, mean_1, squares_1), (number_2, mean_2, squares_2) = first, second
        number = number_1 + number_2
        share = number_2 / np.maximum(number, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            # The mean of nothing, which is held as 0, must leave no trace.
            distance = np.where((number_1 == 0) | (number_2 == 0), 0.0, mean_2 - mean_1)
            squares = squares_1 + squares_2 + distance**2 * (number_1 * share)
            mean = np.where(number_1 == 0, mean_2, mean_1 + distance * share)
        return number, mean, squares

    def finish(self, state: Any, cells: int) -> dict[str, np.ndarray]:
        """Return ``count``, ``mean``, ``variance`` (of all, divided by the number) and ``std``."""
        number, mean, squares = state
        divisor = np.where(number == 0, np.nan, number)
        variance = squares / divisor
        return {
            "count": number,
            "mean": np.where(number == 0, np.nan, mean),
            "variance": variance,
            "std": np.sqrt(variance),
        }


@dataclass(frozen=True)
class Extremes:
    """The least and the largest value."""

    def begin(self, values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Any:
        """Return both, infinite where nothing counts."""
        return (
            np.min(values, axis=1, where=counted, initial=np.inf),
            np.max(values, axis=1, where=counted, initial=-np.inf),
        )

    def merge(self, first: Any, second: Any) -> Any:
        """Return the least and the largest of both."""
        return np.minimum(first[0], second[0]), np.maximum(first[1], second[1])

    def finish(self, state: Any, cells: int) -> dict[str, np.ndarray]:
        """Return ``min`` and ``max``."""
        least, most = (np.where(np.isfinite(values), values, np.nan) for values in state)
        return {"min": least, "max": most}


@dataclass(frozen=True, eq=False)
class Histogram:
    """Numbers of values between edges; exact however the runs are cut.

    Bins hold their left edge, the last one also its right edge, as in :func:`numpy.histogram`.

    Parameters
    ----------
    edges : array_like, shape (k + 1,)
        Increasing edges of k bins, the same for all variables.

    Raises
    ------
    InputError
        For fewer than two edges, or edges that aren't finite and increasing.
    """

    edges: ArrayLike

    def __post_init__(self) -> None:
        edges = np.array(numbers("Histogram(edges)", self.edges), np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise InputError(
                f"Histogram needs two or more increasing edges in a row, not {self.edges!r}."
            )
        object.__setattr__(self, "edges", edges)

    def begin(self, values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Any:
        """Return the numbers of each cell: below, in each bin, above."""
        edges = np.asarray(self.edges)
        width = len(edges) + 1
        cell, kept = _listed(values, counted)
        place = np.searchsorted(edges, kept, side="right")
        place[kept == edges[-1]] -= 1
        numbers = np.bincount(cell * width + place, minlength=len(values) * width)
        return numbers.reshape(len(values), width)

    def merge(self, first: Any, second: Any) -> Any:
        """Return the sums."""
        return first + second

    def finish(self, state: Any, cells: int) -> dict[str, np.ndarray]:
        """Return ``histogram``, ``below`` and ``above``."""
        return {"histogram": state[:, 1:-1], "below": state[:, 0], "above": state[:, -1]}


@dataclass(frozen=True, eq=False)
class Quantiles:
    """Quantiles to a relative error, from a sketch that merges exactly.

    The sketch counts values by sign, exponent and the first m bits of the mantissa, which are the
    first bits of the number itself; a bin is answered by its middle. It is a log-linear histogram,
    as in HdrHistogram, with DDSketch's guarantee. It keeps the bins that occur: at most 2**m for
    each factor of 2 between the values, at 1 % 64, or 213 for each factor of 10.

    Parameters
    ----------
    probabilities : array_like, shape (k,)
        Which quantiles, 0 to 1. That of q among n values is the one of rank ``floor(q * (n - 1))``,
        as with ``method="lower"`` of :func:`numpy.quantile`.
    error : float, default 0.01
        Largest distance between a quantile and what is returned, as a part of the quantile; 1e-6
        to less than 0.5. Numbers below 2.3e-308 count as 0.

    Raises
    ------
    InputError
        For values outside these limits, or no probability at all.

    References
    ----------
    C. Masson, J. E. Rim and H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
    relative-error guarantees", PVLDB 12 (2019) 2195-2205. G. Tene, HdrHistogram (2012).
    """

    probabilities: ArrayLike = (0.05, 0.25, 0.5, 0.75, 0.95)
    error: float = 0.01

    def __post_init__(self) -> None:
        given = np.array(numbers("Quantiles(probabilities)", self.probabilities), np.float64)
        if given.ndim != 1 or not given.size or given.min() < 0 or given.max() > 1:
            raise InputError(
                "Quantiles needs one or more probabilities in a row, each from 0 to 1, not "
                f"{self.probabilities!r}."
            )
        error = float(numbers("Quantiles(error)", self.error))
        if not _LEAST_ERROR <= error < _MOST_ERROR:
            raise InputError(
                f"Quantiles needs an error from {_LEAST_ERROR:g} to less than {_MOST_ERROR:g}, not "
                f"{self.error!r}."
            )
        object.__setattr__(self, "probabilities", given)

    @property
    def _bits(self) -> int:
        """Bits of the mantissa that tell bins apart: the middle is at most half a bin away."""
        return max(0, math.ceil(-math.log2(self.error)) - 1)

    def begin(self, values: NDArray[np.float64], counted: NDArray[np.bool_]) -> Any:
        """Return the bins that occur, by cell and value, and the numbers in them."""
        kept_bits = self._bits
        cell, kept = _listed(values, counted)
        # Adding 0 makes one zero of both. As integers, floats are in order but for the negative
        # ones, which run backwards.
        raw = (kept + 0.0).view(np.int64)
        ordered = np.where(raw < 0, raw ^ _MAGNITUDE, raw)
        bins = (ordered >> (_MANTISSA - kept_bits)) + (1 << (_SIGN_AND_EXPONENT - 1 + kept_bits))
        return np.unique((cell << (_SIGN_AND_EXPONENT + kept_bits)) + bins, return_counts=True)

    def merge(self, first: Any, second: Any) -> Any:
        """Return the bins of both."""
        bins = np.concatenate([first[0], second[0]])
        numbers = np.concatenate([first[1], second[1]])
        order = np.argsort(bins, kind="stable")
        bins, numbers = bins[order], numbers[order]
        starts = np.flatnonzero(np.diff(bins, prepend=-1))
        if not starts.size:
            return bins, numbers
        return bins[starts], np.add.reduceat(numbers, starts)

    def finish(self, state: Any, cells: int) -> dict[str, np.ndarray]:
        """Return ``quantile``, of shape (C, k)."""
        bins, numbers = state
        width = _SIGN_AND_EXPONENT + self._bits
        upto = np.concatenate([[0], np.cumsum(numbers)])
        ends = upto[np.searchsorted(bins, np.arange(cells + 1, dtype=np.int64) << width)]
        total = np.diff(ends)
        rank = np.floor(np.asarray(self.probabilities) * (total[:, np.newaxis] - 1))
        wanted = ends[:-1, np.newaxis] + np.maximum(rank, 0).astype(np.int64)
        place = np.searchsorted(upto[1:], wanted, side="right")
        found = self._middles(bins)[np.minimum(place, len(bins))]
        return {"quantile": np.where(total[:, np.newaxis] == 0, np.nan, found)}

    def _middles(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the middle of each bin, and NaN behind the last."""
        shift, width = _MANTISSA - self._bits, _SIGN_AND_EXPONENT + self._bits
        keys = (bins & ((1 << width) - 1)) - (1 << (width - 1))
        ordered = (keys << shift) + (1 << (shift - 1))
        raw = np.where(ordered < 0, ordered ^ _MAGNITUDE, ordered)
        middles = raw.view(np.float64)
        tiny = np.abs(middles) < np.finfo(np.float64).tiny
        return np.append(np.where(tiny, 0.0, middles), np.nan)


def _listed(
    values: NDArray[np.float64], counted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the cell and the value of each that counts."""
    cells = np.repeat(np.arange(len(values), dtype=np.int64), counted.sum(axis=1))
    return cells, values[counted]
