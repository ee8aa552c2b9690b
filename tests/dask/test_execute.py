"""The driver of chunks, its retries, and the listeners: with a scripted executor."""

import errno
import io
import os
import subprocess
import sys
from collections import Counter, deque

import pytest

from cubie_dask.errors import ChunkError, StorageFullError, StoreError
from cubie_dask.execute import Attempt, drive, final_error
from cubie_dask.ledger import Record
from cubie_dask.progress import (
    Bar,
    ChunkFailed,
    ChunkFinished,
    Lines,
    SweepEnded,
    SweepStarted,
    listener_for,
)
from cubie_kernels.errors import InputError

STORE = "/somewhere/a.zarr"


def record(chunk, runs=10, attempt=1, failed=0):
    statuses = {"SUCCESS": runs - failed} | ({"NONFINITE": failed} if failed else {})
    return Record(chunk, runs, statuses, 100, 0.1, 0.1, 80, 1, attempt, "here:1", "now", "0")


class Scripted:
    """Ends each attempt as a map of chunk -> errors says, and counts what it is asked."""

    def __init__(self, script=None, window=3):
        self.script = {chunk: list(errors) for chunk, errors in (script or {}).items()}
        self.window, self.queue, self.begun = window, deque(), Counter()
        self.most, self.closed = 0, False

    def slots(self):
        return self.window

    def submit(self, chunk, attempt):
        self.begun[chunk] += 1
        assert attempt == self.begun[chunk]
        self.queue.append((chunk, attempt))
        self.most = max(self.most, len(self.queue))

    def wait(self):
        chunk, attempt = self.queue.popleft()
        errors = self.script.get(chunk)
        if errors:
            return [Attempt(chunk, attempt, error=errors.pop(0))]
        return [Attempt(chunk, attempt, record(chunk, attempt=attempt))]

    def close(self):
        self.closed = True


def test_all_chunks_run_once_within_the_window():
    executor, events = Scripted(window=4), []
    drive(executor, iter(range(50)), events.append, STORE)
    assert executor.begun == Counter(range(50))
    assert executor.most == 4
    assert executor.closed
    assert [event.record.chunk for event in events] == list(range(50))


def test_failures_are_retried():
    script = {3: [OSError("flaky")], 7: [RuntimeError("a"), MemoryError("b")]}
    executor, events = Scripted(script), []
    drive(executor, range(10), events.append, STORE)
    assert executor.begun == Counter([*range(10), 3, 7, 7])
    failed = [event for event in events if isinstance(event, ChunkFailed)]
    assert all(event.retried for event in failed)
    assert Counter(event.chunk for event in failed) == {3: 1, 7: 2}
    assert {e.record.chunk for e in events if isinstance(e, ChunkFinished)} == set(range(10))


def test_a_chunk_that_always_fails_ends_the_sweep():
    executor, events = Scripted({2: [RuntimeError(f"no {i}") for i in range(9)]}), []
    with pytest.raises(ChunkError, match=r"Chunk 2 of /somewhere/a.zarr failed 3 times.*no 2"):
        drive(executor, range(5), events.append, STORE)
    assert executor.begun[2] == 3
    assert executor.closed
    assert not events[-1].retried


def test_a_full_disk_ends_the_sweep_at_once():
    executor = Scripted({1: [OSError(errno.ENOSPC, "No space left on device")]})
    with pytest.raises(StorageFullError, match="make room and run the same sweep"):
        drive(executor, range(5), lambda event: None, STORE)
    assert executor.begun[1] == 1
    assert executor.closed


def test_an_error_of_this_project_is_not_tried_again():
    executor = Scripted({0: [StoreError("gone")]})
    with pytest.raises(StoreError, match="gone"):
        drive(executor, range(5), lambda event: None, STORE)
    assert executor.begun[0] == 1


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (RuntimeError(), 1, None),
        (RuntimeError(), 2, None),
        (RuntimeError(), 3, ChunkError),
        (OSError(errno.EIO, "io"), 1, None),
        (OSError(errno.EDQUOT, "quota"), 1, StorageFullError),
        (InputError("x"), 1, InputError),
    ],
)
def test_policy(error, attempt, expected):
    final = final_error(Attempt(0, attempt, error=error), STORE)
    assert type(final) is (expected or type(None))


def test_lines_have_no_carriage_returns_and_keep_their_interval():
    stream, now = io.StringIO(), [0.0]
    lines = Lines(stream, interval=30, clock=lambda: now[0])
    lines(SweepStarted(STORE, 1000, 100, 10, 1))
    for chunk in range(1, 100):
        now[0] += 1.0
        lines(ChunkFinished(record(chunk, failed=chunk == 50)))
    lines(ChunkFailed(3, 1, "RuntimeError('x')", True))
    lines(SweepEnded(True, 99.0))
    text = stream.getvalue()
    assert "\r" not in text
    told = text.splitlines()
    assert len(told) == 6
    assert "1,000 runs in 100 chunks, 1 done before" in told[0]
    assert "310 of 1,000 runs (31.0%), 10 runs/s, 69 s left" in told[1]
    assert "1 runs failed" in told[2]
    assert "chunk 3, attempt 1, failed: RuntimeError('x'); it is begun again" in told[4]
    assert "1,000 of 1,000 runs (100.0%)" in told[5]
    assert "complete after 99 s" in told[5]


def test_the_bar_on_a_terminal():
    master, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        assert stream.isatty()
        bar = Bar(stream)
        bar(SweepStarted(STORE, 30, 3, 0, 0))
        for chunk in range(3):
            bar(ChunkFinished(record(chunk)))
        bar(ChunkFailed(2, 1, "RuntimeError('[x]')", True))
        bar(SweepEnded(True, 5.0))
        stream.flush()
        shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert "30 of 30 runs (100.0%)" in shown
    assert "RuntimeError('[x]')" in shown
    assert shown.rstrip().endswith("sweep complete after 5.0 s")
    assert "\r" in shown


def test_progress_choices(monkeypatch):
    seen = []
    assert listener_for(seen.append) == seen.append
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(listener_for("auto"), Lines)
    assert listener_for(False)(SweepEnded(True, 1.0)) is None
    assert sys.stderr.getvalue() == ""
    with pytest.raises(InputError, match=r"not 'lins'. Did you mean 'lines'"):
        listener_for("lins")


def test_importing_is_light():
    code = (
        "import sys, cubie_dask; cubie_dask.Sweep, cubie_dask.Grid, cubie_dask.open_sweep;"
        "heavy = {'dask', 'distributed', 'xarray', 'zarr', 'pandas', 'scipy', 'numba', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
