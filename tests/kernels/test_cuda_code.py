"""Kernels compiled for GPUs without one: what the machine code uses, and what is refused."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="the extra cubie[cuda]")

from cuda_cases import FORCED, LORENZ, STIFF, cuda_config, solver
from method_list import ADAPTIVE, FEW_IMPLICIT, IMPLICIT

from cubie_kernels import System
from cubie_kernels.build import cuda as build
from cubie_kernels.build.store import KernelStore
from cubie_kernels.errors import BuildError, PrecisionError, TargetError
from cubie_kernels.lane.abi import ENTRY
from cubie_kernels.lane.typed import typed_constants

SLOW = pytest.mark.slow


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    build.compile_cuda.cache_clear()
    return tmp_path


# ------------------------------------------------------------------------- machine code
@pytest.mark.parametrize(
    ("precision", "capability", "extra", "registers"),
    [
        pytest.param("float64", (9, 0), {}, 96, id="f64"),
        pytest.param("float32", (8, 0), {}, 64, id="f32"),
        pytest.param("float64", (8, 0), {"save_every": 0.1}, 144, id="f64-saves", marks=SLOW),
        pytest.param("float32", (9, 0), {"save_every": 0.1}, 96, id="f32-saves", marks=SLOW),
        pytest.param("float32", (7, 5), {"adaptive": False, "dt": 0.1}, 96, id="T4", marks=SLOW),
        pytest.param("float64", (12, 0), {"adaptive": False, "dt": 0.1}, 128, id="B", marks=SLOW),
    ],
)
def test_lorenz_fits_in_registers(own_cache, precision, capability, extra, registers):
    config = cuda_config(solver(LORENZ, precision=precision, **extra))
    code = build.compile_cuda(config, capability)
    assert code.cubin[:4] == b"\x7fELF"
    assert code.entry.encode() in code.cubin
    assert code.shared_bytes == 0
    assert code.resources.stack == 0
    assert code.resources.spill_stores == code.resources.spill_loads == 0
    # Generous: compilers differ by a few.
    assert 24 <= code.resources.registers <= registers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "capability"),
    [("float64", (9, 0)), pytest.param("float32", (8, 0), marks=pytest.mark.exhaustive)],
)
@pytest.mark.parametrize("method", FEW_IMPLICIT)
def test_implicit_kernels_compile(own_cache, method, precision, capability):
    code = build.compile_cuda(
        cuda_config(solver(STIFF, precision=precision, method=method)), capability
    )
    assert code.cubin[:4] == b"\x7fELF"
    assert code.shared_bytes <= 512
    assert code.resources.spill_stores == code.resources.spill_loads == 0


def test_the_code_of_the_page_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "targets.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    exec(compile(block, "targets.md", "exec"), {})
    assert "stack=0, spill_stores=0, spill_loads=0" in capsys.readouterr().out


def test_compiled_code_is_read_back_from_the_disk(own_cache):
    config = cuda_config(solver(LORENZ, dt=0.1, adaptive=False), "shared")
    first = build.compile_cuda(config, (9, 0))
    (entry,) = own_cache.glob("*/*.kernel")
    assert KernelStore().load(entry.stem).code == first.cubin
    written = entry.stat().st_mtime_ns
    build.compile_cuda.cache_clear()
    assert build.compile_cuda(config, (9, 0)) == first
    assert entry.stat().st_mtime_ns == written
    # All scratch memory of a thread: the arena is interleaved over the block.
    assert first.shared_bytes > 0
    assert first.shared_bytes % 8 == 0


# ---------------------------------------------------------------------- typed constants
def _double_operations(ptx: str) -> Counter:
    """Count the 64-bit arithmetic; comparisons, selections and moves are not arithmetic."""
    words = re.findall(r"^\s+(?:@!?%p\d+ )?([a-z][\w.]*\.f64)\b", ptx, re.M)
    return Counter(word.split(".")[0] for word in words) & Counter(
        dict.fromkeys(("add", "sub", "mul", "fma", "div", "rcp", "sqrt", "neg", "abs"), 1000)
    )


def test_f32_kernel_computes_in_64_bits_only_with_time():
    ptx = build.cuda_ptx(cuda_config(solver(LORENZ, precision="float32")))
    # Once a step: the time that is left, and the next time.
    assert _double_operations(ptx) == {"sub": 1, "add": 1}
    assert "mul.f32" in ptx or "fma.rn.f32" in ptx


@pytest.mark.slow
def test_f32_kernel_of_a_model_with_time_and_saves_adds_only_times():
    ptx = build.cuda_ptx(cuda_config(solver(FORCED, precision="float32", save_every=0.5)))
    assert set(_double_operations(ptx)) <= {"add", "sub"}


@pytest.mark.slow
@pytest.mark.parametrize("method", IMPLICIT)
def test_implicit_f32_kernels_compute_in_64_bits_only_with_time(method):
    steps = {} if method in ADAPTIVE else {"dt": 0.01, "adaptive": False}
    ptx = build.cuda_ptx(cuda_config(solver(STIFF, precision="float32", method=method, **steps)))
    found = _double_operations(ptx)
    # The time after a number of fixed steps.
    assert found.pop("fma", 0) == len(steps) // 2
    assert set(found) <= {"add", "sub"}


@pytest.mark.slow
def test_values_within_steps_with_a_mass_matrix_are_computed_in_f32():
    system = System.from_equations(
        "dx = y - x\ndy = -a*x*y",
        states={"x": 1.0, "y": 1.0},
        parameters={"a": 1.0},
        mass={("x", "y"): 0.5, "y": 2.0},
        name="massive",
    )
    ptx = build.cuda_ptx(
        cuda_config(solver(system, precision="float32", method="kvaerno3", save_every=0.5))
    )
    assert set(_double_operations(ptx)) <= {"add", "sub"}


def test_literals_become_constants_of_the_precision():
    text = typed_constants("def f(y, i):\n    y[0] = 0.1 * y[i + 1] - 0.1 - 2.5e-07\n", "float32")
    assert text.splitlines() == [
        "_k0 = float32(0.1)",
        "_k1 = float32(2.5e-07)",
        "",
        "",
        "def f(y, i):",
        "    y[0] = _k0 * y[i + 1] - _k0 - _k1",
    ]


def test_f64_text_has_plain_literals_and_f32_text_none():
    for precision, literals in (("float64", True), ("float32", False)):
        text, _ = build.cuda_source(cuda_config(solver(LORENZ, precision=precision)))
        functions = text[text.index("\ndef ") :]
        assert bool(re.search(r"[^\w][0-9]+\.[0-9]", functions)) is literals


# ---------------------------------------------------------------------------- the language
def test_all_targets_have_the_same_names():
    from cubie_kernels.lane import cpu, cpu_math, cuda, cuda_math, reference, reference_math

    primitives = set(reference.lanes(64, 0, 1))
    assert set(cuda.lanes(64, 0, 0)) == primitives
    assert set(cpu.lanes(64, 2, 0)) == primitives
    functions = set(reference_math.namespace())
    assert set(cuda_math.namespace()) == functions
    assert set(cpu_math.namespace()) == functions


# ------------------------------------------------------------------------------- refusals
def test_old_gpus_and_other_targets_are_refused():
    made = solver(LORENZ)
    with pytest.raises(TargetError, match=r"6\.1 are not supported; the oldest is 7\.5"):
        build.compile_cuda(cuda_config(made), (6, 1))
    with pytest.raises(TargetError, match="takes target='cuda', not 'numpy'"):
        build.compile_cuda(made.config())


def test_half_precision_is_refused():
    config = replace(cuda_config(solver(LORENZ)), precision="float16")
    with pytest.raises(PrecisionError, match="float16; use float32 or float64"):
        build.compile_cuda(config)


def test_a_module_that_does_not_compile_is_named(own_cache, tmp_path):
    path = tmp_path / "broken.py"
    names = ", ".join(f"a{i}" for i in range(len(ENTRY)))
    path.write_text(f"def integrate({names}):\n    a0.nothing\n")
    with pytest.raises(BuildError, match=r"broken\.py does not compile"):
        build._compile(path, 64, (9, 0), "ltoir")


def test_capability_is_put_back_after_a_failure():
    from numba.cuda import dispatcher

    own = dispatcher.get_current_device

    def fail() -> None:
        with build.capability((9, 0)):
            raise ZeroDivisionError(dispatcher.get_current_device().compute_capability)

    with pytest.raises(ZeroDivisionError, match=r"\(9, 0\)"):
        fail()
    assert dispatcher.get_current_device is own


_WITHOUT_EXTRA = """
import sys
sys.modules["numba_cuda"] = None
import cubie_kernels
from cubie_kernels import Solver, System
from cubie_kernels.build.cuda import compile_cuda
from dataclasses import replace
from pathlib import Path
assert not [name for name in sys.modules if name.startswith("numba.cuda")]
system = System.from_equations("dx = -x", states={"x": 1.0})
config = replace(Solver(system, t_span=(0.0, 1.0)).config(), target="cuda")
try:
    compile_cuda(config)
except cubie_kernels.errors.TargetError as fault:
    print(fault)
"""


def test_without_the_extra_the_error_names_it():
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_EXTRA], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "numba_cuda, which is not installed" in done.stdout
    assert "pip install 'cubie[cuda]'" in done.stdout
