"""The step of diagonally implicit methods as a part of a kernel."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.linear_part import linear_parts
from cubie_kernels.build.part import Part, Text
from cubie_kernels.kernels import dirk, newton
from cubie_kernels.methods import Tableau
from cubie_kernels.model.mass_source import mass_source

__all__ = ["dirk_part"]

_SCRATCH = {
    "stages": "dirk_stage_rhs",
    "d": "dirk_stage_increment",
    "base": "dirk_stage_base",
    "step_increment": "dirk_increment_cache",
    "delta": "newton_delta",
    "residual": "newton_residual",
    "weight": "newton_weight",
    "rate": "dirk_newton_rate",
}


def dirk_part(config: KernelConfig, tableau: Tableau, registry: BufferRegistry) -> tuple[Part, ...]:
    """Declare the scratch memory of a diagonally implicit step and return it and its solvers."""
    states, mass = len(config.system.states), config.system.mass
    names = dirk.dirk_constants(tableau, states, mass is not None, config.saves)
    newton.declare_newton(registry, states, config.precision)
    dirk.declare_dirk(registry, states, names["STAGES"], config.precision, names["KEPT"])
    names |= newton.newton_constants(
        config.precision, config.adaptive, dirk.growth_of_errors(tableau)
    )
    names |= {"DERIVATIVES": "dirk_rhs_cache", "ACCUMULATOR": "dirk_accumulator"}
    functions = [dirk.begin_runs, newton.newton_begin, newton.solve_stage, dirk.take_step]
    if config.adaptive:
        functions += [dirk.dirk_error]
    if config.saves:
        functions += [dirk.prepare_dense, dirk.dense_output]
    texts = () if mass is None else (Text(mass_source(states, mass), len(mass)),)
    scratch = _SCRATCH | ({"increments": "dirk_kept_increments"} if names["KEPT"] else {})
    step = Part(names, tuple(functions), scratch, texts=texts)
    return (step, *linear_parts(config, registry))
