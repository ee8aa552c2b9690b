"""A part of a kernel: a family's step, or a solver that it calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, NamedTuple

__all__ = ["ALWAYS", "NEVER", "Part", "Text"]

ALWAYS, NEVER = 0, 1 << 30


class Text(NamedTuple):
    """Functions as text; those of few operations are copied to where they are called."""

    functions: str
    operations: int


@dataclass(frozen=True)
class Part:
    """What a component brings to a kernel.

    Attributes
    ----------
    names : mapping
        What the kernel's source is specialised on.
    functions : tuple of function
        Its source in the lane language.
    scratch : mapping of str to str
        The scratch memory that its functions are handed: the buffer of each local variable.
    group : str, optional
        Under which name source hands on that memory alone; all scratch memory together is
        ``WORK``.
    texts : tuple of Text
        Functions made for the model.
    tables : mapping of str to tuple of int or float
        Numbers that its functions read by these names.
    """

    names: Mapping[str, Any] = field(default_factory=dict)
    functions: tuple[FunctionType, ...] = ()
    scratch: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    texts: tuple[Text, ...] = ()
    tables: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
