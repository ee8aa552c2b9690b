"""A sweep file and the command as a real process, shared by the tests of the command line."""

import os
import subprocess
import sys
from pathlib import Path

LORENZ = '''
[model]
name = "lorenz"
equations = """
dx = sigma*(y - x)
dy = x*(rho - z) - y
dz = x*y - beta*z
energy = x**2 + y**2 + z**2
"""
states = { x = 1.0, y = 0.0, z = 0.0 }
parameters = { rho = 28, sigma = 10.0 }
constants = { beta = 2.6666666666666665 }
observables = ["energy"]

[grid]
kind = "product"

[grid.values]
rho = { start = 0.0, stop = 21.0, count = 22 }
sigma = [8, 10, 12.5]

[time]
t_span = [0, 1]
save_every = 0.5

[solver]
method = "tsit5"
rtol = 1e-7
atol = { x = 1e-9, y = 1e-9, z = 1e-8 }
max_steps = 10_000

[outputs]
saved = ["x", "energy"]

[store]
path = "results/lorenz.zarr"
chunk_runs = 12
'''

EXPLODING = """
[model]
equations = "dx = k*x**2"
states = { x = 1.0 }
parameters = { k = 1.0 }
[grid.values]
k = { start = 0.125, stop = 2.0, count = 16 }
[time]
t_span = [0, 0.9]
[store]
path = "exploding.zarr"
"""


def write(folder: Path, text: str, name: str = "sweep.toml") -> Path:
    """Write a sweep file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """Return an environment in which the packages of this process are found."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def command(*arguments: object) -> list[str]:
    """Return the command as a list."""
    return [sys.executable, "-m", "cubie_dask.cli", *map(str, arguments)]


def cubie_dask(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; it must not end with a traceback."""
    ended = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment(),
        cwd=cwd,
        timeout=240,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended
