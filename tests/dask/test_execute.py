"""The driver of chunks, its retries, and the listeners: with a scripted executor."""

import errno
import io
import os
import subprocess
import sys
import threading
from collections import Counter, deque

import pytest

from cubie_dask.errors import ChunkError, StorageFullError, StoreError
from cubie_dask.execution.execute import drive
from cubie_dask.execution.policy import Attempt, Probed, Task
from cubie_dask.execution.stopping import Stopping
from cubie_dask.grids.grid import Block
from cubie_dask.progress.events import (
    Bar,
    ChunkFailed,
    ChunkFinished,
    ChunkProbed,
    Lines,
    SweepEnded,
    SweepStarted,
    SweepStopping,
    listener_for,
)
from cubie_dask.stores.ledger import Record
from cubie_kernels.errors import InputError

STORE = "/somewhere/a.zarr"


def record(chunk, runs=10, attempt=1, failed=0):
    statuses = {"SUCCESS": runs - failed} | ({"NONFINITE": failed} if failed else {})
    return Record(chunk, runs, statuses, 100, 0.1, 0.1, 80, 1, attempt, "here:1", "now", "0")


class Scripted:
    """Ends each attempt as a map of chunk -> ends says, and counts what it is asked.

    An end is an error, a number of deaths, or what a probe found.
    """

    def __init__(self, script=None, window=3):
        self.script = {chunk: list(ends) for chunk, ends in (script or {}).items()}
        self.window, self.queue, self.begun = window, deque(), Counter()
        self.tasks, self.most, self.closed = [], 0, False

    def slots(self):
        return self.window

    def ahead(self):
        return 1

    def submit(self, task):
        self.begun[task.chunk] += 1
        assert task.attempt == self.begun[task.chunk]
        self.tasks.append(task)
        self.queue.append(task)
        self.most = max(self.most, len(self.queue))

    def wait(self):
        task = self.queue.popleft()
        ends = self.script.get(task.chunk)
        if not ends:
            assert not task.probe
            return [Attempt(task, record(task.chunk, attempt=task.attempt))]
        end = ends.pop(0)
        if isinstance(end, Probed):
            assert task.probe
            return [Attempt(task, probed=end)]
        return [Attempt(task, deaths=end) if isinstance(end, int) else Attempt(task, error=end)]

    def drop(self):
        count = len(self.queue) - 1
        while len(self.queue) > 1:
            self.queue.pop()
        return count

    def close(self):
        self.closed = True


def test_all_chunks_run_once_within_the_window():
    executor, events = Scripted(window=4), []
    assert drive(executor, iter(range(50)), events.append, STORE) is None
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


def test_a_chunk_that_kills_workers_is_probed_while_the_others_go_on():
    left = Block((20,), (4,))
    executor, events = Scripted({2: [1, 1, Probed((left,), 6)], 5: [1]}), []
    drive(executor, range(20), events.append, STORE)
    assert [task for task in executor.tasks if task.chunk == 2] == [
        Task(2, 1),
        Task(2, 2),
        Task(2, 3, probe=True),
        Task(2, 4, (left,)),
    ]
    assert executor.begun[5] == 2
    assert sum(isinstance(event, ChunkFinished) for event in events) == 20
    assert [event for event in events if isinstance(event, ChunkProbed)] == [ChunkProbed(2, 3, 6)]
    deaths = [e.follows for e in events if isinstance(e, ChunkFailed) and e.chunk == 2]
    assert deaths == [
        "it is begun again",
        "its runs are tried in processes of their own",
    ]


def always(chunk):
    return {chunk: [RuntimeError(f"no {i}") for i in range(9)]}


def test_the_sweep_goes_on_without_a_chunk_that_always_fails():
    executor, events = Scripted(always(2)), []
    with pytest.raises(ChunkError, match=r"Chunk 2 of /somewhere/a.zarr failed 3 times.*no 2"):
        drive(executor, range(9), events.append, STORE)
    assert executor.begun == Counter([*range(9), 2, 2])
    assert executor.closed
    failed = [event for event in events if isinstance(event, ChunkFailed)]
    assert [event.retried for event in failed] == [True, True, False]
    assert failed[-1].follows == "the sweep goes on without it"


def test_the_third_chunk_that_always_fails_ends_the_sweep():
    executor = Scripted(always(1) | always(2) | always(3))
    with pytest.raises(ChunkError, match=r"3 chunks \(1, 2, 3\) can't be computed. The first: Chu"):
        drive(executor, range(1000), lambda event: None, STORE)
    assert len(executor.begun) < 10


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


def test_asked_to_stop_it_finishes_what_is_begun():
    executor, events, stopping = Scripted(window=4), [], Stopping()

    def tell(event):
        events.append(event)
        if len(events) == 5:
            stopping.ask("SIGTERM")

    assert drive(executor, range(100), tell, STORE, stopping) == "SIGTERM"
    assert events[5] == SweepStopping("SIGTERM", 1)
    assert [type(event) for event in events[6:]] == [ChunkFinished]
    assert sum(executor.begun.values()) == 8
    assert executor.closed


def test_lines_have_no_carriage_returns_and_keep_their_interval():
    stream, now = io.StringIO(), [0.0]
    lines = Lines(stream, interval=30, clock=lambda: now[0])
    lines(SweepStarted(STORE, 1000, 100, 10, 1))
    for chunk in range(1, 100):
        now[0] += 1.0
        lines(ChunkFinished(record(chunk, failed=chunk == 50)))
    lines(ChunkFailed(3, 1, "RuntimeError('x')", True, "it is begun again"))
    lines(ChunkProbed(3, 3, 0))
    lines(SweepStopping("Ctrl-C", 2))
    lines(SweepEnded(True, 99.0))
    text = stream.getvalue()
    assert "\r" not in text
    told = text.splitlines()
    assert len(told) == 8
    assert "1,000 runs in 100 chunks, 1 done before" in told[0]
    assert "310 of 1,000 runs (31.0%), 10 runs/s, 69 s left" in told[1]
    assert "1 runs failed" in told[2]
    assert "chunk 3, attempt 1, failed: RuntimeError('x'); it is begun again" in told[4]
    assert "chunk 3, attempt 3, probed: no runs kill the process" in told[5]
    assert "stopping (Ctrl-C); 2 chunks in hand are finished" in told[6]
    assert "1,000 of 1,000 runs (100.0%)" in told[7]
    assert "complete after 99 s" in told[7]


def test_the_bar_on_a_terminal():
    master, terminal = os.openpty()
    parts = []
    # The terminal hands on what is written bit by bit.
    reader = threading.Thread(target=lambda: parts.extend(iter(lambda: all_shown(master), b"")))
    reader.start()
    with os.fdopen(terminal, "w") as stream:
        assert stream.isatty()
        bar = Bar(stream)
        bar(SweepStarted(STORE, 30, 3, 0, 0))
        for chunk in range(3):
            bar(ChunkFinished(record(chunk)))
        bar(ChunkFailed(2, 1, "RuntimeError('[x]')", True, "it is begun again"))
        bar(SweepEnded(True, 5.0))
    reader.join()
    os.close(master)
    shown = b"".join(parts).decode()
    assert "30 of 30 runs (100.0%)" in shown
    assert "RuntimeError('[x]')" in shown
    assert shown.rstrip().endswith("sweep complete after 5.0 s")
    assert "\r" in shown


def all_shown(master):
    """Return more of what a terminal shows; nothing once it is closed and all was read."""
    try:
        return os.read(master, 1 << 16)
    except OSError as closed:
        if closed.errno != errno.EIO:
            raise
        return b""


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
