"""The options of a solver, for type checkers and for the check of names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Required, TypedDict

from numpy.typing import ArrayLike

from cubie_kernels.checks import Tolerance
from cubie_kernels.kernels.controllers import Controller

if TYPE_CHECKING:
    from cubie_kernels.build.krylov_source import KrylovConfig

__all__ = ["SolverOptions"]


class SolverOptions(TypedDict, total=False):
    """The options of :class:`~cubie_kernels.Solver` that :func:`~cubie_kernels.solve` passes on."""

    t_span: Required[tuple[float, float]]
    save_at: ArrayLike | None
    save_every: float | None
    method: str
    rtol: Tolerance
    atol: Tolerance
    dt: float | None
    adaptive: bool
    dt_min: float | None
    dt_max: float | None
    max_steps: int
    controller: str | Controller | None
    linear_solver: str | KrylovConfig
    preconditioner: str | None
    precision: str
    target: str
    saved: Sequence[str] | None
