"""Making a matrix-free linear solver: source, constants and buffers of one configuration."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.kernels import krylov
from cubie_kernels.kernels.factory_checks import (
    check_context,
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
    distinct,
    group,
    join,
    written,
)
from cubie_kernels.lane.specialise import Code

__all__ = [
    "CORRECTION_TYPES",
    "PRECISIONS",
    "Call",
    "LinearMethod",
    "Place",
    "host",
    "linear_solver",
]

PRECISIONS = ("float16", "float32", "float64")
_RESTART = 20
_HELPERS: tuple[FunctionType, ...] = (
    krylov.krylov_product,
    krylov.krylov_start,
    krylov.krylov_usable,
    krylov.krylov_end,
)
_SOURCE: dict[str, tuple[FunctionType, ...]] = {
    "minimal_residual": (*_HELPERS, krylov.gradient_step),
    "steepest_descent": (*_HELPERS, krylov.gradient_step),
    "bicgstab": (*_HELPERS, krylov.bicgstab),
    "gmres": (*_HELPERS, krylov.gmres_column, krylov.gmres),
}
CORRECTION_TYPES = tuple(_SOURCE)


@dataclass(frozen=True)
class LinearMethod:
    """How linear systems are solved, and when that is good enough.

    Parameters
    ----------
    correction_type : {'minimal_residual', 'steepest_descent', 'bicgstab', 'gmres'}
        The method.
    tolerance : float
        A system is solved when the norm of its residual is that part of its right-hand side's.
    max_iters : int
        Iterations after which a lane gives up.
    restart : int or None
        Iterations after which GMRES begins anew; None: the number of unknowns, at most 20.
    weighted : bool
        Whether norms and inner products have a weight for each unknown.

    Raises
    ------
    InputError
        If a value is none of these.
    """

    correction_type: str = "minimal_residual"
    tolerance: float = 1e-6
    max_iters: int = 100
    restart: int | None = None
    weighted: bool = False

    def __post_init__(self) -> None:
        one_of("correction_type", self.correction_type, CORRECTION_TYPES)
        check_positive("tolerance", self.tolerance)
        check_count("max_iters", self.max_iters)
        if self.restart is not None:
            check_count("restart", self.restart)

    def cycle(self, n: int) -> int:
        """Return the iterations of GMRES between two starts, for ``n`` unknowns."""
        wanted = min(n, _RESTART) if self.restart is None else self.restart
        return min(wanted, self.max_iters)

    def buffers(self, n: int, preconditioned: bool) -> dict[str, int]:
        """Return the sizes of a solver's buffers, in the order in which it takes them."""
        sizes = {"lin_preconditioned_vec": n if preconditioned else 0, "lin_temp": n}
        if self.correction_type == "bicgstab":
            sizes |= {"lin_shadow": n, "lin_direction": n, "lin_product": n}
        if self.correction_type == "gmres":
            m = self.cycle(n)
            sizes |= {
                "lin_basis": (m + 1) * n,
                "lin_triangle": m * (m + 1) // 2,
                "lin_rotations": 2 * m,
                "lin_coordinates": m,
            }
        return sizes


@dataclass(frozen=True)
class Place:
    """Where a solver's buffers are declared, and what it is called.

    Parameters
    ----------
    owner : hashable
        The component that owns them.
    registry : BufferRegistry or None
        Where; None: the registry of a function that it calls, or a new one.
    name : str
        The name of the solver.
    precision : {'float64', 'float32', 'float16'}
        Precision of the reals.
    locations : mapping of str to {'local', 'shared'}
        Arguments that say where buffers live: ``preconditioned_vec_location`` and
        ``temp_location``.
    prefix : str
        What the names of the buffers begin with, in place of ``lin``.
    records : bool
        Whether the solver records its residuals, as kernels with ``RECORDS`` do.

    Raises
    ------
    InputError, RegistryError
        If a value is none of these.
    """

    owner: Hashable
    registry: BufferRegistry | None
    name: str
    precision: str
    locations: Mapping[str, str]
    prefix: str = "lin"
    records: bool = False

    def __post_init__(self) -> None:
        check_owner(self.owner)
        one_of("precision", self.precision, PRECISIONS)
        check_locations(self.locations)
        check_registry(self.registry)


class Call(NamedTuple):
    """How source that calls other lane functions is bound to them.

    Attributes
    ----------
    context : tuple of str
        What the source hands on to all of them.
    buffers : tuple of tuple of str
        The scratch memory of each.
    uses : tuple of BufferUse
        All of that memory, each once.
    parameters : tuple of str
        The names of ``uses`` in the source.
    """

    context: tuple[str, ...]
    buffers: tuple[tuple[str, ...], ...]
    uses: tuple[BufferUse, ...]
    parameters: tuple[str, ...]

    @classmethod
    def of(
        cls,
        context: Sequence[str],
        parts: Sequence[LaneFunction],
        functions: Sequence[FunctionType],
    ) -> Call:
        """Choose names for all that source hands on, unlike those that it has itself."""
        functions = [f for f in functions if "ARGUMENTS" in f.__code__.co_varnames]
        uses = tuple(dict.fromkeys(use for part in parts for use in part.buffers))
        names = distinct([*context, *(use.name for use in uses)], functions)
        own = dict(zip(uses, names[len(context) :], strict=True))
        buffers = tuple(tuple(own[use] for use in part.buffers) for part in parts)
        return cls(names[: len(context)], buffers, uses, names[len(context) :])


def host(registry: BufferRegistry, owner: Hashable, parts: Sequence[LaneFunction]) -> None:
    """Make the components of functions with buffers children of their caller's component."""
    hosted: set[Hashable] = set()
    # One function may be called by another as well, which then is its host.
    for part in sorted(parts, key=lambda part: -len(part.buffers)):
        if part.buffers and part.owner not in hosted:
            registry.register_child(owner, part.owner)
        hosted |= {use.owner for use in part.buffers}


def linear_solver(
    operator: LaneFunction,
    preconditioner: LaneFunction | None,
    n: int,
    method: LinearMethod,
    place: Place,
) -> LaneFunction:
    """Return the solver for an operator; see `cubie_kernels.kernels.factories`."""
    functions = _SOURCE[method.correction_type]
    parts = [operator] if preconditioner is None else [operator, preconditioner]
    check_count("n", n)
    context = check_context(parts, 2)
    check_name(place.name, parts, functions)
    registry = one_registry(place.registry, parts)

    sizes = method.buffers(n, preconditioner is not None)
    uses = tuple(BufferUse(place.owner, _renamed(name, place.prefix)) for name in sizes)
    for use, size in zip(uses, sizes.values(), strict=True):
        vector = use.name.endswith("preconditioned_vec")
        location = place.locations["preconditioned_vec_location" if vector else "temp_location"]
        registry.register(use.name, place.owner, size, location, precision=place.precision)
    host(registry, place.owner, parts)

    call = Call.of(context, parts, functions)
    weight = ("weight",) if method.weighted else ()
    arguments = (*call.context, *weight, "rhs", "x")
    names: dict[str, Any] = {
        "N": n,
        "RECORDS": place.records,
        "TOLERANCE": float(method.tolerance),
        "MAX_ITERS": method.max_iters,
        "RESTART": method.cycle(n),
        "SMALLEST": float(np.finfo(place.precision).tiny),
        "WEIGHTED": method.weighted,
        "STEEPEST": method.correction_type == "steepest_descent",
        "PRECONDITIONED": preconditioner is not None,
        "CONTEXT": group(call.context),
        "WEIGHT": group(weight),
        "ARGUMENTS": group((*arguments, *sizes, *call.parameters)),
        "OPERATOR": Code(operator.name),
        "OPERATOR_BUFFERS": group(call.buffers[0]),
    }
    if preconditioner is not None:
        names["PRECONDITION"] = Code(preconditioner.name)
        names["PRECONDITIONER_BUFFERS"] = group(call.buffers[1])
    renamed = {function.__name__: f"{place.name}_{function.__name__}" for function in functions}
    renamed[functions[-1].__name__] = place.name
    text = join(*(part.text for part in parts), written(functions, names, renamed))
    return LaneFunction(
        place.name,
        text,
        (*context, *weight, "rhs", "x"),
        place.owner,
        (*uses, *call.uses),
        registry,
    )


def _renamed(name: str, prefix: str) -> str:
    return prefix + name.removeprefix("lin")
