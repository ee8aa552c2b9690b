"""A solve takes the memory of its results, a fifth more at most, and a fixed amount."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import numpy as np
import xarray  # what results are labelled with is no part of what solving takes
import cubie_kernels as ck

def megabytes(what):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what)) / 1024

system = ck.System.from_equations(
    "dx = sigma*(y - x)\\ndy = x*(rho - z) - y\\ndz = x*y - beta*z",
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"sigma": 10.0, "rho": 21.0, "beta": 8 / 3},
)
grid, side, options = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])
size = side if grid == "product" else side * side
given = {"rho": np.linspace(0, 21, size), "sigma": np.linspace(5, 10, size)}
before = megabytes("VmRSS")
found = ck.solve(system, given, t_span=(0, 0.1), grid=grid, rtol=1e-3, atol=1e-3, **options)
found.summary(), repr(found), found.to_xarray()
assert found.ok.all()
print(megabytes("VmHWM") - before, found.solver.output_bytes(found.grid.runs) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("grid", "side", "options"),
    [
        ("product", 3000, {}),
        ("zip", 3000, {}),
        ("product", 600, {"save_every": 0.002}),
        ("product", 3000, {"saved": ["x"], "precision": "float32"}),
    ],
)
def test_memory_is_that_of_the_results(grid, side, options):
    command = [sys.executable, "-c", SCRIPT, grid, str(side), repr(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, results = map(float, done.stdout.split())
    assert results > 150
    assert peak <= 1.2 * results + 200
