"""The step of diagonally implicit methods as a part of a kernel."""

from __future__ import annotations

from dataclasses import replace

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.linear_part import linear_parts
from cubie_kernels.build.newton_source import damped_newton
from cubie_kernels.build.part import Part, Text
from cubie_kernels.kernels import dirk, newton
from cubie_kernels.kernels.lane_function import group
from cubie_kernels.methods import Tableau
from cubie_kernels.model.mass_source import mass_source

__all__ = ["dirk_part"]

_WEIGHT = ("newton_weight",)
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
    limits = newton.newton_constants(
        config.precision, config.adaptive, dirk.growth_of_errors(tableau)
    )
    iteration = _iteration(config, registry, limits["NEWTON_TOLERANCE"])
    dirk.declare_dirk(registry, states, names["STAGES"], config.precision, names["KEPT"])
    linear = linear_parts(config, registry)
    solvers = {**iteration.scratch, **linear[0].scratch}
    names |= limits | {"SOLVERS": group(solvers)}
    names |= {"DERIVATIVES": "dirk_rhs_cache", "ACCUMULATOR": "dirk_accumulator"}
    functions = [dirk.begin_runs, newton.newton_begin, *iteration.functions, dirk.take_step]
    if config.adaptive:
        functions += [dirk.dirk_error]
    if config.saves:
        functions += [dirk.prepare_dense, dirk.dense_output]
    texts = () if mass is None else (Text(mass_source(states, mass), len(mass)),)
    scratch = _SCRATCH | ({"increments": "dirk_kept_increments"} if names["KEPT"] else {})
    step = Part(names, tuple(functions), scratch, texts=texts)
    return (step, replace(iteration, functions=()), *linear)


def _iteration(config: KernelConfig, registry: BufferRegistry, tolerance: float) -> Part:
    """Declare the buffers of Newton's iteration and return it."""
    if config.newton == "damped":
        newton.declare_newton(registry, len(config.system.states), config.precision, _WEIGHT)
        return damped_newton(config, registry, tolerance)
    newton.declare_newton(registry, len(config.system.states), config.precision)
    return Part(functions=(newton.solve_stage,))
