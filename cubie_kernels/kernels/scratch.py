"""The scratch memory that the step and the loop declare."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry

__all__ = ["LOOP", "STEP", "declare_erk", "declare_loop"]

LOOP, STEP = "loop", "erk"


def declare_erk(registry: BufferRegistry, states: int, stages: int, precision: str) -> None:
    """Declare what an explicit Runge-Kutta step needs.

    The derivative kept from step to step (first same as last) is the first row of
    ``erk_stage_rhs``, so that it needs no storage of its own.
    """
    registry.register("erk_stage_rhs", STEP, stages * states, "local", precision=precision)
    registry.register("erk_stage_accumulator", STEP, states, "local", precision=precision)
    registry.register_child(LOOP, STEP)


def declare_loop(
    registry: BufferRegistry,
    states: int,
    parameters: int,
    observables: int,
    precision: str,
    adaptive: bool,
) -> None:
    """Declare what the integration loop needs; one call of it lives as long as all its runs.

    With fixed steps it keeps state and derivative from the beginning of a block of steps.
    """
    buffers = {
        "loop_state": states,
        "loop_proposed_state": states,
        "loop_parameters": parameters,
        "loop_observables": observables,
        "loop_saved_values": max(states, observables),
    }
    if not adaptive:
        buffers |= {"loop_last_state": states, "loop_kept_state": 2 * states}
    for name, size in buffers.items():
        registry.register(name, LOOP, size, "local", precision=precision)
