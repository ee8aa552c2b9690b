"""How runs are stepped: the method, its controller and its linear solver; checked choices."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from cubie_kernels.errors import InputError, nearest
from cubie_kernels.kernels.controllers import Controller, get_controller
from cubie_kernels.methods import Method, get_method, methods
from cubie_kernels.methods.increment_dense import ends_on_stage

if TYPE_CHECKING:
    from cubie_kernels.build.linear_choice import LinearChoice
    from cubie_kernels.model.system import System

__all__ = [
    "AUTO",
    "DEFAULT_CONTROLLERS",
    "NEWTON_ITERATIONS",
    "MethodChoice",
    "MethodOptions",
    "chosen_methods",
]

AUTO = ("tsit5", "rodas5p")
"""The explicit method of ``method="auto"``, and the implicit one for runs that it finds stiff."""

NEWTON_ITERATIONS = ("simplified", "damped")
"""How the stages of diagonally implicit methods are solved for."""

DEFAULT_CONTROLLERS = {
    "erk": "pi",
    "dirk": "gustafsson",
    "firk": "predictive",
    "rosenbrock": "careful",
}
"""The step-size controller of each family of methods, unless another is asked for."""


@dataclass(frozen=True)
class MethodOptions:
    """What is asked for; see :class:`cubie_kernels.Solver`."""

    method: str
    adaptive: bool
    controller: str | Controller | None
    linear_solver: Any
    preconditioner: str | None
    newton: str
    rtol: float
    precision: str


@dataclass(frozen=True)
class MethodChoice:
    """A method with what it needs.

    Attributes
    ----------
    tableau : Tableau or RosenbrockTableau
        Its coefficients.
    controller : Controller
        What steers its steps.
    linear : LinearChoice, or None
        The linear solver of an implicit method, and the reason for it.
    newton : {"simplified", "damped"}
        Newton's iteration of a method that has one.
    """

    tableau: Method
    controller: Controller
    linear: LinearChoice | None
    newton: str = "simplified"

    @property
    def solvers(self) -> str:
        """Say what solves the equations of an implicit step, behind the method's name."""
        if self.linear is None:
            return ""
        return f" with {self.linear.name}{' and damped Newton' if self.damped else ''}"

    @property
    def damped(self) -> bool:
        """Whether Newton's iteration is the damped one."""
        return self.newton == "damped"

    def settings(self) -> dict[str, Any]:
        """Return name, controller and linear solver as values that JSON can hold."""
        found: dict[str, Any] = {
            "method": self.tableau.name,
            "controller": {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(self.controller).items()
                if key != "reference"
            },
        }
        if self.linear is not None:
            solver = self.linear.solver
            found["linear_solver"] = solver if isinstance(solver, str) else asdict(solver)
        # Said where it isn't the usual one, so that solvers keep the settings they always had.
        return found | ({"newton": self.newton} if self.damped else {})


def chosen_methods(system: System, options: MethodOptions) -> tuple[MethodChoice, ...]:
    """Return the method asked for; for ``"auto"`` the explicit and the implicit one.

    Raises
    ------
    InputError
        For names that there are none of, and for what does not go together: no error estimate and
        adaptive steps, a mass matrix and a method that cannot take it, linear solvers and an
        explicit method.
    """
    _check_newton(options)
    if _is_auto(options.method):
        if not options.adaptive:
            raise InputError(
                "method='auto' finds stiff runs by their steps, which a fixed step hides: choose "
                "a method, or leave out adaptive=False."
            )
        names = AUTO if system.mass is None else AUTO[1:]
    else:
        names = (options.method,)
    return tuple(_chosen(system, name, options) for name in names)


def _chosen(system: System, name: str, options: MethodOptions) -> MethodChoice:
    tableau = get_method(name)
    if options.adaptive:
        _check_error_estimate(tableau)
    if system.mass is not None:
        _check_mass(system, tableau)
    controller = options.controller
    if not isinstance(controller, Controller):
        default = DEFAULT_CONTROLLERS[tableau.family]
        controller = get_controller(default if controller is None else str(controller))
    if tableau.implicit:
        linear = _linear(system, tableau, options)
        return MethodChoice(tableau, controller, linear, options.newton)
    if not _is_auto(options.method):
        for option, given in (
            ("linear_solver", None if options.linear_solver == "auto" else options.linear_solver),
            ("preconditioner", options.preconditioner),
        ):
            if given is not None:
                raise InputError(
                    f"{option}={given!r} is for implicit methods, but {tableau.name!r} is explicit "
                    "and solves no linear systems: leave it out, or take method='rodas5p'."
                )
    return MethodChoice(tableau, controller, None)


def _linear(system: System, tableau: Method, options: MethodOptions) -> LinearChoice:
    from cubie_kernels.build.krylov_source import KrylovConfig
    from cubie_kernels.build.linear_choice import choose_linear_solver

    damped = options.newton == "damped"
    preconditioner = options.preconditioner
    taken = damped and options.linear_solver == "auto"
    if taken:
        preconditioner = preconditioner or "ilu"
    linear = choose_linear_solver(
        system, tableau, options.linear_solver, preconditioner, options.rtol, options.precision
    )
    if damped and not isinstance(linear.solver, KrylovConfig):
        raise InputError(
            f"newton='damped' needs products with the matrix at each iterate, but linear_solver="
            f"{linear.name!r} factorises that of the start of the step: use 'gmres' or "
            "'bicgstab', or leave out linear_solver or newton."
        )
    if taken:
        linear = replace(linear, reason="damped Newton needs products with each iterate's matrix")
    return linear


def _check_newton(options: MethodOptions) -> None:
    """Raise for an iteration that there is none of, or that the method has no use for."""
    if options.newton not in NEWTON_ITERATIONS:
        raise InputError(
            f"newton={options.newton!r} is none of {', '.join(map(repr, NEWTON_ITERATIONS))}."
            f"{nearest(str(options.newton), NEWTON_ITERATIONS)}"
        )
    if options.newton == "simplified":
        return
    name = "auto" if _is_auto(options.method) else get_method(options.method).name
    family = "rosenbrock" if name == "auto" else get_method(name).family
    if family != "dirk":
        why = {
            "erk": "is explicit and solves no equations",
            "firk": "solves for all its stages at once, by the simplified iteration alone",
            "rosenbrock": "has linear equations alone, and no iteration",
        }[family]
        raise InputError(
            f"newton='damped' is for diagonally implicit methods, but {name!r} {why}: leave it "
            "out, or take method='kvaerno5' or another of the family 'dirk'."
        )


def _is_auto(method: str) -> bool:
    """Tell whether the method is left to each run; case does not matter, as in other names."""
    return str(method).strip().lower() == "auto"


def _check_error_estimate(tableau: Method) -> None:
    if tableau.embedded_order is None:
        able = [info for info in methods() if info.embedded_order is not None]
        able.sort(key=lambda info: (info.family != tableau.family, abs(info.order - tableau.order)))
        raise InputError(
            f"Method {tableau.name!r} has no embedded error estimate, so its step can't adapt: "
            f"pass dt=… and adaptive=False, or take an adaptive method of similar order: "
            f"{', '.join(repr(info.name) for info in able[:3])}."
        )


def _check_mass(system: System, tableau: Method) -> None:
    """Raise unless a method can take the model's mass matrix."""
    from cubie_kernels.model.mass import null_spaces

    singular = bool(null_spaces(len(system.states), system.mass).right)
    what = "algebraic equations" if singular else "a mass matrix"

    def fits(method: Method) -> bool:
        return method.implicit and (not singular or ends_on_stage(method))

    if fits(tableau):
        return
    why = (
        "ends its step off its last stage, where it doesn't hold"
        if tableau.implicit
        else "is explicit"
    )
    able = [info.name for info in methods() if info.order > 2 and fits(get_method(info.name))]
    raise InputError(
        f"The model {system.name!r} has {what}, but {tableau.name!r} {why}: take "
        f"{', '.join(map(repr, able[:-1]))} or {able[-1]!r}."
    )
