"""The step of fully implicit methods as a part of a kernel."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.linear_part import linear_part
from cubie_kernels.build.part import Part
from cubie_kernels.kernels import firk
from cubie_kernels.kernels.scratch import LINEAR
from cubie_kernels.methods import Tableau
from cubie_kernels.model.sparse_lu import lu_pair_source

__all__ = ["firk_part"]

_SCRATCH = {
    "w": "firk_stage_increments",
    "delta": "newton_delta",
    "weight": "newton_weight",
    "memory": "firk_last_step",
}


def firk_part(config: KernelConfig, tableau: Tableau, registry: BufferRegistry) -> tuple[Part, ...]:
    """Declare the scratch memory of a fully implicit step; return it and its linear solvers."""
    states = len(config.system.states)
    names = firk.firk_constants(tableau, states, config.precision)
    firk.declare_firk(registry, states, tableau.stages, config.precision)
    names |= {"DERIVATIVES": "firk_stage_rhs", "ACCUMULATOR": "firk_accumulator"}
    functions = [
        firk.begin_runs,
        firk.take_step,
        firk.firk_factor,
        firk.firk_start,
        firk.firk_solve,
        firk.firk_change,
    ]
    if config.adaptive:
        functions += [firk.firk_error, firk.firk_filtered]
    if config.saves:
        functions += [firk.prepare_dense, firk.dense_output]
    step = Part(names, tuple(functions), _SCRATCH)
    pairs = len(names["PAIRS"])
    return (step, *linear_part(config, registry), *_pair_parts(config, pairs, registry))


def _pair_parts(config: KernelConfig, pairs: int, registry: BufferRegistry) -> list[Part]:
    """Declare the factors of the complex systems and return their solvers."""
    system = config.system
    code = lu_pair_source(len(system.states), system.jacobian_pattern)
    parts = []
    for i in range(pairs):
        factors = f"pair_factors_{i}"
        registry.register(factors, LINEAR, code.entries, "local", precision=config.precision)
        scratch = {"jac": "lin_jacobian", f"pair_lu_{i}": factors}
        functions = () if i else (firk.pair_factor, firk.pair_solve)
        parts.append(Part({}, functions, scratch, f"PAIR_{i}", () if i else (code.text,)))
    return parts
