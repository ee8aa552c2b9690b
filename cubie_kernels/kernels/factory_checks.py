"""Checks of what factories of solvers are given."""

from __future__ import annotations

import keyword
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.errors import InputError, RegistryError, nearest
from cubie_kernels.kernels.lane_function import LaneFunction

__all__ = [
    "check_context",
    "check_count",
    "check_locations",
    "check_name",
    "check_owner",
    "check_positive",
    "check_registry",
    "one_of",
    "one_registry",
]

_LOCATIONS = ("local", "shared")


def one_of(what: str, given: object, legal: Sequence[str]) -> None:
    """Raise InputError unless ``given`` is one of the legal words."""
    if given not in legal:
        raise InputError(
            f"{what} is {given!r}: give one of {', '.join(legal)}.{nearest(str(given), legal)}"
        )


def check_count(what: str, given: object, least: int = 1) -> None:
    """Raise InputError unless ``given`` is a whole number of at least ``least``."""
    if not isinstance(given, int) or isinstance(given, bool) or given < least:
        raise InputError(f"{what} is {given!r}: give a whole number of {least} or more.")


def check_positive(what: str, given: Any, below: float = math.inf) -> None:
    """Raise InputError unless ``given`` is a number above 0 and below a bound."""
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not 0.0 < given < below:
        bound = "" if below == math.inf else f" and below {below:g}"
        raise InputError(f"{what} is {given!r}: give a finite number above 0{bound}.")


def check_owner(factory: Hashable) -> None:
    """Raise RegistryError unless ``factory`` can own buffers."""
    if factory is None:
        raise RegistryError("The factory is None: give the component that owns the buffers.")
    try:
        hash(factory)
    except TypeError:
        raise RegistryError(
            f"The factory {factory!r} is not hashable: give a text or a frozen object."
        ) from None


def check_registry(registry: object) -> None:
    """Raise InputError unless ``registry`` is one, or None."""
    if registry is not None and not isinstance(registry, BufferRegistry):
        raise InputError(f"registry is {registry!r}: give a BufferRegistry, or None.")


def check_locations(locations: Mapping[str, str]) -> None:
    """Raise RegistryError unless every buffer's location is one that there is."""
    for name, location in locations.items():
        if location not in _LOCATIONS:
            raise RegistryError(
                f"{name} is {location!r}: give 'local' or 'shared'."
                f"{nearest(str(location), _LOCATIONS)}"
            )


def check_name(
    name: object, parts: Iterable[LaneFunction], functions: Iterable[FunctionType]
) -> None:
    """Raise InputError unless a function can have this name, and call those of ``parts``."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise InputError(f"name is {name!r}: give a name that a Python function can have.")
    own = {name for function in functions for name in function.__code__.co_varnames}
    for part in parts:
        if part.name == name:
            raise InputError(f"Solver and {part.name}() have one name: give another with name=.")
        if part.name in own:
            raise InputError(f"{part.name} is a variable of the solver: rename that function.")


def check_context(parts: Sequence[LaneFunction], tail: int) -> tuple[str, ...]:
    """Return the arguments before the last ``tail``, which all functions must have in common."""
    for part in parts:
        if len(part.arguments) < tail:
            raise InputError(
                f"{part.name}({', '.join(part.arguments)}) takes too few arguments: "
                f"its last {tail} are the vectors that it reads and writes."
            )
    context = parts[0].arguments[:-tail]
    for part in parts[1:]:
        if part.arguments[:-tail] != context:
            raise InputError(
                f"{parts[0].name}({', '.join(parts[0].arguments)}) and "
                f"{part.name}({', '.join(part.arguments)}) must begin alike: all arguments but the "
                f"last {tail} are handed on to both."
            )
    return context


def one_registry(given: BufferRegistry | None, parts: Iterable[LaneFunction]) -> BufferRegistry:
    """Return the registry that everything is declared in, or a new one.

    Raises
    ------
    InputError
        If functions have declared buffers in different ones.
    """
    found = given
    for part in parts:
        if not part.buffers:
            continue
        if part.registry is None:
            raise InputError(f"{part.name}() has buffers but no registry that declares them.")
        if found is None:
            found = part.registry
        if part.registry is not found:
            raise InputError(
                f"The buffers of {part.name}() are declared in another registry: make all "
                "functions of a kernel with one, registry=."
            )
    return BufferRegistry() if found is None else found
