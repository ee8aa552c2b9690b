"""Allocators, addresses, mixed precisions, placement, and the documented example."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cubie_kernels.buffers import Allocator, BufferRegistry, Limits, address
from cubie_kernels.errors import RegistryError

ROOT = Path(__file__).parents[2]


def test_allocators_on_numpy_arrays():
    registry = BufferRegistry()
    registry.register("a", "f", 2, "shared")
    registry.register("b", "f", 3, "shared")
    registry.register("k", "f", 2, "local", persistent=True)
    registry.register("p", "f", 4, "local", precision="float32")
    shared = np.arange(5.0)
    persistent = np.zeros((2, 8))
    b = registry.get_allocator("b", "f")(shared, None)
    assert b.tolist() == [2.0, 3.0, 4.0]
    b[0] = -1.0
    assert shared[2] == -1.0
    registry.get_allocator("k", "f")(None, persistent)[1] = 7.0
    assert (persistent[1] == 7.0).all()
    private = registry.get_allocator("p", "f")
    assert private(None, None).shape == (4,)
    assert private(np.zeros((5, 8)), persistent).shape == (4, 8)
    assert private(shared, persistent).dtype == np.float32
    assert not np.shares_memory(private(shared, persistent), private(shared, persistent))
    with pytest.raises(RegistryError, match=r"holds 4 elements.*ends at 5"):
        registry.get_allocator("b", "f")(np.zeros(4), None)
    with pytest.raises(RegistryError, match="None: pass it"):
        registry.get_allocator("b", "f")(None, persistent)
    with pytest.raises(RegistryError, match="cannot be viewed as float64"):
        registry.get_allocator("b", "f")(np.zeros(20, np.float32)[::2], None)


def test_mixed_precisions_are_aligned_and_addressed_in_their_own_view():
    registry = BufferRegistry()
    registry.register("count", "f", 3, "shared", precision="int32")
    registry.register("half", "f", 1, "shared", precision=np.float16)
    registry.register("state", "f", 2, "shared")
    registry.register("single", "f", 1, "shared", precision="float32")
    lanes = 4
    assert registry.shared_buffer_bytes("f") == 40
    assert registry.shared_buffer_size("f") == 5
    arena = np.zeros((registry.shared_buffer_size("f"), lanes))
    for value, name in enumerate(("count", "half", "state", "single"), start=1):
        found = registry.get_allocator(name, "f")
        view = found(arena, None)
        assert view.dtype == found.precision
        view[...] = value
        flat = arena.reshape(-1).view(found.precision)
        for element in range(found.size):
            flat[address(found.offset + element, 2, lanes)] += 10
    for value, name in enumerate(("count", "half", "state", "single"), start=1):
        view = registry.get_allocator(name, "f")(arena, None)
        assert (view[:, [0, 1, 3]] == value).all()
        assert (view[:, 2] == value + 10).all()


def test_an_empty_buffer_needs_no_array():
    registry = BufferRegistry()
    registry.register("some", "f", 1, "shared", precision="float16")
    registry.register("none", "f", 0, "shared")
    for arena in (None, np.zeros(1, np.float16)):
        found = registry.get_allocator("none", "f")(arena, None)
        assert (found.shape, found.dtype) == ((0,), np.float64)


def test_an_alias_wider_than_its_target_is_aligned():
    registry = BufferRegistry()
    registry.register("first", "f", 1, "shared", precision="float32")
    registry.register("target", "f", 8, "shared", precision="float32")
    registry.register("small", "f", 1, "local", aliases="target", precision="float32")
    registry.register("wide", "f", 3, "local", aliases="target")
    layout = registry.layout("f")
    target, wide = layout.slot("target", "f"), layout.slot("wide", "f")
    assert target.byte_offset % 8 == 0
    assert wide.byte_offset == target.byte_offset + 8
    assert wide.offset == wide.byte_offset // 8


def test_address_is_lane_interleaved():
    assert [address(2, lane, 4) for lane in range(4)] == [8, 9, 10, 11]
    places = address(np.arange(6)[:, None], np.arange(5)[None, :], 5)
    assert (places == np.arange(30).reshape(6, 5)).all()


def step_of(registry):
    registry.register("big", "step", 30, "local")
    registry.register("wanted", "step", 10, "shared")
    registry.register("small", "step", 3, "local")
    registry.register("cache", "step", 30, "local", persistent=True, aliases="big")
    return registry


@pytest.mark.parametrize(
    ("shared_bytes", "local_bytes", "shared"),
    [
        (10_000, 10_000, set()),
        (10_000, 63 * 8, {"wanted"}),
        (10_000, 62 * 8, {"wanted", "big", "cache"}),
        (30 * 8, 3 * 8, {"wanted", "small"}),
        (10 * 8, 0, {"wanted"}),
        (40 * 8, 0, {"wanted", "big", "cache"}),
        (43 * 8, 0, {"wanted", "big", "cache", "small"}),
        (0, 0, set()),
    ],
)
def test_automatic_placement(shared_bytes, local_bytes, shared):
    registry = step_of(BufferRegistry("auto", Limits(shared_bytes, local_bytes)))
    found = {slot.name for slot in registry.layout("step").slots if slot.kind == "shared"}
    assert found == shared
    assert registry.shared_buffer_bytes("step") <= shared_bytes


def test_automatic_placement_is_decided_for_the_whole_kernel():
    registry = step_of(BufferRegistry("auto", Limits(40 * 8, 0)))
    registry.register("loop_state", "loop", 40, "shared")
    registry.register_child("loop", "step")
    assert registry.shared_buffer_size("step") == 0
    assert registry.shared_buffer_size("loop") == 40


def test_explicit_placement():
    registry = step_of(BufferRegistry({"big": "shared", "wanted": "local"}))
    kinds = {slot.name: slot.kind for slot in registry.layout("step").slots}
    assert kinds == {"big": "shared", "wanted": "local", "small": "local", "cache": "shared"}
    with pytest.raises(RegistryError, match=r"names buffer 'smal'.*Did you mean 'small'"):
        step_of(BufferRegistry({"smal": "shared"})).layout("step")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("automatic",), "'declared', 'auto'"),
        (("auto",), "needs limits"),
        (({"big": "global"},), "location of buffer 'big' is 'global'"),
    ],
)
def test_impossible_placements(arguments, said):
    with pytest.raises(RegistryError, match=said):
        BufferRegistry(*arguments)


def test_limits():
    assert Limits.of_block(49152, 65536 * 4, 128) == Limits(384, 2048)
    with pytest.raises(RegistryError, match="shared_bytes is -1"):
        Limits(-1, 0)
    with pytest.raises(RegistryError, match="at least 1 lane"):
        Limits.of_block(1, 1, 0)


def test_values_are_frozen_and_registries_independent():
    one, two = BufferRegistry(), BufferRegistry()
    one.register("a", "f", 2, "shared")
    found = one.get_allocator("a", "f")
    assert found == Allocator("shared", 0, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.offset = 3
    assert two.layout("f").slots == ()
    assert hash(one.layout("f")) == hash(one.layout("f"))


def test_the_documented_example_prints_what_the_page_shows(capsys):
    page = (ROOT / "docs" / "buffers.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.S)[1]
    shown = re.search(r"```text\n(.*?)```", page, re.S)[1]
    exec(compile(code, "docs/buffers.md", "exec"), {})
    assert capsys.readouterr().out == shown


def test_it_imports_numpy_and_nothing_heavier():
    code = (
        "import sys, cubie_kernels.buffers as b; "
        "bad = {'numba', 'scipy', 'pandas', 'xarray', 'dask', 'zarr'} & set(sys.modules); "
        "print(sorted(bad))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
