"""A program for `test_kernels_interrupt.py`: a solve far too long to wait for."""

import sys
import time

import numpy as np

from cubie_kernels import System, solve

steps = {"dt": 1e-5, "adaptive": False} if sys.argv[1] == "fixed" else {"dt_max": 1e-5}
options = {"method": "euler" if steps.get("dt") else "heun", "target": sys.argv[2]}
model = System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0})
solve(model, {"k": [1.0]}, t_span=(0, 1e-4), **{**steps, **options})
print("ready", flush=True)
start = time.perf_counter()
try:
    solve(model, {"k": np.linspace(0, 1, 10**6)}, t_span=(0, 0.9), **{**steps, **options})
except KeyboardInterrupt:
    print("interrupted", flush=True)
else:
    print("done", time.perf_counter() - start, flush=True)
