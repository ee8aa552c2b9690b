"""Derivatives and LU factors compiled for the CPU target agree with the reference."""

import numpy as np
import pytest
from numba import njit

from cubie_kernels.lane import cpu, cpu_math, symbols
from cubie_kernels.lane.cpu_math_apply import _register
from cubie_kernels.lane.cpu_types import FLAGS, Real
from cubie_kernels.model import System
from cubie_kernels.model.functions import FUNCTIONS
from cubie_kernels.model.sparse_lu import lu_source

WIDTH = 8


def everything() -> System:
    """Return a model that uses each function and each way to choose."""
    lines, states = [], {}
    for i, (name, row) in enumerate(FUNCTIONS.items()):
        states[f"u{i}"] = 0.0
        own, next_ = f"u{i}", f"u{(i + 1) % len(FUNCTIONS)}"
        inside = {"acosh": f"2 + {own}", "n": own, "nn": f"{own}, 1 + {next_}"}
        if row.takes in inside:
            right = f"{name}({inside.get(name, inside[row.takes])})"
        else:
            right = (
                f"Piecewise((k*{own}, {own} > 0.5), (0, {own} > 0.3 and t < 2), ({next_}, True))"
            )
        lines.append(f"d{own} = {right} + k*t*t*{own}**2.5 - {own}**3/(1 + {next_})")
    return System.from_equations("\n".join(lines), states=states, parameters={"k": 0.3})


def compiled(system: System, bits: int, text: str, body: list[str]):
    """Compile derivative code, and a caller that fills registers and stores results."""
    symbols.load_symbols()
    load, store = _register(Real(bits, WIDTH))
    scope = cpu.lanes(bits=bits, width=WIDTH, shared=0) | cpu_math.namespace("auto")
    scope |= {"load": load, "store": store}
    parts = ["@device\ndef " + part.strip() for part in ("\n" + text).split("\ndef ")[1:]]
    head = ["def run(given, out):", f"    y = private({len(system.states)})", "    p = private(1)"]
    head += [f"    y[{i}] = load(given, {i}, 0)" for i in range(len(system.states))]
    head += [f"    p[0] = load(given, {len(system.states)}, 0)", "    t = real(1.5)"]
    exec("\n\n".join([*parts, "\n".join(head + ["    " + line for line in body])]), scope)
    return njit(scope["run"], fastmath=set(FLAGS), error_model="numpy")


@pytest.mark.parametrize(
    ("bits", "rtol"), [(64, 1e-11), pytest.param(32, 3e-4, marks=pytest.mark.slow)]
)
def test_compiled_derivatives_agree_with_the_graph(bits, rtol):
    system = everything()
    n, entries = len(system.states), len(system.jacobian_pattern)
    code = lu_source(n, system.jacobian_pattern)
    body = [
        f"j, d, x, w = private({entries}), private({n}), private({n}), private({code.entries})",
        "jacobian(t, y, p, j)",
        "time_derivative(t, y, p, d)",
        "jvp(t, y, p, y, x)",
        *(f"store(out, {k}, 0, j[{k}])" for k in range(entries)),
        *(f"store(out, {entries + k}, 0, d[{k}])" for k in range(n)),
        *(f"store(out, {entries + n + k}, 0, x[{k}])" for k in range(n)),
        "lu_factor(j, real(20.0), w)",
        "lu_solve(w, d)",
        *(f"store(out, {entries + 2 * n + k}, 0, d[{k}])" for k in range(n)),
    ]
    run = compiled(system, bits, system.derivative_source() + "\n\n" + code.text, body)
    kind = np.float64 if bits == 64 else np.float32
    given = np.random.default_rng(2).uniform(0.2, 0.8, (n + 1, WIDTH)).astype(kind)
    out = np.full((entries + 3 * n, WIDTH), np.nan, kind)
    run(given, out)

    y, p = given[:-1].astype(np.float64), given[-1:].astype(np.float64)
    matrix = system.numpy_jacobian()(1.5, y, p)
    change = 2 * 1.5 * p * y**2.5
    wanted = [matrix[place] for place in system.jacobian_pattern]
    wanted += list(change)
    wanted += list(np.einsum("ijl,jl->il", matrix, y))
    solved = [np.linalg.solve(20 * np.eye(n) - matrix[..., k], change[:, k]) for k in range(WIDTH)]
    wanted += list(np.transpose(solved))
    np.testing.assert_allclose(out, np.array(wanted), rtol=rtol, atol=rtol)
