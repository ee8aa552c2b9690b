"""Run lane-language text on every target, through the entry that kernels have."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import numpy as np

from cubie_kernels.lane.abi import ENTRY, RESULTS, Control

KINDS = {"int64": np.int64, "int32": np.int32, "uint8": np.uint8, "float64": np.float64}
_HEADS = {
    "numpy": ("reference", "reference_math", "lanes({bits}, {shared}, WIDTH)", "namespace()"),
    "cpu": ("cpu", "cpu_math", "lanes({bits}, {width}, {shared})", "namespace('auto')"),
    "cuda": ("cuda", "cuda_math", "lanes({bits}, {shared}, {persistent})", "namespace()"),
}


@dataclass(frozen=True)
class Program:
    """Functions in the lane language, and statements that call them once for each run.

    Attributes
    ----------
    text : str
        The functions.
    body : tuple of str
        Statements. They read the run's reals ``given[i]`` and write ``out[i]``, and the lane
        integers ``code``, ``first`` and ``second``.
    given, out : int
        Number of reals.
    bits, width : int
        Size of a real; lanes of a register on the CPU.
    shared, persistent : int
        Reals of a lane in the arenas.
    """

    text: str
    body: tuple[str, ...]
    given: int
    out: int
    bits: int = 64
    width: int = 8
    shared: int = 0
    persistent: int = 0

    def source(self, target: str) -> str:
        """Return the module of one target."""
        language, maths, lanes, namespace = _HEADS[target]
        head = [
            "from math import nan",
            f"from cubie_kernels.lane.{language} import lanes",
            f"from cubie_kernels.lane.{maths} import namespace",
            f"globals().update({lanes.format(**vars(self))})",
            f"globals().update({namespace})",
        ]
        functions = ["@device\ndef " + part.strip() for part in self._functions()]
        body = "\n\n".join([*functions, self._entry()])
        if target == "cuda" and self.bits == 32:
            from cubie_kernels.lane.typed import typed_constants

            head.insert(0, "from numpy import float32")
            body = typed_constants(body, "float32")
        return "\n".join(head) + "\n\n" + body

    def _functions(self) -> list[str]:
        return ("\n" + self.text).split("\ndef ")[1:]

    def _entry(self) -> str:
        inputs = "control, settings, columns, values, parameters, initial, rtol, atol, save_at"
        lines = [
            f"def integrate({inputs}, {', '.join(RESULTS)}, arena):",
            "    shared, persistent = open_arena(arena)",
            f"    given, out = private({self.given}), private({self.out})",
            "    queue = run_queue()",
            f"    runs = control[{int(Control.RUNS)}]",
            "    run = integers(0)",
            "    code = integers(0)",
            "    first = integers(0)",
            "    second = integers(0)",
            "    run = take_runs(run, run < 1, control, queue)",
            "    active = run < runs",
            "    while any_lane(active):",
            f"        for i in range({self.given}):",
            "            given[i] = gather_cyclic(",
            "                values, i * runs, 1, runs, run, active, real(0.0))",
            *("        " + line for line in self.body),
            f"        scatter_rows(states, runs, run, active, out, {self.out})",
            "        scatter(status, run, active, code)",
            "        scatter(newton_iterations, run, active, first)",
            "        scatter(linear_iterations, run, active, second)",
            "        run = take_runs(run, active, control, queue)",
            "        active = run < runs",
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Answer:
    """What came out: ``out[i, run]``, and the integers of each run."""

    out: np.ndarray
    code: np.ndarray
    first: np.ndarray
    second: np.ndarray


def run(
    program: Program,
    target: str,
    given: np.ndarray,
    folder: Path | None = None,
    tolerances: tuple[np.ndarray, np.ndarray] | None = None,
) -> Answer:
    """Run a program for each column of ``given``.

    ``folder`` is for compiled modules; ``tolerances`` are what the entry has as rtol and atol.
    """
    real = np.float64 if program.bits == 64 else np.float32
    given = np.ascontiguousarray(given, real)
    runs = given.shape[1]
    control = np.zeros(len(Control), np.int64)
    control[[Control.RUNS, Control.CHUNK, Control.SHARE]] = runs, runs, 1
    arrays = [np.zeros(1, real if kind == "real" else KINDS[kind]) for kind in ENTRY]
    arrays[0], arrays[3] = control, given
    if tolerances is not None:
        arrays[6:8] = [np.ascontiguousarray(values, real) for values in tolerances]
    names = dict(zip(RESULTS, range(len(ENTRY) - 1 - len(RESULTS), len(ENTRY) - 1), strict=True))
    arrays[names["states"]] = np.full((program.out, runs), np.nan, real)
    arrays[names["status"]] = np.full(runs, 255, np.uint8)
    for name in ("newton_iterations", "linear_iterations"):
        arrays[names[name]] = np.full(runs, -1, np.int32)
    _prepared(program, target, folder)(arrays)
    results = ("states", "status", "newton_iterations", "linear_iterations")
    return Answer(*(arrays[names[name]] for name in results))


@functools.lru_cache(maxsize=64)
def _prepared(program: Program, target: str, folder: Path | None) -> Callable[..., None]:
    """Compile a program; return what runs it on the arrays of an entry."""
    text = program.source(target)
    reals = program.shared + program.persistent
    if target == "numpy":
        return functools.partial(_interpret, compile(text, "<lanes>", "exec"), reals)
    assert folder is not None
    name = f"lanes_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = folder / f"{name}.py"
    path.write_text(text)
    if target == "cuda":
        from cuda_text import EmulatedText

        call = EmulatedText(path, program.bits, program.shared).call
    else:
        from cubie_kernels.build import cpu
        from cubie_kernels.lane.symbols import load_symbols

        load_symbols()
        code, symbol = cpu.compile_object(path, name, program.bits, program.width)
        call = cpu.load_object(code, symbol, len(ENTRY)).call
    size = reals * program.width * program.bits // 8 + 64
    return functools.partial(_execute, call, size)


def _interpret(code: CodeType, reals: int, arrays: list[np.ndarray]) -> None:
    runs = arrays[3].shape[1]
    scope: dict = {"WIDTH": runs}
    exec(code, scope)
    flat = [array.reshape(-1) for array in arrays[:-1]]
    with np.errstate(all="ignore"):
        scope["integrate"](*flat, np.full((reals, runs), np.nan, arrays[3].dtype))


def _execute(call: Callable[..., None], size: int, arrays: list[np.ndarray]) -> None:
    arena = np.full(size, 0xFF, np.uint8)  # all NaN
    start = -(-arena.ctypes.data // 64) * 64
    call(*(array.ctypes.data for array in arrays[:-1]), start)
