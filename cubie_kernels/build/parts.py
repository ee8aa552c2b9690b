"""The parts that a kernel's method and linear solver need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.dirk_part import dirk_part
from cubie_kernels.build.erk_part import erk_part
from cubie_kernels.build.firk_part import firk_part
from cubie_kernels.build.part import Part
from cubie_kernels.build.rosenbrock_part import rosenbrock_part
from cubie_kernels.methods import get_method

__all__ = ["kernel_parts"]

_FAMILIES: dict[str, Callable[[KernelConfig, Any, BufferRegistry], tuple[Part, ...]]] = {
    "dirk": dirk_part,
    "erk": erk_part,
    "firk": firk_part,
    "rosenbrock": rosenbrock_part,
}


def kernel_parts(config: KernelConfig, registry: BufferRegistry) -> tuple[Part, ...]:
    """Declare the scratch memory of a step and its solvers, and return them in this order."""
    tableau = get_method(config.method)
    return _FAMILIES[tableau.family](config, tableau, registry)
