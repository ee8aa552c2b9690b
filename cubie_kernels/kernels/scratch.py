"""The scratch memory that the step and the loop declare."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry

__all__ = ["LOOP", "STEP", "declare_erk", "declare_loop"]

LOOP, STEP = "loop", "erk"


def declare_erk(registry: BufferRegistry, states: int, stages: int, precision: str) -> None:
    """Declare what an explicit Runge–Kutta step needs.

    The derivative kept from step to step (first same as last) is the first row of
    ``erk_stage_rhs``, so that it needs no storage of its own.
    """
    registry.register("erk_stage_rhs", STEP, stages * states, "local", precision=precision)
    registry.register("erk_stage_accumulator", STEP, states, "local", precision=precision)
    registry.register_child(LOOP, STEP)


def declare_loop(
    registry: BufferRegistry, states: int, parameters: int, observables: int, precision: str
) -> None:
    """Declare what the integration loop needs; one call of it lives as long as all its runs."""
    for name, size in (
        ("loop_state", states),
        ("loop_proposed_state", states),
        ("loop_parameters", parameters),
        ("loop_observables", observables),
    ):
        registry.register(name, LOOP, size, "local", precision=precision)
