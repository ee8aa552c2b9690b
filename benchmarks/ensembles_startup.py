"""Section on start-up: import, first result from an empty cache and from the disk cache."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensembles_timing import Figure, Settings, Table

__all__ = ["run_python", "startup", "summary"]

_FIRST_RESULT = """
import numpy as np
import cubie_kernels as ck
lorenz = ck.System.from_equations(
    '''
    dx = sigma*(y - x)
    dy = x*(rho - z) - y
    dz = x*y - beta*z
    ''',
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"sigma": 10.0, "rho": 21.0, "beta": 8/3},
)
solution = ck.solve(
    lorenz, {"rho": np.linspace(0.0, 21.0, 1000)}, t_span=(0.0, 1.0), rtol=1e-8, atol=1e-8
)
assert solution.ok.all()
print(solution["x"][-1])
"""


@dataclass(frozen=True)
class Process:
    """A finished ``python -c``: seconds on the clock, of processor time, and what it printed."""

    seconds: float
    core_seconds: float
    printed: str


def run_python(source: str, cache: str) -> Process:
    """Run ``python -c source`` with this cache folder."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"CUBIE_CACHE_DIR": cache, "PYTHONPATH": os.pathsep.join(paths)}
    start, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise RuntimeError(f"the subprocess failed:\n{done.stderr}")
    spent = after.children_user + after.children_system
    return Process(seconds, spent - before.children_user - before.children_system, done.stdout)


def startup(settings: Settings) -> Table:
    """Whole processes, interpreter start included."""
    rounds = 2 if settings.quick else 5
    processes: dict[str, list[Process]] = {"nothing": [], "import": [], "empty": [], "disk": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name, source in (
                ("nothing", "pass"),
                ("import", "import cubie_kernels"),
                ("empty", _FIRST_RESULT),
                ("disk", _FIRST_RESULT),
            ):
                processes[name].append(run_python(source, cache))
    labels = {
        "nothing": "`python -c pass`",
        "import": '`python -c "import cubie_kernels"`',
        "empty": "first Lorenz result, empty cache",
        "disk": "first Lorenz result, from the disk cache",
    }
    aims = {"import": 1.0, "empty": 5.0, "disk": 1.5}
    return Table(
        "Start-up, whole processes",
        ("what", "best s", "median s", "processor s"),
        [[labels[name], *(f"{s:.2f}" for s in summary(p))] for name, p in processes.items()],
        [
            Figure(labels[name], *summary(processes[name]), aim, False, "s")
            for name, aim in aims.items()
        ],
    )


def summary(processes: Sequence[Process]) -> tuple[float, float, float]:
    """Best and median seconds, and the least processor time."""
    seconds = [process.seconds for process in processes]
    return (
        min(seconds),
        statistics.median(seconds),
        min(process.core_seconds for process in processes),
    )
