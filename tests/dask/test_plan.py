"""Plans: every run in exactly one chunk, chunks whole, limits kept, errors with numbers."""

import json
import math
import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_dask.errors import CapacityError
from cubie_dask.plans.capacity import MOST_TASKS, Workers, check_disk, make_plan
from cubie_dask.plans.pilot import Pilot
from cubie_dask.plans.plan import MOST_FILES, MOST_ZARR_BYTES, Plan, boxes, size_text, time_text
from cubie_kernels.errors import InputError

MB = 1 << 20


def made(shape, saves=0, variables=1, dtype="float64", chunk_runs=None, **more):
    """Return a plan alone."""
    dims = tuple(f"p{i}" for i in range(len(shape)))
    names = tuple(f"v{i}" for i in range(variables))
    return make_plan(dims, shape, saves, names, dtype, chunk_runs, **more)[0]


SMALL_SHAPES = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)
HUGE_SHAPES = (
    st.lists(st.integers(1, 10**12), min_size=1, max_size=5)
    .map(tuple)
    .filter(lambda shape: math.prod(shape) <= 2**40)
)
WORKERS = st.builds(
    Workers,
    count=st.integers(1, 1000),
    run_seconds=st.none() | st.floats(1e-8, 1e3),
    in_hand=st.integers(1, 10),
    run_bytes=st.integers(0, 100),
)


@settings(max_examples=150, deadline=None)
@given(shape=SMALL_SHAPES, chunk_runs=st.integers(1, 400), saves=st.sampled_from([0, 5, 10**6]))
def test_every_run_is_in_exactly_one_chunk(shape, chunk_runs, saves):
    plan = made(shape, saves, chunk_runs=chunk_runs)
    seen = np.zeros(shape, int)
    for index in range(plan.chunks):
        block = plan.block(index)
        assert 1 <= block.runs <= plan.chunk_runs <= chunk_runs
        # It starts where a chunk does, and ends there or at the edge.
        for start, length, step, n in zip(block.start, block.shape, plan.chunk, shape, strict=True):
            assert start % step == 0
            assert length == min(step, n - start)
        seen[block.slices] += 1
    assert (seen == 1).all()


@settings(max_examples=150, deadline=None)
@given(
    shape=SMALL_SHAPES | HUGE_SHAPES,
    saves=st.integers(0, 10**7),
    variables=st.integers(1, 30),
    dtype=st.sampled_from(["float32", "float64"]),
    workers=WORKERS,
)
def test_chunks_are_whole_and_keep_their_limits(shape, saves, variables, dtype, workers):
    plan = made(shape, saves, variables, dtype, workers=workers)
    for chunk, inner in zip(plan.chunk, plan.zarr_chunk, strict=True):
        assert chunk % inner == 0
    assert plan.zarr_chunk_bytes <= max(16 * MB, plan.value_bytes)
    # A chunk of several zarr chunks has no small ones.
    if plan.chunk != plan.zarr_chunk and len(shape) == 1:
        assert plan.zarr_chunk_bytes + plan.value_bytes >= 4 * MB or math.prod(plan.zarr_chunk) == 1
    assert plan.chunks <= MOST_TASKS
    assert plan.chunk_runs * 8 <= MOST_ZARR_BYTES
    if plan.files > MOST_FILES:
        assert plan.sharded or plan.zarr_chunks == plan.chunks
    if plan.sharded:
        assert plan.zarr_chunks > plan.chunks
    for index in {0, plan.chunks // 2, plan.chunks - 1}:
        block = plan.block(index)
        assert block.runs >= 1
        assert all(s % c == 0 for s, c in zip(block.start, plan.chunk, strict=True))
        assert all(s + n <= m for s, n, m in zip(block.start, block.shape, shape, strict=True))


@settings(max_examples=100, deadline=None)
@given(
    shape=SMALL_SHAPES | HUGE_SHAPES,
    saves=st.integers(0, 10**5),
    memory=st.integers(10**6, 10**11),
    workers=WORKERS,
)
def test_memory_is_kept_or_refused(shape, saves, memory, workers):
    given = Workers(**{**vars(workers), "memory": memory, "fixed_bytes": 10**6})
    try:
        plan = made(shape, saves, 3, workers=given)
    except CapacityError:
        # It is refused only where smaller chunks are impossible or too many.
        uncut = made(shape, saves, 3)
        fitting = given.most_runs(uncut)
        assert fitting < max(1, math.prod(shape) / MOST_TASKS) * 1.5
    else:
        assert given.bytes_for(plan) <= memory


@settings(max_examples=100, deadline=None)
@given(
    shape=st.lists(st.integers(1, 10**4), min_size=1, max_size=3).map(tuple),
    runs=st.integers(1, 10**6),
    zarr_runs=st.integers(1, 10**5),
)
def test_boxes(shape, runs, zarr_runs):
    chunk, inner = boxes(shape, runs, zarr_runs)
    clipped = [min(c, n) for c, n in zip(chunk, shape, strict=True)]
    assert all(c % i == 0 for c, i in zip(chunk, inner, strict=True))
    assert math.prod(inner) <= zarr_runs
    # Rounded up by less than one run for each of the smaller boxes along the one cut dimension.
    assert math.prod(clipped) < 2 * runs


@pytest.mark.parametrize("run_seconds", [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
def test_what_tasks_cost_is_little_and_so_is_the_wait_for_the_last_one(run_seconds):
    plan = made((10**7,), workers=Workers(10, run_seconds))
    share, task = 10**6 * run_seconds, plan.chunk_runs * run_seconds
    assert task <= 60
    # What is lost of half a task at the end, and of 10 ms for each, with the best number of tasks.
    least = 2 * math.sqrt(0.01 * share / 2)
    lost = task / 2 + 0.01 * share / task
    assert lost <= max(1.35 * least, share / 25)


def test_chunks_stay_what_they_are_where_they_take_a_sensible_time():
    assert made((10**7,), workers=Workers(1, 2e-6)).chunks == made((10**7,)).chunks
    assert made((10**9,), workers=Workers(2, 1e-6)) == made((10**9,))
    # A few slow runs are shared out; a few quick ones are not worth it.
    assert made((50,), workers=Workers(2, 10.0)).chunks == 50
    assert made((50,), workers=Workers(2, 1e-6)).chunks == 1


def test_larger_chunks_have_several_zarr_chunks():
    plan = made((10**10,), workers=Workers(2, 3e-7))
    assert 64 * MB < plan.chunk_runs * 8 < 512 * MB
    assert 4 * MB <= plan.zarr_chunk_bytes <= 16 * MB
    assert plan.chunks * 2 < plan.zarr_chunks


@pytest.mark.parametrize("workers", [2, 3, 5, 7, 64])
def test_all_workers_get_as_many_chunks_where_those_are_few(workers):
    for seconds in (None, 4.7e-7, 3e-6):
        plan = made((10**7,), workers=Workers(workers, seconds))
        assert plan.chunks % workers == 0
        assert min(16, 4 * workers) <= plan.chunks <= 40 * workers
    # Fewer runs than workers leave some without.
    assert made((workers - 1,), workers=Workers(workers, 10.0)).chunks == workers - 1


def test_nothing_that_one_worker_does_in_a_second_is_cut():
    assert made((1001,), workers=Workers(1, 9e-4)).chunks == 1
    assert made((1001,), workers=Workers(1, 5e-3)).chunks > 4
    assert made((1001,), workers=Workers(2, 9e-4)).chunks > 4


@pytest.mark.parametrize("shape", [(100_000,), (400, 300), (40, 50, 60)])
def test_costly_chunks_come_first(shape):
    plan = made(shape, chunk_runs=math.prod(shape) // 40)
    places = np.random.default_rng(1).random((256, len(shape)))
    # The more the further from the origin, along all dimensions.
    work = np.round(1000 * (1 + places.sum(axis=-1)) ** 2).astype(np.int64)
    order = Pilot(1e-3, places, work).costly_first(plan)
    assert sorted(order) == list(range(plan.chunks))
    guessed = np.empty(plan.chunks)
    guessed[order] = np.arange(plan.chunks, 0, -1)
    middles = [np.divide(plan.block(chunk).start, shape).sum() for chunk in range(plan.chunks)]
    # A few runs can't tell boxes that are next to each other.
    assert np.corrcoef(middles, guessed)[0, 1] > 0.9
    assert order[0] > 0.8 * plan.chunks
    assert order[-1] < 0.2 * plan.chunks
    # What seems the same stays in order; two runs tell something too.
    assert Pilot(1e-3, places, work * 0 + 7).costly_first(plan) == list(range(plan.chunks))
    few = Pilot(1e-3, np.stack([0 * places[0], 0 * places[0] + 1]), np.array([3, 900]))
    assert sorted(few.costly_first(plan)) == list(range(plan.chunks))


def test_a_costly_corner_is_found_wherever_it_is():
    # Along the second dimension too, all of which each chunk spans.
    plan = made((400, 300), chunk_runs=3000)
    assert plan.chunk[1] == 300
    places = np.random.default_rng(1).random((256, 2))
    work = np.where((places > [0.5, 0.8]).all(axis=-1), 10_000, 100)
    order = Pilot(1e-3, places, work).costly_first(plan)
    # A few of the costly chunks have none of their costly runs in the sample.
    assert sum(chunk >= 20 for chunk in order[:20]) >= 14


def test_files_are_few_or_shards():
    plan = made((10**9,), 100, 3)
    assert plan.sharded
    assert plan.files <= 1.01 * MOST_FILES
    assert plan.zarr_chunks * 3 > MOST_FILES
    assert not made((10**6,), 100, 3).sharded


@pytest.mark.parametrize("shape", [(10**9,), (1000, 1000, 1000), (10**12,), (10**4,) * 3])
def test_a_million_million_runs_are_planned(shape):
    # In milliseconds: what grows with the number of runs would take hours, and the test hang.
    plan = made(shape, 0, 3)
    blocks = [plan.block(index) for index in (0, plan.chunks // 2, plan.chunks - 1)]
    assert plan.chunks <= MOST_TASKS
    assert blocks[-1].start[-1] + blocks[-1].shape[-1] == shape[-1]


def test_a_million_chunks_are_gone_through_one_by_one():
    plan = made((10**9,), 0, 3, chunk_runs=1000)
    assert plan.chunks == 10**6
    done = set(range(0, 10**6, 2))
    tracemalloc.start()
    todo = (chunk for chunk in range(plan.chunks) if chunk not in done)
    assert [plan.block(chunk).start for chunk in islice(todo, 3)] == [(1000,), (3000,), (5000,)]
    assert sum(1 for _ in todo) == 10**6 // 2 - 3
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_a_gigabyte_makes_chunks_of_eight_megabytes():
    plan = made((10**6,), 41, 3)
    assert 4e6 < plan.zarr_chunk_bytes < 16e6
    assert plan.chunks == 40


def test_end_states_still_make_sixteen_chunks():
    plan = made((10**6,), 0, 3)
    assert (plan.chunks, plan.chunk) == (16, (62_500,))
    assert made((1000,)).chunks == 1


def test_what_is_recorded_of_a_run_counts():
    explicit, implicit, auto = (
        made((1000,), kind=kind) for kind in ("explicit", "implicit", "auto")
    )
    # State, accepted and rejected steps, time, status; iterations of two solvers; which method.
    sizes = [plan.run_bytes for plan in (explicit, implicit, auto)]
    assert sizes == [8 + 4 + 4 + 8 + 1, 8 + 4 * 4 + 8 + 1, 8 + 4 * 4 + 8 + 1 + 1]
    # One file of each array and its description, the record, and the description of the group.
    assert [plan.files for plan in (explicit, implicit, auto)] == [12, 16, 18]
    assert "kind" not in explicit.to_dict()
    assert Plan.from_dict(auto.to_dict()) == auto
    sampled = made((1000,), swept=2)
    assert sampled.run_bytes == explicit.run_bytes + 16
    assert sampled.files == explicit.files + 4


def test_plan_survives_json_and_prints():
    dims, names = ("a", "b"), ("x", "y")
    plan, reason = make_plan(dims, (300, 7), 11, names, "float32", 100)
    assert reason == "chunk_runs"
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert "zarr_chunk" not in plan.to_dict()
    assert "2,100 (a: 300 x b: 7)" in str(plan)
    assert "11 times of x, y in float32" in str(plan)
    sharded = made((10**9,), 100, 3)
    assert Plan.from_dict(json.loads(json.dumps(sharded.to_dict()))) == sharded
    assert "in one file, a shard" in str(sharded)


def test_capacity_errors_have_numbers_and_a_fix():
    with pytest.raises(InputError, match="chunk_runs must be 1"):
        made((10,), chunk_runs=0)
    with pytest.raises(CapacityError, match=r"8 GB a variable.*268,435,454 times or fewer"):
        made((10,), 10**9)
    with pytest.raises(CapacityError, match="chunk_runs=268,435,454 or less"):
        made((10**10,), chunk_runs=10**9)
    with pytest.raises(CapacityError, match=r"1,000,000,000 tasks.*give 100,000 for 100,000 tasks"):
        made((10**10,), chunk_runs=10)
    # A chunk of two hundred runs of 1 MB, held three times.
    small = Workers(memory=10**8, in_hand=3, fixed_bytes=10**7)
    with pytest.raises(CapacityError, match=r"needs .* for 3 chunks of 200 runs .*chunk_runs=\d+"):
        made((1000,), 10**5, 1, chunk_runs=200, workers=small)
    with pytest.raises(CapacityError, match="the least for one run"):
        made((1000,), 10**8, 1, workers=small)
    with pytest.raises(CapacityError, match="more than 100,000 tasks; chunk_runs="):
        made((10**9,), 10**4, 1, workers=small)


def test_disk_error_says_how_many_times_fit():
    plan = made((10**6,), 100, 3)
    needed = plan.runs * plan.run_bytes
    check_disk(plan, needed, needed, "a.zarr")
    with pytest.raises(CapacityError, match=r"a\.zarr has 1 GB free.*save 41 times instead of 100"):
        check_disk(plan, needed, 10**9, "a.zarr")


@settings(max_examples=50, deadline=None)
@given(seconds=st.floats(0, 1e9))
def test_times_are_short_texts(seconds):
    assert len(time_text(seconds)) <= 14


def test_sizes_and_times_read_well():
    assert [size_text(n) for n in (0, 999, 1000, 999_600, 8 * MB, 10**12)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1 MB",
        "8.39 MB",
        "1 TB",
    ]
    assert [time_text(s) for s in (0.0123, 59, 600, 7200, 10**6)] == [
        "0.012 s",
        "59 s",
        "10 min",
        "2 h 0 min",
        "11 d 13 h",
    ]
