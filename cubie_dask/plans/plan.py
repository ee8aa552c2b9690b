"""How a sweep is cut into chunks, and what that makes: numbers in, a `Plan` out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cubie_dask.grids.grid import Block
from cubie_kernels.labels import run_records

if TYPE_CHECKING:
    from cubie_dask.plans.estimate import Estimate

__all__ = ["MOST_FILES", "MOST_ZARR_BYTES", "Plan", "boxes", "size_text", "time_text", "with_boxes"]

MOST_FILES = 100_000
MOST_ZARR_BYTES = 2**31 - 16

_ZARR_BYTES = 8 << 20
_LARGE_ZARR_BYTES = 16 << 20


@dataclass(frozen=True)
class Plan:
    """The chunks of a sweep.

    A chunk is a box of runs with their full time axis. It is the unit of computing, of writing and
    of resuming, and holds whole zarr chunks of every array that it writes: of each variable those
    of the shape `zarr_chunk`, of what is recorded of each run one.

    Attributes
    ----------
    dims : tuple of str
        Dimensions of the runs, the last one fastest.
    shape : tuple of int
        Their lengths.
    chunk : tuple of int
        Lengths of a chunk; those at the far edges may be smaller. Along a dimension that it spans
        it may be a little longer than that.
    saves : int
        Number of save times; 0 when the end state alone is kept.
    variables : tuple of str
        The states and observables that are kept.
    dtype : str
        Their type.
    kind : {"explicit", "implicit", "auto"}
        Of the method, which decides what is recorded of each run.
    zarr_chunk : tuple of int
        Lengths of a zarr chunk of a variable, which divide those of a chunk. Default: a chunk.
    sharded : bool
        Whether the zarr chunks of a chunk share one file, a shard.
    swept : int
        Number of swept quantities whose value is kept for each run: those of zips and samples.
    estimate : Estimate, optional
        What it costs, if that was asked for. It is no part of what makes a plan another one.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    saves: int
    variables: tuple[str, ...]
    dtype: str
    kind: str = "explicit"
    zarr_chunk: tuple[int, ...] = ()
    sharded: bool = False
    swept: int = 0
    estimate: Estimate | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Complete the zarr chunk."""
        if not self.zarr_chunk:
            object.__setattr__(self, "zarr_chunk", self.chunk)

    @property
    def runs(self) -> int:
        """Number of runs."""
        return math.prod(self.shape)

    @property
    def chunk_runs(self) -> int:
        """Number of runs in a chunk that is not at an edge."""
        return _runs(self.chunk, self.shape)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of chunks along each dimension."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return math.prod(self.counts)

    @property
    def zarr_chunks(self) -> int:
        """Number of zarr chunks of one variable."""
        return math.prod(-(-n // c) for n, c in zip(self.shape, self.zarr_chunk, strict=True))

    @property
    def value_bytes(self) -> int:
        """Bytes of one variable of one run."""
        return max(1, self.saves) * np.dtype(self.dtype).itemsize

    @property
    def run_bytes(self) -> int:
        """Bytes of one run's results."""
        beside = sum(np.dtype(record.dtype).itemsize for record in run_records(self.kind))
        return len(self.variables) * self.value_bytes + beside + 8 * self.swept

    @property
    def zarr_chunk_bytes(self) -> int:
        """Bytes of a zarr chunk of a variable, before compression."""
        return _runs(self.zarr_chunk, self.shape) * self.value_bytes

    @property
    def chunk_files(self) -> int:
        """Number of files of a chunk that aren't those of variables, its record among them."""
        return len(run_records(self.kind)) + self.swept + 1

    @property
    def files(self) -> int:
        """Number of files of all chunks, of their records, and of the arrays' descriptions."""
        parts = self.chunks if self.sharded else self.zarr_chunks
        arrays = len(self.variables) + self.chunk_files - 1
        return parts * len(self.variables) + self.chunks * self.chunk_files + arrays + 1

    def block(self, index: int) -> Block:
        """Return the box of runs of a chunk.

        Parameters
        ----------
        index : int
            Number of the chunk, 0 to ``chunks - 1``, the last dimension fastest.
        """
        start, length = [], []
        for n, c in zip(reversed(self.shape), reversed(self.chunk), strict=True):
            index, place = divmod(index, -(-n // c))
            start.append(place * c)
            length.append(min(c, n - place * c))
        return Block(tuple(reversed(start)), tuple(reversed(length)))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan for JSON, without what is as it is by default."""
        given: dict[str, Any] = {
            "dims": self.dims,
            "shape": self.shape,
            "chunk": self.chunk,
            "saves": self.saves,
            "variables": self.variables,
            "dtype": self.dtype,
        }
        plain = replace(self, kind="explicit", zarr_chunk=(), sharded=False, swept=0)
        for name in ("kind", "zarr_chunk", "sharded", "swept"):
            if getattr(self, name) != getattr(plain, name):
                given[name] = getattr(self, name)
        return given

    @staticmethod
    def from_dict(given: dict[str, Any]) -> Plan:
        """Return the plan that `to_dict` described."""
        fields: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        return Plan(**fields)

    def __str__(self) -> str:
        """Return the plan as a table."""
        rows = self.table() | ({} if self.estimate is None else self.estimate.table())
        return "\n".join(f"{name:<8} {text}" for name, text in rows.items())

    def table(self) -> dict[str, str]:
        """Return what there is to say of the plan, line by line."""
        dims = " x ".join(f"{d}: {n:,}" for d, n in zip(self.dims, self.shape, strict=True))
        times = f"{self.saves:,} times" if self.saves else "the end state"
        files = "in one file, a shard" if self.sharded else "each a file"
        inner = _runs(self.zarr_chunk, self.shape)
        a_chunk = -(-self.chunk_runs // inner)
        parts = f"{a_chunk:,} zarr chunks of {inner:,} runs, {files}," if a_chunk > 1 else "one"
        return {
            "runs": f"{self.runs:,} ({dims})",
            "outputs": f"{times} of {', '.join(self.variables)} in {self.dtype}",
            "chunks": f"{self.chunks:,} of {self._box(self.chunk)}, "
            f"{size_text(self.chunk_runs * self.run_bytes)} each",
            "zarr": f"{parts} of {size_text(self.zarr_chunk_bytes)} for each variable in a chunk",
            "store": f"{size_text(self.runs * self.run_bytes)} before compression, "
            f"{self.files:,} files",
        }

    def _box(self, box: tuple[int, ...]) -> str:
        lengths = [f"{min(c, n):,}" for c, n in zip(box, self.shape, strict=True)]
        total = f" = {_runs(box, self.shape):,}" if len(lengths) > 1 else ""
        return f"{' x '.join(lengths)}{total} runs"


def with_boxes(plan: Plan, runs: int) -> Plan:
    """Return the plan with chunks of no more than some runs, as many as can be."""
    large = max(1, _LARGE_ZARR_BYTES // plan.value_bytes)
    most = runs
    while True:
        parts = 1 if most <= large else -(-most * plan.value_bytes // _ZARR_BYTES)
        chunk, zarr_chunk = boxes(plan.shape, most, max(1, -(-most // parts)))
        excess = _runs(chunk, plan.shape) - runs
        if excess <= 0:
            break
        most -= excess
    cut = replace(plan, chunk=chunk, zarr_chunk=zarr_chunk, sharded=False)
    return replace(cut, sharded=cut.files > MOST_FILES and cut.zarr_chunks > cut.chunks)


def boxes(
    shape: tuple[int, ...], runs: int, zarr_runs: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return boxes of about some runs, and smaller ones that divide them.

    Boxes run through the last dimensions whole, where they can, and are as even as can be. The
    larger may have a few runs more than asked for, so that the smaller divide them.
    """
    chunk = _box(shape, runs)
    inner = _box(chunk, zarr_runs)
    return tuple(-(-c // i) * i for c, i in zip(chunk, inner, strict=True)), inner


def _box(shape: tuple[int, ...], runs: int) -> tuple[int, ...]:
    box = []
    for length in reversed(shape):
        parts = -(-length // min(length, runs))
        box.append(-(-length // parts))
        runs = max(1, runs // box[-1])
    return tuple(reversed(box))


def _runs(box: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return math.prod(min(c, n) for c, n in zip(box, shape, strict=True))


def size_text(count: float) -> str:
    """Return a number of bytes with its unit: ``"1.5 GB"``."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def time_text(seconds: float) -> str:
    """Return a time as people say it, such as ``"12 min"`` or ``"5 d 2 h"``."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"
