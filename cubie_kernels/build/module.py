"""The text of a kernel: one flat module, made of a configuration alone."""

from __future__ import annotations

from types import FunctionType
from typing import Any, NamedTuple

from cubie_kernels.buffers import BufferRegistry, Limits
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.kernels import adaptive, controllers, erk, fixed, saves, start
from cubie_kernels.kernels.constants import (
    abi_constants,
    controller_constants,
    tableau_constants,
)
from cubie_kernels.kernels.scratch import LOOP, declare_erk, declare_loop
from cubie_kernels.lane.specialise import Code, specialise
from cubie_kernels.methods import get_method

__all__ = ["Module", "kernel_module", "kernel_registry"]

# Larger right-hand sides are called instead of copied into each stage, where the copies would
# cost seconds of compilation.
_INLINED_OPERATIONS = 60
# From here on a step's working set leaves the first level cache: the step is then arranged to pass
# over memory less often, at the price of a few operations.
_PAIRED_STATES = 24
# Fixed steps between two looks at whether the state is still finite.
_BLOCK_STEPS = 64
_LIMITS = {
    "cpu": Limits(shared_bytes=1 << 40, local_bytes=1 << 15),
    "numpy": Limits(shared_bytes=1 << 40, local_bytes=1 << 40),
    "cuda": Limits(shared_bytes=512, local_bytes=1024),
}


class Module(NamedTuple):
    """A kernel as text, and what host code has to know of it.

    Attributes
    ----------
    body : str
        The functions of the kernel; the last, ``integrate``, is the entry.
    arena : int
        Reals of scratch memory for each lane.
    shared : int
        How many of them are shared by the lane block; the rest is private to the lane.
    """

    body: str
    arena: int
    shared: int


def kernel_registry(config: KernelConfig) -> BufferRegistry:
    """Return the registry with all buffers of a kernel declared."""
    placement: Any = config.placement
    if placement in ("local", "shared"):
        placement = dict.fromkeys(_buffer_names(config), placement)
    registry = BufferRegistry(placement, _LIMITS[config.target])
    _declare(registry, config)
    return registry


def _declare(registry: BufferRegistry, config: KernelConfig) -> None:
    system = config.system
    names = tableau_constants(get_method(config.method), len(system.states))
    declare_loop(
        registry,
        len(system.states),
        len(system.parameters),
        len(system.observables),
        config.precision,
        config.adaptive,
    )
    rows = names["STAGES"] + (names["DENSE_STAGES"] if config.saves else 0)
    declare_erk(registry, len(system.states), rows, config.precision)


def _buffer_names(config: KernelConfig) -> list[str]:
    registry = BufferRegistry()
    _declare(registry, config)
    return [row.name for row in registry.explain(LOOP).rows]


def kernel_module(config: KernelConfig) -> Module:
    """Return the text of a kernel."""
    registry = kernel_registry(config)
    names = _names(config, registry)
    loop = adaptive if config.adaptive else fixed
    functions: list[FunctionType] = [
        controllers.larger,
        controllers.smaller,
        erk.erk_stages,
        erk.all_finite,
        start.load_run,
        start.start_derivative,
        saves.store_state,
        saves.store_observables,
        saves.store_row,
        saves.store_end,
    ]
    if config.adaptive:
        functions += [
            controllers.reciprocal,
            controllers.log2_estimate,
            controllers.exp2_estimate,
            controllers.log2_error,
            controllers.log2_ratio,
            erk.erk_error,
            adaptive.status_of,
            start.first_step,
        ]
    if config.saves:
        functions += [erk.dense_stages, erk.dense_output, saves.store_missing]
        functions += [loop.save_passed, *([adaptive.save_start] if config.adaptive else [])]
    inline = config.system.operations <= _INLINED_OPERATIONS
    parts = [_device(part, inline) for part in _functions(config.system.lane_source())]
    parts += [_device(specialise(function, names), True) for function in functions]
    parts.append(specialise(loop.integrate, names))
    return Module(
        "\n\n\n".join(parts) + "\n",
        registry.shared_buffer_size(LOOP) + registry.persistent_local_buffer_size(LOOP),
        registry.shared_buffer_size(LOOP),
    )


def _functions(text: str) -> list[str]:
    """Split the model's source into its functions."""
    return ["def " + part.strip() for part in ("\n" + text).split("\ndef ")[1:]]


def _device(text: str, inline: bool) -> str:
    return ("@device\n" if inline else "@device(inline=False)\n") + text


def _names(config: KernelConfig, registry: BufferRegistry) -> dict[str, Any]:
    system = config.system
    tableau = get_method(config.method)
    names = abi_constants()
    names |= tableau_constants(tableau, len(system.states))
    names |= controller_constants(config.controller, tableau, config.precision)
    paired = len(system.states) > _PAIRED_STATES or not config.adaptive
    names |= {
        "P": len(system.parameters),
        "SAVES": config.saves,
        "UNIFORM_STEP": not config.adaptive,
        "BLOCK": _BLOCK_STEPS,
        "PAIRED": paired,
        "PAIRED_ERROR": paired and names["STAGES"] % 2 == 1 and not names["ERROR_2"],
        "SWEPT_PARAMETERS": tuple(system.parameters.index(n) for n in config.swept_parameters),
        "SWEPT_STATES": tuple(system.states.index(n) for n in config.swept_states),
        "SAVED_STATES": config.saved_states,
        "SAVED_OBSERVABLES": config.saved_observables,
        "ALL_STATES_SAVED": config.saved_states == tuple(range(len(system.states))),
    }
    for row in registry.explain(LOOP).rows:
        allocator = registry.get_allocator(row.name, row.owner)
        names[row.name.upper()] = Code(allocator.expression())
    return names


def module_text(config: KernelConfig, head: str, body: str) -> str:
    """Return the whole text of a module: what it is, the target's names, the functions."""
    title = (
        f"{config.system.name}: {config.method}, {config.precision}, {config.target}, "
        f"{'adaptive' if config.adaptive else 'fixed'} steps"
    )
    return f'"""Generated kernel. {title}."""\n\n{head}\n\n\n{body}'
