"""Everything that machine code depends on is in the key of the cache."""

from dataclasses import fields, replace

import pytest
from kernel_problems import CHIRP

from cubie_kernels import System
from cubie_kernels.build import KernelConfig, build_kernel
from cubie_kernels.build.keys import KernelKey, versions
from cubie_kernels.build.krylov_source import KrylovConfig
from cubie_kernels.kernels.controllers import get_controller

KEY = KernelKey(
    text="def integrate(): pass",
    target="cpu",
    bits=64,
    width=8,
    options=("contract", "arcp"),
    triple="x86_64-unknown-linux-gnu",
    cpu="skylake",
    features="+avx2,-avx512f",
    versions=(("cubie", "1"), ("numba", "2")),
)
OTHER_KEYS = {
    "text": ["def integrate(): pass\n", ""],
    "target": ["cuda"],
    "bits": [32],
    "width": [16],
    "options": [("contract",), ("arcp", "contract"), ("contract,arcp",)],
    "triple": ["aarch64-unknown-linux-gnu"],
    "cpu": ["znver4"],
    "features": ["+avx2,+avx512f"],
    "versions": [
        (("cubie", "2"), ("numba", "2")),
        (("cubie", "1"),),
        (("cubie", "12"), ("numba", "")),
    ],
}
CONFIG = KernelConfig(
    system=CHIRP,
    method="heun",
    precision="float64",
    target="cpu",
    adaptive=True,
    controller=get_controller("pi"),
    swept_parameters=("w",),
    swept_states=("x",),
    saves=False,
    saved_states=(0, 1),
    saved_observables=(0,),
    width=2,
)
SAME_MODEL = {"states": {"x": 1.0, "y": 0.5}, "parameters": {"w": 1.0}, "observables": ["work"]}
OTHER_CONFIGS = {
    "system": System.from_equations("dx = -y\ndy = x\nwork = w", **SAME_MODEL, name="chirp"),
    "method": "bs3",
    "precision": "float32",
    "target": "numpy",
    "adaptive": False,
    "controller": get_controller("i"),
    "swept_parameters": (),
    "swept_states": ("y",),
    "saves": True,
    "saved_states": (1,),
    "saved_observables": (),
    "placement": "shared",
    "width": 1,
    "maths": "portable",
    "detect_stiffness": True,
    "linear_solver": "banded",
    "newton": "damped",
    "records": True,
}
# Choices that some kernels have only, and such a kernel.
BASES = {
    "detect_stiffness": {"method": "tsit5"},
    "linear_solver": {"method": "rosenbrock23"},
    "newton": {"method": "sdirk2", "linear_solver": KrylovConfig()},
    "records": {"target": "numpy"},
}


def test_every_field_is_flipped():
    assert set(OTHER_KEYS) == {field.name for field in fields(KernelKey)}
    assert set(OTHER_CONFIGS) == {field.name for field in fields(KernelConfig)}


@pytest.mark.parametrize("name", OTHER_KEYS)
def test_each_field_changes_the_digest(name):
    digests = {replace(KEY, **{name: value}).digest for value in OTHER_KEYS[name]}
    assert len(digests | {KEY.digest}) == len(OTHER_KEYS[name]) + 1


def test_digest_is_of_the_value():
    assert replace(KEY).digest == KEY.digest
    assert len(KEY.digest) == 40
    assert set(KEY.digest) <= set("0123456789abcdef")


@pytest.mark.parametrize("name", OTHER_CONFIGS)
def test_each_choice_changes_the_text(name):
    """Choices reach the key through the text of the module."""
    base = replace(CONFIG, **BASES.get(name, {}))
    assert getattr(base, name) != OTHER_CONFIGS[name]
    changed = replace(base, **{name: OTHER_CONFIGS[name]})
    assert build_kernel(changed).text != build_kernel(base).text


def test_versions_name_what_takes_part():
    known = dict(versions("llvmlite", "numba"))
    assert {"cubie", "cubie lane language", "llvmlite", "numba"} == set(known)
    assert all(known.values())
