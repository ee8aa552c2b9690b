"""The registry: components declare buffers, then ask where they are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from numbers import Integral

import numpy as np

from cubie_kernels.buffers.allocator import Allocator
from cubie_kernels.buffers.explain import Explanation, explain, label
from cubie_kernels.buffers.layout import Buffer, Component, Hosted, Layout, lay_out
from cubie_kernels.buffers.placement import (
    Limits,
    Placement,
    check_location,
    check_placement,
    place,
)
from cubie_kernels.errors import RegistryError, nearest

__all__ = ["BufferRegistry"]

_PRECISIONS = ("float16", "float32", "float64", "int32")


class BufferRegistry:
    """The buffers of one build.

    A component is any hashable value (its *factory*). It declares buffers and the components it
    calls. All that is declared comes first, then sizes and allocators are asked for: offsets count
    from the start of the arenas of the whole kernel, that is of the outermost host.

    Parameters
    ----------
    placement : {'declared', 'auto'} or mapping of str to {'local', 'shared'}, optional
        Whether buffers live where they were declared, where ``limits`` suggests, or, for the
        buffers named in a mapping, where it says.
    limits : Limits, optional
        What one lane may use of the target; needed by ``'auto'``.

    Raises
    ------
    RegistryError
        If the placement is not one of these, or limits are missing.
    """

    def __init__(self, placement: Placement = "declared", limits: Limits | None = None) -> None:
        check_placement(placement, limits)
        self._placement: Placement = placement if isinstance(placement, str) else dict(placement)
        self._limits = limits
        self._members: dict[
            Hashable, dict[str, Buffer | tuple[Hashable, frozenset[str] | None]]
        ] = {}
        self._host: dict[Hashable, Hashable] = {}
        self._handed_out: dict[tuple[Hashable, str, Hashable], Allocator] = {}
        self._layouts: dict[Hashable, Layout] = {}  # since the last declaration

    def register(
        self,
        name: str,
        factory: Hashable,
        size: int,
        location: str,
        persistent: bool = False,
        aliases: str | Iterable[str] | None = None,
        precision: str = "float64",
        phases: str | Iterable[str] | None = None,
    ) -> None:
        """Declare a buffer.

        Parameters
        ----------
        name : str
            Its name, unique in the component.
        factory : hashable
            The component that owns it.
        size : int
            Number of elements for one lane.
        location : {'local', 'shared'}
            A private array, or a slice of the shared arena.
        persistent : bool, optional
            Whether its contents outlive a call of the component. A local one is then a slice of
            the lane's persistent array.
        aliases : str or iterable of str, optional
            Buffers, or called components, of the same component inside whose shared memory it may
            lie, tried in order. It goes into the first that is shared and has room left after
            earlier aliases; otherwise it gets storage by its own location and persistence.
        precision : {'float16', 'float32', 'float64', 'int32'}, optional
            Type of an element.
        phases : str or iterable of str, optional
            The phases of the component outside of which its contents do not matter. Buffers of
            disjoint phases may share memory. None: it lives throughout.

        Raises
        ------
        RegistryError
            If an argument is not one of these, the name is taken, an alias names the buffer
            itself or one that is not registered yet.
        """
        _check_name(name, "buffer")
        _check_factory(factory)
        check_location(name, location)
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 0:
            raise RegistryError(f"The size of buffer {name!r} is {size!r}: give an integer >= 0.")
        members = self._members.get(factory, {})
        self._check_free(name, factory)
        targets = _names(aliases)
        for target in targets:
            if target == name:
                raise RegistryError(f"Buffer {name!r} aliases itself: name another buffer.")
            if target not in members:
                raise RegistryError(
                    f"Buffer {name!r} aliases {target!r}, which {factory!r} has not registered; "
                    f"it has {sorted(members) or 'none'}.{nearest(str(target), members)} "
                    "Register the target first."
                )
        self._layouts = {}
        self._members.setdefault(factory, {})[name] = Buffer(
            name,
            int(size),
            location,
            bool(persistent),
            targets,
            _precision(name, precision),
            _phases(name, phases),
        )

    def register_child(
        self,
        parent: Hashable,
        child: Hashable,
        name: str | None = None,
        phases: str | Iterable[str] | None = None,
    ) -> str:
        """Let a component host the buffers of a component that it calls.

        Parameters
        ----------
        parent, child : hashable
            The caller and the called. A component has one host: a second use in a kernel is a
            second factory.
        name : str, optional
            The name of the child's memory in the parent, which buffers of the parent may alias.
            By default made from the child.
        phases : str or iterable of str, optional
            The phases of the parent in which the child is called; None: all. Buffers of the child
            that are persistent live throughout all the same.

        Returns
        -------
        str
            The name.

        Raises
        ------
        RegistryError
            If the child has a host already, is the parent or hosts it, or the name is taken.
        """
        _check_factory(parent)
        _check_factory(child)
        if child in self._host:
            raise RegistryError(
                f"{child!r} is hosted by {self._host[child]!r} already, and {parent!r} asks for it "
                "too: use another factory for a second use."
            )
        if child in self._line(parent):
            raise RegistryError(f"{parent!r} cannot host {child!r}, which is itself or its host.")
        if name is None:
            name = self._free_name(label(child), parent)
        _check_name(name, "child")
        self._check_free(name, parent)
        self._layouts = {}
        self._members.setdefault(parent, {})[name] = (child, _phases(name, phases))
        self._host[child] = parent
        return name

    def get_allocator(self, name: str, factory: Hashable, root: Hashable = None) -> Allocator:
        """Return what the kernel calls, or writes, to get a buffer.

        Parameters
        ----------
        name, factory : str, hashable
            The buffer and the component that owns it.
        root : hashable, optional
            The component whose arenas the offsets count from: the owner or one of its hosts. By
            default the outermost host, so that every allocator of a kernel takes the same arrays.

        Returns
        -------
        Allocator
            Frozen: kind, offset, size, precision.

        Raises
        ------
        RegistryError
            If there is no such buffer, the root does not host it, or a declaration since moved a
            buffer that was handed out before.
        """
        _check_factory(factory)
        line = self._line(factory)
        if root is not None and root not in line:
            raise RegistryError(f"{root!r} does not host {factory!r}: give one of {line}.")
        found = self.layout(line[-1] if root is None else root).allocator(name, factory)
        self._handed_out[factory, name, root] = found
        return found

    def layout(self, factory: Hashable) -> Layout:
        """Return the immutable table of a component and all that it calls."""
        _check_factory(factory)
        if not self._layouts:
            self._check_handed_out()
        if factory not in self._layouts:
            self._layouts[factory] = self._layout(factory)
        return self._layouts[factory]

    def shared_buffer_size(self, factory: Hashable) -> int:
        """Return the shared elements for one lane, children included.

        Where precisions mix, elements of the widest one in the arena; the same holds for the
        other two sizes.
        """
        return self.layout(factory).shared.elements

    def local_buffer_size(self, factory: Hashable) -> int:
        """Return the elements of private arrays for one lane, children included."""
        return self.layout(factory).local.elements

    def persistent_local_buffer_size(self, factory: Hashable) -> int:
        """Return the elements of the lane's persistent array, children included."""
        return self.layout(factory).persistent.elements

    def shared_buffer_bytes(self, factory: Hashable) -> int:
        """Return the shared bytes for one lane, children included."""
        return self.layout(factory).shared.bytes

    def local_buffer_bytes(self, factory: Hashable) -> int:
        """Return the bytes of private arrays for one lane, children included."""
        return self.layout(factory).local.bytes

    def persistent_local_buffer_bytes(self, factory: Hashable) -> int:
        """Return the bytes of the lane's persistent array, children included."""
        return self.layout(factory).persistent.bytes

    def explain(self, factory: Hashable) -> Explanation:
        """Return the layout as a table: name, owner, location, offset, size, alias, lifetime."""
        return explain(self.layout(factory))

    def clear_factory(self, factory: Hashable) -> None:
        """Forget what a component declared, so that it can declare anew.

        Its children keep their buffers and lose their host; its own host still hosts it.
        Allocators handed out for its kernel are no longer watched.
        """
        _check_factory(factory)
        outermost = self._line(factory)[-1]
        self._handed_out = {
            key: found
            for key, found in self._handed_out.items()
            if self._line(key[0])[-1] != outermost
        }
        self._layouts = {}
        for member in self._members.pop(factory, {}).values():
            if not isinstance(member, Buffer):
                del self._host[member[0]]

    def _line(self, factory: Hashable) -> list[Hashable]:
        """Return the component and its hosts, outermost last."""
        line = [factory]
        while line[-1] in self._host:
            line.append(self._host[line[-1]])
        return line

    def _tree(self, factory: Hashable) -> Component:
        members = tuple(
            member if isinstance(member, Buffer) else Hosted(name, self._tree(member[0]), member[1])
            for name, member in self._members.get(factory, {}).items()
        )
        return Component(factory, members)

    def _layout(self, factory: Hashable) -> Layout:
        """Decide the locations for the whole kernel, then lay out the part asked for."""
        if not isinstance(self._placement, str):
            known = {n for members in self._members.values() for n in members}
            for name in self._placement:
                if name not in known:
                    raise RegistryError(
                        f"placement names buffer {name!r}, which no component registered; "
                        f"there are {sorted(known)}.{nearest(name, known)}"
                    )
        placed = place(self._tree(self._line(factory)[-1]), self._placement, self._limits)
        return lay_out(_find(placed, factory))

    def _check_handed_out(self) -> None:
        """Raise if a declaration moved a buffer that a kernel was told of."""
        layouts: dict[Hashable, Layout] = {}
        for (factory, name, root), before in self._handed_out.items():
            base = self._line(factory)[-1] if root is None else root
            if base not in layouts:
                layouts[base] = self._layout(base)
            now = layouts[base].allocator(name, factory)
            if now != before:
                raise RegistryError(
                    f"Buffer {name!r} of {factory!r} was handed out as {before}, and a later "
                    f"declaration moved it to {now}: declare every buffer and child before the "
                    "first get_allocator, or use clear_factory."
                )

    def _check_free(self, name: str, factory: Hashable) -> None:
        if name in self._members.get(factory, {}):
            raise RegistryError(
                f"{factory!r} has registered {name!r} already: use another name, another factory, "
                "or clear_factory before declaring anew."
            )

    def _free_name(self, text: str, parent: Hashable) -> str:
        taken = self._members.get(parent, {})
        number, name = 1, text
        while name in taken:
            number += 1
            name = f"{text}#{number}"
        return name


def _find(component: Component, factory: Hashable) -> Component:
    """Return the part of a tree that belongs to a component."""
    found = [component]
    while found[-1].factory != factory:
        last = found.pop()
        found += [member.component for member in last.members if isinstance(member, Hosted)]
    return found[-1]


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise RegistryError(f"The name of a {what} is {name!r}: give a text that is not empty.")


def _check_factory(factory: object) -> None:
    if factory is None:
        raise RegistryError("The factory is None: give the component that owns the buffer.")
    try:
        hash(factory)
    except TypeError:
        raise RegistryError(
            f"The factory {factory!r} is not hashable: give a text or a frozen object."
        ) from None


def _names(given: str | Iterable[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _phases(name: str, given: str | Iterable[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    phases = frozenset(_names(given))
    if not phases or not all(isinstance(phase, str) and phase for phase in phases):
        raise RegistryError(
            f"The phases of {name!r} are {given!r}: name at least one phase, or give None for a "
            "buffer that lives throughout."
        )
    return phases


def _precision(name: str, given: object) -> str:
    try:
        found = np.dtype(given).name  # type: ignore[arg-type]
    except TypeError:
        found = str(given)
    if given is None or found not in _PRECISIONS:
        raise RegistryError(
            f"The precision of buffer {name!r} is {given!r}: give one of {', '.join(_PRECISIONS)}."
            f"{nearest(found, _PRECISIONS)}"
        )
    return found
