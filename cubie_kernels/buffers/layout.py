"""From declared buffers to an immutable table of offsets: one pure function.

An arena is laid out in bytes for one lane. Every buffer starts at a multiple of its item size, so
that its offset is a whole number of its own elements, also where precisions mix.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cubie_kernels.buffers.allocator import Allocator, Kind
from cubie_kernels.buffers.packing import Arena, Phases, Piece, either, pack, up
from cubie_kernels.errors import RegistryError, nearest

__all__ = ["Block", "Buffer", "Component", "Hosted", "Layout", "Slot", "lay_out"]


@dataclass(frozen=True)
class Buffer:
    """A declared buffer; ``phases`` None means that it lives throughout."""

    name: str
    size: int
    location: str
    persistent: bool = False
    aliases: tuple[str, ...] = ()
    precision: str = "float64"
    phases: Phases = None

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.precision).itemsize

    @property
    def bytes(self) -> int:
        """Bytes for one lane."""
        return self.size * self.itemsize


@dataclass(frozen=True)
class Hosted:
    """A component called by another, and the phases of the caller in which it is called."""

    name: str
    component: Component
    phases: Phases = None


@dataclass(frozen=True)
class Component:
    """A component, its buffers and the components it calls, in the order of declaration."""

    factory: Hashable
    members: tuple[Buffer | Hosted, ...] = ()

    def buffers(self) -> Iterator[tuple[Hashable, Buffer]]:
        """Yield owner and buffer, those of called components included."""
        for member in self.members:
            if isinstance(member, Hosted):
                yield from member.component.buffers()
            else:
                yield self.factory, member


@dataclass(frozen=True)
class Slot:
    """Where one buffer lives.

    Parameters
    ----------
    name, factory : str, hashable
        The buffer and the component that declared it.
    kind : {'local', 'persistent', 'shared'}
        The memory it lives in.
    byte_offset : int
        First byte for one lane in that memory; 0 when local.
    size, precision : int, str
        Number of elements for one lane, and of what.
    persistent : bool
        Whether its contents outlive a call of its component.
    alias : str or None
        The buffer or called component inside which it lies, if it does.
    lifetime : tuple
        The phases in which it lives, from the outermost component inwards; None is throughout.
    """

    name: str
    factory: Hashable
    kind: Kind
    byte_offset: int
    size: int
    precision: str
    persistent: bool
    alias: str | None
    lifetime: tuple[Phases, ...]

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.precision).itemsize

    @property
    def bytes(self) -> int:
        """Bytes for one lane."""
        return self.size * self.itemsize

    @property
    def offset(self) -> int:
        """First element, in elements of its own precision."""
        return self.byte_offset // self.itemsize


@dataclass(frozen=True)
class Block:
    """The parts of the arenas given to a called component; offsets in bytes for one lane."""

    name: str
    host: Hashable
    factory: Hashable
    shared_offset: int
    shared: Arena
    persistent_offset: int
    persistent: Arena


@dataclass(frozen=True)
class Layout:
    """The table of one component and all that it calls.

    Parameters
    ----------
    factory : hashable
        The component; all offsets count from the start of its arenas.
    slots : tuple of Slot
        Every buffer, those of called components included.
    blocks : tuple of Block
        Every called component.
    shared, persistent, local : Arena
        Extent of each kind of memory, for one lane.
    """

    factory: Hashable
    slots: tuple[Slot, ...]
    blocks: tuple[Block, ...]
    shared: Arena
    persistent: Arena
    local: Arena

    def slot(self, name: str, factory: Hashable) -> Slot:
        """Return the row of one buffer; RegistryError if the component has no such buffer."""
        own = {slot.name: slot for slot in self.slots if slot.factory == factory}
        if name not in own:
            raise RegistryError(
                f"{factory!r} has no buffer {name!r}; it has {sorted(own) or 'none'}."
                f"{nearest(name, own)} Register it first."
            )
        return own[name]

    def allocator(self, name: str, factory: Hashable) -> Allocator:
        """Return the allocator of one buffer, in the coordinates of this layout's arenas."""
        slot = self.slot(name, factory)
        return Allocator(slot.kind, slot.offset, slot.size, slot.precision)

    @property
    def kept_bytes(self) -> int:
        """End of the shared memory whose contents must outlive a call; 0 if there is none."""
        kept = (s.byte_offset + s.bytes for s in self.slots if s.persistent and s.kind == "shared")
        return max(kept, default=0)


@dataclass(frozen=True)
class _Inside:
    """An alias that lies inside its target; ``start`` counts from the piece that holds both."""

    target: str
    piece: str
    start: int


def lay_out(component: Component) -> Layout:
    """Lay out a component and all that it calls.

    An alias lies inside the first of its targets that is shared and has room left, after the
    earlier aliases of that target; otherwise it gets storage by its own kind. Shared and
    persistent pieces whose phases are disjoint may take the same bytes. Private arrays are never
    packed: each is an array of its own, which a compiler keeps in registers.

    Parameters
    ----------
    component : Component
        The tree of declarations.

    Returns
    -------
    Layout
        Equal for equal declarations.
    """
    inner = {m.name: lay_out(m.component) for m in component.members if isinstance(m, Hosted)}
    inside, shared_pieces = _shared_pieces(component, inner)
    shared_at, shared = pack(shared_pieces)
    persistent_at, persistent = pack(_persistent_pieces(component, inner, inside))
    slots: list[Slot] = []
    blocks: list[Block] = []
    for member in component.members:
        if isinstance(member, Buffer):
            at = persistent_at if _kind(member, inside) == "persistent" else shared_at
            slots.append(_own(member, component.factory, inside, at))
            continue
        below = inner[member.name]
        shifts = {
            "shared": shared_at[member.name],
            "persistent": persistent_at[member.name],
            "local": 0,
        }
        slots += [_nested(slot, member.phases, shifts) for slot in below.slots]
        blocks += _blocks(member.name, component.factory, below, shifts)
    private = [slot for slot in slots if slot.kind == "local" and slot.size]
    itemsize = max((slot.itemsize for slot in private), default=1)
    local = Arena(up(sum(slot.bytes for slot in private), itemsize), itemsize)
    return Layout(component.factory, tuple(slots), tuple(blocks), shared, persistent, local)


def _own(buffer: Buffer, factory: Hashable, inside: dict[str, _Inside], at: dict[str, int]) -> Slot:
    """Make the slot of a buffer of the component itself; ``at`` places the pieces of its arena."""
    alias, byte_offset = None, at.get(buffer.name, 0)
    if buffer.name in inside:
        held = inside[buffer.name]
        alias, byte_offset = held.target, at[held.piece] + held.start
    return Slot(
        name=buffer.name,
        factory=factory,
        kind=_kind(buffer, inside),
        byte_offset=byte_offset,
        size=buffer.size,
        precision=buffer.precision,
        persistent=buffer.persistent,
        alias=alias,
        lifetime=(buffer.phases,),
    )


def _blocks(name: str, host: Hashable, below: Layout, shifts: dict[str, int]) -> list[Block]:
    """Return the block of a called component and those of the components that it calls."""
    shared, persistent = shifts["shared"], shifts["persistent"]
    block = Block(name, host, below.factory, shared, below.shared, persistent, below.persistent)
    return [block] + [
        replace(
            inner,
            shared_offset=inner.shared_offset + shared,
            persistent_offset=inner.persistent_offset + persistent,
        )
        for inner in below.blocks
    ]


def _nested(slot: Slot, phases: Phases, shifts: dict[str, int]) -> Slot:
    """Move a slot of a called component into its host."""
    # What outlives a call lives between the calls too, whatever phases the host calls in.
    return replace(
        slot,
        byte_offset=slot.byte_offset + shifts[slot.kind],
        lifetime=(None if slot.persistent else phases, *slot.lifetime),
    )


def _kind(buffer: Buffer, inside: dict[str, _Inside]) -> Kind:
    if buffer.name in inside or buffer.location == "shared":
        return "shared"
    return "persistent" if buffer.persistent else "local"


def _shared_pieces(
    component: Component, inner: dict[str, Layout]
) -> tuple[dict[str, _Inside], list[Piece]]:
    """Put aliases into their targets and return the pieces of the shared arena."""
    pieces: dict[str, Piece] = {}
    inside: dict[str, _Inside] = {}
    free: dict[str, tuple[int, int]] = {}  # first free byte and end of a target, in its piece
    for member in component.members:
        name = member.name
        if isinstance(member, Hosted):
            below = inner[name]
            kept = below.kept_bytes
            phases = None if kept else member.phases
            pieces[name] = Piece(name, below.shared.bytes, below.shared.itemsize, phases)
            free[name] = (kept, below.shared.bytes)
            continue
        for target in member.aliases:
            if target not in free:
                continue
            first, end = free[target]
            start = up(first, member.itemsize)
            if start + member.bytes > end:
                continue
            piece = pieces[inside[target].piece if target in inside else target]
            inside[name] = _Inside(target, piece.name, start)
            free[target] = (start + member.bytes, end)
            free[name] = (start, start + member.bytes)
            pieces[piece.name] = replace(
                piece,
                itemsize=max(piece.itemsize, member.itemsize),
                phases=either(piece.phases, member.phases),
            )
            break
        else:
            if member.location == "shared":
                pieces[name] = Piece(name, member.bytes, member.itemsize, member.phases)
                free[name] = (0, member.bytes)
    return inside, list(pieces.values())


def _persistent_pieces(
    component: Component, inner: dict[str, Layout], inside: dict[str, _Inside]
) -> list[Piece]:
    pieces = []
    for member in component.members:
        if isinstance(member, Hosted):
            arena = inner[member.name].persistent
            pieces.append(Piece(member.name, arena.bytes, arena.itemsize, None))
        elif _kind(member, inside) == "persistent":
            pieces.append(Piece(member.name, member.bytes, member.itemsize, member.phases))
    return pieces
