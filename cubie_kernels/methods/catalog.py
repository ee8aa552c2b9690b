"""The list of methods and the look-up by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from cubie_kernels.errors import InputError, nearest
from cubie_kernels.methods import dirk, erk, firk, rosenbrock
from cubie_kernels.methods.rosenbrock import RosenbrockTableau
from cubie_kernels.methods.tableau import Tableau

__all__ = ["Method", "MethodInfo", "MethodTable", "get_method", "methods"]

Method = Tableau | RosenbrockTableau

_TABLEAUS: tuple[Method, ...] = (
    *erk.METHODS,
    *dirk.METHODS,
    *firk.METHODS,
    *rosenbrock.METHODS,
)


@dataclass(frozen=True)
class MethodInfo:
    """What one would like to know of a method before choosing it.

    ``dense`` is ``"own"`` where the method brings its own continuous extension and ``"hermite"``
    where the cubic Hermite polynomial of the step is used.
    """

    name: str
    family: str
    order: int
    embedded_order: int | None
    dense_order: int
    dense: str
    stages: int
    fsal: bool
    aliases: tuple[str, ...]
    reference: str


class MethodTable(list[MethodInfo]):
    """A list of :class:`MethodInfo` that prints as a table."""

    _HEADER = (
        "name",
        "family",
        "order",
        "embedded",
        "dense",
        "stages",
        "FSAL",
        "also called",
        "reference",
    )

    def __repr__(self) -> str:
        rows = [self._HEADER, *(_cells(info) for info in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def to_markdown(self) -> str:
        """Return the table as Markdown text."""
        rows = [self._HEADER, ("---",) * len(self._HEADER), *(_cells(info) for info in self)]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    _repr_markdown_ = to_markdown


def methods() -> MethodTable:
    """Return what is known of each method: a list of :class:`MethodInfo` that prints as a table."""
    return MethodTable(_describe(tableau) for tableau in _TABLEAUS)


def get_method(name: str) -> Method:
    """Return the tableau of a method.

    Parameters
    ----------
    name : str
        A name or alias that :func:`methods` lists. Case, hyphens, underscores, spaces and
        brackets don't matter: ``"Verner 7(6)"`` is ``"verner-76"``.

    Raises
    ------
    InputError
        There is no such method; the message names the nearest one.
    """
    known = _by_key()
    found = known.get(_key(name)) if isinstance(name, str) else None
    if found is None:
        legal = [tableau.name for tableau in _TABLEAUS]
        spelled = [alias for tableau in _TABLEAUS for alias in (tableau.name, *tableau.aliases)]
        hint = nearest(str(name).lower().replace("_", "-"), spelled)
        raise InputError(
            f"There is no method {name!r}.{hint} "
            f"Legal are {', '.join(legal)}; methods() lists them with their other names."
        )
    return found


@cache
def _by_key() -> dict[str, Method]:
    return {
        _key(name): tableau for tableau in _TABLEAUS for name in (tableau.name, *tableau.aliases)
    }


def _key(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _describe(tableau: Method) -> MethodInfo:
    dense = tableau.dense
    return MethodInfo(
        name=tableau.name,
        family=tableau.family,
        order=tableau.order,
        embedded_order=tableau.embedded_order,
        dense_order=min(3, tableau.order) if dense is None else dense.order,
        dense="hermite" if dense is None else "own",
        stages=tableau.stages,
        fsal=tableau.fsal,
        aliases=tableau.aliases,
        reference=tableau.reference,
    )


def _cells(info: MethodInfo) -> tuple[str, ...]:
    return (
        info.name,
        info.family,
        str(info.order),
        "-" if info.embedded_order is None else str(info.embedded_order),
        f"{info.dense_order} {info.dense}",
        str(info.stages),
        "yes" if info.fsal else "no",
        ", ".join(info.aliases),
        info.reference,
    )
