"""Plans: every run in exactly one chunk, chunks of the right size."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_dask.plan import Plan, make_plan
from cubie_kernels.errors import InputError


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple),
    chunk_runs=st.integers(1, 400),
)
def test_every_run_is_in_exactly_one_chunk(shape, chunk_runs):
    dims = tuple(f"p{i}" for i in range(len(shape)))
    plan = make_plan(dims, shape, 5, ("x",), "float64", chunk_runs)
    seen = np.zeros(shape, int)
    for index in range(plan.chunks):
        block = plan.block(index)
        assert 1 <= block.runs <= plan.chunk_runs <= chunk_runs
        # A chunk is one zarr chunk: it starts where one does, and ends there or at the edge.
        for start, length, step, n in zip(block.start, block.shape, plan.chunk, shape, strict=True):
            assert start % step == 0
            assert length == min(step, n - start)
        seen[block.slices] += 1
    assert (seen == 1).all()


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5000), min_size=1, max_size=3).map(tuple),
    saves=st.integers(0, 2000),
    dtype=st.sampled_from(["float32", "float64"]),
    variables=st.integers(1, 30),
)
def test_default_chunks_keep_their_limits(shape, saves, dtype, variables):
    names = tuple(f"v{i}" for i in range(variables))
    dims = tuple(f"p{i}" for i in range(len(shape)))
    plan = make_plan(dims, shape, saves, names, dtype)
    if plan.chunk_runs > 1:
        assert plan.variable_chunk_bytes <= 16 << 20
        assert plan.chunk_runs * plan.run_bytes <= 128 << 20


def test_a_gigabyte_makes_chunks_of_eight_megabytes():
    plan = make_plan(("rho",), (10**6,), 41, ("x", "y", "z"), "float64")
    assert 4e6 < plan.variable_chunk_bytes < 16e6
    assert plan.chunks == 40


def test_end_states_still_make_sixteen_chunks():
    plan = make_plan(("rho",), (10**6,), 0, ("x", "y", "z"), "float64")
    assert (plan.chunks, plan.chunk) == (16, (62_500,))
    assert make_plan(("rho",), (1000,), 0, ("x",), "float64").chunks == 1


def test_what_is_recorded_of_a_run_counts():
    given = ("rho",), (1000,), 0, ("x",), "float64"
    explicit, implicit, auto = (
        make_plan(*given, kind=kind) for kind in ("explicit", "implicit", "auto")
    )
    # State, accepted and rejected steps, time, status; iterations of two solvers; which method.
    sizes = [plan.run_bytes for plan in (explicit, implicit, auto)]
    assert sizes == [8 + 4 + 4 + 8 + 1, 8 + 4 * 4 + 8 + 1, 8 + 4 * 4 + 8 + 1 + 1]
    # One file of each array, and the record.
    assert [plan.files for plan in (explicit, implicit, auto)] == [6, 8, 9]
    assert "kind" not in explicit.to_dict()
    assert Plan.from_dict(auto.to_dict()) == auto


def test_plan_survives_json_and_prints():
    plan = make_plan(("a", "b"), (300, 7), 11, ("x", "y"), "float32", 100)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert "2,100 (a: 300 x b: 7)" in str(plan)
    assert "11 times of x, y in float32" in str(plan)


def test_plan_errors():
    with pytest.raises(InputError, match="chunk_runs must be 1"):
        make_plan(("a",), (10,), 0, ("x",), "float64", 0)
    with pytest.raises(InputError, match=r"chunk_runs=26,843 or less"):
        make_plan(("a",), (10**6,), 10_000, ("x",), "float64", 10**5)
    with pytest.raises(InputError, match="save fewer times"):
        make_plan(("a",), (10,), 10**9, ("x",), "float64")
