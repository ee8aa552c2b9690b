"""The linear solver of an implicit step as a part of a kernel."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.part import Part
from cubie_kernels.kernels import direct
from cubie_kernels.kernels.scratch import declare_direct
from cubie_kernels.model.sparse_lu import lu_source

__all__ = ["linear_part"]


def linear_part(config: KernelConfig, registry: BufferRegistry) -> tuple[Part, ...]:
    """Declare the scratch memory of a step's linear solver and return it."""
    system = config.system
    pattern = system.jacobian_pattern
    code = lu_source(len(system.states), pattern)
    declare_direct(registry, len(pattern), code.entries, config.precision)
    functions = (direct.linear_prepare, direct.linear_factor, direct.linear_solve)
    scratch = {"jac": "lin_jacobian", "lu": "lin_factors"}
    texts = (system.derivative_source("jacobian"), code.text)
    return (Part({"MASS": False}, functions, scratch, "LINEAR", texts),)
