"""A part of a kernel: a family's step, or a solver that it calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

__all__ = ["Part"]


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
    texts : tuple of str
        Functions of the model that it calls.
    """

    names: Mapping[str, Any]
    functions: tuple[FunctionType, ...]
    scratch: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    texts: tuple[str, ...] = ()
