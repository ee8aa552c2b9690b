"""The options of a solver, for type checkers and for the check of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Required, TypedDict

from numpy.typing import ArrayLike

from cubie_kernels.checks import Tolerance
from cubie_kernels.errors import nearest
from cubie_kernels.kernels.controllers import Controller

if TYPE_CHECKING:
    from cubie_kernels.build.krylov_source import KrylovConfig

__all__ = ["SolverOptions", "check_options"]


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
    newton: str
    precision: str
    target: str
    saved: Sequence[str] | None


def check_options(caller: str, options: Mapping[str, object], own: tuple[str, ...]) -> None:
    """Raise for options that a caller of a solver doesn't have, and if the time span is missing.

    Parameters
    ----------
    caller : str
        What to call it.
    options : mapping of str
        What it was given for the solver.
    own : tuple of str
        Names of further options that it has.

    Raises
    ------
    TypeError
        As Python does for names of arguments.
    """
    known = (*own, *SolverOptions.__annotations__)
    for name in options:
        if name not in known:
            raise TypeError(
                f"{caller} has no option {name!r}.{nearest(name, known)} Options are "
                f"{', '.join(known)}."
            )
    if "t_span" not in options:
        raise TypeError(f"{caller} needs t_span=(start, end).")
