"""The step of explicit Runge-Kutta methods as a part of a kernel."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.part import Part
from cubie_kernels.kernels import erk
from cubie_kernels.methods import Tableau

__all__ = ["erk_part"]

# From here on a step's working set leaves the first level cache: the step is then arranged to pass
# over memory less often, at the price of a few operations.
_PAIRED_STATES = 24


def erk_part(config: KernelConfig, tableau: Tableau, registry: BufferRegistry) -> tuple[Part, ...]:
    """Declare the scratch memory of an explicit step and return it."""
    states = len(config.system.states)
    names = erk.erk_constants(tableau, states)
    rows = names["STAGES"] + (names["DENSE_STAGES"] if config.saves else 0)
    erk.declare_erk(registry, states, rows, config.precision, config.detect_stiffness)
    paired = states > _PAIRED_STATES or not config.adaptive
    names |= {
        "PAIRED": paired,
        "PAIRED_ERROR": paired and names["STAGES"] % 2 == 1 and not names["ERROR_2"],
        "DERIVATIVES": "erk_stage_rhs",
        "ACCUMULATOR": "erk_stage_accumulator",
    }
    functions = [erk.begin_runs, erk.erk_stages, erk.take_step]
    if config.adaptive:
        functions += [erk.erk_error]
    scratch = {}
    if config.detect_stiffness:
        names |= erk.stiffness_constants(tableau)
        functions += [erk.erk_limited]
        scratch["score"] = "erk_stiffness"
    if config.saves:
        functions += [erk.prepare_dense, erk.dense_output]
    return (Part(names, tuple(functions), scratch),)
