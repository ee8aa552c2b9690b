"""One equation's right side, from Python's syntax tree to the graph.

Only the node types with a rule here are legal; nothing is evaluated or executed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, NoReturn

from cubie_kernels.errors import EquationError
from cubie_kernels.model.functions import FUNCTIONS, SPECIAL
from cubie_kernels.model.graph import LEAVES, Builder
from cubie_kernels.model.scan import Statement, Text, Token

__all__ = ["Converter"]

MOST_DEEP = 100

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_TOO_DEEP = "This equation is too deeply nested: define parts of it on lines of their own."
_PIECE = "Piecewise takes pairs: Piecewise((value, condition), ..., (value, True))."


class Converter:
    """Turns statements into nodes of one graph.

    Parameters
    ----------
    text : Text
        The model, to point into.
    builder : Builder
        The graph.
    lookup : callable
        From a name to its node; every name that occurs must be known to it.
    """

    def __init__(self, text: Text, builder: Builder, lookup: Callable[[str], int]) -> None:
        self._text, self._builder, self._lookup = text, builder, lookup
        self._start, self._first_line, self._depth = Token("op", "=", 1, 0), 1, 0
        self._no_value: dict[int, tuple[int, int, int]] = {}
        self._rules: dict[type, Callable[[Any], int]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.Compare: self._compare,
            ast.BoolOp: self._bool,
            ast.IfExp: self._choice,
            ast.Call: self._call,
        }

    def convert(self, statement: Statement) -> int:
        """Return the node of a statement's right side.

        Raises
        ------
        EquationError
            With the line and a caret, for what is no expression of numbers and conditions.
        """
        self._start, self._depth = statement.right[0], 0
        self._first_line = statement.equals.line
        try:
            return self._any(self._parsed(statement))
        except RecursionError:
            self._text.fail_at(_TOO_DEEP, statement.left[0])

    def check_finite(self, at: int) -> None:
        """Raise an ``EquationError`` if a node is known beforehand to have no finite value."""
        if at in self._no_value:
            self._text.fail("This has no finite value.", *self._no_value[at])

    def _parsed(self, statement: Statement) -> ast.expr:
        equals, last = statement.equals, statement.right[-1]
        lines = [
            self._text.lines[i - 1].partition("#")[0] for i in range(equals.line, last.line + 1)
        ]
        # Columns and lines stay those of the model: the left side becomes a parenthesis and blanks.
        lines[0] = "(" + " " * equals.column + lines[0][equals.column + 1 :]
        end = len(lines[-1].rstrip())
        try:
            return ast.parse("\n".join(lines) + ")", mode="eval").body
        except (RecursionError, MemoryError):
            self._text.fail_at(_TOO_DEEP, statement.left[0])
        except SyntaxError as fault:
            line = min(equals.line + (fault.lineno or 1) - 1, last.line)
            column = max(0, (fault.offset or 1) - 1)
            if line == last.line:
                column = min(column, max(0, end - 1))
            message = f"This is no expression: {fault.msg}."
        self._text.fail(message, line, column)

    # -- what kind of thing

    def _any(self, tree: ast.expr) -> int:
        rule = self._rules.get(type(tree))
        if rule is None:
            self._illegal(tree)
        self._depth += 1
        if self._depth > MOST_DEEP:
            self._text.fail_at(_TOO_DEEP, self._start)
        at = rule(tree)
        self._depth -= 1
        self._note(at, tree)
        return at

    def _note(self, at: int, tree: ast.expr) -> None:
        """Remember where a node came from that is known beforehand to have no finite value."""
        node = self._builder.nodes[at]
        if node.op not in LEAVES:
            values = [self._builder.literal(arg) for arg in node.args]
            if None not in values or (node.op == "/" and values[1] == 0.0):
                self._no_value.setdefault(at, self._place(tree))

    def _number(self, tree: ast.expr) -> int:
        at = self._any(tree)
        if self._builder.is_mask(at):
            line, column, width = self._place(tree)
            shown = self._text.lines[line - 1][column : column + width]
            shown = shown if width < 40 and tree.lineno == tree.end_lineno else "condition"
            self._fail(
                tree,
                "A condition is not a number. To choose numbers by it, write "
                f"Piecewise((1, {shown}), (0, True)).",
            )
        return at

    def _mask(self, tree: ast.expr) -> int:
        at = self._any(tree)
        if not self._builder.is_mask(at):
            self._fail(tree, "A condition is needed here, such as x > 0; this is a number.")
        return at

    # -- rules

    def _constant(self, tree: ast.Constant) -> int:
        if isinstance(tree.value, bool):
            return self._builder.truth(tree.value)
        if isinstance(tree.value, (int, float)):
            return self._builder.number(float(tree.value))
        self._illegal(tree)

    def _name(self, tree: ast.Name) -> int:
        return self._lookup(tree.id)

    def _binary(self, tree: ast.BinOp) -> int:
        spine = [tree]  # long sums nest to the left
        while isinstance(spine[-1].left, ast.BinOp):
            spine.append(spine[-1].left)
        at = self._number(spine[-1].left)
        for part in reversed(spine):
            op = _BINARY.get(type(part.op))
            if op is None:
                self._illegal(part)
            right = self._number(part.right)
            at = (
                self._builder.power(at, right) if op == "**" else self._builder.apply(op, at, right)
            )
            self._note(at, part)
        return at

    def _unary(self, tree: ast.UnaryOp) -> int:
        if isinstance(tree.op, ast.Not):
            return self._builder.apply("negate", self._mask(tree.operand))
        at = self._number(tree.operand)
        return self._builder.apply("neg", at) if isinstance(tree.op, ast.USub) else at

    def _compare(self, tree: ast.Compare) -> int:
        values = [self._number(part) for part in (tree.left, *tree.comparators)]
        found: int | None = None
        for op, a, b in zip(tree.ops, values[:-1], values[1:], strict=True):
            sign = _COMPARE.get(type(op))
            if sign is None:
                self._illegal(tree)
            mask = self._builder.apply(sign, a, b)
            found = mask if found is None else self._builder.apply("both", found, mask)
        assert found is not None
        return found

    def _bool(self, tree: ast.BoolOp) -> int:
        op = "both" if isinstance(tree.op, ast.And) else "either"
        at = self._mask(tree.values[0])
        for part in tree.values[1:]:
            at = self._builder.apply(op, at, self._mask(part))
        return at

    def _choice(self, tree: ast.IfExp) -> int:
        mask = self._mask(tree.test)
        return self._builder.apply(
            "select", mask, self._number(tree.body), self._number(tree.orelse)
        )

    def _call(self, tree: ast.Call) -> int:
        if not isinstance(tree.func, ast.Name) or tree.keywords:
            self._illegal(tree)
        name = tree.func.id
        if name == "Piecewise":
            return self._piecewise(tree)
        if name in ("min", "max"):
            if len(tree.args) < 2:
                self._fail(tree, f"{name} takes 2 arguments or more, not {len(tree.args)}.")
            numbers = [self._number(arg) for arg in tree.args]
            at = numbers[0]
            for other in numbers[1:]:
                at = self._builder.apply(name + "imum", at, other)
            return at
        function = FUNCTIONS["fabs" if name == "abs" else name]
        takes = function.takes
        if len(tree.args) != len(takes):
            plural = "" if len(takes) == 1 else "s"
            self._fail(
                tree,
                f"{name} takes {len(takes)} argument{plural}, not {len(tree.args)} "
                f"({SPECIAL.get(name, function.text)}).",
            )
        args = [
            self._number(arg) if kind == "n" else self._mask(arg)
            for kind, arg in zip(takes, tree.args, strict=True)
        ]
        if name == "pow":
            return self._builder.power(*args)
        return self._builder.apply(function.name, *args)

    def _piecewise(self, tree: ast.Call) -> int:
        if not tree.args:
            self._fail(tree, _PIECE)
        pieces: list[tuple[int, int]] = []
        for i, arg in enumerate(tree.args):
            if not isinstance(arg, ast.Tuple) or len(arg.elts) != 2:
                self._fail(arg, _PIECE)
            value, condition = self._number(arg.elts[0]), arg.elts[1]
            always = isinstance(condition, ast.Constant) and condition.value is True
            if always != (i == len(tree.args) - 1):
                self._fail(
                    condition,
                    "The pieces after this one can never be reached."
                    if always
                    else "The last condition of a Piecewise must be True: (value, True).",
                )
            pieces.append((value, self._mask(condition)))
        at = pieces[-1][0]
        for value, mask in reversed(pieces[:-1]):
            at = self._builder.apply("select", mask, value, at)
        return at

    # -- faults

    def _place(self, tree: ast.expr) -> tuple[int, int, int]:
        line = self._first_line + tree.lineno - 1
        column = tree.col_offset
        if line == self._start.line:  # a pair without parentheses takes those put around it
            column = max(column, self._start.column)
        same = tree.end_lineno == tree.lineno and tree.end_col_offset is not None
        end = tree.end_col_offset if same else len(self._text.lines[line - 1])
        return line, column, max(1, int(end or 0) - column)

    def _fail(self, tree: ast.expr, message: str) -> NoReturn:
        self._text.fail(message, *self._place(tree))

    def _illegal(self, tree: ast.AST) -> NoReturn:
        message = "Equations hold numbers, names, + - * / **, comparisons, and calls of functions."
        if isinstance(tree, ast.Tuple):
            message = "A pair (a, b) belongs in Piecewise only; a decimal sign is a dot."
        if isinstance(tree, ast.expr):
            self._fail(tree, message)
        raise EquationError(message)
