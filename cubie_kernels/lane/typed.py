"""Typed constants: float literals of a kernel's text in the precision of its reals.

On the CPU a literal takes the type of the lanes it meets. On CUDA a real is a plain scalar, and a
Python float in the middle of 32-bit arithmetic would make all of it 64-bit.
"""

from __future__ import annotations

import ast

__all__ = ["typed_constants"]


class _Hoist(ast.NodeTransformer):
    """Replace float literals by names of the module."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.names: dict[str, str] = {}

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) is not float:
            return node
        name = self.names.setdefault(repr(node.value), f"{self._prefix}{len(self.names)}")
        return ast.copy_location(ast.Name(name, ast.Load()), node)


def typed_constants(body: str, scalar: str) -> str:
    """Return the functions of a module with each float literal as a typed constant.

    Parameters
    ----------
    body : str
        Functions of a kernel module. Every float literal in them is meant as a real of the
        state's precision, as the lane language has it.
    scalar : str
        What makes a number of that precision: ``"float32"``.

    Returns
    -------
    str
        Assignments ``k0 = float32(0.161)`` and so on, one for each number, then the functions.
    """
    tree = ast.parse(body)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    prefix = "_k"
    while any(name.startswith(prefix) for name in used):
        prefix += "_"
    hoist = _Hoist(prefix)
    functions = ast.unparse(hoist.visit(tree))
    lines = [f"{name} = {scalar}({value})" for value, name in hoist.names.items()]
    return "\n".join([*lines, "", "", functions]) + "\n"
