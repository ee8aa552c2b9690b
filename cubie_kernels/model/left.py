"""Left sides of equations: what a line defines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cubie_kernels.errors import nearest
from cubie_kernels.model.names import objection
from cubie_kernels.model.scan import Statement, Text, Token

__all__ = ["Definition", "LeftSides"]

_FORMS = (
    "The left side is a name, or a derivative: dx, dx/dt or d(x)/dt; an algebraic equation is "
    "written 0 = ..."
)


@dataclass(frozen=True)
class Definition:
    """What a statement defines.

    Attributes
    ----------
    kind : str
        ``derivative``, ``auxiliary``, or ``algebraic`` for an equation ``0 = ...``.
    name : str
        Of the state, or of the auxiliary; of an algebraic equation its line.
    token : Token
        Where this is said.
    statement : Statement
        The whole.
    """

    kind: str
    name: str
    token: Token
    statement: Statement

    @property
    def label(self) -> str:
        """What messages call it."""
        if self.kind == "algebraic":
            return "0 = ..."
        return self.name if self.kind == "auxiliary" else f"d{self.name}/dt"


class LeftSides:
    """Tells what statements define.

    Parameters
    ----------
    text : Text
        The model, to point into.
    kinds : mapping of str to str
        ``state``, ``parameter`` or ``constant`` for each declared name.
    """

    def __init__(self, text: Text, kinds: Mapping[str, str]) -> None:
        self._text, self._kinds = text, kinds

    def definition(self, statement: Statement) -> Definition:
        """Return what a statement defines.

        Raises
        ------
        EquationError
            With the line and a caret, for any other left side, and for names that can't be
            defined.
        """
        left = list(statement.left)
        first = left[0]
        words = [token.text for token in left]
        if len(left) == 1 and first.kind == "name":
            return Definition(*self._plain(first), first, statement)
        if len(left) == 1 and first.kind == "number" and float(first.text) == 0.0:
            return Definition("algebraic", str(first.line), first, statement)
        if words[1:] == ["/", "dt"] and words[0].startswith("d") and len(words[0]) > 1:
            return self._derivative(words[0][1:], first, statement)
        if words[:2] == ["d", "("] and words[3:] == [")", "/", "dt"] and left[2].kind == "name":
            return self._derivative(words[2], left[2], statement)
        width = left[-1].column + len(words[-1]) - first.column
        self._text.fail(_FORMS, first.line, first.column, max(1, width))

    def _derivative(self, name: str, token: Token, statement: Statement) -> Definition:
        kind = self._kinds.get(name)
        if kind != "state":
            what = f"is a {kind}, not a state" if kind else "is not a state"
            states = [state for state, other in self._kinds.items() if other == "state"]
            self._text.fail_at(
                f"Derivative of {name!r}, which {what}: only states have derivatives."
                f"{nearest(name, states)} States are declared with "
                f"states={{{name!r}: start value, ...}}.",
                token,
            )
        return Definition("derivative", name, token, statement)

    def _plain(self, token: Token) -> tuple[str, str]:
        name = token.text
        kind = self._kinds.get(name)
        derivative = name[:1] == "d" and self._kinds.get(name[1:]) == "state"
        if derivative and kind:
            self._text.fail_at(
                f"{name!r} is declared as a {kind}, but here it could also be the derivative of "
                f"{name[1:]!r}: write {name}/dt.",
                token,
            )
        if derivative:
            return "derivative", name[1:]
        if kind == "state":
            self._text.fail_at(
                f"{name!r} is a state: it is defined by its derivative, d{name}/dt = ..., or by "
                "an algebraic equation, 0 = ...",
                token,
            )
        if kind:
            self._text.fail_at(
                f"{name!r} is defined twice: it is also declared as a {kind}.", token
            )
        reason = objection(name)
        if reason:
            self._text.fail_at(reason, token)
        return "auxiliary", name
