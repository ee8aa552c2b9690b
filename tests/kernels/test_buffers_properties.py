"""Properties of every layout, on random trees of declarations."""

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cubie_kernels.buffers import BufferRegistry, Limits, address

PHASES = ("one", "two", "three")
ITEM = {"float16": 2, "float32": 4, "float64": 8, "int32": 4}

often = settings(deadline=None, max_examples=150)


@dataclass(frozen=True)
class Declared:
    """One declaration; ``child`` is the index of the hosted component, or None for a buffer."""

    name: str
    size: int = 0
    location: str = "shared"
    persistent: bool = False
    aliases: tuple = ()
    precision: str = "float64"
    phases: frozenset | None = None
    child: int | None = None


lifetimes = st.none() | st.frozensets(st.sampled_from(PHASES), min_size=1, max_size=2)


@st.composite
def components(draw, mixed=True, phased=True):
    """Components 0..n-1; component i is hosted by an earlier one, and 0 is the outermost."""
    count = draw(st.integers(1, 4))
    host = [None] + [draw(st.integers(0, i - 1)) for i in range(1, count)]
    tree = []
    for factory in range(count):
        members = []
        children = [i for i in range(count) if host[i] == factory]
        for number in range(draw(st.integers(0, 6))):
            earlier = [m.name for m in members]
            members.append(
                Declared(
                    f"b{number}",
                    draw(st.integers(0, 9)),
                    draw(st.sampled_from(("local", "shared", "shared"))),
                    draw(st.booleans()),
                    tuple(draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)))
                    if earlier
                    else (),
                    draw(st.sampled_from(sorted(ITEM))) if mixed else "float64",
                    draw(lifetimes) if phased else None,
                )
            )
            if children and draw(st.booleans()):
                child = children.pop()
                phases = draw(lifetimes) if phased else None
                members.append(Declared(f"c{child}", phases=phases, child=child))
        for child in children:
            members.append(
                Declared(f"c{child}", phases=draw(lifetimes) if phased else None, child=child)
            )
        tree.append(tuple(members))
    return tuple(tree)


def declare(tree, **options):
    registry = BufferRegistry(**options)
    for factory, members in enumerate(tree):
        for m in members:
            if m.child is None:
                registry.register(
                    m.name, factory, m.size, m.location, m.persistent, m.aliases, m.precision,
                    m.phases,
                )  # fmt: skip
            else:
                registry.register_child(factory, m.child, m.name, m.phases)
    return registry


def lines(tree):
    """Map each component to its declaration in its host, host by host from the outermost."""
    found = {0: ()}
    for factory, members in enumerate(tree):
        for m in members:
            if m.child is not None:
                found[m.child] = (*found[factory], (factory, m))
    return found


def buffers(tree):
    return {(f, m.name): m for f, members in enumerate(tree) for m in members if m.child is None}


def scopes(tree, key):
    """Return component -> phases there in which a buffer lives, from the declarations alone."""
    factory, buffer = key[0], buffers(tree)[key]
    found = {f: None if buffer.persistent else m.phases for f, m in lines(tree)[factory]}
    return found | {factory: buffer.phases}


def may_share(tree, one, other):
    """Whether some component that hosts both never needs both at once."""
    a, b = scopes(tree, one), scopes(tree, other)
    return any(a[f] and b[f] and not a[f] & b[f] for f in a if f in b)


def related(layout, one, other):
    """Whether one buffer lies inside the other, or inside a component that owns it, by alias."""
    rows = {(s.factory, s.name): s for s in layout.slots}
    blocks = {(b.host, b.name): b.factory for b in layout.blocks}
    hosts = {b.factory: b.host for b in layout.blocks}

    def inside(inner, outer):
        while rows[inner].alias is not None:
            target = (inner[0], rows[inner].alias)
            if target == outer:
                return True
            if target in blocks:
                owner = outer[0]
                while owner in hosts and owner != blocks[target]:
                    owner = hosts[owner]
                return owner == blocks[target]
            inner = target
        return False

    return inside(one, other) or inside(other, one)


def meet(a, b):
    return a.kind == b.kind != "local" and max(a.byte_offset, b.byte_offset) < min(
        a.byte_offset + a.bytes, b.byte_offset + b.bytes
    )


@often
@given(components())
def test_no_two_live_buffers_overlap_unless_aliased(tree):
    layout = declare(tree).layout(0)
    for a, b in combinations(layout.slots, 2):
        if meet(a, b):
            one, other = (a.factory, a.name), (b.factory, b.name)
            assert may_share(tree, one, other) or related(layout, one, other), (a, b)


@often
@given(components())
def test_sizes_and_offsets_agree(tree):
    registry = declare(tree)
    declared = buffers(tree)
    for factory in range(len(tree)):
        layout = registry.layout(factory)
        arenas = {"shared": layout.shared, "persistent": layout.persistent}
        ends = Counter()
        for slot in layout.slots:
            buffer = declared[slot.factory, slot.name]
            assert (slot.size, slot.precision) == (buffer.size, buffer.precision)
            assert slot.bytes == buffer.size * ITEM[buffer.precision]
            found = registry.get_allocator(slot.name, slot.factory, root=factory)
            assert (found.kind, found.size, found.offset) == (slot.kind, slot.size, slot.offset)
            if slot.kind == "local" or not slot.size:
                continue
            assert slot.byte_offset % slot.itemsize == 0
            assert arenas[slot.kind].itemsize % slot.itemsize == 0
            ends[slot.kind] = max(ends[slot.kind], slot.byte_offset + slot.bytes)
        for kind, arena in arenas.items():
            assert 0 <= arena.bytes - ends[kind] < arena.itemsize
            assert arena.elements * arena.itemsize == arena.bytes
        assert registry.shared_buffer_bytes(factory) == layout.shared.bytes
        assert registry.shared_buffer_size(factory) == layout.shared.elements
        assert registry.persistent_local_buffer_bytes(factory) == layout.persistent.bytes
        assert registry.persistent_local_buffer_size(factory) == layout.persistent.elements
        private = sum(s.bytes for s in layout.slots if s.kind == "local")
        assert 0 <= registry.local_buffer_bytes(factory) - private < 8


@often
@given(components(mixed=False, phased=False))
def test_without_phases_or_mixture_nothing_is_shared_or_lost(tree):
    registry = declare(tree)
    layout = registry.layout(0)
    totals = Counter()
    for slot in layout.slots:
        if slot.alias is None:
            totals[slot.kind] += slot.size
    assert registry.shared_buffer_size(0) == totals["shared"]
    assert registry.persistent_local_buffer_size(0) == totals["persistent"]
    assert registry.local_buffer_size(0) == totals["local"]


@often
@given(components())
def test_children_nest(tree):
    registry = declare(tree)
    whole = registry.layout(0)
    for block in whole.blocks:
        part = registry.layout(block.factory)
        assert (part.shared, part.persistent) == (block.shared, block.persistent)
        assert block.shared_offset + block.shared.bytes <= whole.shared.bytes
        assert block.persistent_offset + block.persistent.bytes <= whole.persistent.bytes
        shift = {"shared": block.shared_offset, "persistent": block.persistent_offset, "local": 0}
        for slot in part.slots:
            outer = whole.slot(slot.name, slot.factory)
            assert outer.kind == slot.kind
            assert outer.byte_offset == slot.byte_offset + shift[slot.kind]


@often
@given(components(mixed=False))
def test_alias_rules(tree):
    registry = declare(tree)
    for factory, members in enumerate(tree):
        layout = registry.layout(factory)
        blocks = {b.name: b for b in layout.blocks if b.host == factory}
        used = Counter()
        for m in members:
            if m.child is not None:
                inner = registry.layout(m.child).slots
                kept = [s.offset + s.size for s in inner if s.persistent and s.kind == "shared"]
                used[m.name] = max(kept, default=0)
                continue
            slot = layout.slot(m.name, factory)
            chosen = None
            for target in m.aliases:
                if target in blocks:
                    start, size = blocks[target].shared_offset // 8, blocks[target].shared.elements
                else:
                    held = layout.slot(target, factory)
                    start, size = held.offset, held.size if held.kind == "shared" else -1
                if used[target] + m.size <= size:
                    chosen = target
                    assert (slot.kind, slot.offset) == ("shared", start + used[target])
                    used[target] += m.size
                    break
            assert slot.alias == chosen
            if chosen is None:
                own = "persistent" if m.persistent else "local"
                assert slot.kind == ("shared" if m.location == "shared" else own)


flat = st.lists(st.tuples(st.integers(1, 20), lifetimes), min_size=1, max_size=8)


@often
@given(flat)
@example([(10, frozenset({"one"})), (5, None), (20, frozenset({"two"}))])
def test_phases_share_memory_and_never_too_much(given_buffers):
    registry = BufferRegistry()
    for number, (size, phases) in enumerate(given_buffers):
        registry.register(f"b{number}", "f", size, "shared", phases=phases)
    total = registry.shared_buffer_size("f")
    needed = [
        sum(size for size, phases in given_buffers if phases is None or phase in phases)
        for phase in PHASES
    ]
    assert max(needed) <= total <= sum(size for size, _ in given_buffers)


@often
@given(st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_pairwise_disjoint_phases_need_only_the_largest(sizes):
    registry = BufferRegistry()
    for number, size in enumerate(sizes):
        registry.register(f"b{number}", "f", size, "shared", phases=f"phase{number}")
    assert registry.shared_buffer_size("f") == max(sizes)
    assert {slot.offset for slot in registry.layout("f").slots} == {0}


@often
@given(components(), st.lists(st.sampled_from(PHASES), min_size=4, max_size=4))
def test_buffers_alive_at_one_moment_keep_what_was_written(tree, moment):
    """Write every live buffer through its allocator, then find all of it by the address formula."""
    registry = declare(tree)
    layout = registry.layout(0)
    lanes = 3
    arenas = {
        kind: np.zeros(arena.bytes * lanes, "u1")
        for kind, arena in (("shared", layout.shared), ("persistent", layout.persistent))
    }
    live = [
        slot
        for slot in layout.slots
        if slot.alias is None
        and slot.kind != "local"
        and slot.size
        and all(
            p is None or moment[f] in p for f, p in scopes(tree, (slot.factory, slot.name)).items()
        )
    ]
    for mark, slot in enumerate(live, start=1):
        view = arenas[slot.kind].view(slot.precision)
        for element in range(slot.size):
            for lane in range(lanes):
                place = address(slot.offset + element, lane, lanes)
                assert view[place] == 0
                view[place] = mark
    for mark, slot in enumerate(live, start=1):
        view = arenas[slot.kind].view(slot.precision).reshape(-1, lanes)
        assert (view[slot.offset : slot.offset + slot.size] == mark).all()


@often
@given(components())
def test_explain_agrees_with_the_layout(tree):
    registry = declare(tree)
    layout, table = registry.layout(0), registry.explain(0)
    assert len(table.rows) == len(layout.slots) == len(buffers(tree))
    lines_of_text = str(table).splitlines()
    assert len(lines_of_text) == len(table.rows) + 3
    for row, slot, text in zip(table.rows, layout.slots, lines_of_text[3:], strict=True):
        assert (row.name, row.size, row.alias) == (slot.name, slot.size, slot.alias)
        assert row.offset == (None if slot.kind == "local" else slot.offset)
        assert row.location.split()[0] == slot.kind
        assert slot.lifetime == tuple(scopes(tree, (slot.factory, slot.name)).values())
        named = [",".join(sorted(phases)) for phases in slot.lifetime if phases]
        assert row.lifetime == (" > ".join(named) or "throughout")
        shown = [row.name, *row.location.split(), "-" if row.offset is None else str(row.offset)]
        assert text.split()[0] == shown[0]
        assert all(word in text.split() for word in [*shown, str(row.size), row.precision])
    totals = (table.shared_bytes, table.persistent_local_bytes, table.local_bytes)
    assert totals == (layout.shared.bytes, layout.persistent.bytes, layout.local.bytes)
    assert declare(tree).explain(0) == table


@often
@given(components(), st.integers(0, 300), st.integers(0, 300))
def test_automatic_placement_keeps_within_shared_and_stays_sound(tree, shared_bytes, local_bytes):
    layout = declare(tree, placement="auto", limits=Limits(shared_bytes, local_bytes)).layout(0)
    assert layout.shared.bytes <= shared_bytes
    for a, b in combinations(layout.slots, 2):
        if meet(a, b):
            one, other = (a.factory, a.name), (b.factory, b.name)
            assert may_share(tree, one, other) or related(layout, one, other), (a, b)
    everything_local = declare(tree, placement="auto", limits=Limits(0, 10**9)).layout(0)
    private = layout.local.bytes + layout.persistent.bytes
    assert private <= everything_local.local.bytes + everything_local.persistent.bytes
