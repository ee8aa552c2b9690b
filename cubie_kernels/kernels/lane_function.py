"""Functions of the lane language as values: text, signature, and the scratch memory they take."""

from __future__ import annotations

import ast
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, NamedTuple

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.errors import InputError
from cubie_kernels.lane.specialise import Locals, specialise

__all__ = ["BufferUse", "LaneFunction", "as_lane_function", "distinct", "group", "join", "written"]


class BufferUse(NamedTuple):
    """A buffer by the component that declared it, and its name there."""

    owner: Hashable
    name: str


@dataclass(frozen=True)
class LaneFunction:
    """A function of the lane language that a kernel can call.

    Attributes
    ----------
    name : str
        What a caller calls.
    text : str
        Its source and that of all that it calls, but for primitives of the language and functions
        of the model. Paste it into a kernel's module.
    arguments : tuple of str
        What it takes before its buffers.
    owner : hashable or None
        The component whose buffers it uses; None if it uses none.
    buffers : tuple of BufferUse
        What it takes behind its arguments, in this order; those of what it calls included.
    registry : BufferRegistry or None
        Where the buffers are declared.
    """

    name: str
    text: str
    arguments: tuple[str, ...]
    owner: Hashable = None
    buffers: tuple[BufferUse, ...] = ()
    registry: BufferRegistry | None = field(default=None, compare=False, repr=False)

    def storage(self, shared: str = "shared", persistent: str = "persistent") -> tuple[str, ...]:
        """Return an expression for each buffer that makes it, in the kernel of the outermost host.

        Parameters
        ----------
        shared, persistent : str
            The names of the kernel's arenas.

        Returns
        -------
        tuple of str
            As `cubie_kernels.buffers.Allocator.expression`, in the order of ``buffers``.
        """
        if self.registry is None:
            return ()
        found = [self.registry.get_allocator(use.name, use.owner) for use in self.buffers]
        return tuple(allocator.expression(shared, persistent) for allocator in found)


def as_lane_function(given: object, what: str) -> LaneFunction:
    """Return a lane function as it is, or made of the text of one or more functions.

    The last function of a text is the one to call.

    Raises
    ------
    InputError
        If it is neither, the text is not Python, or has something else than functions of plain
        arguments.
    """
    if isinstance(given, LaneFunction):
        return given
    if not isinstance(given, str):
        raise InputError(
            f"{what} is {given!r}: give a LaneFunction, or the text of a function in the lane "
            "language."
        )
    try:
        body = ast.parse(given).body
    except SyntaxError as fault:
        raise InputError(f"The text of {what} is not Python: {fault}.") from None
    functions = [part for part in body if isinstance(part, ast.FunctionDef)]
    if not functions or len(functions) < len(body):
        raise InputError(
            f"The text of {what} must be functions and nothing else; the last is the one to call."
        )
    last = functions[-1]
    names = [argument.arg for argument in last.args.args]
    if ast.unparse(last.args) != ", ".join(names):
        raise InputError(
            f"{what} is {last.name}({ast.unparse(last.args)}): it must take plain arguments, "
            "without defaults or annotations."
        )
    return LaneFunction(last.name, join(given), tuple(names))


def group(names: Iterable[str]) -> Locals:
    """Return names as a group that source hands on as a whole."""
    return Locals({name: name for name in names})


def distinct(names: Iterable[str], functions: Sequence[FunctionType]) -> tuple[str, ...]:
    """Return names with ``_`` behind those that occur in functions, or twice."""
    taken: set[str] = set()
    for function in functions:
        taken |= {*function.__code__.co_varnames, *function.__code__.co_names}
    found: list[str] = []
    for name in names:
        while name in taken:
            name += "_"
        taken.add(name)
        found.append(name)
    return tuple(found)


def written(
    functions: Sequence[FunctionType], names: Mapping[str, Any], renamed: Mapping[str, str]
) -> str:
    """Return the text of specialised functions, some of them under other names.

    Unless ``names`` say otherwise, it records nothing.
    """
    names = {"RECORDS": False, **names}
    text = "\n\n\n".join(specialise(function, names) for function in functions)
    return re.sub(r"\b\w+\b", lambda found: renamed.get(found[0], found[0]), text)


def join(*texts: str) -> str:
    """Return functions one behind the other, each only once, without comments."""
    parts = [ast.unparse(part) for text in texts for part in ast.parse(text).body]
    return "\n\n\n".join(dict.fromkeys(parts)) + "\n"
