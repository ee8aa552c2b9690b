"""Models, kernels and inputs of the tests of the CUDA target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cubie_kernels import System
from cubie_kernels.build.builder import Kernel
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.run import execute
from cubie_kernels.run.batch import Batch, Column, Outcome
from cubie_kernels.solver import Solver

LORENZ = System.from_equations(
    """
    dx = sigma*(y - x)
    dy = x*(rho - z) - y
    dz = x*y - beta*z
    """,
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"rho": 21.0, "sigma": 10.0, "beta": 8.0 / 3.0},
    name="lorenz",
)

# Depends on time and branches. Operations that every target rounds alike, and no others.
FORCED = System.from_equations(
    """
    pull = Piecewise((0.25*v, v > 0), (0.5*v, True))
    dx = v
    dv = mu*(1 - x*x)*v - x + push*(t - 2)/(1 + t*t) - pull
    energy = 0.5*v**2 + 0.5*x**2
    side = sqrt(max(abs(x), v, 0.25))
    """,
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 1.0, "push": 0.3},
    observables=["energy", "side"],
    name="forced",
)

# Functions whose last bits differ between targets.
ELABORATE = System.from_equations(
    """
    dx = v*exp(-0.1*t) + 0.1*log(1 + x*x)
    dv = -tanh(k*x) + cos(1.5*t) - 0.1*pow(abs(v) + 1, 1.3)
    angle = atan2(v, x)
    size = hypot(x, v)
    """,
    states={"x": 1.0, "v": 0.0},
    parameters={"k": 1.0},
    observables=["angle", "size"],
    name="elaborate",
)

# Robertson's reactions, with rates that are less far apart.
STIFF = System.from_equations(
    """
    dx = -a*x + 1e3*y*z
    dy = a*x - 1e3*y*z - 3e5*y*y
    dz = 3e5*y*y
    """,
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"a": 0.04},
    name="stiff",
)

RUNS = 40


def solver(system: System, **options) -> Solver:
    """Return a solver that sweeps the first parameter and the first state."""
    options = {"t_span": (0.0, 3.0), "rtol": 1e-6, "atol": 1e-8, "target": "numpy"} | options
    return Solver(system, swept=(system.parameters[0], system.states[0]), **options)


def cuda_config(made: Solver, placement: str = "auto") -> KernelConfig:
    """Return the configuration of a solver's kernel on CUDA."""
    return replace(made.config(), target="cuda", placement=placement)


def columns(system: System, runs: int = RUNS) -> dict[str, Column]:
    """Return values of the swept quantities: a product grid of 5 initial states."""
    return {
        system.parameters[0]: Column(np.linspace(0.5, 2.0, -(-runs // 5))),
        system.states[0]: Column(np.linspace(0.5, 1.5, 5), stride=-(-runs // 5)),
    }


def entry_arrays(kernel: Kernel, batch: Batch) -> tuple[list[np.ndarray], Outcome]:
    """Return the arrays that a kernel's entry takes, and the results that they will hold."""
    (part,) = execute._parts(batch)
    outcome = execute._empty_outcome(kernel, batch)
    call = execute._Call(kernel, batch, part, outcome, 1)
    arena = np.zeros(1, kernel.config.precision)
    return [call.control, call.settings, *call.inputs, *call.outputs, arena], outcome


def assert_equal_bits(first: Outcome, second: Outcome) -> None:
    """Fail if two results differ in any bit."""
    for name, value in vars(first).items():
        other = getattr(second, name)
        if value is None:
            assert other is None
        else:
            np.testing.assert_array_equal(value.view(np.uint8), other.view(np.uint8), err_msg=name)
