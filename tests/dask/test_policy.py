"""What follows failed attempts: by cases, and by scripts of any failures."""

import errno
import math
from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_dask.errors import ChunkError, ClusterError, StorageFullError, StoreError
from cubie_dask.execution.policy import (
    Attempt,
    GiveUp,
    History,
    Probed,
    StopSweep,
    Task,
    follow,
    halves,
    out_of_memory,
    probed,
)
from cubie_dask.grids.grid import Block
from cubie_kernels.errors import InputError

STORE = "/somewhere/a.zarr"
CHUNK = Block((10, 20), (4, 6))


def runs_of(box):
    return set(product(*(range(s.start, s.stop) for s in box.slices)))


def steps(*ends):
    """Follow a chunk through attempts, each given as a function of its task."""
    history, task = History(), Task(7)
    for end in ends:
        history, task = follow(history, end(task), STORE)
    return task


def raises(error):
    return lambda task: Attempt(task, error=error)


def dies(count=1):
    return lambda task: Attempt(task, deaths=count)


def finds(*boxes, lost=0, ended=True):
    return lambda task: Attempt(task, probed=Probed(boxes, lost, ended))


def test_an_exception_is_tried_three_times():
    assert steps(raises(RuntimeError())) == Task(7, 2)
    assert steps(raises(RuntimeError()), raises(OSError(errno.EIO, "io"))) == Task(7, 3)
    end = steps(*3 * [raises(RuntimeError("no"))])
    assert isinstance(end, GiveUp)
    assert "Chunk 7 of /somewhere/a.zarr failed 3 times" in str(end.error)
    assert "RuntimeError: no" in str(end.error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "full"), StorageFullError),
        (OSError(errno.EDQUOT, "quota"), StorageFullError),
        (InputError("x"), InputError),
        (ClusterError("gone"), ClusterError),
        (StoreError("gone"), StoreError),
    ],
)
def test_errors_that_stop_the_sweep(error, expected):
    end = steps(raises(error))
    assert isinstance(end, StopSweep)
    assert type(end.error) is expected


def test_a_death_requeues_and_two_probe():
    assert steps(dies()) == Task(7, 2)
    assert steps(dies(), dies()) == Task(7, 3, probe=True)
    # A scheduler that begins a task again by itself tells of its deaths at once.
    assert steps(dies(4)) == Task(7, 2, probe=True)
    assert steps(dies(), raises(RuntimeError()), dies()) == Task(7, 4, probe=True)
    # A death in company blames nobody.
    assert steps(dies(0), dies()) == Task(7, 3)
    assert steps(dies(0), dies(), dies()) == Task(7, 4, probe=True)


def test_a_probe_that_dies_is_sent_again_five_times():
    history = [dies(2), *4 * [dies()]]
    assert steps(*history) == Task(7, 6, probe=True)
    end = steps(*history, dies())
    assert isinstance(end, GiveUp)
    assert "5 probes" in str(end.error)


def test_what_a_probe_found_is_computed():
    left, right = halves(CHUNK)
    assert steps(dies(2), finds(left, lost=12)) == Task(7, 3, (left,))
    assert steps(dies(2), finds(lost=24)) == Task(7, 3, ())
    end = steps(dies(2), finds(lost=65, ended=False))
    assert isinstance(end, GiveUp)
    assert "more than 64 runs that kill" in str(end.error)
    # It is innocent, and then its worker dies twice more: of memory, it may be.
    assert steps(dies(2), finds(CHUNK), dies(2)) == Task(7, 4, (left, right))


def test_cutting_finer_comes_to_an_end():
    end = steps(dies(2), finds(CHUNK), *6 * [dies(2)])
    assert isinstance(end, GiveUp)
    assert "more memory" in str(end.error)
    assert isinstance(steps(dies(2), finds(Block((0,), (1,))), dies(2)), GiveUp)


def test_halves_are_two_parts_of_the_longest_side():
    assert halves(CHUNK) == (Block((10, 20), (4, 3)), Block((10, 23), (4, 3)))
    assert halves(Block((5, 0), (3, 1))) == (Block((5, 0), (1, 1)), Block((6, 0), (2, 1)))


def test_what_is_out_of_memory():
    class CudaAPIError(Exception):  # numba's, which is there only beside a driver
        def __init__(self, code):
            super().__init__(code)
            self.code = code

    assert out_of_memory(MemoryError())
    assert out_of_memory(CudaAPIError(2))
    assert not out_of_memory(CudaAPIError(700))
    assert not out_of_memory(RuntimeError("memory"))


boxes = st.integers(1, 3).flatmap(
    lambda n: st.builds(
        Block,
        st.tuples(*[st.integers(0, 9)] * n),
        st.tuples(*[st.integers(1, 6)] * n),
    )
)


@given(box=boxes, data=st.data())
def test_a_probe_finds_the_runs_that_kill_and_no_others(box, data):
    runs = sorted(runs_of(box))
    poison = set(data.draw(st.lists(st.sampled_from(runs), unique=True, max_size=6)))
    # Deaths that came from outside, at any time; never three running of one box.
    outside = iter(data.draw(st.lists(st.booleans(), max_size=60)))
    streak, asked = Counter(), 0

    def dies(part):
        nonlocal asked
        asked += 1
        if runs_of(part) & poison:
            return True
        killed = next(outside, False) and streak[part] < 2
        streak[part] += 1
        return killed

    found = probed(box, dies)
    assert found.ended
    assert found.lost == len(poison)
    covered = Counter(run for part in found.boxes for run in runs_of(part))
    assert set(covered) == set(runs) - poison
    assert all(count == 1 for count in covered.values())
    assert asked <= 4 * box.runs + 2


def test_a_probe_of_runs_that_all_kill_is_broken_off():
    asked = []

    def dies(box):
        asked.append(box)
        return True

    found = probed(Block((0,), (10**6,)), dies)
    assert (found.ended, found.lost) == (False, 65)
    assert len(asked) < 65 * 5 + 2 * math.log2(10**6)


ENDS = ("done", "raise", "die", "die4", "probe-dies")


@settings(max_examples=300)
@given(
    script=st.lists(st.sampled_from(ENDS), max_size=80),
    poison=st.lists(st.integers(0, 23), unique=True, max_size=4),
    forever=st.sampled_from(("done", "raise", "die", "die4")),
)
def test_any_script_ends_with_all_runs_computed_or_marked_or_the_chunk_told_of(
    script, poison, forever
):
    """Play failures to a chunk: those of the script, then one forever; and what its runs do."""
    runs = sorted(runs_of(CHUNK))
    poison = {runs[i] for i in poison}
    history, task, turns, attempts = History(), Task(7), iter(script), []
    while True:
        attempts.append(task.attempt)
        assert len(attempts) < 60
        turn = next(turns, forever)
        if task.probe:
            if turn == "probe-dies":
                end = Attempt(task, deaths=1)
            else:
                end = Attempt(task, probed=probed(CHUNK, lambda box: runs_of(box) & poison))
        else:
            parts = (CHUNK,) if task.boxes is None else task.boxes
            touched = {run for part in parts for run in runs_of(part)}
            if touched & poison:
                turn = "die"
            if turn in ("done", "probe-dies"):
                lost = set(runs) - touched
                break
            end = (
                Attempt(task, error=RuntimeError())
                if turn == "raise"
                else Attempt(task, deaths=4 if turn == "die4" else 1)
            )
        history, step = follow(history, end, STORE)
        if isinstance(step, GiveUp):
            assert isinstance(step.error, ChunkError)
            lost = None
            break
        assert isinstance(step, Task)
        task = step
    assert attempts == list(range(1, len(attempts) + 1))
    # Runs are marked only if they kill a process by themselves.
    assert lost is None or lost == poison
    if lost is None:
        failed = sum(turn in ("raise", "die", "die4", "probe-dies") for turn in script)
        assert failed or forever != "done"
