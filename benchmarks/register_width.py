"""How many vector registers a kernel should work on at once: the measurement behind the default.

    python benchmarks/register_width.py      # five minutes, most of them building kernels

More registers overlap work that waits for other work, until there is no place for them. Each row
gives the processor time of one sweep by their number, over that of the fastest. Kernels take turns.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from ensembles_machine import describe  # noqa: E402
from ensembles_timing import available_threads  # noqa: E402
from stiff_problems import HIRES, ROBERTSON, VAN_DER_POL  # noqa: E402

from cubie_kernels import Solver, System  # noqa: E402
from cubie_kernels.build import cpu  # noqa: E402
from cubie_kernels.build.builder import build_kernel  # noqa: E402
from cubie_kernels.run.batch import Column  # noqa: E402
from cubie_kernels.run.execute import execute  # noqa: E402

REGISTERS = (1, 2, 4)
ROUNDS = 20
RUNS = 10_000


def chain(n: int) -> Solver:
    """A ring of ``n`` species with quadratic rates of several orders of magnitude."""
    lines = [
        f"dx{i} = k*{10.0 ** (i % 3)}*(x{(i - 1) % n} - x{i}) - x{i}*x{i}*x{(i + 1) % n}"
        for i in range(n)
    ]
    system = System.from_equations(
        "\n".join(lines),
        states={f"x{i}": 1.0 / (i + 1) for i in range(n)},
        parameters={"k": 1.0},
        name=f"ring{n}",
    )
    return Solver(system, t_span=(0, 20), method="rodas5p", swept=("k",), rtol=1e-6, atol=1e-8)


def times(solver: Solver, columns: dict[str, np.ndarray]) -> list[float]:
    """The least processor time of a sweep, by the number of registers."""
    bits = 64 if solver.precision == "float64" else 32
    lanes = cpu.host().vector_bytes * 8 // bits
    kernels = [build_kernel(replace(solver.config(), width=k * lanes)) for k in REGISTERS]
    batch = solver.batch({name: Column(values) for name, values in columns.items()}, RUNS)
    best = [float("inf")] * len(kernels)
    for _ in range(ROUNDS):
        for position, kernel in enumerate(kernels):
            start = time.process_time()
            execute(kernel, batch)
            best[position] = min(best[position], time.process_time() - start)
    return best


def main() -> None:
    print("\n".join(describe(available_threads())))
    print("\n| kernel | " + " | ".join(f"{k} registers" for k in REGISTERS) + " |")
    print("| --- |" + " --- |" * len(REGISTERS))
    cases = []
    for problem in (VAN_DER_POL, ROBERTSON, HIRES):
        columns = problem.columns(RUNS)
        for method in ("rodas5p", "kvaerno5"):
            solver = Solver(
                problem.system(), swept=tuple(columns), method=method, **problem.options()
            )
            cases.append((f"{problem.name}, {method}", solver, columns))
    rates = {"k": np.geomspace(0.1, 10.0, RUNS)}
    cases += [(f"ring of {n} species, rodas5p", chain(n), rates) for n in (3, 4, 5)]
    for name, solver, columns in cases:
        found = times(solver, columns)
        print(f"| {name} | " + " | ".join(f"{t / min(found):.2f}" for t in found) + " |")


if __name__ == "__main__":
    main()
