"""Run direct linear solvers on each target: a matrix in each lane."""

from __future__ import annotations

import ctypes
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numba.core import cgutils
from numba.extending import intrinsic

from cubie_kernels.build.cuda import capability
from cubie_kernels.build.direct_source import LINEAR, PAIR, DirectSource, direct_source
from cubie_kernels.build.loading import load_module
from cubie_kernels.lane import cpu, cpu_math, reference, symbols
from cubie_kernels.lane.cpu_math_apply import _register
from cubie_kernels.lane.cpu_types import FLAGS, I32, I64, Array, Real
from cubie_kernels.lane.typed import typed_constants

KINDS = {64: np.float64, 32: np.float32}


@dataclass(frozen=True)
class Matrix:
    """What a solver is made for."""

    n: int
    pattern: tuple[tuple[int, int], ...]
    mass: tuple[tuple[tuple[int, int], float], ...] | None = None

    def values(self, j, shift):
        """Return W of each lane, shape (lanes, n, n)."""
        lanes = j.shape[1]
        w = np.zeros((self.n, self.n, lanes), np.result_type(shift, np.float64))
        entries = {(i, i): 1.0 for i in range(self.n)} if self.mass is None else dict(self.mass)
        for place, weight in entries.items():
            w[place] += weight * shift
        for k, place in enumerate(self.pattern):
            w[place] -= j[k]
        return np.moveaxis(w, -1, 0)


def band(n, lower, upper):
    """Return the pattern of a band."""
    return tuple((i, k) for i in range(n) for k in range(n) if i - lower <= k <= i + upper)


def dense(n):
    """Return the pattern of a matrix without zeros."""
    return band(n, n, n)


@functools.cache
def made(matrix: Matrix, kind: str, bits: int, most_dense: int = 100) -> DirectSource:
    """Return the code of a solver."""
    mass = None if matrix.mass is None else dict(matrix.mass)
    precision = f"float{bits}"
    return direct_source(
        kind,
        matrix.n,
        matrix.pattern,
        mass,
        precision=precision,
        pair=True,
        most_dense=most_dense,
    )


def tables(source: DirectSource, target: str) -> str:
    """Return the lines that define the tables of a solver."""
    lines = [f"{name} = reader({values!r}, {target!r})" for name, values in source.tables.items()]
    return "\n".join(["from cubie_kernels.lane.tables import reader", *lines])


def body(source: DirectSource, inline: bool = False) -> str:
    """Return the functions of a solver, with the Jacobian of a lane as the model's."""
    entries = source.sizes["lin_jacobian"]
    jacobian = f"def jacobian(t, y, p, j):\n    for k in range({entries}):\n        j[k] = p[k]"
    parts = [(jacobian, True)]
    parts += [(text, inline) for text in source.factors]
    parts += [(text, False) for text in source.called]
    parts += [(text, True) for text in source.inlined]
    return "\n\n\n".join(f"@device(inline={flag})\n{text}" for text, flag in parts)


def driver(matrix: Matrix, source: DirectSource, given: str, taken: str) -> str:
    """Return a function that solves a real and a complex system, from memory to memory.

    ``given`` reads a row and ``taken`` writes one. Given are the Jacobian, a, b and three
    right-hand sides; taken are three solutions, whether the real and the complex matrix are
    singular, and whether the numbers of codes and iterations are 0.
    """
    n, entries = matrix.n, len(matrix.pattern)
    linear, pair = ", ".join(LINEAR), ", ".join(PAIR)
    lines = [f"{name} = private({size})" for name, size in source.sizes.items()]
    lines += [f"p, x, re, im = private({entries}), private({n}), private({n}), private({n})"]
    lines += [f"for k in range({entries}):", f"    p[k] = {given.format('k')}"]
    lines += [f"a, b = {given.format(entries)}, {given.format(entries + 1)}"]
    lines += [f"for k in range({n}):"]
    lines += [
        f"    {name}[k] = {given.format(f'{entries + 2 + at * n} + k')}"
        for at, name in enumerate(("x", "re", "im"))
    ]
    lines += [
        f"linear_prepare(a, x, p, x, x, {linear})",
        f"bad = linear_factor(a, x, p, a, {linear})",
        f"bad_pair = pair_factor(a, x, p, a, b, {pair})",
        f"code, count = linear_solve(a, x, p, a, x, {linear})",
        f"code_pair, count_pair = pair_solve(a, x, p, a, b, re, im, {pair})",
        f"for k in range({n}):",
    ]
    lines += [
        f"    {taken.format(f'{at * n} + k', f'{name}[k]')}"
        for at, name in enumerate(("x", "re", "im"))
    ]
    for at, mask in enumerate(("bad", "bad_pair")):
        value = f"select({mask}, real(1.0), real(0.0))"
        lines.append(taken.format(3 * n + at, value))
    counts = "code + count + code_pair + count_pair"
    lines.append(taken.format(3 * n + 2, f"select({counts} < 1, real(1.0), real(0.0))"))
    return "def run(given, taken):\n" + "\n".join("    " + line for line in lines)


def solved(matrix, source, target, j, a, b, sides, bits=64, **options):
    """Solve in each lane; return the solutions (n, lanes), (n, lanes), and two masks."""
    lanes, n = j.shape[1], matrix.n
    given = np.vstack([j, [a, b], *sides]).astype(KINDS[bits])
    taken = np.full((3 * n + 3, lanes), np.nan, KINDS[bits])
    _TARGETS[target](matrix, source, bits, given, taken, **options)
    assert (taken[-1] == 1.0).all()
    x, re, im = taken[:n], taken[n : 2 * n], taken[2 * n : 3 * n]
    return x, re + 1j * im, taken[-3] > 0, taken[-2] > 0


def _numpy(matrix, source, bits, given, taken):
    scope = reference.lanes(bits, 0, given.shape[1])
    code = driver(matrix, source, "given[{}]", "taken[{}] = {}")
    exec("\n\n\n".join([tables(source, "numpy"), body(source), code]), scope)
    with np.errstate(all="ignore"):
        scope["run"](reference.Buffer(given), reference.Buffer(taken))


def _private(real):
    """Return what makes a buffer of a register each, full of NaN."""

    @intrinsic(prefer_literal=True)
    def private(typing, size):
        def emit(context, builder, sig, args):
            with builder.goto_entry_block():
                place = builder.alloca(real.vector, size=I32(max(size.literal_value, 1)))
                place.align = real.alignment
            length = I64(size.literal_value * real.w * real.bits // 8)
            cgutils.memset(builder, place, length, -1)
            return place

        return Array(real)(size), emit

    return private


@functools.cache
def _compiled(matrix, source_text, run, bits, width):
    symbols.load_symbols()
    load, store = _register(Real(bits, width))
    scope = cpu.lanes(bits=bits, width=width, shared=0) | cpu_math.namespace("auto")
    scope |= {"load": load, "store": store, "private": _private(Real(bits, width))}
    exec(source_text + "\n\n\n" + run, scope)
    return njit(scope["run"], fastmath=set(FLAGS), error_model="numpy")


def _cpu(matrix, source, bits, given, taken, inline=False):
    width = given.shape[1]
    run = driver(matrix, source, "load(given, {}, 0)", "store(taken, {}, 0, {})")
    text = tables(source, "cpu") + "\n\n" + body(source, inline)
    _compiled(matrix, text, run, bits, width)(given, taken)


@functools.cache
def _emulated(text, bits):
    """Return the code of the CUDA target on the CPU: a function of two addresses."""
    from cuda_on_cpu import CAPABILITY, EmulatedBlock
    from numba.cuda import compiler, types

    class EmulatedFunction(EmulatedBlock):
        def __init__(self, run) -> None:
            self.threads = 1
            kind = types.CPointer(types.float64 if bits == 64 else types.float32)
            with capability(CAPABILITY):
                library, _ = compiler._compile_pyfunc_with_fixup(
                    run, types.void(kind, kind), device=False, abi="numba", cc=CAPABILITY
                )
            entry = library._entry_name
            parts = [self._port(part, "no_arena") for part in library.llvm_strs]
            self._engine = self._compile(parts, entry)
            address = self._engine.get_function_address(entry)
            self.call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "emulated.py"
        path.write_text(text)
        module = load_module(path, f"emulated_{len(text)}_{hash(text)}")
    return EmulatedFunction(module.run)


def _cuda(matrix, source, bits, given, taken):
    head = (
        "from numpy import float32\n"
        "from cubie_kernels.lane.cuda import lanes\n"
        "from cubie_kernels.lane.cuda_math import namespace\n"
        f"globals().update(lanes({bits}, 0, 0))\n"
        "globals().update(namespace())\n"
    )
    code = driver(matrix, source, "given[{}]", "taken[{}] = {}")
    text = "\n\n\n".join([body(source), code])
    if bits == 32:
        text = typed_constants(text, "float32")
    function = _emulated("\n\n".join([head, tables(source, "cuda"), text]), bits)
    for lane in range(given.shape[1]):
        own, result = given[:, lane].copy(), np.full(len(taken), np.nan, taken.dtype)
        function.call(own.ctypes.data, result.ctypes.data)
        taken[:, lane] = result


_TARGETS = {"numpy": _numpy, "cpu": _cpu, "cuda": _cuda}
