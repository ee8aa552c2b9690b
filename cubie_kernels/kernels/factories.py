"""Factories of matrix-free solvers: lane functions made for one operator, with buffers declared.

A factory checks all that it is given, then declares buffers, then writes the text. It keeps no
state: the registry is an argument, or a new one.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.errors import InputError
from cubie_kernels.kernels import newton_krylov
from cubie_kernels.kernels.factory_checks import (
    check_count,
    check_locations,
    check_name,
    check_owner,
    check_positive,
    check_registry,
    one_of,
    one_registry,
)
from cubie_kernels.kernels.lane_function import (
    BufferUse,
    LaneFunction,
    as_lane_function,
    group,
    join,
    written,
)
from cubie_kernels.kernels.linear_solver import (
    PRECISIONS,
    Call,
    LinearMethod,
    Place,
    host,
    linear_solver,
)
from cubie_kernels.lane.specialise import Code

__all__ = [
    "linear_solver_cached_factory",
    "linear_solver_factory",
    "newton_krylov_solver_factory",
]

_NEWTON = (
    newton_krylov.newton_scale,
    newton_krylov.newton_size,
    newton_krylov.newton_update,
    newton_krylov.newton_line_search,
    newton_krylov.newton_krylov,
)


def linear_solver_factory(
    operator_apply: LaneFunction | str,
    n: int,
    factory: Hashable,
    preconditioner: LaneFunction | str | None = None,
    correction_type: str = "minimal_residual",
    tolerance: float = 1e-6,
    max_iters: int = 100,
    precision: str = "float64",
    preconditioned_vec_location: str = "local",
    temp_location: str = "local",
    *,
    registry: BufferRegistry | None = None,
    name: str = "linear_solver",
    weighted: bool = False,
    restart: int | None = None,
    records: bool = False,
) -> LaneFunction:
    """Make a solver of ``W x = rhs`` for a matrix that is known by its products with vectors.

    Parameters
    ----------
    operator_apply : LaneFunction or str
        ``apply(*context, v, out)`` writes W v. Its context is up to it, usually ``t, h, y, p``:
        the solver takes the same and hands it on.
    n : int
        Number of unknowns.
    factory : hashable
        The component that owns the solver's buffers.
    preconditioner : LaneFunction or str, optional
        ``precondition(*context, v, out)`` writes something near to W^-1 v.
    correction_type : {'minimal_residual', 'steepest_descent', 'bicgstab', 'gmres'}
        The method. Minimal residual needs a W whose symmetric part is positive definite, steepest
        descent a symmetric positive definite W.
    tolerance : float
        A lane has converged when the norm of its residual is that part of its right-hand side's.
    max_iters : int
        Iterations after which a lane gives up. One of BiCGSTAB has two products with W.
    precision : {'float64', 'float32', 'float16'}
        Precision of the reals.
    preconditioned_vec_location, temp_location : {'local', 'shared'}
        Where ``lin_preconditioned_vec`` (empty without a preconditioner) and ``lin_temp`` live.
        Further buffers of BiCGSTAB and GMRES go with ``lin_temp``.
    registry : BufferRegistry, optional
        Where the buffers are declared; by default that of operator or preconditioner, or a new one.
        The components of these become children of ``factory``.
    name : str
        The name of the function.
    weighted : bool
        Whether unknown i counts ``weight[i]`` times in norms and inner products.
    restart : int, optional
        Iterations after which GMRES begins anew, and vectors that it keeps. By default the number
        of unknowns, at most 20.
    records : bool
        Whether it tells a :class:`~cubie_kernels.run.record.Recorder` its residuals.

    Returns
    -------
    LaneFunction
        ``name(*context, [weight,] rhs, x, *buffers)`` returns a code (0 converged, 4 iteration
        limit or breakdown) and the number of iterations of each lane. ``x`` is the solution, from a
        first guess of zero; ``rhs`` is overwritten. A right-hand side of zero gives zero at once,
        one that is not finite gives zero and code 4. Arrays do not overlap.

    Raises
    ------
    InputError
        If an argument is none of these, or operator and preconditioner have different contexts.
    RegistryError
        If the factory is None or has declared such buffers before, or a location is neither of the
        two.
    """
    operator, helper = _parts(operator_apply, preconditioner)
    method = LinearMethod(correction_type, tolerance, max_iters, restart, bool(weighted))
    locations = {
        "preconditioned_vec_location": preconditioned_vec_location,
        "temp_location": temp_location,
    }
    place = Place(factory, registry, name, precision, locations, records=bool(records))
    return linear_solver(operator, helper, n, method, place)


def linear_solver_cached_factory(
    operator_apply: LaneFunction | str,
    n: int,
    factory: Hashable,
    preconditioner: LaneFunction | str | None = None,
    correction_type: str = "minimal_residual",
    tolerance: float = 1e-6,
    max_iters: int = 100,
    precision: str = "float64",
    preconditioned_vec_location: str = "local",
    temp_location: str = "local",
    *,
    registry: BufferRegistry | None = None,
    name: str = "linear_solver_cached",
    weighted: bool = False,
    restart: int | None = None,
    records: bool = False,
) -> LaneFunction:
    """Make a solver whose operator reads what its caller has computed before.

    As :func:`linear_solver_factory`, but operator and preconditioner are
    ``apply(*context, cached, v, out)``, and so the solver is
    ``name(*context, cached, [weight,] rhs, x, *buffers)``: ``cached`` is a buffer of the caller, of
    whatever length, with Jacobian entries, factors or other auxiliaries in it.

    Raises
    ------
    InputError
        As there, and if ``cached`` is not where it should be.
    RegistryError
        As there.
    """
    operator, helper = _parts(operator_apply, preconditioner)
    for part in (operator, helper):
        if part is not None and part.arguments[-3:-2] != ("cached",):
            raise InputError(
                f"{part.name}({', '.join(part.arguments)}) has no argument 'cached' before its "
                "last two: make it apply(*context, cached, v, out), or use linear_solver_factory."
            )
    method = LinearMethod(correction_type, tolerance, max_iters, restart, bool(weighted))
    locations = {
        "preconditioned_vec_location": preconditioned_vec_location,
        "temp_location": temp_location,
    }
    place = Place(factory, registry, name, precision, locations, records=bool(records))
    return linear_solver(operator, helper, n, method, place)


def _parts(
    operator_apply: LaneFunction | str, preconditioner: LaneFunction | str | None
) -> tuple[LaneFunction, LaneFunction | None]:
    operator = as_lane_function(operator_apply, "operator_apply")
    if preconditioner is None:
        return operator, None
    return operator, as_lane_function(preconditioner, "preconditioner")


def newton_krylov_solver_factory(
    residual_function: LaneFunction | str,
    linear_solver: LaneFunction,
    n: int,
    factory: Hashable,
    tolerance: float,
    max_iters: int,
    damping: float = 0.5,
    max_backtracks: int = 8,
    precision: str = "float64",
    delta_location: str = "shared",
    residual_location: str = "shared",
    residual_temp_location: str = "local",
    stage_base_bt_location: str = "local",
    *,
    registry: BufferRegistry | None = None,
    name: str = "newton_solver",
    records: bool = False,
) -> LaneFunction:
    """Make a solver of ``r(d) = 0`` by Newton's method, shortened updates and a linear solver.

    Parameters
    ----------
    residual_function : LaneFunction or str
        ``residual(*context, d, base, r)`` writes the residual of the unknowns ``d``; ``base`` is a
        buffer of the caller. For the stage of a diagonally implicit method, r(d) =
        gamma*f(t, y + d) + base - M d/h.
    linear_solver : LaneFunction
        Made by :func:`linear_solver_factory` from ``apply(*context, d, v, out)``, which writes
        W v for W = -dr/dd, the derivative of the residual with the sign changed: M/h - gamma*J for
        the stage above.
    n : int
        Number of unknowns.
    factory : hashable
        The component that owns the buffers; the linear solver's becomes its child.
    tolerance : float
        A lane has converged when the root mean square of an update is below; with the weights of
        the linear solver if that has some.
    max_iters : int
        Updates after which a lane gives up.
    damping : float
        Factor, below 1, by which an update is shortened that makes the residual no smaller.
    max_backtracks : int
        How often it is shortened before a lane gives up; 0 or more.
    precision : {'float64', 'float32', 'float16'}
        Precision of the reals.
    delta_location, residual_location, residual_temp_location, stage_base_bt_location
        Where ``newton_delta``, ``newton_residual``, ``newton_residual_temp`` and
        ``newton_stage_base_bt`` live: ``'local'`` or ``'shared'``.
    registry : BufferRegistry, optional
        Where the buffers are declared; by default that of the linear solver.
    name : str
        The name of the function.
    records : bool
        Whether it tells a :class:`~cubie_kernels.run.record.Recorder` what its iterations do.

    Returns
    -------
    LaneFunction
        ``name(*context, [weight,] base, d, *buffers)`` replaces the guess in ``d`` by the solution
        and returns, for each lane, a code and the numbers of Newton and of linear iterations.
        Codes: 0 converged, 1 no descent, 2 iteration limit; 4 is added to 1 and 2 if the last
        linear system was not solved. Arrays do not overlap.

    Raises
    ------
    InputError
        If an argument is none of these, or residual and linear solver do not go together.
    RegistryError
        If the factory is None or has declared such buffers before, the linear solver has another
        host, or a location is neither of the two.
    """
    residual = as_lane_function(residual_function, "residual_function")
    _check_newton(tolerance, max_iters, damping, max_backtracks, precision)
    check_count("n", n)
    check_owner(factory)
    check_registry(registry)
    locations = {
        "delta_location": delta_location,
        "residual_location": residual_location,
        "residual_temp_location": residual_temp_location,
        "stage_base_bt_location": stage_base_bt_location,
    }
    check_locations(locations)
    context, weight = _newton_context(residual, linear_solver)
    parts = (residual, linear_solver)
    check_name(name, parts, _NEWTON)
    registry = one_registry(registry, parts)

    own = {f"newton_{what.removesuffix('_location')}": where for what, where in locations.items()}
    for buffer, location in own.items():
        registry.register(buffer, factory, n, location, precision=precision)
    host(registry, factory, parts)

    call = Call.of(context, parts, _NEWTON)
    names = {
        "N": n,
        "RECORDS": bool(records),
        "TOLERANCE": float(tolerance),
        "MAX_ITERS": max_iters,
        "DAMPING": float(damping),
        "SMALLEST": float(np.finfo(precision).tiny),
        "MAX_BACKTRACKS": max_backtracks,
        "WEIGHTED": bool(weight),
        "CONTEXT": group(call.context),
        "WEIGHT": group(weight),
        "ARGUMENTS": group((*call.context, *weight, "base", "d", *own, *call.parameters)),
        "RESIDUAL": Code(residual.name),
        "RESIDUAL_BUFFERS": group(call.buffers[0]),
        "LINEAR_SOLVER": Code(linear_solver.name),
        "LINEAR_BUFFERS": group(call.buffers[1]),
    }
    renamed = {function.__name__: f"{name}_{function.__name__}" for function in _NEWTON[:-1]}
    renamed[_NEWTON[-1].__name__] = name
    text = join(*(part.text for part in parts), written(_NEWTON, names, renamed))
    uses = tuple(BufferUse(factory, buffer) for buffer in own)
    arguments = (*context, *weight, "base", "d")
    return LaneFunction(name, text, arguments, factory, (*uses, *call.uses), registry)


def _check_newton(
    tolerance: float, max_iters: int, damping: float, max_backtracks: int, precision: str
) -> None:
    check_positive("tolerance", tolerance)
    check_count("max_iters", max_iters)
    check_positive("damping", damping, below=1.0)
    check_count("max_backtracks", max_backtracks, least=0)
    one_of("precision", precision, PRECISIONS)


def _newton_context(
    residual: LaneFunction, linear_solver: object
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what residual and linear solver take in common, and ``weight`` if that has one."""
    if not isinstance(linear_solver, LaneFunction):
        raise InputError(
            f"linear_solver is {linear_solver!r}: give what linear_solver_factory returned."
        )
    context = residual.arguments[:-3]
    wanted = [(*context, "d", *weight, "rhs", "x") for weight in ((), ("weight",))]
    if len(residual.arguments) < 3 or linear_solver.arguments not in wanted:
        raise InputError(
            f"{residual.name}({', '.join(residual.arguments)}) and the linear solver "
            f"{linear_solver.name}({', '.join(linear_solver.arguments)}) do not go together: make "
            "residual(*context, d, base, r), and the linear solver from an operator "
            "apply(*context, d, v, out)."
        )
    return context, ("weight",) if "weight" in linear_solver.arguments[-3:] else ()
