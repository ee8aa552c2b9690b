"""How a sweep is cut into chunks, and what that costs: numbers in, a `Plan` out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cubie_dask.grid import Block
from cubie_kernels.checks import count
from cubie_kernels.errors import InputError
from cubie_kernels.labels import run_records

__all__ = ["Plan", "make_plan"]

_TARGET_BYTES = 8 << 20
_MOST_CHUNK_BYTES = 128 << 20
_MOST_ZARR_BYTES = 2**31 - 16
_FEW_CHUNKS = 16
_SMALL_CHUNK = 16_384


@dataclass(frozen=True)
class Plan:
    """The chunks of a sweep.

    A chunk is a box of runs with their full time axis. It is the unit of computing, of writing and
    of resuming, and is exactly one zarr chunk of every array that it writes.

    Attributes
    ----------
    dims : tuple of str
        Dimensions of the runs, the last one fastest.
    shape : tuple of int
        Their lengths.
    chunk : tuple of int
        Lengths of a chunk; those at the far edges may be smaller.
    saves : int
        Number of save times; 0 when the end state alone is kept.
    variables : tuple of str
        The states and observables that are kept.
    dtype : str
        Their type.
    kind : {"explicit", "implicit", "auto"}
        Of the method, which decides what is recorded of each run.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    saves: int
    variables: tuple[str, ...]
    dtype: str
    kind: str = "explicit"

    @property
    def runs(self) -> int:
        """Number of runs."""
        return math.prod(self.shape)

    @property
    def chunk_runs(self) -> int:
        """Number of runs in a chunk that is not at an edge."""
        return math.prod(self.chunk)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of chunks along each dimension."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return math.prod(self.counts)

    @property
    def run_bytes(self) -> int:
        """Bytes of one run's results."""
        itemsize = np.dtype(self.dtype).itemsize
        return _run_bytes(self.saves, len(self.variables), itemsize, self.kind)

    @property
    def variable_chunk_bytes(self) -> int:
        """Bytes of one variable in one chunk: the size of a zarr chunk before compression."""
        return self.chunk_runs * max(1, self.saves) * np.dtype(self.dtype).itemsize

    @property
    def files(self) -> int:
        """Number of chunk files and records."""
        return self.chunks * (len(self.variables) + len(run_records(self.kind)) + 1)

    def block(self, index: int) -> Block:
        """Return the box of runs of a chunk.

        Parameters
        ----------
        index : int
            Number of the chunk, 0 to ``chunks - 1``, the last dimension fastest.
        """
        start = tuple(
            int(k) * c
            for k, c in zip(np.unravel_index(index, self.counts), self.chunk, strict=True)
        )
        stop = (min(s + c, n) for s, c, n in zip(start, self.chunk, self.shape, strict=True))
        return Block(start, tuple(b - a for a, b in zip(start, stop, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        # An explicit method isn't mentioned: stores made before there were others are the same.
        return {k: v for k, v in asdict(self).items() if k != "kind" or v != "explicit"}

    @staticmethod
    def from_dict(given: dict[str, Any]) -> Plan:
        """Return the plan that `to_dict` described."""
        dims, shape, chunk, names = (
            tuple(given[k]) for k in ("dims", "shape", "chunk", "variables")
        )
        kind = given.get("kind", "explicit")
        return Plan(dims, shape, chunk, given["saves"], names, given["dtype"], kind)

    def __str__(self) -> str:
        """Return the plan as a table."""
        dims = " x ".join(f"{d}: {n:,}" for d, n in zip(self.dims, self.shape, strict=True))
        box = " x ".join(f"{n:,}" for n in self.chunk)
        times = f"{self.saves:,} times" if self.saves else "the end state"
        rows = {
            "runs": f"{self.runs:,} ({dims})",
            "outputs": f"{times} of {', '.join(self.variables)} in {self.dtype}",
            "chunks": f"{self.chunks:,} of {box} runs, one zarr chunk in each array",
            "chunk": f"{_size(self.chunk_runs * self.run_bytes)}, "
            f"{_size(self.variable_chunk_bytes)} a variable",
            "store": f"{_size(self.runs * self.run_bytes)} before compression, "
            f"{self.files:,} files",
        }
        return "\n".join(f"{name:<8} {text}" for name, text in rows.items())


def make_plan(
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    saves: int,
    variables: tuple[str, ...],
    dtype: str,
    chunk_runs: int | None = None,
    *,
    kind: str = "explicit",
) -> Plan:
    """Cut a grid into boxes whose variables make zarr chunks of about 8 MB.

    Parameters
    ----------
    dims, shape, saves, variables, dtype, kind
        As in `Plan`.
    chunk_runs : int, optional
        Largest number of runs in a chunk. By default as many as make 8 MB of one variable and at
        most 128 MB of all, but few enough for 16 chunks of 16,384 runs or more.

    Returns
    -------
    Plan
        Boxes that run through the last dimensions whole, where they can.

    Raises
    ------
    InputError
        For a `chunk_runs` that isn't a whole number of 1 or more, or when one variable of the
        chunk would pass the 2 GB that a zarr chunk can be compressed in.
    """
    itemsize = np.dtype(dtype).itemsize
    runs = math.prod(shape)
    one = max(1, saves) * itemsize
    if chunk_runs is None:
        wanted = min(
            _TARGET_BYTES // one,
            _MOST_CHUNK_BYTES // _run_bytes(saves, len(variables), itemsize, kind),
            max(runs // _FEW_CHUNKS, _SMALL_CHUNK),
        )
    else:
        wanted = count("chunk_runs", chunk_runs, 2**40)
    plan = Plan(dims, shape, _box(shape, max(1, wanted)), saves, variables, dtype, kind)
    if plan.variable_chunk_bytes > _MOST_ZARR_BYTES:
        raise InputError(
            f"A chunk of {plan.chunk_runs:,} runs with {saves:,} times is "
            f"{_size(plan.variable_chunk_bytes)} a variable, and a zarr chunk can have 2 GB: give "
            f"chunk_runs={_MOST_ZARR_BYTES // one:,} or less, or save fewer times."
            if one <= _MOST_ZARR_BYTES
            else f"One run with {saves:,} times is {_size(one)} a variable, and a zarr chunk can "
            "have 2 GB: save fewer times."
        )
    return plan


def _run_bytes(saves: int, variables: int, itemsize: int, kind: str) -> int:
    beside = sum(np.dtype(record.dtype).itemsize for record in run_records(kind))
    return max(1, saves) * variables * itemsize + beside


def _box(shape: tuple[int, ...], runs: int) -> tuple[int, ...]:
    """Fill the last dimensions first, and make the boxes along each as even as can be."""
    box = []
    for length in reversed(shape):
        parts = -(-length // min(length, runs))
        box.append(-(-length // parts))
        runs = max(1, runs // box[-1])
    return tuple(reversed(box))


def _size(count: int) -> str:
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"
