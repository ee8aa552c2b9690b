"""Section on start-up: import, first result from an empty cache and from the disk cache."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ensembles_timing import Figure, Settings, Table

__all__ = ["python_seconds", "startup"]

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


def python_seconds(source: str, cache: str) -> tuple[float, str]:
    """Seconds that ``python -c source`` takes with this cache folder, and what it prints."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"CUBIE_CACHE_DIR": cache, "PYTHONPATH": os.pathsep.join(paths)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the subprocess failed:\n{done.stderr}")
    return seconds, done.stdout


def startup(settings: Settings) -> Table:
    """Whole processes, interpreter start included."""
    rounds = 2 if settings.quick else 5
    seconds: dict[str, list[float]] = {"nothing": [], "import": [], "empty": [], "disk": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name, source in (
                ("nothing", "pass"),
                ("import", "import cubie_kernels"),
                ("empty", _FIRST_RESULT),
                ("disk", _FIRST_RESULT),
            ):
                seconds[name].append(python_seconds(source, cache)[0])
    labels = {
        "nothing": "`python -c pass`",
        "import": '`python -c "import cubie_kernels"`',
        "empty": "first Lorenz result, empty cache",
        "disk": "first Lorenz result, from the disk cache",
    }
    aims = {"import": 1.0, "empty": 5.0, "disk": 1.5}
    return Table(
        "Start-up, whole processes",
        ("what", "best s", "median s"),
        [
            [labels[name], f"{min(s):.2f}", f"{statistics.median(s):.2f}"]
            for name, s in seconds.items()
        ],
        [
            Figure(labels[k], min(seconds[k]), statistics.median(seconds[k]), None, aim, False, "s")
            for k, aim in aims.items()
        ],
    )
