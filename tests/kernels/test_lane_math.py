"""What the mathematical functions promise besides accuracy."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from lane_math_arguments import KINDS, random_arguments, special_values
from numba import njit

from cubie_kernels.errors import InputError
from cubie_kernels.lane import cpu_math, reference_math, symbols
from cubie_kernels.lane.cpu_math_apply import apply

NAMES = list(cpu_math.FUNCTIONS)
ALL_FLAGS = ("contract", "arcp", "nsz", "afn", "reassoc")


def arguments(kind: type, count: int = 960) -> tuple[np.ndarray, np.ndarray]:
    pairs = [random_arguments(name, kind, count) for name in NAMES]
    specials = special_values(kind)
    ends = [np.tile(specials, (len(NAMES), 1)), np.tile(specials[::-1], (len(NAMES), 1))]
    sides = zip(*pairs, strict=True)
    x, y = (np.hstack([np.array(side), end]) for side, end in zip(sides, ends, strict=True))
    return x, y


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(np.isnan(a), np.isnan(b)) and bool(
        np.all((a.view(f"u{a.itemsize}") == b.view(f"u{a.itemsize}")) | np.isnan(a))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_lane_does_not_depend_on_its_neighbours(kind):
    x, y = arguments(kind)
    order = np.random.default_rng(0).permutation(x.shape[1])
    straight = apply(NAMES, x, y)
    shuffled = apply(NAMES, x[:, order], y[:, order])
    assert same_bits(straight[:, order], shuffled)


@pytest.mark.parametrize("kind", KINDS)
def test_width_and_flags_of_the_kernel_do_not_change_a_bit(kind):
    x, y = arguments(kind)
    usual = apply(NAMES, x, y, flags=())
    assert same_bits(usual, apply(NAMES, x, y, flags=ALL_FLAGS))
    assert same_bits(usual, apply(NAMES, x, y, width=24, flags=ALL_FLAGS))


DIGEST = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from test_lane_math import digest
print(digest())
"""


def digest() -> str:
    """Return a hash of all functions' results."""
    total = hashlib.sha256()
    for kind in KINDS:
        x, y = arguments(kind)
        found = apply(NAMES, x, y, variant="inline")
        total.update(np.where(np.isnan(found), kind(np.nan), found).tobytes())
    return total.hexdigest()


@pytest.mark.skipif("avx2" not in symbols.host_features(), reason="compares two x86 extensions")
def test_machines_without_avx512_compute_the_same_bits():
    script = DIGEST.format(tests=os.path.dirname(__file__))
    older = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi2,+sse4.2"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **older},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == digest(), run.stderr


def test_only_far_lanes_take_the_library_path():
    # One far lane among near ones: the near ones keep their bits, the far one is right.
    near = np.linspace(-3.0, 3.0, 8)
    mixed = near.copy()
    mixed[5] = 1e15
    trigonometric = ["sin", "cos", "tan"]
    alone = apply(trigonometric, np.tile(near, (3, 1)))
    together = apply(trigonometric, np.tile(mixed, (3, 1)))
    others = np.arange(8) != 5
    np.testing.assert_array_equal(together[:, others], alone[:, others])
    # Values of 10**15 from 60 digits of pi.
    exact = [0.8582727931702359, -0.5131937377869703, -1.672414782127583]
    np.testing.assert_allclose(together[:, 5], exact, rtol=4e-16)


def test_scalars_are_lifted_and_alone_stay_scalars():
    power, exp = (cpu_math.namespace()[name] for name in ("pow", "exp"))

    @njit
    def scalars(x):
        return power(x, 0.5) + power(2, x) + exp(0.0)

    assert scalars(4.0) == 19.0
    np.testing.assert_array_equal(
        apply(["pow"], np.full((1, 5), 3.0), np.full((1, 5), 2.0)), np.full((1, 5), 9.0)
    )


def test_unknown_variant_names_the_nearest():
    with pytest.raises(InputError, match=r"maths='inlined'.*auto, inline.*mean 'inline'"):
        cpu_math.namespace("inlined")


def test_auto_is_inline_where_there_is_fma():
    expected = "inline" if {"fma", "neon"} & symbols.host_features() else "portable"
    assert cpu_math.paths("auto")["exp"] == expected
    assert cpu_math.paths("portable")["exp"] == "portable"
    assert cpu_math.paths("portable")["ceil"] == "inline"


def test_machine_without_vector_extensions():
    script = """
from cubie_kernels.errors import TargetError
from cubie_kernels.lane import cpu_math
assert set(cpu_math.paths("auto").values()) == {"portable", "inline"}
assert cpu_math.paths("auto")["exp"] == "portable"
try:
    cpu_math.namespace("libmvec")
except TargetError as error:
    assert "maths='auto'" in str(error), error
else:
    raise SystemExit("no error")
import numpy as np
from cubie_kernels.lane.cpu_math_apply import apply
assert np.allclose(apply(["exp"], np.ones((1, 8))), np.e)
"""
    oldest = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"}
    if "avx2" not in symbols.host_features():
        pytest.skip("needs an x86 machine")
    environment = {**os.environ, **oldest}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def test_symbols():
    libraries = symbols.load_symbols()
    if sys.platform == "linux" and os.path.exists("/etc/debian_version"):
        assert "libm.so.6" in libraries
    assert symbols.has_symbol("exp")
    assert not symbols.has_symbol("no_such_function_anywhere")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_reference_keeps_the_precision(kind):
    functions = reference_math.namespace()
    assert sorted(functions) == sorted(NAMES)
    x = np.array([1.0, 0.25, 0.5], kind)
    for name, count in cpu_math.FUNCTIONS.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            result = functions[name](*[x] * count)
        assert result.dtype == kind, name
        assert result.shape == x.shape
    assert functions["pow"](x, 2.0).dtype == kind


def cuda_text(precision: str) -> str:
    """Return the PTX of a kernel with all functions in one precision."""
    cuda = pytest.importorskip("numba.cuda")
    pytest.importorskip("cuda.core")
    from cubie_kernels.lane.cuda_math import namespace

    functions = namespace()
    assert sorted(functions) == sorted(NAMES)
    lines = ["def kernel(x, y, out):"]
    for i, (name, count) in enumerate(cpu_math.FUNCTIONS.items()):
        lines.append(f"    out[{i}] = f_{name}(x[0]{', y[0]' if count == 2 else ''})")
    scope = {f"f_{name}": function for name, function in functions.items()}
    exec("\n".join(lines), scope)
    pointer = cuda.types.CPointer(getattr(cuda.types, precision))
    signature = cuda.types.void(pointer, pointer, pointer)
    options = {"device": False, "cc": (9, 0), "output": "ptx", "abi": "numba"}
    return cuda.compile(scope["kernel"], signature, **options)[0]


def test_cuda_functions_keep_the_precision():
    narrow, wide = cuda_text("float32"), cuda_text("float64")
    # libdevice itself scales the rest of far arguments of sin, cos and tan in 64 bits.
    assert not re.search(r"(add|fma\.rn|div\.rn|sqrt\.rn|ld\.global|st\.global)\.f64", narrow)
    assert len(re.findall(r"mul\.f64", narrow)) <= 3
    assert len(re.findall(r"st\.global\.f64", wide)) == len(NAMES)
    assert len(re.findall(r"st\.global\.f32", narrow)) == len(NAMES)
