"""Packing pieces into one arena, in bytes for one lane: disjoint lifetimes may share bytes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Arena", "Phases", "Piece", "either", "overlap", "pack", "up"]

Phases = frozenset[str] | None


@dataclass(frozen=True)
class Arena:
    """The extent of one kind of memory for one lane.

    Parameters
    ----------
    bytes : int
        Bytes for one lane, a multiple of ``itemsize``.
    itemsize : int
        Bytes of the widest element in it; 1 when it is empty.
    """

    bytes: int = 0
    itemsize: int = 1

    @property
    def elements(self) -> int:
        """Number of elements of the widest precision in it."""
        return self.bytes // self.itemsize


@dataclass(frozen=True)
class Piece:
    """A part of an arena that is placed as a whole."""

    name: str
    bytes: int
    itemsize: int
    phases: Phases


def pack(pieces: list[Piece]) -> tuple[dict[str, int], Arena]:
    """Place pieces in the order of declaration, or in another order where that is smaller."""
    orders = (
        pieces,
        sorted(pieces, key=lambda p: -p.bytes),
        sorted(pieces, key=lambda p: (-p.itemsize, -p.bytes)),
    )
    packings = [_first_fit(order) for order in orders]
    return min(packings, key=lambda packing: packing[1].bytes)


def _first_fit(pieces: list[Piece]) -> tuple[dict[str, int], Arena]:
    """Give each piece the lowest place that is free of pieces alive at the same time."""
    at: dict[str, int] = {}
    placed: list[Piece] = []
    for piece in pieces:
        alive = [q for q in placed if q.bytes and overlap(piece.phases, q.phases)]
        alive.sort(key=lambda q: at[q.name])
        start = 0
        for other in alive:
            if start + piece.bytes <= at[other.name]:
                break
            start = max(start, up(at[other.name] + other.bytes, piece.itemsize))
        at[piece.name] = start
        placed.append(piece)
    used = [piece for piece in pieces if piece.bytes]
    itemsize = max((piece.itemsize for piece in used), default=1)
    end = max((at[piece.name] + piece.bytes for piece in used), default=0)
    return at, Arena(up(end, itemsize), itemsize)


def overlap(one: Phases, other: Phases) -> bool:
    """Return whether two pieces are ever alive together."""
    return one is None or other is None or not one.isdisjoint(other)


def either(one: Phases, other: Phases) -> Phases:
    """Return the phases in which one or the other is alive."""
    return None if one is None or other is None else one | other


def up(value: int, multiple: int) -> int:
    """Round up to a multiple."""
    return -(-value // multiple) * multiple
