"""What a family of methods and its linear solver bring to a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.kernels import direct, erk, rosenbrock
from cubie_kernels.kernels.constants import erk_constants, rosenbrock_constants
from cubie_kernels.kernels.scratch import declare_direct, declare_erk, declare_rosenbrock
from cubie_kernels.methods import Method, RosenbrockTableau, get_method
from cubie_kernels.model.sparse_lu import lu_source

__all__ = ["Part", "kernel_parts"]

# From here on a step's working set leaves the first level cache: the step is then arranged to pass
# over memory less often, at the price of a few operations.
_PAIRED_STATES = 24


@dataclass(frozen=True)
class Part:
    """A part of a kernel.

    Attributes
    ----------
    names : mapping
        What the kernel's source is specialised on.
    functions : tuple of function
        Its source in the lane language.
    scratch : mapping of str to str
        The scratch memory that its functions are handed: the buffer of each local variable.
    group : str, optional
        Under which name source hands on that memory alone; all scratch memory together is
        ``WORK``.
    texts : tuple of str
        Functions of the model that it calls.
    """

    names: Mapping[str, Any]
    functions: tuple[FunctionType, ...]
    scratch: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    texts: tuple[str, ...] = ()


def kernel_parts(config: KernelConfig, registry: BufferRegistry) -> tuple[Part, ...]:
    """Declare the scratch memory of a step and its solvers, and return them in this order."""
    tableau = get_method(config.method)
    return _FAMILIES[tableau.family](config, tableau, registry)


def _explicit(config: KernelConfig, tableau: Method, registry: BufferRegistry) -> tuple[Part, ...]:
    assert not isinstance(tableau, RosenbrockTableau)
    states = len(config.system.states)
    names = erk_constants(tableau, states)
    rows = names["STAGES"] + (names["DENSE_STAGES"] if config.saves else 0)
    declare_erk(registry, states, rows, config.precision)
    paired = states > _PAIRED_STATES or not config.adaptive
    names |= {
        "PAIRED": paired,
        "PAIRED_ERROR": paired and names["STAGES"] % 2 == 1 and not names["ERROR_2"],
    }
    functions = [erk.erk_stages, *([erk.erk_error] if config.adaptive else []), erk.take_step]
    if config.saves:
        functions += [erk.prepare_dense, erk.dense_output]
    names |= {"DERIVATIVES": "erk_stage_rhs", "ACCUMULATOR": "erk_stage_accumulator"}
    return (Part(names, tuple(functions)),)


def _rosenbrock(
    config: KernelConfig, tableau: Method, registry: BufferRegistry
) -> tuple[Part, ...]:
    assert isinstance(tableau, RosenbrockTableau)
    system = config.system
    names = rosenbrock_constants(tableau, len(system.states), not system.autonomous)
    declare_rosenbrock(
        registry, len(system.states), tableau.stages, names["TIMED"], config.precision
    )
    functions: tuple[FunctionType, ...] = (rosenbrock.take_step,)
    if config.saves:
        functions += (rosenbrock.prepare_dense, rosenbrock.dense_output)
    names |= {"DERIVATIVES": "rosenbrock_stage_rhs", "ACCUMULATOR": "rosenbrock_accumulator"}
    scratch = {"u": "rosenbrock_stage_increments", "slope": "rosenbrock_time_derivative"}
    texts = (system.derivative_source("time_derivative"),) if names["TIMED"] else ()
    return (Part(names, functions, scratch, texts=texts), _direct(config, registry))


def _direct(config: KernelConfig, registry: BufferRegistry) -> Part:
    """Return the solver with factors of the whole matrix."""
    system = config.system
    pattern = system.jacobian_pattern
    code = lu_source(len(system.states), pattern)
    declare_direct(registry, len(pattern), code.entries, config.precision)
    functions = (direct.linear_prepare, direct.linear_factor, direct.linear_solve)
    scratch = {"jac": "lin_jacobian", "lu": "lin_factors"}
    texts = (system.derivative_source("jacobian"), code.text)
    return Part({"MASS": False}, functions, scratch, "LINEAR", texts)


_FAMILIES = {"erk": _explicit, "rosenbrock": _rosenbrock}
