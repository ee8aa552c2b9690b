"""Typed constants: float literals of a kernel's text in the precision of its reals.

On the CPU a literal takes the type of the lanes it meets. On CUDA a real is a plain scalar, and a
Python float in the middle of 32-bit arithmetic would make all of it 64-bit.
"""

from __future__ import annotations

import ast

__all__ = ["typed_constants"]


class _Hoist(ast.NodeTransformer):
    """Replace float literals by names of the module; models have no name that begins with ``_``."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) is not float:
            return node
        name = self.names.setdefault(repr(node.value), f"_k{len(self.names)}")
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
        Assignments ``_k0 = float32(0.161)`` and so on, one for each number, then the functions.
    """
    hoist = _Hoist()
    functions = ast.unparse(hoist.visit(ast.parse(body)))
    lines = [f"{name} = {scalar}({value})" for value, name in hoist.names.items()]
    return "\n".join([*lines, "", "", functions]) + "\n"
