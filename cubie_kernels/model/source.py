"""A model's graph to source text in the lane language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cubie_kernels.model.alike import Part
from cubie_kernels.model.equations import Declared, Equations
from cubie_kernels.model.functions import COMPARISONS
from cubie_kernels.model.graph import LEAVES, Node, reachable
from cubie_kernels.model.loops import Loop, find_loops

__all__ = ["Function", "lane_function", "local_names"]

# Names that the functions' own text uses, whatever their arguments.
_TAKEN = frozenset({"t", "y", "p", "dy", "o", "rhs", "observe", "real"})
_ARRAYS = {"state": "y", "parameter": "p", "direction": "v"}
_ROUND = "_i"  # of a loop; models have no name that begins with "_"
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
    literal: bool = False

    @property
    def real(self) -> str:
        """The text as a real: a literal alone is none yet."""
        return f"real({self.text})" if self.literal else self.text

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
    """Return the source of one function: an assignment a line; alike outputs are computed in loops.

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
        outputs = self._function.outputs
        loops = {loop.first: loop for loop in find_loops(self._nodes, outputs)}
        looped = {position for loop in loops.values() for position in loop.positions}
        alone = [i for i in range(len(outputs)) if i not in looped]
        roots = {i: [outputs[i]] for i in alone} | {i: loop.before for i, loop in loops.items()}
        order = sorted(roots)
        live = reachable(self._nodes, [at for i in order for at in roots[i]])
        uses = Counter(outputs[i] for i in alone)
        for at in live:
            uses.update(self._nodes[at].args)
        # A loop uses values more than once.
        uses.update(at for loop in loops.values() for at in 2 * loop.before)
        # A derivative is stored as soon as it is known: registers are few.
        waiting: dict[int, list[int]] = {}
        for i in alone:
            waiting.setdefault(outputs[i], []).append(i)
        coming = iter(live)
        for i in order:
            for root in roots[i]:
                while root not in self._pieces:
                    at = next(coming)
                    self._value(at, uses[at] > 1)
                    for k in waiting.get(at, ()):
                        stored = self._pieces[at].real
                        self._lines.append(f"    {self._function.target}[{k}] = {stored}")
            if i in loops:
                self._loop(loops[i])
        return self._lines or ["    pass"]

    def _value(self, at: int, again: bool) -> None:
        """Write what a node needs to become a piece of text."""
        node = self._nodes[at]
        if node.op in _ARRAYS:
            name = self._leaf(node)
            self._lines.append(f"    {name} = {_ARRAYS[node.op]}[{int(node.value)}]")
            self._pieces[at] = _Piece(name, _ATOM)
            return
        piece = _expression(node, [self._pieces[arg] for arg in node.args])
        if self._is_assigned(at, piece, again):
            name = self._named.get(at) or self._temporary()
            self._lines.append(f"    {name} = {piece.text}")
            piece = _Piece(name, _ATOM)
        self._pieces[at] = piece

    def _is_assigned(self, at: int, piece: _Piece, again: bool) -> bool:
        op, args, _ = self._nodes[at]
        cheap = op == "neg" and self._nodes[args[0]].op in LEAVES
        big = piece.depth >= _MOST_DEEP or piece.width >= _MOST_WIDE
        return op not in LEAVES and ((again and not cheap) or at in self._auxiliary or big)

    def _temporary(self) -> str:
        self._temporaries += 1
        return f"_c{self._temporaries - 1}"

    def _leaf(self, node: Node) -> str:
        index = int(node.value)
        if node.op == "direction":
            return f"_v{index}"
        own = self._declared.states if node.op == "state" else self._declared.parameters
        return self._locals[own[index]]

    # -- loops

    def _loop(self, loop: Loop) -> None:
        """Write a loop; names in it are those of its first round without their numbers."""
        taken = {_ROUND}
        uses = Counter(store.part for store in loop.stores)
        uses.update(arg for part in loop.parts for arg in part.args)
        handed: dict[int, list[str]] = {}
        for carry in loop.carries:
            uses.update({carry.newer: 2})
            instances = loop.parts[carry.part].instances[: carry.rounds]
            handed[carry.part] = [self._inner_name(at, taken) for at in instances]
            for name, at in zip(handed[carry.part], instances, strict=True):
                self._lines.append(f"    {name} = {self._pieces[at].text}")
        self._lines.append(f"    for {_ROUND} in range({loop.rounds}):")
        pieces: list[_Piece] = []
        for k, part in enumerate(loop.parts):
            if k in handed:
                piece = _Piece(handed[k][0], _ATOM)
            elif part.outer:
                piece = self._pieces[part.instances[0]]
            else:
                piece = self._inner(part, [pieces[arg] for arg in part.args], uses[k] > 1, taken)
            pieces.append(piece)
            for store in loop.stores:
                if store.part == k:
                    place = _place(store.run.first, store.run.step)
                    self._lines.append(f"        {self._function.target}[{place}] = {piece.real}")
        for carry in loop.carries:
            older = handed[carry.part]
            for name, value in zip(older, [*older[1:], pieces[carry.newer].text], strict=True):
                self._lines.append(f"        {name} = {value}")

    def _inner(self, part: Part, args: Sequence[_Piece], again: bool, taken: set[str]) -> _Piece:
        """Return a value of a round, assigned if it is used again."""
        at = part.instances[0]
        node = self._nodes[at]
        if node.op in _ARRAYS:
            first = int(node.value)
            step = int(self._nodes[part.instances[1]].value) - first
            piece = _Piece(f"{_ARRAYS[node.op]}[{_place(first, step)}]", _ATOM)
        else:
            piece = _expression(node, args)
            again = self._is_assigned(at, piece, again)
        if again:
            name = self._inner_name(at, taken)
            self._lines.append(f"        {name} = {piece.text}")
            piece = _Piece(name, _ATOM)
        return piece

    def _inner_name(self, at: int, taken: set[str]) -> str:
        node = self._nodes[at]
        name = self._named.get(at, "c")
        if node.op in _ARRAYS:
            name = f"d{self._declared.states[int(node.value)]}"
            if node.op != "direction":
                name = self._leaf(node)
        stem = name = "_" + name.rstrip("_0123456789")
        number = 0
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        return name


def _place(first: int, step: int) -> str:
    """Return the text of an index that grows by ``step`` from round to round."""
    size = "" if abs(step) == 1 else f"{abs(step)} * "
    if step > 0 and first == 0:
        return f"{size}{_ROUND}"
    return f"{first} {'-' if step < 0 else '+'} {size}{_ROUND}"


def _expression(node: Node, parts: Sequence[_Piece]) -> _Piece:
    """Return the text of an operation on pieces of text, or of a leaf that isn't in an array."""
    op = node.op
    if op == "number":
        level = _SIGN if node.value < 0 else _ATOM
        return _Piece(repr(float(node.value)), level, literal=True)
    if op == "time":
        return _Piece("t", _ATOM)
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
    if op == "select" and all(part.literal for part in parts[1:]):
        words[1] = parts[1].real
    return _Piece(f"{op}({', '.join(words)})", _ATOM, depth, width)
