"""Choosing local or shared memory for each buffer from what a target can hold."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace

from cubie_kernels.buffers.layout import Component, Hosted, Layout, lay_out
from cubie_kernels.errors import RegistryError, nearest

__all__ = ["Limits", "place"]


@dataclass(frozen=True)
class Limits:
    """What one lane may use of a target.

    Parameters
    ----------
    shared_bytes : int
        Shared memory (on a CPU: first or second level cache) for one lane.
    local_bytes : int
        Private memory for one lane that stays fast: registers, or what a compiler keeps there.

    Raises
    ------
    RegistryError
        If either is not an integer of at least 0.
    """

    shared_bytes: int
    local_bytes: int

    def __post_init__(self) -> None:
        for name in ("shared_bytes", "local_bytes"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise RegistryError(f"Limits.{name} is {value!r}: give a whole number from 0 up.")

    @classmethod
    def of_block(cls, shared_bytes: int, local_bytes: int, lanes: int) -> Limits:
        """Share the memory of a block evenly between its lanes.

        Parameters
        ----------
        shared_bytes, local_bytes : int
            Memory of the whole block.
        lanes : int
            Lanes in the block, at least 1.

        Returns
        -------
        Limits
            Limits of one lane, rounded down.
        """
        if lanes < 1:
            raise RegistryError(f"lanes is {lanes!r}: a block has at least 1 lane.")
        return cls(shared_bytes // lanes, local_bytes // lanes)


Key = tuple[Hashable, str]
Placement = str | Mapping[str, str]


def place(component: Component, placement: Placement, limits: Limits | None) -> Component:
    """Return the tree with the location of every buffer decided.

    Parameters
    ----------
    component : Component
        The tree of declarations.
    placement : {'declared', 'auto'} or mapping of str to {'local', 'shared'}
        As declared; chosen from ``limits``; or as declared but for the buffers named.
    limits : Limits or None
        What one lane may use; needed by ``'auto'``.

    Returns
    -------
    Component
        The same tree, locations replaced.
    """
    if isinstance(placement, Mapping):
        return _relocate(component, placement)
    if placement == "auto":
        if limits is None:
            raise RegistryError("placement='auto' needs limits: give Limits of the target.")
        return _automatic(component, limits)
    return component


def check_placement(placement: Placement, limits: Limits | None) -> None:
    """Raise RegistryError for a placement that no registry can follow."""
    if isinstance(placement, Mapping):
        for name, location in placement.items():
            check_location(name, location)
    elif placement not in ("declared", "auto"):
        raise RegistryError(
            f"placement is {placement!r}: give 'declared', 'auto', or a mapping of buffer names "
            f"to 'local' or 'shared'.{nearest(str(placement), ('declared', 'auto'))}"
        )
    if placement == "auto" and limits is None:
        raise RegistryError("placement='auto' needs limits: give Limits of the target.")


def check_location(name: str, location: object) -> None:
    """Raise RegistryError unless the location is one of the two."""
    if location not in ("local", "shared"):
        raise RegistryError(
            f"The location of buffer {name!r} is {location!r}: give 'local' or 'shared'."
            f"{nearest(str(location), ('local', 'shared'))}"
        )


def _automatic(component: Component, limits: Limits) -> Component:
    """Start with everything private; move the largest to shared until the rest stays fast.

    Buffers declared shared go first. A move is kept only where it lowers the private bytes and
    the shared bytes stay inside the limit; aliases follow their targets by themselves.
    """
    buffers = list(component.buffers())
    order = sorted(buffers, key=lambda item: (item[1].location != "shared", -item[1].bytes))
    shared: set[Key] = set()
    best = _to_shared(component, shared)
    private = _private_bytes(lay_out(best))
    for factory, buffer in order:
        if private <= limits.local_bytes:
            break
        trial = _to_shared(component, shared | {(factory, buffer.name)})
        layout = lay_out(trial)
        if layout.shared.bytes <= limits.shared_bytes and _private_bytes(layout) < private:
            shared.add((factory, buffer.name))
            best, private = trial, _private_bytes(layout)
    return best


def _private_bytes(layout: Layout) -> int:
    return layout.local.bytes + layout.persistent.bytes


def _to_shared(component: Component, shared: Collection[Key]) -> Component:
    """Return the tree with the given buffers shared and all others local."""
    members = tuple(
        replace(m, component=_to_shared(m.component, shared))
        if isinstance(m, Hosted)
        else replace(m, location="shared" if (component.factory, m.name) in shared else "local")
        for m in component.members
    )
    return replace(component, members=members)


def _relocate(component: Component, locations: Mapping[str, str]) -> Component:
    """Return the tree with the named buffers moved."""
    members = tuple(
        replace(m, component=_relocate(m.component, locations))
        if isinstance(m, Hosted)
        else replace(m, location=locations.get(m.name, m.location))
        for m in component.members
    )
    return replace(component, members=members)
