"""The equations of a model, from text to one graph: who defines what, in which order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from cubie_kernels.errors import EquationError, nearest
from cubie_kernels.model.convert import Converter
from cubie_kernels.model.exponentials import share_exponentials
from cubie_kernels.model.functions import FUNCTIONS, HINTS, SPECIAL
from cubie_kernels.model.graph import Builder, Node, reachable
from cubie_kernels.model.left import Definition, LeftSides
from cubie_kernels.model.scan import Text, Token, split

__all__ = ["Declared", "Equations", "canonical", "places", "read"]

_WORDS = frozenset({"and", "or", "not", "if", "else", "True", "False"})
_ELSEWHERE = {
    "e": "The number e is exp(1).",
    "E": "The number e is exp(1).",
    "Pi": "It is written pi.",
    "PI": "It is written pi.",
    "time": "The time is written t.",
    "inf": "There is no infinity in equations.",
    "nan": "There is no NaN in equations.",
}
_DECLARE = "Declare it in parameters={...} or constants={...}, or define it on a line."


@dataclass(frozen=True)
class Declared:
    """Names that a model's equations may use, and those that it gives out.

    Attributes
    ----------
    states, parameters, observables : tuple of str
        Names.
    constants : tuple of (str, float)
        Names and values.
    implicit : tuple of str
        States whose derivative is not what their equation has on its right side, as the mass
        matrix has other entries in their row than a 1 on the diagonal.
    """

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    constants: tuple[tuple[str, float], ...]
    observables: tuple[str, ...]
    implicit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Equations:
    """A model's graph.

    Attributes
    ----------
    nodes : tuple of Node
        The graph; arguments come before what uses them.
    derivatives : tuple of int
        Node of the right side of each state's equation.
    observables : tuple of int
        Node of each observable.
    names : tuple of (str, int)
        Auxiliaries in the order of the text, then derivatives as ``dx``, and their nodes.
    algebraic : tuple of int
        States whose equation is written ``0 = ...``.
    """

    nodes: tuple[Node, ...]
    derivatives: tuple[int, ...]
    observables: tuple[int, ...]
    names: tuple[tuple[str, int], ...]
    algebraic: tuple[int, ...] = ()


def canonical(source: str) -> str:
    """Return the text's tokens: the same for texts that differ in blanks and comments only."""
    statements = split(_text(source))
    return "\n".join(
        " ".join(token.text for token in (*s.left, s.equals, *s.right)) for s in statements
    )


def read(source: str, declared: Declared) -> Equations:
    """Read a model.

    Parameters
    ----------
    source : str
        Equations, one a line.
    declared : Declared
        Checked names.

    Raises
    ------
    EquationError
        For every fault in the text, with the line and a caret.
    """
    return _Reader(_text(source), declared).read()


def places(source: str, declared: Declared) -> tuple[Text, tuple[Token, ...]]:
    """Return a legal model's text, and where it says which equation each state has."""
    text = _text(source)
    return text, _Reader(text, declared).places()


def _text(source: str) -> Text:
    if not isinstance(source, str):
        raise EquationError(f"The equations must be a text, not {type(source).__name__}.")
    return Text(tuple(source.replace("\r\n", "\n").replace("\r", "\n").split("\n")))


class _Reader:
    """The passes over one text; each may count on what the passes before it have checked."""

    def __init__(self, text: Text, declared: Declared) -> None:
        self._text, self._declared = text, declared
        self._kinds = {name: "constant" for name, _ in declared.constants}
        self._kinds |= dict.fromkeys(declared.parameters, "parameter")
        self._kinds |= dict.fromkeys(declared.states, "state")
        self._definitions: dict[tuple[str, str], Definition] = {}
        self._rows: dict[str, tuple[str, str]] = {}  # which definition each state has

    def places(self) -> tuple[Token, ...]:
        """Return the token of each state's equation."""
        self._define()
        self._match()
        return tuple(self._definitions[self._rows[name]].token for name in self._declared.states)

    def read(self) -> Equations:
        self._define()
        self._match()
        used = {
            name
            for definition in self._definitions.values()
            for name in self._check_uses(definition)
        }
        self._check_observables()
        self._check_unused(used)
        return self._graph(self._order())

    # -- left sides

    def _define(self) -> None:
        sides = LeftSides(self._text, self._kinds)
        for statement in split(self._text):
            definition = sides.definition(statement)
            key = definition.kind, definition.name
            before = self._definitions.setdefault(key, definition)
            if before is not definition:
                self._text.fail_at(
                    f"{definition.label!r} is defined twice: first in line {before.token.line}.",
                    definition.token,
                )

    def _match(self) -> None:
        """Give each state its equation: derivatives by name, algebraic ones by their order."""
        algebraic = [key for key in self._definitions if key[0] == "algebraic"]
        without = [n for n in self._declared.states if ("derivative", n) not in self._definitions]
        if len(without) > len(algebraic):
            self._missing(without, len(algebraic))
        if len(without) < len(algebraic):
            lines = f"{len(algebraic)} equation{'s' if len(algebraic) > 1 else ''} 0 = ..."
            states = ", ".join(map(repr, without))
            self._text.fail_at(
                f"An algebraic equation too many: {lines} for "
                f"{f'the states without derivative ({states})' if states else 'no state'}. "
                "Each stands for a state that has no line dx/dt = ...",
                self._definitions[algebraic[len(without)]].token,
            )
        self._rows = {name: ("derivative", name) for name in self._declared.states}
        self._rows |= dict(zip(without, algebraic, strict=True))

    # -- checks across equations

    def _missing(self, without: list[str], algebraic: int) -> NoReturn:
        others = [name for kind, name in self._definitions if kind == "auxiliary"]
        state = without[algebraic]
        remedy = f" If {state!r} is algebraic, its equation is written 0 = ..."
        if algebraic:
            names = ", ".join(map(repr, without))
            remedy = f" Without derivative are {names}: as many equations 0 = ... are needed."
        raise EquationError(
            f"No equation for the state {state!r}: d{state}/dt = ... is missing."
            f"{nearest(f'd{state}', others)}{remedy}"
        )

    def _check_uses(self, definition: Definition) -> Iterable[str]:
        """Check every name on a right side; return them."""
        right = definition.statement.right
        found = []
        for i, token in enumerate(right):
            if token.kind != "name" or token.text in _WORDS:
                continue
            called = i + 1 < len(right) and right[i + 1].text == "("
            function = token.text in FUNCTIONS or token.text in SPECIAL
            if called and not function:
                self._unknown_function(token)
            if function and not called:
                self._text.fail_at(
                    f"{token.text!r} is a function: {token.text}(...) calls it.", token
                )
            if not called:
                if not self._known(token.text):
                    self._undefined(token)
                found.append(token.text)
        return found

    def _known(self, name: str) -> bool:
        return name in ("t", "pi") or name in self._kinds or self._resolved(name) is not None

    def _resolved(self, name: str) -> Definition | None:
        """Return the equation that a name stands for, if it stands for one."""
        if name in self._kinds:
            return None
        found = self._definitions.get(("auxiliary", name))
        if found is None and name[:1] == "d" and name[1:] not in self._declared.implicit:
            found = self._definitions.get(("derivative", name[1:]))
        return found

    def _names(self) -> list[str]:
        auxiliaries = [name for kind, name in self._definitions if kind == "auxiliary"]
        return [*self._kinds, *auxiliaries, "t", "pi"]

    def _undefined(self, token: Token) -> None:
        name = token.text
        hint = _ELSEWHERE.get(name) or nearest(name, self._names()).strip()
        if ("auxiliary", f"d{name}") in self._definitions:
            hint = f"There is an equation for 'd{name}': declare {name!r} in states={{...}}."
        hint = self._no_derivative(name) or hint or _DECLARE
        self._text.fail_at(f"Undefined name {name!r}. {hint}", token)

    def _no_derivative(self, name: str) -> str:
        """Say why ``dx`` has no meaning though ``x`` is a state; nothing for other names."""
        state = name[1:]
        if name[:1] != "d" or self._kinds.get(state) != "state":
            return ""
        if state not in self._declared.implicit:
            return f"The state {state!r} has an algebraic equation: none gives its derivative."
        return (
            f"The row of {state!r} in the mass matrix has other entries than a 1 on the diagonal: "
            f"the right side of its equation isn't its derivative. Give it a name on another line."
        )

    def _unknown_function(self, token: Token) -> None:
        name = token.text
        if self._known(name):
            self._text.fail_at(
                f"{name!r} is not a function. A product is written {name}*(...).", token
            )
        hint = f" Write {HINTS[name]}." if name in HINTS else nearest(name, [*FUNCTIONS, *SPECIAL])
        self._text.fail_at(f"Unknown function {name!r}.{hint}", token)

    def _check_observables(self) -> None:
        for name in self._declared.observables:
            if name in self._kinds:
                raise EquationError(
                    f"The observable {name!r} is a {self._kinds[name]}: observables are names "
                    "that the equations define."
                )
            if self._resolved(name) is None:
                legal = [n for kind, n in self._definitions if kind == "auxiliary"]
                known = f"They define: {', '.join(legal) or 'no auxiliaries'}."
                raise EquationError(
                    f"The observable {name!r} is not defined by the equations."
                    f"{nearest(name, legal)} {self._no_derivative(name) or known}"
                )

    def _check_unused(self, used: set[str]) -> None:
        """Refuse a ``dz = ...`` that nothing uses: a derivative whose state is not declared."""
        for (kind, name), definition in self._definitions.items():
            if kind != "auxiliary" or name[0] != "d" or len(name) == 1:
                continue
            if name not in used and name not in self._declared.observables:
                self._text.fail_at(
                    f"Nothing uses {name!r}. If it is the derivative of {name[1:]!r}, declare "
                    f"{name[1:]!r} in states={{...}}; otherwise list it in observables=[...] or "
                    f"remove it.{nearest(name[1:], self._declared.states)}",
                    definition.token,
                )

    def _order(self) -> list[Definition]:
        """Return the definitions, each after those it needs; refuse a cycle."""
        needs = {
            key: [
                (token, (found.kind, found.name))
                for token in definition.statement.right
                if token.kind == "name" and (found := self._resolved(token.text)) is not None
            ]
            for key, definition in self._definitions.items()
        }
        order: list[Definition] = []
        done: set[tuple[str, str]] = set()
        for start in self._definitions:
            path = {} if start in done else {start: iter(needs[start])}
            while path:
                here = next(reversed(path))
                token, other = next(path[here], (None, here))
                if token is None:
                    del path[here]
                    done.add(here)
                    order.append(self._definitions[here])
                elif other in path:
                    keys = list(path)
                    self._cycle([self._definitions[k] for k in keys[keys.index(other) :]], token)
                elif other not in done:
                    path[other] = iter(needs[other])
        return order

    def _cycle(self, path: list[Definition], token: Token) -> None:
        labels = [definition.label for definition in (*path, path[0])]
        shown = labels if len(labels) <= 12 else [*labels[:6], "...", *labels[-5:]]
        if len(path) == 1:
            self._text.fail_at(f"{labels[0]!r} is defined by itself.", token)
        self._text.fail_at(f"A cycle: each of these needs the next: {' -> '.join(shown)}.", token)

    # -- right sides

    def _graph(self, order: list[Definition]) -> Equations:
        builder = Builder()
        found = {name: builder.number(value) for name, value in self._declared.constants}
        found |= {
            name: builder.leaf("parameter", i) for i, name in enumerate(self._declared.parameters)
        }
        found |= {name: builder.leaf("state", i) for i, name in enumerate(self._declared.states)}
        found |= {"t": builder.leaf("time"), "pi": builder.number(math.pi)}
        converter = Converter(self._text, builder, found.__getitem__)
        nodes: dict[tuple[str, str], int] = {}
        for definition in order:
            at = converter.convert(definition.statement)
            name = definition.name
            if definition.kind == "derivative":
                name = f"d{name}"
            nodes[definition.kind, definition.name] = at
            found.setdefault(name, at)
            wanted = definition.kind != "auxiliary" or name in self._declared.observables
            if wanted and builder.is_mask(at):
                self._text.fail_at(
                    f"{definition.label!r} is a condition, not a number. To choose numbers by a "
                    "condition, write Piecewise((1, condition), (0, True)).",
                    definition.statement.right[0],
                )
        equations = Equations(
            tuple(builder.nodes),
            tuple(nodes[self._rows[name]] for name in self._declared.states),
            tuple(found[name] for name in self._declared.observables),
            tuple(
                (name, nodes[kind, name]) for kind, name in self._definitions if kind == "auxiliary"
            )
            + tuple(
                (f"d{name}", nodes[self._rows[name]])
                for name in self._declared.states
                if f"d{name}" not in self._kinds and self._rows[name][0] == "derivative"
            ),
            tuple(
                i
                for i, name in enumerate(self._declared.states)
                if self._rows[name][0] == "algebraic"
            ),
        )
        for at in reachable(equations.nodes, (*equations.derivatives, *equations.observables)):
            converter.check_finite(at)
        return share_exponentials(equations)
