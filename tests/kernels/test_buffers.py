"""Rules of the buffer registry, one by one."""

import pytest

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.errors import RegistryError


class Solver:
    """A component that is an object."""


def place(registry, name, factory):
    found = registry.get_allocator(name, factory)
    return found.kind, found.offset, found.size


def test_kinds_sizes_and_expressions():
    registry = BufferRegistry()
    registry.register("a", "f", 4, "shared")
    registry.register("b", "f", 3, "shared")
    registry.register("c", "f", 5, "local")
    registry.register("d", "f", 2, "local", persistent=True)
    registry.register("e", "f", 6, "local", persistent=True)
    expressions = [registry.get_allocator(name, "f").expression() for name in "abcde"]
    assert expressions == [
        "offset(shared, 0)",
        "offset(shared, 4)",
        "private(5)",
        "offset(persistent, 0)",
        "offset(persistent, 2)",
    ]
    assert registry.get_allocator("b", "f").expression(shared="block") == "offset(block, 4)"
    assert registry.get_allocator("e", "f").expression(persistent="own") == "offset(own, 2)"
    assert registry.shared_buffer_size("f") == 7
    assert registry.local_buffer_size("f") == 5
    assert registry.persistent_local_buffer_size("f") == 8
    assert registry.shared_buffer_bytes("f") == 56
    assert registry.local_buffer_bytes("f") == 40
    assert registry.persistent_local_buffer_bytes("f") == 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"location": "global"}, "'local' or 'shared'"),
        ({"location": "Shared"}, "Did you mean 'shared'"),
        ({"location": None}, "'local' or 'shared'"),
        ({"size": -1}, "-1: give an integer >= 0"),
        ({"size": 2.0}, "2.0: give an integer"),
        ({"size": True}, "True: give an integer"),
        ({"name": ""}, "not empty"),
        ({"name": "  "}, "not empty"),
        ({"name": None}, "not empty"),
        ({"aliases": "new"}, "aliases itself"),
        ({"aliases": ("old", "new")}, "aliases itself"),
        ({"aliases": "odl"}, "'odl', which 'f' has not registered.*Did you mean 'old'"),
        ({"factory": None}, "factory is None"),
        ({"factory": ["f"]}, "not hashable"),
        ({"name": "old"}, "registered 'old' already"),
        ({"precision": "float46"}, "Did you mean 'float64'"),
        ({"precision": None}, "float16, float32, float64, int32"),
        ({"precision": "complex128"}, "float16, float32, float64, int32"),
        ({"phases": ()}, "at least one phase"),
        ({"phases": ("a", "")}, "at least one phase"),
    ],
)
def test_a_bad_declaration_is_refused_and_leaves_nothing(change, said):
    registry = BufferRegistry()
    registry.register("old", "f", 4, "shared")
    before = registry.layout("f")
    given = {"name": "new", "factory": "f", "size": 2, "location": "local"} | change
    with pytest.raises(RegistryError, match=said) as caught:
        registry.register(**given)
    assert isinstance(caught.value, ValueError)
    assert registry.layout("f") == before


def test_the_same_name_in_two_components_is_fine():
    registry = BufferRegistry()
    registry.register("a", "f", 1, "shared")
    registry.register("a", "g", 2, "shared")
    assert (registry.shared_buffer_size("f"), registry.shared_buffer_size("g")) == (1, 2)


def test_an_alias_target_of_another_component_is_unknown():
    registry = BufferRegistry()
    registry.register("a", "f", 1, "shared")
    with pytest.raises(RegistryError, match="has not registered"):
        registry.register("b", "g", 1, "shared", aliases="a")


def test_unknown_buffers_name_the_nearest():
    registry = BufferRegistry()
    registry.register("newton_delta", "f", 1, "local")
    with pytest.raises(RegistryError, match="Did you mean 'newton_delta'"):
        registry.get_allocator("newton_detla", "f")
    with pytest.raises(RegistryError, match="has no buffer 'a'; it has none"):
        registry.get_allocator("a", "unknown")
    for ask in (registry.layout, registry.explain, registry.clear_factory):
        with pytest.raises(RegistryError, match="factory is None"):
            ask(None)


def test_a_component_without_buffers_needs_nothing():
    registry = BufferRegistry()
    registry.register_child("loop", "euler")
    for factory in ("euler", "loop", "never seen"):
        assert registry.shared_buffer_bytes(factory) == 0
        assert registry.local_buffer_size(factory) == 0
        assert registry.persistent_local_buffer_size(factory) == 0


def test_successive_aliases_take_successive_parts_then_fall_back():
    registry = BufferRegistry()
    registry.register("scratch", "f", 10, "shared")
    registry.register("a", "f", 4, "local", aliases="scratch")
    registry.register("b", "f", 4, "local", persistent=True, aliases="scratch")
    registry.register("p", "f", 3, "local", persistent=True, aliases="scratch")
    registry.register("s", "f", 3, "shared", aliases="scratch")
    registry.register("l", "f", 3, "local", aliases="scratch")
    registry.register("fits", "f", 2, "local", aliases="scratch")
    assert place(registry, "a", "f") == ("shared", 0, 4)
    assert place(registry, "b", "f") == ("shared", 4, 4)
    assert place(registry, "p", "f") == ("persistent", 0, 3)
    assert place(registry, "s", "f") == ("shared", 10, 3)
    assert place(registry, "l", "f") == ("local", 0, 3)
    assert place(registry, "fits", "f") == ("shared", 8, 2)
    assert registry.shared_buffer_size("f") == 13


@pytest.mark.parametrize(
    ("rhs", "accumulator", "expected"),
    [
        ("shared", "shared", ("shared", 0, "erk_stage_rhs")),
        ("shared", "local", ("shared", 0, "erk_stage_rhs")),
        ("local", "shared", ("shared", 0, "erk_stage_accumulator")),
        ("local", "local", ("persistent", 0, None)),
    ],
)
def test_the_stage_cache_of_explicit_methods(rhs, accumulator, expected):
    registry = BufferRegistry()
    registry.register("erk_stage_rhs", "erk", 3, rhs)
    registry.register("erk_stage_accumulator", "erk", 18, accumulator)
    targets = ("erk_stage_rhs", "erk_stage_accumulator")
    registry.register("erk_stage_cache", "erk", 3, "local", persistent=True, aliases=targets)
    slot = registry.layout("erk").slot("erk_stage_cache", "erk")
    target = registry.layout("erk").slot(expected[2], "erk").offset if expected[2] else 0
    assert (slot.kind, slot.offset - target, slot.alias) == expected


def test_a_persistent_local_target_is_not_overlaid():
    registry = BufferRegistry()
    registry.register("kept", "f", 9, "local", persistent=True)
    registry.register("a", "f", 2, "local", persistent=True, aliases="kept")
    assert place(registry, "a", "f") == ("persistent", 9, 2)


def test_an_alias_of_an_alias_lies_in_both():
    registry = BufferRegistry()
    registry.register("first", "f", 3, "shared")
    registry.register("outer", "f", 10, "shared")
    registry.register("pad", "f", 2, "local", aliases="outer")
    registry.register("middle", "f", 6, "local", aliases="outer")
    registry.register("x", "f", 2, "local", aliases="middle")
    registry.register("y", "f", 4, "local", aliases="middle")
    assert place(registry, "middle", "f") == ("shared", 5, 6)
    assert place(registry, "x", "f") == ("shared", 5, 2)
    assert place(registry, "y", "f") == ("shared", 7, 4)


def test_children_nest_and_two_solvers_never_collide():
    registry = BufferRegistry()
    first, second = Solver(), Solver()
    for solver, size in ((first, 3), (second, 5)):
        registry.register("lin_temp", solver, size, "shared")
        registry.register("lin_kept", solver, 2, "local", persistent=True)
        registry.register("lin_own", solver, 1, "local")
    registry.register("newton_delta", "newton", 4, "shared")
    registry.register("step_own", "step", 7, "shared")
    registry.register("loop_state", "loop", 6, "shared")
    names = [registry.register_child("newton", solver) for solver in (first, second)]
    registry.register_child("step", "newton")
    registry.register_child("loop", "step")
    assert names == ["Solver", "Solver#2"]
    assert place(registry, "loop_state", "loop") == ("shared", 0, 6)
    assert place(registry, "step_own", "step") == ("shared", 6, 7)
    assert place(registry, "newton_delta", "newton") == ("shared", 13, 4)
    assert place(registry, "lin_temp", first) == ("shared", 17, 3)
    assert place(registry, "lin_temp", second) == ("shared", 20, 5)
    assert place(registry, "lin_kept", second) == ("persistent", 2, 2)
    sizes = [registry.shared_buffer_size(f) for f in ("loop", "step", "newton", second)]
    assert sizes == [25, 19, 12, 5]
    assert registry.local_buffer_size("loop") == 2
    assert registry.persistent_local_buffer_size("step") == 4
    assert registry.get_allocator("lin_temp", second, root="newton").offset == 7
    assert registry.get_allocator("lin_temp", second, root=second).offset == 0
    owners = {row.owner for row in registry.explain("loop").rows}
    assert owners == {"loop", "step", "newton", "Solver", "Solver#2"}


def test_a_buffer_may_alias_the_memory_of_a_child():
    registry = BufferRegistry()
    registry.register("newton_delta", "newton", 4, "shared")
    registry.register("newton_residual", "newton", 4, "shared")
    registry.register("base", "dirk", 2, "shared")
    registry.register_child("dirk", "newton", "dirk_solver_scratch")
    for name in ("dirk_increment_cache", "dirk_rhs_cache", "dirk_third"):
        registry.register(name, "dirk", 4, "local", persistent=True, aliases="dirk_solver_scratch")
    assert place(registry, "dirk_increment_cache", "dirk") == ("shared", 2, 4)
    assert place(registry, "dirk_rhs_cache", "dirk") == ("shared", 6, 4)
    assert place(registry, "dirk_third", "dirk") == ("persistent", 0, 4)


def test_what_a_child_keeps_is_not_overlaid():
    registry = BufferRegistry()
    registry.register("kept", "newton", 3, "shared", persistent=True)
    registry.register("scratch", "newton", 4, "shared")
    registry.register_child("step", "newton", "memory", phases="solve")
    registry.register("cache", "step", 4, "local", aliases="memory")
    registry.register("other", "step", 2, "shared", phases="error")
    assert place(registry, "kept", "newton") == ("shared", 0, 3)
    assert place(registry, "cache", "step") == ("shared", 3, 4)
    assert place(registry, "other", "step") == ("shared", 7, 2)


def test_a_persistent_alias_keeps_its_target_alive():
    registry = BufferRegistry()
    registry.register("rhs", "f", 5, "shared", phases="stages")
    registry.register("late", "f", 5, "shared", phases="error")
    assert registry.shared_buffer_size("f") == 5
    registry.register("cache", "f", 2, "local", persistent=True, aliases="rhs")
    assert registry.shared_buffer_size("f") == 10


def test_disjoint_phases_share_and_meeting_phases_do_not():
    registry = BufferRegistry()
    registry.register("a", "f", 4, "shared", phases=("one", "two"))
    registry.register("b", "f", 6, "shared", phases="three")
    registry.register("c", "f", 3, "shared", phases=("two", "three"))
    assert place(registry, "a", "f")[1] == place(registry, "b", "f")[1] == 0
    assert place(registry, "c", "f")[1] >= 6
    assert registry.shared_buffer_size("f") == 9


def test_another_order_is_taken_where_it_is_smaller():
    registry = BufferRegistry()
    registry.register("a", "f", 10, "shared", phases="one")
    registry.register("always", "f", 5, "shared")
    registry.register("b", "f", 20, "shared", phases="two")
    assert registry.shared_buffer_size("f") == 25


def test_children_of_disjoint_phases_share():
    registry = BufferRegistry()
    for solver, phase in (("one", "solve"), ("two", "smooth")):
        registry.register("lin_temp", solver, 8, "shared")
        registry.register("lin_kept", solver, 1, "local", persistent=True)
        registry.register_child("step", solver, phases=phase)
    assert place(registry, "lin_temp", "one") == place(registry, "lin_temp", "two")
    assert place(registry, "lin_kept", "one") != place(registry, "lin_kept", "two")
    assert registry.shared_buffer_size("step") == 8


def test_hosting_mistakes():
    registry = BufferRegistry()
    registry.register("taken", "step", 1, "local")
    registry.register_child("step", "newton")
    registry.register_child("newton", "linear")
    with pytest.raises(RegistryError, match="hosted by 'newton' already"):
        registry.register_child("step", "linear")
    for parent, child in (("linear", "step"), ("alone", "alone")):
        with pytest.raises(RegistryError, match=f"'{parent}' cannot host '{child}'"):
            registry.register_child(parent, child)
    with pytest.raises(RegistryError, match="registered 'taken' already"):
        registry.register_child("step", "other", "taken")
    with pytest.raises(RegistryError, match="name of a child is ''"):
        registry.register_child("step", "other", "")
    with pytest.raises(RegistryError, match="factory is None"):
        registry.register_child("step", None)
    with pytest.raises(RegistryError, match="does not host"):
        registry.get_allocator("taken", "step", root="linear")


def test_clear_factory_forgets_only_its_own():
    registry = BufferRegistry()
    registry.register("lin_temp", "linear", 3, "shared")
    registry.register("delta", "newton", 4, "shared")
    registry.register("state", "step", 2, "shared")
    registry.register_child("newton", "linear")
    registry.register_child("step", "newton")
    assert place(registry, "lin_temp", "linear")[1] == 6
    registry.clear_factory("newton")
    assert registry.shared_buffer_size("step") == 2
    assert registry.shared_buffer_size("linear") == 3
    registry.register("delta", "newton", 5, "shared")
    registry.register_child("newton", "linear")
    assert place(registry, "delta", "newton") == ("shared", 2, 5)
    assert registry.shared_buffer_size("step") == 10


def test_a_declaration_that_moves_a_buffer_handed_out_is_found():
    registry = BufferRegistry()
    registry.register("lin_temp", "linear", 3, "shared")
    registry.get_allocator("lin_temp", "linear", root="linear")
    registry.register("state", "step", 2, "shared")
    registry.register("more", "linear", 1, "shared")
    registry.register_child("step", "linear")
    assert registry.shared_buffer_size("step") == 6

    registry.get_allocator("lin_temp", "linear")
    registry.register_child("loop", "step")
    assert registry.shared_buffer_size("loop") == 6
    registry.register("before", "outer", 7, "shared")
    registry.register_child("outer", "loop")
    with pytest.raises(RegistryError, match="declare every buffer and child before"):
        registry.shared_buffer_size("outer")
