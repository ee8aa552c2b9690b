"""How runs are stepped: the method, its controller and its linear solver; checked choices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cubie_kernels.errors import InputError
from cubie_kernels.kernels.controllers import Controller, get_controller
from cubie_kernels.methods import Method, get_method, methods
from cubie_kernels.methods.increment_dense import ends_on_stage

if TYPE_CHECKING:
    from cubie_kernels.build.linear_choice import LinearChoice
    from cubie_kernels.model.system import System

__all__ = ["AUTO", "DEFAULT_CONTROLLERS", "MethodChoice", "MethodOptions", "chosen_methods"]

AUTO = ("tsit5", "rodas5p")
"""The explicit method of ``method="auto"``, and the implicit one for runs that it finds stiff."""

DEFAULT_CONTROLLERS = {
    "erk": "pi",
    "dirk": "gustafsson",
    "firk": "predictive",
    "rosenbrock": "gustafsson",
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
    """

    tableau: Method
    controller: Controller
    linear: LinearChoice | None

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
        return found


def chosen_methods(system: System, options: MethodOptions) -> tuple[MethodChoice, ...]:
    """Return the method asked for; for ``"auto"`` the explicit and the implicit one.

    Raises
    ------
    InputError
        For names that there are none of, and for what does not go together: no error estimate and
        adaptive steps, a mass matrix and a method that cannot take it, linear solvers and an
        explicit method.
    """
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
        from cubie_kernels.build.linear_choice import choose_linear_solver

        linear = choose_linear_solver(
            system,
            tableau,
            options.linear_solver,
            options.preconditioner,
            options.rtol,
            options.precision,
        )
        return MethodChoice(tableau, controller, linear)
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
