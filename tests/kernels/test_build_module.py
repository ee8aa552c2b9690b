"""The text of a kernel, the memory it declares, and the machine code made of it."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from kernel_problems import CHIRP

from cubie_kernels import InputError, Solver, TargetError
from cubie_kernels.build import build_kernel
from cubie_kernels.build.module import kernel_module, kernel_registry

SOLVER = Solver(CHIRP, t_span=(0, 1), swept=["w"], method="bs3", save_every=0.5)
# May reorder sums or take NaN and infinity for impossible.
FORBIDDEN = {"fast", "nnan", "ninf", "reassoc"}
BUFFERS = {
    "loop_state",
    "loop_proposed_state",
    "loop_parameters",
    "loop_observables",
    "erk_stage_rhs",
    "erk_stage_accumulator",
}
HASH = """
import sys
sys.path.insert(0, sys.argv[1])
import hashlib
from test_build_module import SOLVER
from cubie_kernels.build.module import kernel_module
print(hashlib.sha256(kernel_module(SOLVER.config()).body.encode()).hexdigest())
"""
COMPILE = """
import sys
sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from test_build_module import SOLVER
from cubie_kernels.build import build_kernel
build_kernel(replace(SOLVER.config(), width=2, precision=sys.argv[2]))
"""


def python(program, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", program, os.path.dirname(__file__), *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=200,
    ).stdout


def test_text_is_a_function_of_the_configuration():
    body = kernel_module(SOLVER.config()).body
    assert kernel_module(replace(SOLVER.config())).body == body
    digest = hashlib.sha256(body.encode()).hexdigest()
    for seed in ("1", "2"):
        assert python(HASH, PYTHONHASHSEED=seed).strip() == digest


def test_text_is_readable():
    """The module is plain Python with the model's own names, its coefficients written in."""
    text = build_kernel(replace(SOLVER.config(), target="numpy")).text
    compile(text, "kernel", "exec")
    first, *_ = text.splitlines()
    assert all(word in first for word in ("chirp", "bs3", "float64", "numpy", "adaptive"))
    assert re.search(r"^    c = 1\.0 \+ w ?\* ?t|^    c = .*w.*t", text, re.MULTILINE)
    assert "def rhs(t, y, p, dy):" in text
    assert "def integrate(" in text
    assert not re.search(r"\b(STAGES|ORDER|ERROR|DENSE_\w+|SAVES)\b", text)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_no_flag_hides_a_nan(precision, tmp_path):
    """As LLVM sees the kernel, before and after it is optimised."""
    text = python(
        COMPILE,
        precision,
        CUBIE_CACHE_DIR=str(tmp_path),
        NUMBA_DUMP_LLVM="1",
        NUMBA_DUMP_OPTIMIZED="1",
    )
    lines = re.findall(
        r"= (?:tail )?(fadd|fsub|fmul|fdiv|fneg|fcmp|select|call|phi) ([^%@\n]*)", text
    )
    arithmetic = [flags.split() for kind, flags in lines if kind in ("fadd", "fmul", "fsub")]
    assert len(arithmetic) > 100
    assert sum("contract" in flags for flags in arithmetic) > 50
    for kind, flags in lines:
        assert not FORBIDDEN & set(flags.split()), (kind, flags)


@pytest.mark.parametrize("placement", ["auto", "local", "shared"])
@pytest.mark.parametrize("target", ["cpu", "numpy"])
def test_buffers_are_explained(target, placement):
    config = replace(SOLVER.config(), target=target, placement=placement)
    explanation = kernel_registry(config).explain("loop")
    assert {row.name for row in explanation.rows} >= BUFFERS
    sizes = {row.name: row.size for row in explanation.rows}
    assert (sizes["loop_state"], sizes["loop_parameters"], sizes["loop_observables"]) == (2, 1, 1)
    assert sizes["erk_stage_rhs"] == 4 * 2
    if placement != "auto":
        assert {row.location for row in explanation.rows} == {placement}
    total = 8 * sum(sizes.values())
    assert explanation.shared_bytes == (total if placement == "shared" else 0)
    module = kernel_module(config)
    assert module.arena == module.shared == (sum(sizes.values()) if placement == "shared" else 0)
    for name in BUFFERS:
        assert name in str(explanation)


def test_no_cuda_launch_yet():
    with pytest.raises(TargetError, match="target='cpu' or target='numpy'"):
        build_kernel(replace(SOLVER.config(), target="cuda"))


@pytest.mark.parametrize("width", [0, -8, 12])
def test_width_is_a_power_of_two(width):
    with pytest.raises(InputError, match=f"power of two.*{width}"):
        replace(SOLVER.config(), width=width)
