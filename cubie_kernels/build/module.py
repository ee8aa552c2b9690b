"""The text of a kernel: one flat module, made of a configuration alone."""

from __future__ import annotations

from types import FunctionType
from typing import Any, NamedTuple

from cubie_kernels.buffers import BufferRegistry, Limits
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.part import Part, Text
from cubie_kernels.build.parts import kernel_parts
from cubie_kernels.kernels import adaptive, controllers, erk, fixed, saves, start
from cubie_kernels.kernels.constants import abi_constants, controller_constants
from cubie_kernels.kernels.scratch import LOOP, declare_loop
from cubie_kernels.lane.abi import RESULTS
from cubie_kernels.lane.specialise import Code, Locals, specialise
from cubie_kernels.methods import get_method

__all__ = ["Module", "kernel_module", "kernel_registry"]

# Larger right-hand sides are called instead of copied into each stage, where the copies would
# cost seconds of compilation.
_INLINED_OPERATIONS = 60
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
    return _declared(config)[0]


def _declared(config: KernelConfig) -> tuple[BufferRegistry, tuple[Part, ...]]:
    """Declare all buffers of a kernel; return the registry and the kernel's parts."""
    placement: Any = config.placement
    if placement in ("local", "shared"):
        plain = BufferRegistry()
        _declare(plain, config)
        names = [row.name for row in plain.explain(LOOP).rows]
        placement = dict.fromkeys(names, placement)
    registry = BufferRegistry(placement, _LIMITS[config.target])
    return registry, _declare(registry, config)


def _declare(registry: BufferRegistry, config: KernelConfig) -> tuple[Part, ...]:
    system = config.system
    declare_loop(
        registry,
        len(system.states),
        len(system.parameters),
        len(system.observables),
        config.precision,
        config.adaptive,
    )
    return kernel_parts(config, registry)


def kernel_module(config: KernelConfig) -> Module:
    """Return the text of a kernel."""
    registry, parts = _declared(config)
    names = _names(config, registry, parts)
    loop = adaptive if config.adaptive else fixed
    functions: list[FunctionType] = [
        controllers.larger,
        controllers.smaller,
        controllers.reciprocal,
        *(function for part in parts for function in part.functions),
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
            controllers.log2_estimate,
            controllers.exp2_estimate,
            controllers.log2_error,
            controllers.log2_ratio,
            *([controllers.tightened] if names["TOLERANCE_POWER"] > 1.0 else []),
            adaptive.status_of,
            start.first_step,
        ]
    if config.saves:
        functions += [saves.store_missing]
        functions += [loop.save_passed, *([adaptive.save_start] if config.adaptive else [])]
    texts = [Text(config.system.lane_source(), config.system.operations)]
    texts += [text for part in parts for text in part.texts]
    model = [
        _device(function, text.operations <= _INLINED_OPERATIONS)
        for text in texts
        for function in _functions(text.functions)
    ]
    body = [_device(specialise(function, names), True) for function in functions]
    entry = specialise(loop.integrate, names)
    return Module(
        "\n\n\n".join([*_tables(config, parts), *model, *body, entry]) + "\n",
        registry.shared_buffer_size(LOOP) + registry.persistent_local_buffer_size(LOOP),
        registry.shared_buffer_size(LOOP),
    )


def _tables(config: KernelConfig, parts: tuple[Part, ...]) -> list[str]:
    """Return the tables of numbers that functions read, as text."""
    lines = [
        f"{name} = reader({list(values)!r}, {config.target!r})"
        for part in parts
        for name, values in part.tables.items()
    ]
    return ["\n".join(["from cubie_kernels.lane.tables import reader\n", *lines])] if lines else []


def _functions(text: str) -> list[str]:
    """Split the model's source into its functions."""
    return ["def " + part.strip() for part in ("\n" + text).split("\ndef ")[1:]]


def _device(text: str, inline: bool) -> str:
    return ("@device\n" if inline else "@device(inline=False)\n") + text


def _names(
    config: KernelConfig, registry: BufferRegistry, parts: tuple[Part, ...]
) -> dict[str, Any]:
    system = config.system
    names = abi_constants()
    names |= controller_constants(config.controller, get_method(config.method), config.precision)
    names |= {
        "P": len(system.parameters),
        "SAVES": config.saves,
        "RECORDS": config.records,
        "UNIFORM_STEP": not config.adaptive,
        "BLOCK": _BLOCK_STEPS,
        "SWEPT_PARAMETERS": tuple(system.parameters.index(n) for n in config.swept_parameters),
        "SWEPT_STATES": tuple(system.states.index(n) for n in config.swept_states),
        "SAVED_STATES": config.saved_states,
        "SAVED_OBSERVABLES": config.saved_observables,
        "ALL_STATES_SAVED": config.saved_states == tuple(range(len(system.states))),
    }
    for row in registry.explain(LOOP).rows:
        allocator = registry.get_allocator(row.name, row.owner)
        names[row.name.upper()] = Code(allocator.expression())
    work: dict[str, str] = {}
    for part in parts:
        names |= part.names
        values = {local: names[buffer.upper()].text for local, buffer in part.scratch.items()}
        if part.group is not None:
            names[part.group] = Locals(values)
        work |= values
    results = {name: name for name in RESULTS}
    names |= {
        "WORK": Locals(work),
        "RESULTS": Locals(results),
        "WORK_AND_RESULTS": Locals({**work, **results}),
    }
    for role in ("DERIVATIVES", "ACCUMULATOR"):
        names[f"STEP_{role}"] = names[names[role].upper()]
    return names


def module_text(config: KernelConfig, head: str, body: str) -> str:
    """Return the whole text of a module: what it is, the target's names, the functions."""
    title = (
        f"{config.system.name}: {config.method}, {config.precision}, {config.target}, "
        f"{'adaptive' if config.adaptive else 'fixed'} steps"
    )
    return f'"""Generated kernel. {title}."""\n\n{head}\n\n\n{body}'
