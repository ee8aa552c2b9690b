"""Mathematical functions of the lane language for NumPy arrays of lanes.

They keep the precision of their arguments, 16 bits included. Results at poles and outside a
function's domain are infinities and NaN; the caller decides whether NumPy warns of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["namespace"]

_UFUNCS = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "pow": np.power,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "cbrt": np.cbrt,
    "hypot": np.hypot,
    "sign": np.sign,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "fmod": np.fmod,
}


def _erf(x: Any) -> Any:
    """Return the error function."""
    from scipy import special

    kind = getattr(x, "dtype", np.dtype(np.float64))
    return special.erf(x).astype(kind, copy=False)


def namespace() -> dict[str, Callable[..., Any]]:
    """Return the functions by their names in the lane language.

    Returns
    -------
    dict of str to callable
        Functions of arrays of lanes, any shape, which keep float16, float32 and float64. Python
        numbers take the precision of the other argument.
    """
    return {**_UFUNCS, "erf": _erf}
