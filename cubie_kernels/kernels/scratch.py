"""The scratch memory that the step and the loop declare."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry

__all__ = ["LINEAR", "LOOP", "STEP", "declare_loop"]

LOOP, STEP, LINEAR = "loop", "step", "linear solver"


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
