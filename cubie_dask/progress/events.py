"""What happens in a sweep, as events; and who listens: a bar, or lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TextIO

from cubie_dask.stores.ledger import Record
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.status import Status

__all__ = [
    "Bar",
    "ChunkFailed",
    "ChunkFinished",
    "ChunkProbed",
    "Event",
    "Lines",
    "Listener",
    "Progress",
    "SweepEnded",
    "SweepStarted",
    "SweepStopping",
    "listener_for",
    "span",
]


@dataclass(frozen=True)
class SweepStarted:
    """A pass over a sweep begins.

    Attributes
    ----------
    store : str
        Where the results go.
    runs, chunks : int
        Size of the whole sweep.
    runs_before, chunks_before : int
        What earlier passes finished.
    """

    store: str
    runs: int
    chunks: int
    runs_before: int
    chunks_before: int


@dataclass(frozen=True)
class ChunkFinished:
    """A chunk is in the store and in the ledger."""

    record: Record


@dataclass(frozen=True)
class ChunkFailed:
    """An attempt at a chunk failed.

    Attributes
    ----------
    chunk, attempt : int
        Which chunk, and how often it has been begun.
    error : str
        What went wrong.
    retried : bool
        Whether it is begun again.
    follows : str
        What happens now, in words.
    """

    chunk: int
    attempt: int
    error: str
    retried: bool
    follows: str


@dataclass(frozen=True)
class ChunkProbed:
    """It was found out which runs of a chunk kill the process that computes them.

    Attributes
    ----------
    chunk, attempt : int
        Which chunk, and how often it has been begun.
    lost : int
        Number of those runs; 0 if the workers died of something else.
    """

    chunk: int
    attempt: int
    lost: int


@dataclass(frozen=True)
class SweepStopping:
    """No more chunks are taken.

    Attributes
    ----------
    reason : str
        Why.
    in_hand : int
        Number of chunks that are finished still.
    """

    reason: str
    in_hand: int


@dataclass(frozen=True)
class SweepEnded:
    """A pass over a sweep is over.

    Attributes
    ----------
    complete : bool
        Whether all chunks are finished.
    seconds : float
        Wall time of the pass.
    """

    complete: bool
    seconds: float


Event = SweepStarted | ChunkFinished | ChunkFailed | ChunkProbed | SweepStopping | SweepEnded
Listener = Callable[[Event], None]
Progress = Literal["auto", "bar", "lines", "none"] | bool | Listener
"""What `progress` arguments may be; see `listener_for`."""


@dataclass
class _Tally:
    """Running totals over the events of a pass."""

    clock: Callable[[], float]
    began: float = 0.0
    runs: int = 0
    chunks: int = 0
    runs_done: int = 0
    chunks_done: int = 0
    runs_before: int = 0
    failed: int = 0
    retried: int = 0

    def add(self, event: Event) -> None:
        if isinstance(event, SweepStarted):
            self.began = self.clock()
            self.runs, self.chunks = event.runs, event.chunks
            self.runs_done = self.runs_before = event.runs_before
            self.chunks_done = event.chunks_before
        elif isinstance(event, ChunkFinished):
            self.runs_done += event.record.runs
            self.chunks_done += 1
            self.failed += event.record.runs - event.record.statuses.get(Status.SUCCESS.name, 0)
        elif isinstance(event, ChunkFailed):
            self.retried += event.retried

    def rate(self) -> float:
        """Return the runs per second of this pass."""
        return (self.runs_done - self.runs_before) / max(1e-9, self.clock() - self.began)

    def line(self) -> str:
        share = self.runs_done / max(1, self.runs)
        rate = self.rate()
        text = f"{self.runs_done:,} of {self.runs:,} runs ({share:.1%}), {rate:,.0f} runs/s"
        if rate > 0 and self.runs_done < self.runs:
            text += f", {span((self.runs - self.runs_done) / rate)} left"
        if self.failed:
            text += f", {self.failed:,} runs failed"
        if self.retried:
            text += f", {self.retried:,} chunks retried"
        return text


@dataclass
class Lines:
    """Writes a line at the start, at most one each interval, and one at the end.

    Lines end with a newline and hold nothing that rewinds a terminal, as logs need it.

    Attributes
    ----------
    stream : text file
        Where to.
    interval : float
        Seconds between lines.
    clock : callable
        Seconds that only grow.
    """

    stream: TextIO
    interval: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _tally: _Tally = field(init=False, repr=False)
    _last: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self._tally = _Tally(self.clock)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        self._tally.add(event)
        now = self.clock()
        if isinstance(event, SweepStarted):
            before = f", {event.chunks_before:,} done before" if event.chunks_before else ""
            self._write(f"{event.runs:,} runs in {event.chunks:,} chunks{before}: {event.store}")
        elif isinstance(event, SweepEnded):
            self._write(f"{self._tally.line()}; {_ending(event)}")
        elif isinstance(event, ChunkFailed | ChunkProbed | SweepStopping):
            self._write(_told(event))
        elif now - self._last >= self.interval:
            self._write(self._tally.line())
        else:
            return
        self._last = now

    def _write(self, text: str) -> None:
        self.stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} sweep: {text}\n")
        self.stream.flush()


class Bar:
    """Draws a bar on a terminal.

    Parameters
    ----------
    stream : text file
        The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(file=stream)
        self._tally = _Tally(time.monotonic)
        self._bar = Progress(
            TextColumn("[bold]sweep"),
            BarColumn(),
            TextColumn("{task.description}"),
            console=console,
        )
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        self._tally.add(event)
        if isinstance(event, SweepStarted):
            self._bar.start()
            self._task = self._bar.add_task("", total=event.runs, completed=event.runs_before)
        elif isinstance(event, ChunkFailed | ChunkProbed | SweepStopping):
            self._bar.console.print(_told(event), markup=False, highlight=False)
        if self._task is not None:
            completed = self._tally.runs_done
            self._bar.update(self._task, completed=completed, description=self._tally.line())
        if isinstance(event, SweepEnded):
            self._bar.stop()
            self._bar.console.print(f"sweep {_ending(event)}", markup=False, highlight=False)


def listener_for(progress: Progress) -> Listener:
    """Return the listener that a `progress` argument asks for.

    Parameters
    ----------
    progress : {"auto", "bar", "lines", "none"}, bool or callable
        ``"auto"`` (True) is a bar on a terminal and lines elsewhere; ``"none"`` (False) is
        silence. A callable is given every event. What is shown goes to standard error.

    Raises
    ------
    InputError
        For anything else.
    """
    if not isinstance(progress, str | bool) and callable(progress):
        return progress
    word = ("auto" if progress else "none") if isinstance(progress, bool) else progress
    if word == "auto":
        word = "bar" if sys.stderr.isatty() else "lines"
    if word == "bar":
        return Bar(sys.stderr)
    if word == "lines":
        return Lines(sys.stderr)
    if word == "none":
        return lambda event: None
    legal = ("auto", "bar", "lines", "none")
    raise InputError(
        f"progress must be one of {', '.join(map(repr, legal))} or a function of one event, not "
        f"{progress!r}.{nearest(str(progress), legal)}"
    )


def _told(event: ChunkFailed | ChunkProbed | SweepStopping) -> str:
    if isinstance(event, ChunkFailed):
        what = f"failed: {event.error}; {event.follows}"
    elif isinstance(event, ChunkProbed):
        what = f"probed: {event.lost or 'no'} runs kill the process that computes them"
    else:
        return f"stopping ({event.reason}); {event.in_hand} chunks in hand are finished"
    return f"chunk {event.chunk}, attempt {event.attempt}, {what}"


def _ending(event: SweepEnded) -> str:
    state = "complete" if event.complete else "stopped, not complete"
    return f"{state} after {span(event.seconds)}"


def span(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
