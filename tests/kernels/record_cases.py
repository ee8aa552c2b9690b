"""A stiff oscillator whose steps are recorded in many ways, and what there is in a recording."""

from dataclasses import replace
from functools import partial

import numpy as np

from cubie_kernels import System, record
from cubie_kernels.build import build_kernel
from cubie_kernels.run import execute as execution
from cubie_kernels.run.batch import Column

VAN_DER_POL = System.from_equations(
    "dx = v\ndv = mu*(1 - x*x)*v - x + 0.1*sin(t)",
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 10.0},
    name="van der pol",
)
MU = np.array([0.5, 10.0, 200.0, 3.0])
KRYLOV = {"linear_solver": "gmres", "preconditioner": "none"}
CASES = [
    ("tsit5", {}),
    ("dop853", {}),
    ("rk4", {"adaptive": False, "dt": 0.004}),
    ("rodas5p", {}),
    ("rosenbrock23", {"precision": "float32", "rtol": 1e-4}),
    ("rodas4", {"linear_solver": "bicgstab", "preconditioner": "jacobi"}),
    ("rodas3", {"adaptive": False, "dt": 0.02}),
    ("kvaerno5", {}),
    ("sdirk4", KRYLOV),
    ("backward-euler", {"adaptive": False, "dt": 0.02}),
    ("radau-iia-5", {}),
    ("radau-iia-3", {"adaptive": False, "dt": 0.02}),
    ("gauss-legendre-4", {"precision": "float32", "rtol": 1e-4}),
    ("radau-iia-5", KRYLOV),
    ("lobatto-iiic-4", {"linear_solver": "minimal_residual"}),
]
IDS = [" ".join([name, *map(str, options.values())]) for name, options in CASES]


def instrumented(solver, columns, recorder):
    """Run a solver's kernel with a recorder."""
    kernel = build_kernel(replace(solver.config(), records=True))
    runs = len(next(iter(columns.values())))
    batch = solver.batch({name: Column(np.asarray(v)) for name, v in columns.items()}, runs)
    call = partial(kernel.call, **recorder.calls())
    return execution.execute(replace(kernel, call=call), batch)


def steps_of(method, options, mu=MU):
    return record(VAN_DER_POL, {"mu": mu}, t_span=(0, 0.5), method=method, **options)


def told(values):
    """Return where there is something."""
    if values.dtype.kind == "f":
        return values.notnull()
    return values != (0 if values.name.endswith("iterations") else -1)
