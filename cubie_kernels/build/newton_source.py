"""The damped Newton-Krylov iteration for the stages of a kernel's steps."""

from __future__ import annotations

from dataclasses import replace
from types import FunctionType

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.krylov_source import KrylovConfig
from cubie_kernels.build.part import NEVER, Part, Text
from cubie_kernels.kernels import newton_damped
from cubie_kernels.kernels.factories import newton_krylov_solver_factory
from cubie_kernels.kernels.lane_function import BufferUse, LaneFunction, group, written
from cubie_kernels.kernels.linear_solver import Place, linear_solver
from cubie_kernels.kernels.newton import NEWTON
from cubie_kernels.lane.specialise import Code

__all__ = ["damped_newton"]

_SOLVER, _STATE = f"{NEWTON}: linear iteration", f"{NEWTON}: iterate"
# What a step prepares for its preconditioner, and the function that applies it.
_PREPARED = {
    "none": ("lin_weight", ""),
    "jacobi": ("lin_inverse", "jacobi"),
    "neumann": ("lin_series", "neumann"),
    "ilu": ("lin_factors", "incomplete_lu"),
}
_CONTEXT = ("t", "y", "p", "a", "kept", "going")


def damped_newton(config: KernelConfig, registry: BufferRegistry, tolerance: float) -> Part:
    """Declare the buffers of the iteration and return it.

    Its linear solver is that of the step, with buffers of its own, but the preconditioner is the
    step's, which it only reads. The buffers of the iteration are ``NEWTON``'s, its linear solver is
    a child of that.

    Parameters
    ----------
    config : KernelConfig
        Of a kernel with a matrix-free linear solver.
    registry : BufferRegistry
        Where the buffers are declared.
    tolerance : float
        The size of the last update, over the tolerances of the states.
    """
    krylov = config.linear_solver
    assert isinstance(krylov, KrylovConfig)
    n, precision = len(config.system.states), config.precision
    kept, helper = _PREPARED[krylov.preconditioner]
    names = {
        "N": n,
        "MASS": config.system.mass is not None,
        "PRECONDITIONER": Code(helper),
    }
    registry.register("newton_state", _STATE, n, "local", precision=precision)
    state = (BufferUse(_STATE, "newton_state"),)

    def function(source: FunctionType, arguments: str, *uses: BufferUse) -> LaneFunction:
        taken = (*_CONTEXT, *arguments.split())
        owner = _STATE if uses else None
        return LaneFunction(
            source.__name__, written([source], names, {}), taken, owner, uses, registry
        )

    linear = linear_solver(
        function(newton_damped.damped_apply, "d v out", *state),
        function(newton_damped.damped_precondition, "d v out") if helper else None,
        n,
        replace(krylov.method, weighted=True),
        Place(
            _SOLVER,
            registry,
            "newton_linear_solver",
            precision,
            {"preconditioned_vec_location": "local", "temp_location": "local"},
            "newton_lin",
            config.records,
        ),
    )
    local = dict.fromkeys(("delta", "residual", "residual_temp", "stage_base_bt"), "local")
    newton = newton_krylov_solver_factory(
        function(newton_damped.damped_residual, "d base r", *state),
        linear,
        n,
        NEWTON,
        tolerance,
        newton_damped.MOST_UPDATES,
        newton_damped.DAMPING,
        newton_damped.BACKTRACKS,
        precision,
        **{f"{name}_location": where for name, where in local.items()},
        registry=registry,
        records=config.records,
    )
    # The first two are the step's own.
    uses = [use.name for use in newton.buffers[2:]]
    return Part(
        {"KEPT_OF_STEP": Code(kept), "NEWTON": group(uses)},
        (newton_damped.solve_stage,),
        scratch={name: name for name in uses},
        texts=(Text(newton.text, NEVER),),
    )
