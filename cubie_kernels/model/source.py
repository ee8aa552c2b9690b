"""A model's graph to source text in the lane language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cubie_kernels.model.equations import Declared, Equations
from cubie_kernels.model.functions import COMPARISONS
from cubie_kernels.model.graph import LEAVES, Node, reachable

__all__ = ["Function", "lane_function", "local_names"]

# Names that the functions' own text uses, whatever their arguments.
_TAKEN = frozenset({"t", "y", "p", "dy", "o", "rhs", "observe", "real"})
_ARRAYS = {"state": "y", "parameter": "p", "direction": "v"}
_MOST_DEEP = 12  # operations inside each other in one line
_MOST_WIDE = 30  # operations in one line

_CONDITION, _SUM, _PRODUCT, _SIGN, _ATOM = range(5)
_LEVEL = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}


class Function(NamedTuple):
    """A function to write: ``def name(t, y, p, ..., target)`` with ``target[i] = outputs[i]``."""

    name: str
    target: str
    outputs: tuple[int, ...]
    arguments: tuple[str, ...] = ("t", "y", "p")


class _Piece(NamedTuple):
    """Text of a subexpression, how tightly it binds, and its size in operations."""

    text: str
    level: int
    depth: int = 0
    width: int = 0

    def within(self, level: int) -> str:
        """Return the text as an operand of an operator that binds as tightly as ``level``."""
        return self.text if self.level >= level else f"({self.text})"


def local_names(
    declared: Declared, names: Iterable[str], reserved: Iterable[str] = ()
) -> dict[str, str]:
    """Return the local variable of each quantity: its own name, or that with ``_`` behind it."""
    wanted = list(dict.fromkeys([*declared.states, *declared.parameters, *names]))
    own = _TAKEN.union(reserved)
    taken = own | set(wanted)
    found = {}
    for name in wanted:
        local = name
        while local in own or (local != name and local in taken):
            local += "_"
        taken |= {local}
        found[name] = local
    return found


def lane_function(equations: Equations, declared: Declared, function: Function) -> str:
    """Return the source of one function: straight-line code, an assignment a line.

    Loads stand before their first use; subexpressions used more than once, and auxiliaries, are
    assigned once; what the outputs don't need is left out.
    """
    lines = [f"def {function.name}({', '.join((*function.arguments, function.target))}):"]
    lines += _Writer(equations, declared, function).body()
    return "\n".join(lines) + "\n"


class _Writer:
    def __init__(self, equations: Equations, declared: Declared, function: Function) -> None:
        self._nodes: Sequence[Node] = equations.nodes
        self._function = function
        self._locals = local_names(
            declared,
            (name for name, _ in equations.names),
            (function.name, function.target, *function.arguments),
        )
        self._declared = declared
        self._named: dict[int, str] = {}
        derivatives = {f"d{name}" for name in declared.states}
        self._auxiliary: set[int] = set()
        for name, at in equations.names:
            if self._nodes[at].op not in LEAVES and at not in self._named:
                self._named[at] = self._locals[name]
                if name not in derivatives:
                    self._auxiliary.add(at)
        self._pieces: dict[int, _Piece] = {}
        self._lines: list[str] = []
        self._temporaries = 0

    def body(self) -> list[str]:
        function = self._function
        uses = Counter(function.outputs)
        live = reachable(self._nodes, function.outputs)
        for at in live:
            uses.update(self._nodes[at].args)
        # A derivative is stored as soon as it is known: registers are few.
        waiting: dict[int, list[int]] = {}
        for i, at in enumerate(function.outputs):
            waiting.setdefault(at, []).append(i)
        for at in live:
            piece = self._piece(at)
            node = self._nodes[at]
            again = uses[at] > 1 and not self._cheap(node)
            if node.op not in LEAVES and (again or at in self._auxiliary or _is_big(piece)):
                piece = self._assign(at, piece)
            self._pieces[at] = piece
            for i in waiting.get(at, ()):
                stored = self._real(at, piece)
                self._lines.append(f"    {function.target}[{i}] = {stored}")
        return self._lines or ["    pass"]

    def _real(self, at: int, piece: _Piece) -> str:
        """Return the text of a number as a real: a literal alone is none yet."""
        return f"real({piece.text})" if self._nodes[at].op == "number" else piece.text

    def _cheap(self, node: Node) -> bool:
        return node.op == "neg" and self._nodes[node.args[0]].op in LEAVES

    def _assign(self, at: int, piece: _Piece) -> _Piece:
        name = self._named.get(at)
        if name is None:
            name = f"_c{self._temporaries}"
            self._temporaries += 1
        self._lines.append(f"    {name} = {piece.text}")
        return _Piece(name, _ATOM)

    def _leaf(self, op: str, index: int) -> str:
        if op == "direction":
            return f"_v{index}"
        own = self._declared.states if op == "state" else self._declared.parameters
        return self._locals[own[index]]

    def _piece(self, at: int) -> _Piece:
        op, args, value = self._nodes[at]
        if op == "number":
            return _Piece(repr(float(value)), _SIGN if value < 0 else _ATOM)
        if op == "time":
            return _Piece("t", _ATOM)
        if op in _ARRAYS:
            name = self._leaf(op, int(value))
            self._lines.append(f"    {name} = {_ARRAYS[op]}[{int(value)}]")
            return _Piece(name, _ATOM)
        parts = [self._pieces[arg] for arg in args]
        depth = 1 + max(part.depth for part in parts)
        width = 1 + sum(part.width for part in parts)
        if op == "neg":
            return _Piece(f"-{parts[0].within(_SIGN)}", _SIGN, depth, width)
        if op in COMPARISONS:
            text = f"{parts[0].within(_SUM)} {op} {parts[1].within(_SUM)}"
            return _Piece(text, _CONDITION, depth, width)
        if op in _LEVEL:
            level = _LEVEL[op]
            text = f"{parts[0].within(level)} {op} {parts[1].within(level + 1)}"
            return _Piece(text, level, depth, width)
        words = [part.text for part in parts]
        if op == "select" and all(self._nodes[arg].op == "number" for arg in args[1:]):
            words[1] = self._real(args[1], parts[1])
        return _Piece(f"{op}({', '.join(words)})", _ATOM, depth, width)


def _is_big(piece: _Piece) -> bool:
    return piece.depth >= _MOST_DEEP or piece.width >= _MOST_WIDE
