"""Names and values that a model declares: what is legal, and what is said when it isn't."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from cubie_kernels.errors import EquationError
from cubie_kernels.model.functions import FUNCTIONS, SPECIAL

__all__ = ["declared", "disjoint", "finite", "listed", "objection"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*\Z")
_OWN = {
    "t": "it is the time",
    "dt": "it stands in dx/dt",
    "pi": "it is 3.14159...",
    "any_lane": "it is a function of the lane language",
}


def objection(name: str) -> str | None:
    """Return why a name can't be given to a quantity, or None if it can."""
    if keyword.iskeyword(name):
        reason = "it is a word of Python"
    elif name in FUNCTIONS or name in SPECIAL:
        reason = "it is a function"
    elif name.startswith("_"):
        reason = "names that start with '_' are kept for generated code"
    else:
        reason = _OWN.get(name)
    if reason is None:
        return None
    other = name.lstrip("_") + ("" if name.startswith("_") and name.strip("_") else "_")
    other = "q" if other.strip("_") == "" else other
    return f"The name {name!r} is reserved: {reason}. Another name, such as {other!r}, is needed."


def declared(what: str, given: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """Return names and values of states, parameters or constants, checked.

    Parameters
    ----------
    what : str
        What they are, in the singular.
    given : mapping of str to float

    Raises
    ------
    EquationError
        If it is no mapping, or a name is no identifier or reserved, or a value is no finite number.
    """
    if not isinstance(given, Mapping):
        raise EquationError(
            f"The {what}s are given as a mapping from names to values, such as "
            f"{{'a': 1.0}}, not as {type(given).__name__}."
        )
    found = []
    for name, value in given.items():
        _check_name(what, name)
        found.append((name, finite(f"The {what} {name!r}", value)))
    return tuple(found)


def finite(what: str, value: Any) -> float:
    """Return a value as a float, checked to be a finite real number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise EquationError(f"{what} needs a number, not {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise EquationError(f"{what} needs a finite number, not {number}.")
    return number


def listed(what: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return a sequence of names, checked to be names and different."""
    if isinstance(given, (str, Mapping)):
        raise EquationError(f"The {what}s are given as a list of names, not as {given!r}.")
    found: dict[str, None] = {}
    for name in given:
        _check_name(what, name)
        if name in found:
            raise EquationError(f"The {what} {name!r} is listed twice.")
        found[name] = None
    return tuple(found)


def disjoint(groups: Mapping[str, Sequence[str]]) -> None:
    """Raise an ``EquationError`` if a name is of two kinds, such as a state and a parameter."""
    seen: dict[str, str] = {}
    for what, names in groups.items():
        for name in names:
            if name in seen:
                raise EquationError(
                    f"{name!r} is both a {seen[name]} and a {what}: a name stands for one thing."
                )
            seen[name] = what


def _check_name(what: str, name: Any) -> None:
    if not isinstance(name, str):
        raise EquationError(f"The name of a {what} must be a text, not {name!r}.")
    if not _NAME.match(name) or len(name) > 100:
        raise EquationError(
            f"{name[:100]!r} is no name for a {what}: names start with a letter and go on with "
            "letters (a-z, A-Z), digits and '_', up to 100."
        )
    reason = objection(name)
    if reason:
        raise EquationError(f"{reason} It is given as a {what}.")
