"""Every function that equations may call: one row each.

The names are those of the lane language; ``abs``, ``min``, ``max`` and ``Piecewise`` are written
out in terms of them. The scalar form folds constants, the array form evaluates the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["COMPARISONS", "FUNCTIONS", "HINTS", "SPECIAL", "Function"]


@dataclass(frozen=True)
class Function:
    """One function of the lane language.

    Parameters
    ----------
    name : str
        Name in equations and in the lane language.
    takes : str
        A letter per argument: ``n`` for a number, ``m`` for a condition (a mask of the lanes).
    gives : str
        ``n`` or ``m``.
    scalar : callable
        The function of Python floats (bools); may raise ``ArithmeticError`` or ``ValueError``.
    array : callable
        The function of NumPy arrays.
    text : str
        What it computes, for people.
    """

    name: str
    takes: str
    gives: str
    scalar: Callable[..., Any]
    array: Callable[..., Any]
    text: str


def _array_erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _sign(x: float) -> float:
    return float((x > 0.0) - (x < 0.0))


def _rows() -> tuple[Function, ...]:
    def one(name: str, scalar: Any, array: Any, text: str) -> Function:
        return Function(name, "n", "n", scalar, array, text)

    def two(name: str, scalar: Any, array: Any, text: str) -> Function:
        return Function(name, "nn", "n", scalar, array, text)

    return (
        one("sqrt", math.sqrt, np.sqrt, "square root"),
        one("cbrt", math.cbrt, np.cbrt, "cube root, also of negative numbers"),
        one("exp", math.exp, np.exp, "exponential"),
        one("expm1", math.expm1, np.expm1, "exp(x) - 1, accurate near 0"),
        one("exp2", math.exp2, np.exp2, "2 to the power x"),
        one("log", math.log, np.log, "natural logarithm"),
        one("log1p", math.log1p, np.log1p, "log(1 + x), accurate near 0"),
        one("log2", math.log2, np.log2, "logarithm to base 2"),
        one("log10", math.log10, np.log10, "logarithm to base 10"),
        one("sin", math.sin, np.sin, "sine, x in radians"),
        one("cos", math.cos, np.cos, "cosine, x in radians"),
        one("tan", math.tan, np.tan, "tangent, x in radians"),
        one("asin", math.asin, np.arcsin, "inverse sine"),
        one("acos", math.acos, np.arccos, "inverse cosine"),
        one("atan", math.atan, np.arctan, "inverse tangent"),
        two("atan2", math.atan2, np.arctan2, "angle of the point (y, x), atan2(y, x)"),
        one("sinh", math.sinh, np.sinh, "hyperbolic sine"),
        one("cosh", math.cosh, np.cosh, "hyperbolic cosine"),
        one("tanh", math.tanh, np.tanh, "hyperbolic tangent"),
        one("asinh", math.asinh, np.arcsinh, "inverse hyperbolic sine"),
        one("acosh", math.acosh, np.arccosh, "inverse hyperbolic cosine"),
        one("atanh", math.atanh, np.arctanh, "inverse hyperbolic tangent"),
        two("pow", math.pow, np.power, "x to the power y, as x**y"),
        two("hypot", math.hypot, np.hypot, "sqrt(x**2 + y**2) without overflow"),
        one("erf", math.erf, _array_erf, "error function"),
        one("fabs", math.fabs, np.fabs, "absolute value, as abs(x)"),
        one("sign", _sign, np.sign, "-1.0, 0.0 or 1.0"),
        one("floor", lambda x: float(math.floor(x)), np.floor, "largest whole number not above x"),
        one("ceil", lambda x: float(math.ceil(x)), np.ceil, "smallest whole number not below x"),
        one("trunc", lambda x: float(math.trunc(x)), np.trunc, "whole part, towards 0"),
        one("rint", lambda x: float(round(x)), np.rint, "nearest whole number, halves to even"),
        two("minimum", min, np.fmin, "smaller of two; a NaN gives way to the other"),
        two("maximum", max, np.fmax, "larger of two; a NaN gives way to the other"),
        two("fmod", math.fmod, np.fmod, "remainder of x / y with the sign of x"),
        Function("select", "mnn", "n", lambda m, a, b: a if m else b, np.where,
                 "a where the condition holds, else b, select(condition, a, b)"),
        Function("both", "mm", "m", lambda a, b: a and b, np.logical_and,
                 "both conditions, as a and b"),
        Function("either", "mm", "m", lambda a, b: a or b, np.logical_or,
                 "one condition or both, as a or b"),
        Function("negate", "m", "m", lambda a: not a, np.logical_not,
                 "the opposite condition, as not a"),
    )  # fmt: skip


FUNCTIONS: dict[str, Function] = {row.name: row for row in _rows()}

SPECIAL: dict[str, str] = {
    "abs": "absolute value",
    "min": "smallest of two or more, min(a, b, ...)",
    "max": "largest of two or more, max(a, b, ...)",
    "Piecewise": "first value whose condition holds, Piecewise((value, condition), (value, True))",
}

COMPARISONS: dict[str, Callable[..., Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}

# Names from other languages, and what to write here.
HINTS: dict[str, str] = {
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "ceiling": "ceil",
    "clip": "min(max(x, low), high)",
    "Abs": "abs",
    "heaviside": "Piecewise((1, x >= 0), (0, True))",
    "Heaviside": "Piecewise((1, x >= 0), (0, True))",
    "ifelse": "select",
    "ln": "log",
    "Max": "max",
    "Min": "min",
    "mod": "fmod",
    "piecewise": "Piecewise",
    "power": "pow",
    "round": "rint",
    "where": "select",
}
