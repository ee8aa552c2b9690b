"""Which linear solver an implicit method uses for a model, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cubie_kernels.build.krylov_source import PRECONDITIONERS, KrylovConfig, check_neumann
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.kernels.linear_solver import CORRECTION_TYPES, LinearMethod
from cubie_kernels.methods import Method
from cubie_kernels.model import System
from cubie_kernels.model.direct_choice import choose_direct

__all__ = ["LINEAR_SOLVERS", "LinearChoice", "choose_linear_solver"]

DIRECT = ("lu", "banded", "indexed")
LINEAR_SOLVERS = ("auto", *DIRECT, *CORRECTION_TYPES)
# Newton's method puts right what a system's residual leaves; a Rosenbrock method does not.
_NEWTON_TOLERANCE, _ROSENBROCK_PART = 1e-3, 0.1
# Convergence of these norms is asked for no further than so many roundings.
_ROUNDINGS = 100.0
_EPS = {"float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}


@dataclass(frozen=True)
class LinearChoice:
    """A linear solver and the reason for it.

    Attributes
    ----------
    solver : {"lu", "banded", "indexed"} or KrylovConfig
        As `KernelConfig` takes it.
    reason : str
        One sentence.
    """

    solver: str | KrylovConfig
    reason: str

    @property
    def name(self) -> str:
        """How the solver is asked for."""
        if isinstance(self.solver, KrylovConfig):
            return self.solver.method.correction_type
        return self.solver


def choose_linear_solver(
    system: System,
    tableau: Method,
    given: Any,
    preconditioner: str | None,
    rtol: float,
    precision: str,
) -> LinearChoice:
    """Return the linear solver that is asked for, or the one that suits the model.

    Parameters
    ----------
    system : System
        The model.
    tableau : Tableau or RosenbrockTableau
        An implicit method.
    given : str or KrylovConfig
        One of ``LINEAR_SOLVERS``, or a matrix-free solver in detail.
    preconditioner : str or None
        Of a matrix-free solver; None: incomplete LU.
    rtol : float
        Smallest relative tolerance of a state, which decides how well the systems of a Rosenbrock
        method must be solved.
    precision : {"float64", "float32", "float16"}
        Of the state.

    Raises
    ------
    InputError
        For a solver or preconditioner that there is none of, or that do not go together, with the
        method or with the model.
    """
    choice = _choice(system, tableau, given, preconditioner, rtol, precision)
    if isinstance(choice.solver, KrylovConfig) and choice.solver.preconditioner == "neumann":
        check_neumann(system)
    return choice


def _choice(
    system: System,
    tableau: Method,
    given: Any,
    preconditioner: str | None,
    rtol: float,
    precision: str,
) -> LinearChoice:
    if isinstance(given, KrylovConfig):
        if preconditioner is not None:
            raise InputError(
                "linear_solver is a KrylovConfig, which has a preconditioner: leave out "
                f"preconditioner={preconditioner!r}."
            )
        return LinearChoice(given, "it was asked for")
    if not isinstance(given, str) or given not in LINEAR_SOLVERS:
        raise InputError(
            f"linear_solver={given!r} is none of {', '.join(map(repr, LINEAR_SOLVERS))} or a "
            f"KrylovConfig.{nearest(str(given), LINEAR_SOLVERS)}"
        )
    if preconditioner is not None and preconditioner not in PRECONDITIONERS:
        legal = ", ".join(map(repr, PRECONDITIONERS))
        hint = nearest(str(preconditioner), PRECONDITIONERS)
        raise InputError(f"preconditioner={preconditioner!r} is none of {legal}.{hint}")
    reason = "it was asked for"
    if given == "auto" and preconditioner is None:
        direct = choose_direct(
            len(system.states), system.jacobian_pattern, system.mass, tableau.family == "firk"
        )
        given, reason = direct.kind, direct.reason
    if given in DIRECT:
        if preconditioner is not None:
            raise InputError(
                f"linear_solver={given!r} factorises the whole matrix and has no preconditioner: "
                f"leave out preconditioner={preconditioner!r}, or use 'gmres'."
            )
        return LinearChoice(given, reason)
    kind = given if given in CORRECTION_TYPES else "gmres"
    tolerance = _NEWTON_TOLERANCE
    if tableau.family == "rosenbrock":
        # A power of ten, so that few kernels serve all tolerances.
        tolerance = 10.0 ** int(f"{_ROSENBROCK_PART * max(rtol, 1e-14):e}".split("e")[1])
    method = replace(LinearMethod(kind), tolerance=max(tolerance, _ROUNDINGS * _EPS[precision]))
    return LinearChoice(KrylovConfig(method, preconditioner or "ilu"), reason)
