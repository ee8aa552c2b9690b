"""The step of fully implicit methods as a part of a kernel."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.linear_part import linear_parts
from cubie_kernels.build.part import Part, Text
from cubie_kernels.kernels import firk
from cubie_kernels.methods import Tableau
from cubie_kernels.model.mass_source import mass_source

__all__ = ["firk_part"]

_SCRATCH = {
    "w": "firk_stage_increments",
    "delta": "newton_delta",
    "weight": "newton_weight",
    "memory": "firk_last_step",
}


def firk_part(config: KernelConfig, tableau: Tableau, registry: BufferRegistry) -> tuple[Part, ...]:
    """Declare the scratch memory of a fully implicit step; return it and its linear solvers."""
    states, mass = len(config.system.states), config.system.mass
    names = firk.firk_constants(
        tableau, states, config.precision, config.adaptive, mass is not None
    )
    firk.declare_firk(registry, states, tableau.stages, config.precision)
    names |= {"DERIVATIVES": "firk_stage_rhs", "ACCUMULATOR": "firk_accumulator"}
    functions = [
        firk.begin_runs,
        firk.take_step,
        firk.firk_factor,
        firk.firk_start,
        firk.firk_weigh,
        firk.firk_solve,
        firk.firk_change,
    ]
    if config.adaptive:
        functions += [firk.firk_error]
    if config.saves:
        functions += [firk.prepare_dense, firk.dense_output]
    texts = () if mass is None else (Text(mass_source(states, mass), len(mass)),)
    step = Part(names, tuple(functions), _SCRATCH, texts=texts)
    return (step, *linear_parts(config, registry, len(names["PAIRS"])))
