"""The code of the CUDA target computes what the other targets compute."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the extra cubie[cuda]")

from cuda_cases import (
    ELABORATE,
    FORCED,
    RUNS,
    assert_equal_bits,
    columns,
    cuda_config,
    solver,
)
from cuda_on_cpu import EmulatedBlock
from method_list import ADAPTIVE, IMPLICIT

from cubie_kernels import System
from cubie_kernels.run.execute import execute
from cubie_kernels.status import Status

SLOW = pytest.mark.slow

# Method, precision, placement of scratch memory, and further options of the solver.
CASES = [
    pytest.param("tsit5", "float64", "local", {"save_every": 0.37}, id="fsal"),
    pytest.param("dop853", "float32", "shared", {}, id="two-estimators", marks=SLOW),
    pytest.param("cash-karp54", "float32", "local", {"save_every": 0.5}, id="not-fsal", marks=SLOW),
    pytest.param("dop853", "float64", "local", {"save_every": 0.7}, id="own-dense", marks=SLOW),
    pytest.param("tsit5", "float32", "shared", {"save_every": 0.37}, id="shared", marks=SLOW),
    pytest.param(
        "rk4", "float32", "shared", {"dt": 0.07, "adaptive": False, "save_every": 0.5}, id="fixed"
    ),
    pytest.param(
        "tsit5", "float64", "shared", {"dt": 0.05, "adaptive": False}, id="fixed-end", marks=SLOW
    ),
    pytest.param(
        "bs3", "float64", "local", {"controller": "h211b", "dt": 0.01}, id="filter",
        marks=SLOW,
    ),
    pytest.param("rodas4", "float64", "local", {}, id="rosenbrock"),
    pytest.param(
        "kvaerno3", "float64", "shared", {"newton": "damped"}, id="damped-newton", marks=SLOW
    ),
    pytest.param(
        "radau-iia-9", "float64", "local", {"linear_solver": "gmres"}, id="matrix-free",
        marks=[SLOW, pytest.mark.exhaustive],
    ),
    *(
        pytest.param(name, precision, placement, steps, id=id, marks=SLOW)
        for name in IMPLICIT
        for precision, placement, steps, id in (
            ("float64", "shared", {"dt": 0.05, "adaptive": False}, f"{name}-fixed"),
            ("float32", "local", {}, f"{name}-adaptive"),
        )
        if name in ADAPTIVE or steps
    ),
]  # fmt: skip


def _assert_near(result, expected, near: float) -> None:
    np.testing.assert_array_equal(result.status, expected.status)
    np.testing.assert_array_equal(result.final_time, expected.final_time)
    for name in ("final_state", "final_observables", "states", "observables"):
        value, wanted = getattr(result, name), getattr(expected, name)
        assert (value is None) == (wanted is None)
        if value is not None:
            assert value.dtype == wanted.dtype
            np.testing.assert_allclose(value, wanted, rtol=near, atol=near, err_msg=name)


@pytest.mark.parametrize(("method", "precision", "placement", "extra"), CASES)
def test_cuda_code_agrees_with_the_reference_and_the_cpu(method, precision, placement, extra):
    double = precision == "float64"
    options = {"method": method, "precision": precision, **extra}
    options |= {} if double else {"rtol": 1e-4, "atol": 1e-5}
    made = solver(FORCED, **options)
    inputs = columns(FORCED)
    block = EmulatedBlock(cuda_config(made, placement))
    result = execute(block.kernel, made.batch(inputs, RUNS), threads=1)
    assert set(result.status) == {Status.SUCCESS}
    # The reference rounds after each operation, as the emulated code does.
    assert_equal_bits(result, made.run(inputs, RUNS))
    # The CPU fuses some; where the step adapts, both are solutions within the tolerance.
    fixed = extra.get("adaptive") is False
    near = (1e-12 if double else 1e-4) if fixed else (1e-4 if double else 1e-2)
    _assert_near(result, solver(FORCED, target="cpu", **options).run(inputs, RUNS), near)


@pytest.mark.parametrize("precision", ["float64", pytest.param("float32", marks=SLOW)])
def test_elementary_functions_agree_to_rounding(precision):
    options = {"method": "heun", "precision": precision, "dt": 0.05, "adaptive": False}
    made = solver(ELABORATE, **options)
    inputs = columns(ELABORATE)
    block = EmulatedBlock(cuda_config(made))
    result = execute(block.kernel, made.batch(inputs, RUNS), threads=1)
    near = 1e-12 if precision == "float64" else 1e-4
    for target in ("numpy", "cpu"):
        expected = solver(ELABORATE, target=target, **options).run(inputs, RUNS)
        _assert_near(result, expected, near)


def test_failures_end_as_on_the_other_targets():
    # x grows without bound in finite time for the larger initial values.
    system = System.from_equations(
        "dx = a*x*x", states={"x": 1.0}, parameters={"a": 1.0}, name="blow_up"
    )
    options = {"save_every": 0.25, "max_steps": 200, "t_span": (0.0, 2.0)}
    made = solver(system, **options)
    inputs = columns(system)
    block = EmulatedBlock(cuda_config(made))
    result = execute(block.kernel, made.batch(inputs, RUNS), threads=1)
    expected = made.run(inputs, RUNS)
    assert len(set(result.status)) > 1
    assert_equal_bits(result, expected)
