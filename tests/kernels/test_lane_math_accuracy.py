"""Accuracy of every function, on every path, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
from lane_math_arguments import (
    EXACT_FUNCTIONS,
    KINDS,
    REFERENCE,
    long_values,
    random_arguments,
    special_values,
    units_off,
)

from cubie_kernels.errors import TargetError
from cubie_kernels.lane import cpu_math, reference_math
from cubie_kernels.lane.cpu_math_apply import apply

NAMES = list(cpu_math.FUNCTIONS)
INEXACT = [name for name in NAMES if name not in EXACT_FUNCTIONS]
# The inlined functions' own bounds in units in the last place; 1.1 where nothing is said.
INLINE = {
    "sinh": 1.3,
    "tanh": 1.6,
    "acosh": 1.7,
    "asinh": 1.3,
    "atan": 1.3,
    "atan2": 1.5,
    "erf": 1.3,
}
INLINE |= {"log2": 1.2, "acos": 1.2, "expm1": 1.2, "hypot": 1.2}
# What glibc promises of libmvec.
LIBRARY = 4.1
LONG = np.finfo(np.longdouble).nmant >= 63


def available_variants() -> list[str]:
    try:
        cpu_math.paths("libmvec")
    except TargetError:
        return ["inline", "portable"]
    return ["inline", "libmvec", "portable"]


def bound(name: str, variant: str) -> float:
    if name in EXACT_FUNCTIONS:
        return 0.0
    return INLINE.get(name, 1.1) if variant == "inline" else LIBRARY


@pytest.mark.skipif(not LONG, reason="NumPy has no longer precision on this machine")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", available_variants())
def test_random_arguments(variant, kind):
    names = [name for name in NAMES if name != "erf"]
    pairs = [random_arguments(name, kind, 20_000) for name in names]
    x, y = (np.array(side) for side in zip(*pairs, strict=True))
    found = apply(names, x, y, variant=variant)
    worst = {}
    for row, name in enumerate(names):
        error = units_off(found[row], long_values(name, x[row], y[row]), kind)
        i = int(np.argmax(error))
        if error[i] > bound(name, variant):
            worst[name] = (float(error[i]), x[row, i], y[row, i], found[row, i])
    assert not worst


@pytest.mark.parametrize("variant", available_variants())
def test_exact_values(variant):
    # Works where NumPy has no longer precision, and is the only test of erf in 64 bits.
    with np.load(REFERENCE) as file:
        tables = dict(file)
    assert sorted(tables) == sorted(INEXACT)
    x, y, high, low = (np.array([tables[name][i] for name in INEXACT]) for i in (0, -3, -2, -1))
    found = apply(INEXACT, x, y, variant=variant)
    error = np.max(np.abs((found - high) - low) / np.spacing(np.abs(high)), axis=1)
    bounds = np.array([bound(name, variant) for name in INEXACT])
    assert not {name: error[row] for row, name in enumerate(INEXACT) if error[row] > bounds[row]}


@pytest.mark.parametrize("variant", available_variants())
def test_erf_in_32_bits(variant):
    x = np.linspace(-4.5, 4.5, 100_001, dtype=np.float32)
    found = apply(["erf"], x[None], variant=variant)[0]
    exact = reference_math.namespace()["erf"](x.astype(np.float64))
    assert np.max(units_off(found, exact, np.float32)) <= bound("erf", variant)


WIDTHS = [(variant, width) for variant in available_variants() for width in (3, None)]
WIDTHS += [("inline", 1), ("inline", 32)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("variant", "width"), WIDTHS)
def test_special_values(variant, kind, width):
    values = special_values(kind)
    first, second = (grid.ravel() for grid in np.meshgrid(values, values))
    x, y = (np.tile(side, (len(NAMES), 1)) for side in (first, second))
    found = apply(NAMES, x, y, variant=variant, width=width)
    functions = reference_math.namespace()
    faults = []
    for row, name in enumerate(NAMES):
        wide = [first, second][: cpu_math.FUNCTIONS[name]]
        if name != "erf" and LONG:
            wide = [a.astype(np.longdouble) for a in wide]
        with np.errstate(all="ignore"):
            expected = functions[name](*wide).astype(kind)
        sign = np.signbit(found[row]) != np.signbit(expected)
        wrong = (sign & ~np.isnan(expected)) | (units_off(found[row], expected, kind) > LIBRARY)
        columns = (first[wrong], second[wrong], found[row][wrong], expected[wrong])
        faults += [(name, *values) for values in zip(*columns, strict=True)]
    assert not faults[:10]


def test_all_magnitudes_of_32_bits():
    # Every 16381st bit pattern: subnormals, infinities and NaN included; exact through 64 bits.
    names = [name for name, count in cpu_math.FUNCTIONS.items() if count == 1]
    x = np.arange(0, 2**32, 16381, dtype=np.uint32).view(np.float32)
    found = apply(names, np.tile(x, (len(names), 1)), variant="inline")
    functions = reference_math.namespace()
    with np.errstate(all="ignore"):
        exact = np.array([functions[name](x.astype(np.float64)) for name in names])
        rounded = exact.astype(np.float32)
    error = np.array([np.max(units_off(found[i], exact[i], np.float32)) for i in range(len(names))])
    bounds = np.array([bound(name, "inline") for name in names])
    assert not {name: error[i] for i, name in enumerate(names) if error[i] > bounds[i]}
    signs = np.signbit(found) != np.signbit(rounded)
    assert not np.any(signs & ~np.isnan(rounded))
