"""Partial evaluation of kernel source.

An algorithm is ordinary Python over free upper-case names (``STAGES``, ``A``, ``N``). `specialise`
binds these to values and returns the text of the function with

* loops over ``unroll(range(...))`` written out, those over ``blocks(range(...))`` by four rounds,
* ``total(term for j in range(...))`` written as a sum without its zero terms
  (``start=`` gives the number that the sum begins with),
* ``*NAME`` in calls and definitions written as the names of a group of `Locals`, and
  ``declare(NAME)`` as their assignments,
* constant expressions folded, multiplications by 0 and 1 dropped, dead branches removed.
"""

from __future__ import annotations

import ast
import copy
import inspect
import operator
import textwrap
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from cubie_kernels.errors import BuildError

__all__ = ["Code", "Locals", "specialise"]


class Code(NamedTuple):
    """A value that is put into the source as an expression."""

    text: str


class Locals(NamedTuple):
    """A group of local variables that functions hand on as a whole: names and expressions."""

    values: Mapping[str, str]


_BLOCK = 4  # rounds of a loop over `blocks` that are written out

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class _NotConstantError(Exception):
    """The expression is not known before the kernel runs."""


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return the value of a constant expression or raise `_NotConstantError`."""

    def value(part: ast.expr) -> Any:
        return _evaluate(part, names)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name() if node.id in names and not isinstance(names[node.id], Code | Locals):
            return names[node.id]
        case ast.BinOp() if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](value(node.left), value(node.right))
        case ast.UnaryOp(op=ast.USub()):
            return -value(node.operand)
        case ast.UnaryOp(op=ast.Not()):
            return not value(node.operand)
        case ast.Compare(ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return _COMPARE[type(op)](value(node.left), value(right))
        case ast.BoolOp():
            parts = (value(part) for part in node.values)
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        case ast.Subscript():
            return value(node.value)[value(node.slice)]
        case ast.Call(func=ast.Name(id="range"), keywords=[]):
            return range(*[value(argument) for argument in node.args])
        case ast.Call(func=ast.Name(id="len"), args=[argument]):
            return len(value(argument))
    raise _NotConstantError


def _literal(value: Any) -> ast.expr:
    return ast.parse(repr(value), mode="eval").body


def _is(node: ast.expr, number: float) -> bool:
    return (
        isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value == number
    )


class _Shift(ast.NodeTransformer):
    """Replace a loop variable by itself plus a number."""

    def __init__(self, name: str, offset: int) -> None:
        self.name, self.offset = name, offset

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id != self.name or not self.offset:
            return node
        return ast.BinOp(node, ast.Add(), ast.Constant(self.offset))


class _Specialiser(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = dict(names)

    # ------------------------------------------------------------------------- expressions
    def _fold(self, node: ast.expr) -> ast.expr:
        try:
            value = _evaluate(node, self.names)
        except _NotConstantError:
            return self.generic_visit(node)  # type: ignore[return-value]
        if isinstance(value, (bool, int, float)):
            return _literal(value)
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Store):
            return node
        value = self.names.get(node.id)
        if isinstance(value, Code):
            return ast.parse(value.text, mode="eval").body
        return self._fold(node)

    visit_Subscript = visit_UnaryOp = visit_Compare = _fold

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        folded = self._fold(node)
        if isinstance(folded, ast.BoolOp):
            # What decides nothing goes; a part that decided all was folded above.
            folded.values = [v for v in folded.values if not isinstance(v, ast.Constant)]
            return folded if len(folded.values) > 1 else folded.values[0]
        return folded

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        folded = self._fold(node)
        if not isinstance(folded, ast.BinOp):
            return folded
        left, right = folded.left, folded.right
        match folded.op:
            case ast.Add() if _is(left, 0):
                return right
            case ast.Add() | ast.Sub() if _is(right, 0):
                return left
            case ast.Mult() if _is(left, 0) or _is(right, 0):
                return ast.Constant(0.0)
            case ast.Mult() if _is(left, 1):
                return right
            case ast.Mult() | ast.Div() if _is(right, 1):
                return left
        return folded

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        try:
            taken = _evaluate(node.test, self.names)
        except _NotConstantError:
            return self.generic_visit(node)  # type: ignore[return-value]
        return self.visit(node.body if taken else node.orelse)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if not (isinstance(node.func, ast.Name) and node.func.id == "total"):
            node.args = [part for argument in node.args for part in self._spread(argument)]
            return self._fold(node)
        generator = node.args[0]
        if not isinstance(generator, ast.GeneratorExp):
            raise BuildError(f"total() takes a generator expression, not {ast.unparse(node)}")
        loop = generator.generators[0]
        terms = [self.visit(keyword.value) for keyword in node.keywords]
        for term in self._each(loop.target, self._range(loop.iter), generator.elt):
            if not _is(term, 0):
                terms.append(term)
        result: ast.expr = terms[0] if terms else ast.Constant(0.0)
        for term in terms[1:]:
            result = ast.BinOp(result, ast.Add(), term)
        return result

    def _group(self, node: ast.expr) -> Mapping[str, str]:
        """Return the variables of a group."""
        group = self.names.get(node.id) if isinstance(node, ast.Name) else None
        if not isinstance(group, Locals):
            raise BuildError(f"{ast.unparse(node)} is no group of local variables")
        return group.values

    def _spread(self, argument: ast.expr) -> list[ast.expr]:
        if not isinstance(argument, ast.Starred):
            return [argument]
        return [ast.Name(name, ast.Load()) for name in self._group(argument.value)]

    # ---------------------------------------------------------------------------- statements
    def _range(self, node: ast.expr) -> range:
        try:
            return _evaluate(node, self.names)
        except _NotConstantError:
            raise BuildError(f"the range {ast.unparse(node)} is not known at build time") from None

    def _each(self, target: ast.expr, values: range, body: Any) -> list[Any]:
        """Specialise ``body`` once for every value of the loop variable."""
        if not isinstance(target, ast.Name):
            raise BuildError(f"an unrolled loop takes one variable, not {ast.unparse(target)}")
        outer = self.names.get(target.id)
        results = []
        for value in values:
            self.names[target.id] = value
            fresh = copy.deepcopy(body)
            results.append(self._block(fresh) if isinstance(fresh, list) else self.visit(fresh))
        self.names.pop(target.id, None)
        if outer is not None:
            self.names[target.id] = outer
        return results

    def _block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            visited = self.visit(statement)
            if isinstance(visited, list):
                result.extend(visited)
            elif visited is not None:
                result.append(visited)
        return result

    def visit_For(self, node: ast.For) -> ast.stmt | list[ast.stmt]:
        match node.iter:
            case ast.Call(func=ast.Name(id="unroll"), args=[values]):
                copies = self._each(node.target, self._range(values), node.body)
                return [statement for block in copies for statement in block]
            case ast.Call(func=ast.Name(id="blocks"), args=[values]):
                return self._blocks(node, self._range(values))
        node.iter = self.visit(node.iter)
        node.body = self._block(node.body)
        return node if node.body else []

    def _blocks(self, node: ast.For, values: range) -> list[ast.stmt]:
        """Write a loop out by `_BLOCK` rounds, and the rest of them one by one."""
        if not isinstance(node.target, ast.Name) or values.step != 1:
            raise BuildError(f"a loop in blocks counts one variable by 1: {ast.unparse(node)}")
        name = node.target.id
        body = self._block(node.body)
        even = values.start + len(values) // _BLOCK * _BLOCK
        copies = [
            _Shift(name, offset).visit(copy.deepcopy(statement))
            for offset in range(_BLOCK)
            for statement in body
        ]
        loops = (
            [(f"range({values.start}, {even}, {_BLOCK})", copies)] if even > values.start else []
        )
        if even < values.stop:
            loops.append((f"range({even}, {values.stop})", body))
        result: list[ast.stmt] = []
        for text, statements in loops:
            loop = ast.parse(f"for {name} in {text}:\n    pass").body[0]
            assert isinstance(loop, ast.For)
            loop.body = statements
            result.append(loop)
        return result

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        try:
            taken = _evaluate(node.test, self.names)
        except _NotConstantError:
            node.test = self.visit(node.test)
            node.body = self._block(node.body) or [ast.Pass()]
            node.orelse = self._block(node.orelse)
            return node
        return self._block(node.body if taken else node.orelse)

    def visit_While(self, node: ast.While) -> ast.stmt:
        node.test = self.visit(node.test)
        node.body = self._block(node.body) or [ast.Pass()]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        match node.value:
            case ast.Call(func=ast.Name(id="declare"), args=[group]):
                lines = (f"{name} = {text}" for name, text in self._group(group).items())
                return [ast.parse(line).body[0] for line in lines]
        node.value = self.visit(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        arguments = node.args
        if arguments.vararg is not None:
            group = self._group(ast.Name(arguments.vararg.arg, ast.Load()))
            arguments.args += [ast.arg(name) for name in group]
            arguments.args += arguments.kwonlyargs
            arguments.vararg, arguments.kwonlyargs, arguments.kw_defaults = None, [], []
        node.body = self._block(node.body)
        return node


def specialise(function: FunctionType, names: Mapping[str, Any]) -> str:
    """Return the text of ``function`` with ``names`` bound.

    Parameters
    ----------
    function : function
        A function of the lane language.
    names : Mapping[str, Any]
        Values of its free upper-case names: numbers, truth values, nested tuples of them, or
        `Code`.

    Returns
    -------
    str
        Python source of the specialised function.

    Raises
    ------
    BuildError
        If an unrolled range is not constant, or an upper-case name stays unbound.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree = ast.fix_missing_locations(_Specialiser(names).visit(tree))
    unbound = sorted(
        {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id.isupper()}
    )
    if unbound:
        raise BuildError(f"{function.__name__}: no value given for {', '.join(unbound)}")
    return ast.unparse(tree)
