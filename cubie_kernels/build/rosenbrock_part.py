"""The step of Rosenbrock methods as a part of a kernel."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.linear_part import linear_parts
from cubie_kernels.build.part import Part, Text
from cubie_kernels.kernels import rosenbrock
from cubie_kernels.methods import RosenbrockTableau
from cubie_kernels.model.mass_source import mass_source

__all__ = ["rosenbrock_part"]


def rosenbrock_part(
    config: KernelConfig, tableau: RosenbrockTableau, registry: BufferRegistry
) -> tuple[Part, ...]:
    """Declare the scratch memory of a Rosenbrock step and return it and its linear solver."""
    system, states = config.system, len(config.system.states)
    mass = system.mass
    names = rosenbrock.rosenbrock_constants(
        tableau, states, timed=not system.autonomous, mass=mass is not None
    )
    rosenbrock.declare_rosenbrock(
        registry, states, tableau.stages, names["TIMED"], config.precision
    )
    names |= {"DERIVATIVES": "rosenbrock_stage_rhs", "ACCUMULATOR": "rosenbrock_accumulator"}
    functions = [rosenbrock.begin_runs, rosenbrock.take_step]
    if config.saves:
        functions += [rosenbrock.prepare_dense, rosenbrock.dense_output]
    scratch = {"u": "rosenbrock_stage_increments", "slope": "rosenbrock_time_derivative"}
    texts = []
    if names["TIMED"]:
        texts += [Text(system.derivative_source("time_derivative"), system.operations)]
    if mass is not None:
        texts += [Text(mass_source(states, mass), len(mass))]
    step = Part(names, tuple(functions), scratch, texts=tuple(texts))
    return (step, *linear_parts(config, registry))
