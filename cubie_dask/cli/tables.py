"""Tables of a TOML file: their keys and the types of their values, checked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cubie_kernels.errors import InputError, nearest

__all__ = ["Table", "read_toml"]

_KINDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True)
class Table:
    """A table and where it stands.

    Parameters
    ----------
    name : str
        Its name with dots, as in ``grid.values``; empty for the file itself.
    content : dict
        What is in it.
    """

    name: str
    content: dict[str, Any]

    def check_keys(self, legal: Iterable[str], needed: Iterable[str] = ()) -> None:
        """Raise if a key is unknown or missing.

        Raises
        ------
        InputError
            Naming the key, the nearest legal one, and all legal ones.
        """
        legal = tuple(legal)
        what, where = ("key", f"[{self.name}]") if self.name else ("table", "The file")
        for key in self.content:
            if key not in legal:
                raise InputError(
                    f"{where} has an unknown {what} {key!r}.{nearest(key, legal)} "
                    f"Legal: {', '.join(legal)}."
                )
        for key in needed:
            if key not in self.content:
                raise InputError(f"{where} lacks the {what} {key!r}.")

    def get(self, key: str, *kinds: type, default: Any = None) -> Any:
        """Return a value of one of some kinds; a whole number is a float too.

        Raises
        ------
        InputError
            For a value of another kind, naming table, key, value, and what is legal.
        """
        if key not in self.content:
            return default
        value = self.content[key]
        if isinstance(value, bool):
            fits = bool in kinds
        else:
            fits = isinstance(value, kinds) or (isinstance(value, int) and float in kinds)
        if not fits:
            legal = " or ".join(_KINDS[kind] for kind in kinds)
            raise InputError(f"[{self.name}] {key} must be {legal}, not {_shown(value)}.")
        return value

    def table(self, key: str) -> Table:
        """Return a table within this one, empty if it isn't there."""
        name = f"{self.name}.{key}" if self.name else key
        value = self.content.get(key, {})
        if not isinstance(value, dict):
            raise InputError(f"[{name}] must be a table, not {_shown(value)}.")
        return Table(name, value)


def read_toml(path: Path) -> Table:
    """Return the content of a TOML file.

    Raises
    ------
    InputError
        If there is no such file, or it is not TOML: then with the line and a caret.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as fault:
        raise InputError(f"It is not UTF-8 text (byte {fault.start}), and no TOML.") from fault
    except FileNotFoundError as fault:
        beside = [other.name for other in path.parent.glob("*.toml")]
        raise InputError(f"There is no such file.{nearest(path.name, beside)}") from fault
    except OSError as fault:
        raise InputError(f"It can't be read: {fault.strerror or fault}.") from fault
    try:
        return Table("", tomllib.loads(text))
    except tomllib.TOMLDecodeError as fault:
        raise InputError(f"It is not TOML: {_placed(str(fault), text)}") from fault
    except RecursionError as fault:
        raise InputError("Its values are nested too deep.") from fault


def _placed(message: str, text: str) -> str:
    found = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if found is None:
        return message
    lines = text.splitlines() or [""]
    number = int(found[2] or len(lines))
    line = lines[min(number, len(lines)) - 1]
    column = int(found[3]) - 1 if found[3] else len(line)
    head = f"  line {number}: "
    return f"{found[1]}.\n{head}{line}\n{' ' * (len(head) + column)}^"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"
