"""A layout as a table for people."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields

from cubie_kernels.buffers.layout import Layout, Slot

__all__ = ["Explanation", "Row", "explain", "label"]

_LOCATIONS = {"local": "local", "persistent": "persistent local", "shared": "shared"}


@dataclass(frozen=True)
class Row:
    """One buffer: ``offset`` and ``size`` in its own elements for one lane."""

    name: str
    owner: str
    location: str
    offset: int | None
    size: int
    precision: str
    alias: str | None
    lifetime: str


@dataclass(frozen=True)
class Explanation:
    """Where every buffer of a component and of those it calls lives; prints as a table.

    Parameters
    ----------
    component : str
        The component explained; offsets count from the start of its arenas.
    rows : tuple of Row
        One for each buffer. ``offset`` is None for a private array.
    shared_bytes, persistent_local_bytes, local_bytes : int
        Memory of each kind for one lane.
    """

    component: str
    rows: tuple[Row, ...]
    shared_bytes: int
    persistent_local_bytes: int
    local_bytes: int

    def __str__(self) -> str:
        """Return the table."""
        head = [field.name for field in fields(Row)]
        body = [
            ["-" if (value := getattr(row, key)) is None else str(value) for key in head]
            for row in self.rows
        ]
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
        numbers = {"offset", "size"}
        lines = [
            "  ".join(
                text.rjust(width) if key in numbers else text.ljust(width)
                for key, text, width in zip(head, line, widths, strict=True)
            ).rstrip()
            for line in [head, ["-" * width for width in widths], *body]
        ]
        total = (
            f"{self.component}, bytes per lane: {self.shared_bytes} shared, "
            f"{self.persistent_local_bytes} persistent local, {self.local_bytes} local"
        )
        return "\n".join([total, *lines])


def label(factory: Hashable) -> str:
    """Return a readable name of a component: its text, its ``name``, or its class."""
    if isinstance(factory, str):
        return factory
    name = getattr(factory, "name", None) or getattr(factory, "__name__", None)
    return name if isinstance(name, str) else type(factory).__name__


def explain(layout: Layout) -> Explanation:
    """Return the table of a layout; equal labels of different components are numbered."""
    factories = dict.fromkeys([layout.factory, *(block.factory for block in layout.blocks)])
    owners: dict[Hashable, str] = {}
    seen: dict[str, int] = {}
    for factory in factories:
        text = label(factory)
        seen[text] = seen.get(text, 0) + 1
        owners[factory] = text if seen[text] == 1 else f"{text}#{seen[text]}"
    return Explanation(
        owners[layout.factory],
        tuple(_row(slot, owners[slot.factory]) for slot in layout.slots),
        layout.shared.bytes,
        layout.persistent.bytes,
        layout.local.bytes,
    )


def _row(slot: Slot, owner: str) -> Row:
    declared = [",".join(sorted(phases)) for phases in slot.lifetime if phases is not None]
    return Row(
        slot.name,
        owner,
        _LOCATIONS[slot.kind],
        None if slot.kind == "local" else slot.offset,
        slot.size,
        slot.precision,
        slot.alias,
        " > ".join(declared) or "throughout",
    )
