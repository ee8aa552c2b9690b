"""Expressions as a graph in which equal subexpressions are one node.

A graph is a sequence of nodes; an expression is the index of a node, and the arguments of a node
come before it. So a graph is a plain value, and whatever works on it (evaluation, code, symbolic
derivatives) is a loop over nodes instead of a recursion.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels.model.functions import COMPARISONS, FUNCTIONS

__all__ = ["ARITHMETIC", "LEAVES", "Builder", "Node", "evaluate", "reachable"]

LEAVES = ("number", "truth", "time", "state", "parameter", "direction")
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "neg": operator.neg,
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMMUTING = frozenset({"+", "*", "both", "either", "==", "!=", "minimum", "maximum"})
_MOST_PRODUCTS = 32  # largest whole exponent that is written as products
_MOST_ROOTS = 8  # largest half-odd exponent that is written as products and a square root


class Node(NamedTuple):
    """One operation or leaf.

    ``op`` is a name in ``LEAVES``, ``ARITHMETIC``, ``COMPARISONS`` or ``FUNCTIONS``; ``args`` are
    indices of earlier nodes; ``value`` is a literal's value, or the index of a state, a parameter
    or an element of the direction that a product with the Jacobian takes.
    """

    op: str
    args: tuple[int, ...] = ()
    value: float | int | bool = 0


class Builder:
    """Makes a graph; simplifies as it goes, by rules that keep each result to the bit.

    Parameters
    ----------
    nodes : sequence of Node, optional
        A graph to extend.

    Notes
    -----
    Signs of zeros may differ from the text's (``x + 0.0`` is ``x``); nothing that could hide a NaN
    or an infinity is done (``0.0*x`` and ``x - x`` stay).
    """

    def __init__(self, nodes: Sequence[Node] = ()) -> None:
        self.nodes: list[Node] = list(nodes)
        self._index = {self._key(node): i for i, node in enumerate(self.nodes)}

    def number(self, value: float) -> int:
        """Return the node of a literal."""
        return self._intern(Node("number", (), float(value)))

    def truth(self, value: bool) -> int:
        """Return the node of a condition known beforehand."""
        return self._intern(Node("truth", (), bool(value)))

    def leaf(self, op: str, index: int = 0) -> int:
        """Return the node of the time, or of element ``index`` of another kind of leaf."""
        return self._intern(Node(op, (), index))

    def is_mask(self, at: int) -> bool:
        """Say whether a node is a condition rather than a number."""
        op = self.nodes[at].op
        return (
            op == "truth" or op in COMPARISONS or (op in FUNCTIONS and FUNCTIONS[op].gives == "m")
        )

    def literal(self, at: int) -> float | bool | None:
        """Return the value of a literal, or None for anything else."""
        node = self.nodes[at]
        return node.value if node.op in ("number", "truth") else None

    def apply(self, op: str, *args: int) -> int:
        """Return the node of an operation, simplified."""
        values = [self.literal(a) for a in args]
        if all(value is not None for value in values):
            folded = _fold(op, values)
            if folded is not None:
                return self.truth(folded) if isinstance(folded, bool) else self.number(folded)
        elif op in FUNCTIONS:
            known = self._decided(op, args, values)
            if known is not None:
                return known
        simpler = self._simplified(op, args, values) if op in ARITHMETIC else None
        return self._intern(Node(op, args)) if simpler is None else simpler

    def power(self, base: int, exponent: int) -> int:
        """Return ``base**exponent``; as products and roots where the exponent allows it."""
        n = self.literal(exponent)
        if n is None:
            if self.literal(base) == 2.0:
                return self.apply("exp2", exponent)
            return self.apply("pow", base, exponent)
        if self.literal(base) is not None:
            return self.apply("pow", base, exponent)
        whole = float(n).is_integer() and abs(n) <= _MOST_PRODUCTS
        half = float(2 * n).is_integer() and not whole and abs(n) <= _MOST_ROOTS
        if not (whole or half):
            return self.apply("pow", base, exponent)
        size = abs(n)
        result = self._product(base, int(size)) if size >= 1 else None
        if half:
            root = self.apply("sqrt", base)
            result = root if result is None else self.apply("*", result, root)
        if result is None:
            return self.number(1.0)
        return self.apply("/", self.number(1.0), result) if n < 0 else result

    def _product(self, base: int, n: int) -> int:
        if n == 1:
            return base
        if n % 2:
            return self.apply("*", self._product(base, n - 1), base)
        root = self._product(base, n // 2)
        return self.apply("*", root, root)

    def _decided(self, op: str, args: tuple[int, ...], values: Sequence[Any]) -> int | None:
        """Return what is left of an operation on a condition known beforehand."""
        if op == "select":
            if values[0] is not None:
                return args[1] if values[0] else args[2]
            return args[1] if args[1] == args[2] else None
        if op in ("both", "either"):
            for value, other in ((values[0], args[1]), (values[1], args[0])):
                if value is not None:
                    decides = value == (op == "either")
                    return self.truth(value) if decides else other
        return None

    def _negated(self, at: int) -> int | None:
        """Return what a node is the negative of, if it is one."""
        node = self.nodes[at]
        return node.args[0] if node.op == "neg" else None

    def _simplified(self, op: str, args: tuple[int, ...], values: Sequence[Any]) -> int | None:
        if op == "neg":
            return self._negated(args[0])
        a, b = args
        va, vb = values
        minus_a, minus_b = self._negated(a), self._negated(b)
        if op in "+-":
            return self._sum(op, (a, b), (va, vb), (minus_a, minus_b))
        if vb == 1.0:
            return a
        if op == "*" and va == 1.0:
            return b
        if -1.0 in ((va, vb) if op == "*" else (vb,)):
            return self.apply("neg", a if vb == -1.0 else b)
        if minus_a is not None or minus_b is not None:
            inner = self.apply(
                op, a if minus_a is None else minus_a, b if minus_b is None else minus_b
            )
            both = minus_a is not None and minus_b is not None
            return inner if both else self.apply("neg", inner)
        if op == "/" and vb and abs(math.frexp(vb)[0]) == 0.5 and 2.0**-1000 < abs(vb) < 2.0**1000:
            return self.apply("*", a, self.number(1.0 / vb))
        return None

    def _sum(self, op: str, args: Any, values: Any, minus: Any) -> int | None:
        """Simplify ``a + b`` or ``a - b``; ``minus`` holds what each is the negative of."""
        (a, b), (va, vb), (minus_a, minus_b) = args, values, minus
        opposite = "-" if op == "+" else "+"
        if vb == 0.0:
            return a
        if va == 0.0:
            return b if op == "+" else self.apply("neg", b)
        if minus_b is not None:
            return self.apply(opposite, a, minus_b)
        if vb is not None and vb < 0.0:
            return self.apply(opposite, a, self.number(-vb))
        if minus_a is not None:
            if op == "+":
                return self.apply("-", b, minus_a)
            return self.apply("neg", self.apply("+", minus_a, b))
        return None

    def _intern(self, node: Node) -> int:
        key = self._key(node)
        at = self._index.get(key)
        if at is None:
            at = self._index[key] = len(self.nodes)
            self.nodes.append(node)
        return at

    @staticmethod
    def _key(node: Node) -> tuple[Any, ...]:
        if node.op in _COMMUTING:
            return node.op, tuple(sorted(node.args)), ""
        # repr tells 0.0 from -0.0 and True from 1.0
        return node.op, node.args, repr(node.value)


def _fold(op: str, values: Sequence[Any]) -> float | bool | None:
    """Compute an operation on literals; None where the result isn't finite."""
    call = ARITHMETIC.get(op) or _COMPARE.get(op) or FUNCTIONS[op].scalar
    try:
        result = call(*values)
    except (ArithmeticError, ValueError):
        return None
    if isinstance(result, bool):
        return result
    return float(result) if math.isfinite(result) else None


def reachable(nodes: Sequence[Node], outputs: Iterable[int]) -> list[int]:
    """Return the nodes that the outputs need, arguments before what uses them.

    The order is that of the outputs and, within each, of its arguments from left to right: a node
    comes as late as it can.
    """
    order: list[int] = []
    seen: set[int] = set()
    for output in outputs:
        stack = [(output, False)]
        while stack:
            at, done = stack.pop()
            if done:
                order.append(at)
            elif at not in seen:
                seen.add(at)
                stack.append((at, True))
                stack.extend((arg, False) for arg in reversed(nodes[at].args))
    return order


def evaluate(
    nodes: Sequence[Node], outputs: Sequence[int], t: ArrayLike, y: ArrayLike, p: ArrayLike
) -> NDArray[np.float64]:
    """Compute outputs of a graph with NumPy, in double precision.

    Parameters
    ----------
    nodes : sequence of Node
        The graph.
    outputs : sequence of int
        Nodes to return.
    t : array_like, shape () or (lanes,)
        Time.
    y : array_like, shape (states,) or (states, lanes)
        States.
    p : array_like, shape (parameters,) or (parameters, lanes)
        Parameters.

    Returns
    -------
    numpy.ndarray, shape (outputs,) or (outputs, lanes)
    """
    time, states, parameters = (np.asarray(v, dtype=np.float64) for v in (t, y, p))
    found: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for at in reachable(nodes, outputs):
            op, args, value = nodes[at]
            if op in ("number", "truth"):
                found[at] = value
            elif op == "time":
                found[at] = time
            elif op in ("state", "parameter"):
                found[at] = (states if op == "state" else parameters)[int(value)]
            else:
                call = ARITHMETIC.get(op) or COMPARISONS.get(op) or FUNCTIONS[op].array
                found[at] = call(*(found[arg] for arg in args))
    shape = np.broadcast_shapes(time.shape, states.shape[1:], parameters.shape[1:])
    result = np.empty((len(outputs), *shape))
    for row, at in enumerate(outputs):
        result[row] = found[at]
    return result
