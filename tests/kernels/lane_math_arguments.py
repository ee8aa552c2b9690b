"""Arguments and exact values for the tests of the lane language's mathematics."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cubie_kernels.lane import cpu_math

REFERENCE = Path(__file__).with_name("test_lane_math_reference.npz")
KINDS = (np.float64, np.float32)
EXACT_FUNCTIONS = ("sign", "ceil", "trunc", "rint", "fmod")
NUMPY_NAMES = {
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "pow": "power",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
}
# Widest ranges in which results are neither zero nor infinite, in 64 and in 32 bits.
LARGEST = {
    "exp": (708.0, 87.0),
    "exp2": (1020.0, 125.0),
    "expm1": (708.0, 87.0),
    "sinh": (709.0, 88.0),
    "cosh": (709.0, 88.0),
    "tanh": (20.0, 9.0),
    "sin": (1e9, 1e5),
    "cos": (1e9, 1e5),
    "tan": (1e9, 1e5),
    "asin": (1.0, 1.0),
    "acos": (1.0, 1.0),
    "atanh": (1.0, 1.0),
}
ABOVE_ZERO = ("log", "log2", "log10", "log1p", "acosh")


def special_values(kind: type) -> np.ndarray:
    """Return numbers where functions turn, overflow, or are not defined; both signs."""
    info = np.finfo(kind)
    values = [0.0, info.smallest_subnormal, 0.75 * info.tiny, info.tiny, info.max, np.inf, np.nan]
    values += [1 - info.epsneg, 1.0, 1 + info.eps, 1e-5, 0.3, 1 / 3, 0.5, 1.5, 2.0, 2.5, 3.0, 7.0]
    values += [20.0, 89.5, 104.0, 100.5, 710.0, 745.2, 750.0, 1e5, 3e9, 1e18, 2.0**52 + 1]
    with np.errstate(over="ignore"):
        half = np.array(values).astype(kind)
    return np.concatenate([half, -half])


def _magnitudes(random: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    return np.exp(random.uniform(np.log(low), np.log(high), count))


def random_arguments(name: str, kind: type, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return arguments all over a function's domain, dense where it is hard to compute."""
    random = np.random.default_rng([ord(letter) for letter in name])
    wide = kind == np.float64
    signs = random.choice([-1.0, 1.0], count)
    y = _magnitudes(random, 1e-3, 1e3, count) * random.choice([-1.0, 1.0], count)
    tiny, huge = (1e-290, 1e290) if wide else (1e-30, 1e30)
    part = count // 4
    if name == "pow":
        # The result stays within the range of the precision.
        x = np.abs(_magnitudes(random, tiny, huge, count))
        x[:part] = random.uniform(0.5, 2.0, part)
        y = random.uniform(-1, 1, count) * (650 if wide else 80) / np.abs(np.log(x))
    elif name in ABOVE_ZERO:
        x = _magnitudes(random, tiny, huge, count)
        x[:part] = random.uniform(0.5, 2.0, part)
        x[part : 2 * part] = 1.0 + signs[:part] * _magnitudes(random, 1e-15, 0.1, part)
        x = 1.0 + np.abs(x - 1.0) if name == "acosh" else x
        x = np.concatenate([x[:part] - 1.0, x[part:] * 1e-3]) if name == "log1p" else x
    else:
        largest = LARGEST.get(name, (100.0, 100.0))[0 if wide else 1]
        x = signs * _magnitudes(random, 1e-20 if wide else 1e-10, largest, count)
        x[:part] = random.uniform(-min(largest, 10.0), min(largest, 10.0), part)
        if name in ("sin", "cos", "tan"):
            x[part : 2 * part] = np.arange(part) * np.pi / 2
        if name in ("asin", "acos", "atanh"):
            near = 1.0 - _magnitudes(random, 1e-15, 0.5, part)
            x[part : 2 * part] = signs[:part] * near
    return np.clip(x, -huge, huge).astype(kind), y.astype(kind)


def long_values(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a function's values in NumPy's longest precision."""
    arguments = [a.astype(np.longdouble) for a in (x, y)][: cpu_math.FUNCTIONS[name]]
    with np.errstate(all="ignore"):
        return getattr(np, NUMPY_NAMES.get(name, name))(*arguments)


def units_off(found: np.ndarray, exact: np.ndarray, kind: type) -> np.ndarray:
    """Return the errors in units in the last place; equal infinities and NaN have none."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(kind)
        unit = np.spacing(np.abs(rounded)).astype(np.longdouble)
        error = np.abs(found.astype(np.longdouble) - exact) / unit
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    return np.where(
        np.isfinite(rounded), np.nan_to_num(error, nan=np.inf), np.where(same, 0, np.inf)
    )
