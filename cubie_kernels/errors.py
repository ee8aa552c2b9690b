"""Every error raised by ``cubie_kernels``.

::

    CubieError
    ├── InputError (ValueError)      an argument is not usable: what was given, what is legal
    │   ├── PrecisionError           the target has no such precision
    │   └── TargetError              the target is not available on this machine
    ├── EquationError (ValueError)   the text of a model; shows the line and a caret
    ├── TableauError (ValueError)    coefficients that break a method's own conditions
    ├── RegistryError (ValueError)   a buffer that cannot be declared or placed as asked
    └── BuildError (RuntimeError)    a kernel could not be compiled

All messages say what was given, what is legal and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BuildError",
    "CubieError",
    "EquationError",
    "InputError",
    "PrecisionError",
    "RegistryError",
    "TableauError",
    "TargetError",
    "nearest",
]


class CubieError(Exception):
    """Base of every error of this project."""


class InputError(CubieError, ValueError):
    """An argument that cannot be used."""


class PrecisionError(InputError):
    """A precision that the chosen target cannot compute in."""


class TargetError(InputError):
    """A target that this machine cannot run."""


class TableauError(CubieError, ValueError):
    """A tableau that breaks its own conditions."""


class RegistryError(CubieError, ValueError):
    """A buffer that cannot be declared or placed as asked."""


class BuildError(CubieError, RuntimeError):
    """A kernel that could not be compiled."""


class EquationError(CubieError, ValueError):
    """A fault in the text of a model.

    Parameters
    ----------
    message : str
        What is wrong and what to do.
    text : str, optional
        The line of the model that is at fault.
    line : int, optional
        Its number, from 1.
    column : int, optional
        Position of the fault in the line, from 0.
    width : int, optional
        Number of characters at fault.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str | None = None,
        line: int | None = None,
        column: int | None = None,
        width: int = 1,
    ) -> None:
        self.message, self.text, self.line, self.column = message, text, line, column
        where = ""
        if text is not None and line is not None:
            where = f"\n  line {line}: {text}"
            if column is not None:
                where += "\n" + " " * (len(f"  line {line}: ") + column) + "^" * max(1, width)
        super().__init__(message + where)


def nearest(name: str, legal: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest legal name, or an empty string."""
    found = difflib.get_close_matches(name, list(legal), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""
