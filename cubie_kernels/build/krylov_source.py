"""The matrix-free linear solver of implicit steps, made for one model.

It has the functions of every linear solver of a kernel: ``linear_prepare``, ``linear_factor`` and
``linear_solve``, and ``pair_factor`` and ``pair_solve`` for complex shifts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.errors import InputError
from cubie_kernels.kernels import krylov, preconditioners
from cubie_kernels.kernels.factory_checks import check_count, one_of
from cubie_kernels.kernels.lane_function import BufferUse, LaneFunction, group, join, written
from cubie_kernels.kernels.linear_solver import LinearMethod, Place, linear_solver
from cubie_kernels.lane.specialise import Locals
from cubie_kernels.model import System
from cubie_kernels.model.incomplete_lu import incomplete_lu_pair_source, incomplete_lu_source
from cubie_kernels.model.jacobian_diagonal import jacobian_diagonal_source
from cubie_kernels.model.sparse_lu import LuCode

__all__ = ["PRECONDITIONERS", "KrylovConfig", "KrylovSource", "check_neumann", "krylov_source"]

PRECONDITIONERS = ("none", "jacobi", "neumann", "ilu")
_PREPARED = {"jacobi": "lin_diagonal", "ilu": "lin_jacobian"}
_KEPT = {"jacobi": "inverse", "neumann": "series", "ilu": "factors"}
_APPLIED: dict[str, tuple[FunctionType, FunctionType]] = {
    "jacobi": (preconditioners.jacobi, preconditioners.jacobi_pair),
    "neumann": (preconditioners.neumann, preconditioners.neumann_pair),
    "ilu": (preconditioners.incomplete_lu, preconditioners.incomplete_lu_pair),
}
_PREPARE: tuple[FunctionType, ...] = (
    preconditioners.inverse_or_one,
    preconditioners.jacobi_prepare,
    preconditioners.complex_inverse,
    preconditioners.jacobi_pair_prepare,
)
_FUNCTIONS: tuple[FunctionType, ...] = (
    krylov.linear_prepare,
    krylov.linear_factor,
    krylov.linear_solve,
)
_PAIR_FUNCTIONS: tuple[FunctionType, ...] = (krylov.pair_factor, krylov.pair_solve)
_GMRES = LinearMethod("gmres", 1e-4, 100)


@dataclass(frozen=True)
class KrylovConfig:
    """A matrix-free linear solver and its preconditioner.

    Parameters
    ----------
    method : LinearMethod
        How systems are solved; norms are weighted with the tolerances of the states in any case.
    preconditioner : {'none', 'jacobi', 'neumann', 'ilu'}
        None; the diagonal of the matrix; a truncated Neumann series, for which the mass matrix must
        be diagonal and regular; incomplete LU factors on the pattern of the matrix.
    order : int
        Products with the Jacobian in the Neumann series.

    Raises
    ------
    InputError
        If a value is none of these.
    """

    method: LinearMethod = _GMRES
    preconditioner: str = "ilu"
    order: int = 2

    def __post_init__(self) -> None:
        one_of("preconditioner", self.preconditioner, PRECONDITIONERS)
        check_count("order", self.order)


@dataclass(frozen=True)
class KrylovSource:
    """The code of a matrix-free linear solver.

    Attributes
    ----------
    text : str
        Its functions. They call the model's functions in ``needs``.
    needs : tuple of str
        Derivatives of the model that are not in the text.
    linear : tuple of BufferUse
        What ``*LINEAR`` stands for, in order.
    pairs : tuple of tuple of BufferUse
        What ``*PAIR`` stands for in calls for each complex system. They have their factors each,
        and all the rest in common.
    """

    text: str
    needs: tuple[str, ...]
    linear: tuple[BufferUse, ...]
    pairs: tuple[tuple[BufferUse, ...], ...]


def krylov_source(
    system: System,
    config: KrylovConfig,
    registry: BufferRegistry,
    owner: str,
    precision: str,
    pairs: int = 0,
    *,
    records: bool = False,
) -> KrylovSource:
    """Declare the buffers of a matrix-free solver and write its functions.

    Parameters
    ----------
    system : System
        The model; its mass matrix is that of the solver.
    config : KrylovConfig
        Solver and preconditioner.
    registry : BufferRegistry
        Where buffers are declared. Names begin with ``lin_``, those of the pair with ``pair_``.
    owner : str
        The component that owns them, directly or in components that it hosts.
    precision : {'float64', 'float32', 'float16'}
        Precision of the reals.
    pairs : int, optional
        The number of complex systems, whose factors are needed at a time.
    records : bool, optional
        Whether the solvers record their residuals, as kernels with ``RECORDS`` do.

    Raises
    ------
    InputError
        If the preconditioner can't be made for the mass matrix.
    RegistryError
        If the owner has such buffers already.
    """
    return _Maker(system, config, registry, owner, precision, records).source(pairs)


class _Maker:
    def __init__(
        self,
        system: System,
        config: KrylovConfig,
        registry: BufferRegistry,
        owner: str,
        precision: str,
        records: bool,
    ) -> None:
        self._records = records
        self._system, self._config, self._registry = system, config, registry
        self._owner, self._precision = owner, precision
        self._kind = config.preconditioner
        self._states = len(system.states)
        if self._kind == "neumann":
            check_neumann(system)
        self._kept: dict[str, int] = {}
        self._names = self._constants({} if system.mass is None else dict(system.mass))

    def _constants(self, mass: dict[tuple[int, int], float]) -> dict[str, Any]:
        """Return what source is specialised on."""
        rows: list[list[tuple[int, float]]] = [[] for _ in range(self._states)]
        for (row, column), weight in mass.items():
            rows[row].append((column, weight))
        diagonal = tuple(mass.get((i, i), 0.0) for i in range(self._states)) if mass else ()
        return {
            "N": self._states,
            "MASS": tuple(map(tuple, rows)) if mass else (),
            "MASS_DIAGONAL": diagonal,
            "MASS_INVERSE": tuple(1.0 / weight if weight else 0.0 for weight in diagonal),
            "ORDER": self._config.order,
            "PRECONDITIONER": self._kind,
        }

    def source(self, pairs: int) -> KrylovSource:
        """Declare all buffers and write all functions."""
        n, pair = self._states, pairs > 0
        sizes = {"lin_weight": 2 * n if pair else n}
        if self._kind in _PREPARED:
            prepared = len(self._system.jacobian_pattern) if self._kind == "ilu" else n
            sizes[_PREPARED[self._kind]] = prepared
        common = self._declare(self._owner, sizes)
        sides = self._declare(self._owner, {"lin_solution": n})
        solvers = [self._solver(krylov.krylov_apply, 0)]
        groups = [(*common, *sides, *solvers[0].buffers), ()]
        functions: list[FunctionType] = [*_FUNCTIONS]
        if pair:
            sides = self._declare(self._owner, {"pair_rhs": 2 * n, "pair_solution": 2 * n})
            solvers.append(self._solver(krylov.pair_apply, 1))
            groups[1] = (*common, *sides, *solvers[1].buffers)
            functions += _PAIR_FUNCTIONS
        texts = [solver.text for solver in solvers]
        if self._kind == "jacobi":
            texts.append(jacobian_diagonal_source(self._system))
            functions = [*(_PREPARE if pair else _PREPARE[:2]), *functions]
        names = self._names | {
            "PAIRED": pair,
            "LINEAR": _group(groups[0]),
            "PAIR": _group(groups[1]),
            "SCRATCH": _group(solvers[0].buffers),
            "PAIR_SCRATCH": _group(solvers[-1].buffers),
        }
        text = join(*texts, written(functions, names, {}))
        needs = ("jvp", "jacobian") if self._kind == "ilu" else ("jvp",)
        further = [self._further(groups[1], i) for i in range(1, pairs)]
        return KrylovSource(text, needs, groups[0], tuple([*groups[1:], *further][:pairs]))

    def _further(self, uses: tuple[BufferUse, ...], index: int) -> tuple[BufferUse, ...]:
        """Return what a further pair takes: factors of its own, declared here, and the rest."""
        kept = {} if self._kind == "neumann" else self._kept
        owns = {
            use: self._declare(use.owner, {f"{use.name}_{index}": kept[use.name]})[0]
            for use in uses
            if use.name in kept
        }
        return tuple(owns.get(use, use) for use in uses)

    def _declare(self, owner: Hashable, sizes: dict[str, int]) -> tuple[BufferUse, ...]:
        for name, size in sizes.items():
            self._registry.register(name, owner, size, "local", precision=self._precision)
        return tuple(BufferUse(owner, name) for name in sizes)

    def _solver(self, apply: FunctionType, part: int) -> LaneFunction:
        """Return the solver of the real system (part 0) or of the pair (part 1)."""
        prefix, name = ("lin", "krylov_solve") if part == 0 else ("pair", "pair_krylov_solve")
        owner = f"{self._owner}: {prefix} iteration"
        operator = self._lane_function(apply, ())
        place = Place(
            owner,
            self._registry,
            name,
            self._precision,
            {"preconditioned_vec_location": "local", "temp_location": "local"},
            prefix,
            self._records,
        )
        method = replace(self._config.method, weighted=True)
        preconditioner = self._preconditioner(part, prefix)
        n = self._states * (1 + part)
        solver = linear_solver(operator, preconditioner, n, method, place)
        self._registry.register_child(self._owner, owner)
        return solver

    def _preconditioner(self, part: int, prefix: str) -> LaneFunction | None:
        if self._kind == "none":
            return None
        size, texts = self._states * (1 + part), list[str]()
        if self._kind == "ilu":
            code = self._incomplete(part)
            size, texts = code.entries, [code.text]
        elif part and self._kind == "neumann":
            texts = [written([preconditioners.complex_inverse], {}, {})]
        owner = f"{self._owner}: {prefix} preconditioner"
        kept = f"{prefix}_{_KEPT[self._kind]}"
        self._kept[kept] = size
        uses = self._declare(owner, {kept: size})
        found = self._lane_function(_APPLIED[self._kind][part], uses)
        return replace(found, text=join(*texts, found.text), owner=owner)

    def _incomplete(self, part: int) -> LuCode:
        make = incomplete_lu_pair_source if part else incomplete_lu_source
        return make(self._states, self._system.jacobian_pattern, self._system.mass)

    def _lane_function(self, function: FunctionType, uses: tuple[BufferUse, ...]) -> LaneFunction:
        code = function.__code__
        arguments = code.co_varnames[: code.co_argcount - len(uses)]
        text = written([function], self._names, {})
        return LaneFunction(
            function.__name__, text, arguments, buffers=uses, registry=self._registry
        )


def check_neumann(system: System) -> None:
    """Check that a model's mass matrix allows a Neumann series.

    Raises
    ------
    InputError
        If it is not diagonal, or singular.
    """
    diagonal = {(i, i) for i in range(len(system.states))}
    if system.mass is not None and set(system.mass) != diagonal:
        raise InputError(
            "preconditioner='neumann' needs a mass matrix that is diagonal, without zeros on it: "
            "use 'ilu', 'jacobi' or 'none'."
        )


def _group(uses: Iterable[BufferUse]) -> Locals:
    return group(use.name for use in uses)
