"""What a kernel of the NumPy target does inside, collected while it runs.

Source of kernels calls the functions of `Recorder.calls` where ``RECORDS`` holds. They only read:
an instrumented kernel gives the bits of a plain one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cubie_kernels.errors import InputError

__all__ = ["Recorded", "Recorder"]

_MOST_BYTES = 2 << 30
_FIRST_ROWS = 64
# Where nothing was recorded these are 0, other integers -1 and reals NaN.
_COUNTS = ("linear_iterations", "error_linear_iterations")

_Array = NDArray[Any]


class Recorded(NamedTuple):
    """A quantity over runs, attempted steps, and what else it depends on."""

    dims: tuple[str, ...]
    values: _Array


class _Growing:
    """Rows in an array that grows."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> None:
        self._array = np.empty((_FIRST_ROWS, *shape), dtype)
        self.used = 0

    @property
    def rows(self) -> _Array:
        """All rows."""
        return self._array[: self.used]

    def append(self, rows: _Array) -> None:
        """Add rows."""
        end = self.used + len(rows)
        if end > len(self._array):
            longer = np.empty((max(end, 2 * self.used), *self._array.shape[1:]), self._array.dtype)
            longer[: self.used] = self.rows
            self._array = longer
        self._array[self.used : end] = rows
        self.used = end


class _Table:
    """Values of a quantity, with the place of each in an array: run, attempt and so on."""

    def __init__(self, dims: tuple[str, ...], values: _Array) -> None:
        self.dims, self.dtype = dims, values.dtype
        self._places = _Growing((len(dims),), np.int32)
        self._values = _Growing(values.shape[1:], values.dtype)

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return self._places.rows.nbytes + self._values.rows.nbytes

    def __len__(self) -> int:
        return self._values.used

    def append(self, places: _Array, values: _Array) -> None:
        """Add rows."""
        self._places.append(places)
        self._values.append(values)

    def shorten(self, rows: int) -> None:
        """Keep so many rows."""
        self._places.used = self._values.used = rows

    def extent(self) -> tuple[int, ...]:
        """Return the smallest lengths of the dimensions that hold all rows."""
        most = self._places.rows.max(axis=0, initial=-1)
        return tuple(int(last) + 1 for last in most)

    def dense(self, lengths: tuple[int, ...], fill: float) -> Recorded:
        """Return the values as an array; of rows of one place it holds the last."""
        values = self._values.rows
        array = np.full((*lengths, *values.shape[1:]), fill, values.dtype)
        array[tuple(self._places.rows.T)] = values
        return Recorded((*self.dims, "state")[: array.ndim], array)

    def dense_bytes(self, lengths: tuple[int, ...]) -> int:
        """Return the size of `dense`."""
        return math.prod(lengths) * self._values.rows[:1].nbytes


class _Rows(NamedTuple):
    """What lanes have recorded in the step that is under way."""

    name: str
    place: dict[str, int]
    lanes: NDArray[np.intp]
    values: _Array


class Recorder:
    """Collects what an instrumented kernel records of its runs.

    Parameters
    ----------
    states : int
        Number of states: of a buffer so many elements are recorded.
    most_bytes : int
        Size of all that is collected, and of the arrays made of it, beyond which there is an error.
    """

    def __init__(self, states: int, most_bytes: int = _MOST_BYTES) -> None:
        self._states, self._most_bytes = states, most_bytes
        self._tables: dict[str, _Table] = {}
        self._pending: list[_Rows] = []
        self._mask: NDArray[np.bool_] | None = None
        self._place: dict[str, int] = {}
        self._marks: dict[str, int] = {}

    def calls(self) -> dict[str, Callable[..., None]]:
        """Return the functions that source of kernels calls, by their names there."""
        return {
            "record": self._record,
            "record_norm": self._record_norm,
            "record_place": self._record_place,
            "record_within": self._record_within,
            "record_attempt": self._record_attempt,
            "record_block": self._record_block,
        }

    def arrays(self, runs: int, unbegun: NDArray[np.intp]) -> dict[str, Recorded]:
        """Return all quantities, over the runs and the most steps, stages and so on of any.

        Parameters
        ----------
        runs : int
            Number of runs.
        unbegun : ndarray of int
            Runs of which nothing is to be told.

        Raises
        ------
        InputError
            If the arrays are too large.
        """
        longest: dict[str, int] = {}
        for table in self._tables.values():
            for dim, length in zip(table.dims, table.extent(), strict=True):
                longest[dim] = max(longest.get(dim, 0), length)
        attempts = longest["attempt"]
        lengths = {
            name: (runs, *(longest[dim] for dim in table.dims[1:]))
            for name, table in self._tables.items()
        }
        sizes = (table.dense_bytes(lengths[name]) for name, table in self._tables.items())
        self._check_size(sum(sizes), runs, attempts)
        found: dict[str, Recorded] = {}
        for name, table in self._tables.items():
            fill = _fill(name, table)
            found[name] = table.dense(lengths[name], fill)
            found[name].values[unbegun] = fill
        return found

    def _record(
        self, name: str, values: Any, mask: Any = None, *, within: bool = False, **place: int | None
    ) -> None:
        """Record a number of each lane, or the first elements of a buffer.

        That is done in the lanes of ``mask`` among those that `_record_place` left, at ``place``.
        With ``within``: behind the place that was said there, but for what is None in ``place``; if
        there is none, nothing is done.
        """
        if within and not self._place:
            return
        found = np.asarray(getattr(values, "values", values))
        if found.ndim == 2:
            found = found[: self._states].T
        if found.dtype.kind == "i":
            found = found.astype(np.int32)
        chosen = np.ones(len(found), np.bool_)
        for limit in (self._mask, mask):
            if limit is not None:
                chosen &= limit
        lanes = np.flatnonzero(chosen)
        if len(lanes):
            whole = {**self._place, **place} if within else place
            whole = {dim: index for dim, index in whole.items() if index is not None}
            self._pending.append(_Rows(name, whole, lanes, found[lanes]))

    def _record_norm(
        self, name: str, values: Any, weight: Any, rows: int, scale: Any = 1.0, **more: Any
    ) -> None:
        """Record the root mean square of so many elements of a buffer, weighted and scaled."""
        weights = np.resize(weight.values[: self._states], (rows, weight.values.shape[1]))
        parts = weights * (scale * values.values[:rows])
        self._record(name, np.sqrt(np.mean(parts * parts, axis=0)), **more)

    def _record_place(self, mask: Any = None, **place: int) -> None:
        """Say in which lanes, and at which place, what is recorded from here on belongs."""
        self._mask, self._place = mask, place

    def _record_within(self, mask: Any = None, **place: int) -> None:
        """Say more of the place, and maybe in which lanes instead."""
        self._record_place(self._mask if mask is None else mask, **{**self._place, **place})

    def _record_attempt(
        self,
        active: NDArray[np.bool_],
        run: NDArray[np.int64],
        *step: Any,
    ) -> None:
        """Record a step, and with it what was recorded since the one before.

        ``step`` is the number of the attempt, time and size of the step, state and new state, the
        square of the error norm, the status of what kept the step from being solved, and whether it
        was accepted.
        """
        attempt, t, h, y, y_new, q, trouble, accepted = step
        width = len(active)
        self._record_place(active)
        error = np.where(trouble > 0, np.nan, np.sqrt(q)).astype(q.dtype)
        self._record("time", np.broadcast_to(t, width))
        self._record("step_size", np.broadcast_to(h, width))
        self._record("error_norm", error)
        self._record("accepted", accepted.astype(np.int32))
        self._record("trouble", trouble)
        self._record("start_state", y)
        self._record("new_state", y_new)
        self._record_place()
        attempts = np.broadcast_to(attempt, width)
        for name, place, lanes, values in self._pending:
            there = active[lanes]
            dims = ("run", "attempt", *place)
            if name not in self._tables:
                self._tables[name] = _Table(dims, values)
            own = lanes[there]
            places = np.empty((len(own), len(dims)), np.int32)
            places[:, 0], places[:, 1], places[:, 2:] = run[own], attempts[own], (*place.values(),)
            self._tables[name].append(places, values[there])
        self._pending.clear()
        size = sum(table.size for table in self._tables.values())
        self._check_size(size, int(run.max()) + 1, int(attempts.max()) + 1)

    def _record_block(self, again: bool) -> None:
        """Begin a block of steps, or the last one again: what it recorded is forgotten."""
        if not again:
            self._marks = {name: len(table) for name, table in self._tables.items()}
            return
        for name, table in self._tables.items():
            table.shorten(self._marks.get(name, 0))

    def _check_size(self, size: int, runs: int, attempts: int) -> None:
        if size > self._most_bytes:
            raise InputError(
                f"{attempts:,} attempted steps of {runs:,} runs take {size / 2**30:,.1f} GiB to "
                f"record, more than {self._most_bytes / 2**30:,.1f}: record fewer runs, or fewer "
                "steps with a shorter t_span (a late one can begin with the state that a solution "
                "had there as initial values), a smaller max_steps or looser tolerances."
            )


def _fill(name: str, table: _Table) -> float:
    if table.dtype.kind == "f":
        return np.nan
    return 0 if name in _COUNTS else -1
