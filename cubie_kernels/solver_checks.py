"""Checks of a solver's options, each returning the value to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cubie_kernels import checks
from cubie_kernels.checks import Tolerance
from cubie_kernels.errors import InputError, PrecisionError, TargetError

if TYPE_CHECKING:
    from cubie_kernels.model.system import System

__all__ = [
    "check_range",
    "check_system",
    "checked_inputs",
    "checked_outputs",
    "checked_precision",
    "checked_steps",
    "checked_target",
    "checked_tolerances",
]

_PRECISIONS = ("float64", "float32", "float16")
_TARGET_PRECISIONS = {"cpu": ("float64", "float32"), "numpy": _PRECISIONS}
_EPS = float(np.finfo(np.float64).eps)


def check_system(system: Any) -> None:
    """Raise unless ``system`` is a model."""
    from cubie_kernels.model.system import System

    if not isinstance(system, System):
        raise InputError(
            f"system must be a System, not {type(system).__name__}: make one with "
            'System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0}).'
        )


def checked_target(target: str) -> str:
    """Return the target that ``target`` stands for."""
    if target == "cuda":
        raise TargetError(
            "Launching kernels on a GPU isn't available in this version yet: use "
            'target="cpu" or target="numpy".'
        )
    checks.choice("target", target, ("auto", *_TARGET_PRECISIONS))
    return "cpu" if target == "auto" else target


def checked_precision(precision: Any, target: str) -> str:
    """Return the canonical name of a precision that the target can compute in."""
    try:
        name = np.dtype(precision).name if precision is not None else "None"
    except TypeError:
        name = str(precision)
    checks.choice("precision", name, _PRECISIONS)
    if name not in _TARGET_PRECISIONS[target]:
        able = ", ".join(repr(key) for key, legal in _TARGET_PRECISIONS.items() if name in legal)
        raise PrecisionError(
            f"target={target!r} computes in {' or '.join(_TARGET_PRECISIONS[target])}, not in "
            f"{name}; targets that can: {able}."
        )
    return name


def checked_tolerances(
    rtol: Tolerance, atol: Tolerance, states: tuple[str, ...], precision: str
) -> dict[str, Any]:
    """Return ``rtol`` and ``atol`` for each state."""
    kind = np.finfo(precision)
    relative = checks.tolerance("rtol", rtol, states, 8 * float(kind.eps))
    absolute = checks.tolerance("atol", atol, states, float(kind.smallest_subnormal))
    for name, r, a in zip(states, relative, absolute, strict=True):
        if r == 0 and a == 0:
            raise InputError(
                f"rtol and atol are both 0 for {name!r}: no step could be accurate enough. Make "
                "at least one of them positive."
            )
    return {"rtol": relative, "atol": absolute}


def checked_steps(
    t_span: tuple[float, float],
    dt: float | None,
    dt_min: float | None,
    dt_max: float | None,
    adaptive: bool,
    max_steps: int,
) -> dict[str, float | None]:
    """Return ``dt``, ``dt_min`` and ``dt_max``, with defaults filled in."""
    t0, t1 = t_span
    span, least = t1 - t0, 16 * _EPS * max(abs(t0), abs(t1))
    given = {"dt": dt, "dt_min": dt_min, "dt_max": dt_max}
    steps = {key: checks.number(key, value) for key, value in given.items() if value is not None}
    for key, value in steps.items():
        if value <= 0:
            raise InputError(f"{key} must be above 0, not {value!r}.")
    if "dt" in steps and not least <= steps["dt"] <= span:
        raise InputError(
            f"dt = {steps['dt']!r} must lie between {least:.3g}, the least that a float64 "
            f"resolves at these times, and {span:g}, the length of t_span."
        )
    if not adaptive:
        return _fixed_step(steps, span, max_steps)
    low, high = (
        steps.get("dt_min", min(least, steps.get("dt_max", least))),
        steps.get("dt_max", span),
    )
    if low > high:
        raise InputError(f"dt_min = {low:g} is above dt_max = {high:g}: swap or change them.")
    if "dt" in steps and not low <= steps["dt"] <= high:
        raise InputError(
            f"dt = {steps['dt']:g}, the first step, must lie between dt_min = {low:g} and dt_max = "
            f"{high:g}."
        )
    return {"dt": steps.get("dt"), "dt_min": low, "dt_max": high}


def _fixed_step(steps: dict[str, float], span: float, max_steps: int) -> dict[str, float | None]:
    if "dt" not in steps:
        raise InputError("adaptive=False needs the step: pass dt=….")
    for key in ("dt_min", "dt_max"):
        if key in steps:
            raise InputError(f"{key} limits an adaptive step: leave it out with adaptive=False.")
    dt = steps["dt"]
    if span / dt > max_steps * (1 + 1e-9):
        raise InputError(
            f"dt = {dt:g} takes {span / dt:,.0f} steps, more than max_steps = {max_steps:,}: make "
            "dt longer or raise max_steps."
        )
    return {"dt": dt, "dt_min": dt, "dt_max": dt}


def checked_inputs(
    system: System, swept: Sequence[str], fixed: Mapping[str, float] | None, precision: str
) -> dict[str, Any]:
    """Return the swept names in the model's order, and the values of all others."""
    legal = (*system.parameters, *system.states)
    kind = "parameter or state"
    names = checks.known("swept", swept, kind, legal)
    values = dict(zip(legal, (*system.parameter_defaults, *system.state_defaults), strict=True))
    for name in checks.known("fixed", fixed or {}, kind, legal):
        if name in names:
            raise InputError(f"{name!r} is both swept and fixed: name it once.")
        values[name] = checks.number(f"fixed[{name!r}]", (fixed or {})[name])
    shared = {name: value for name, value in values.items() if name not in names}
    for name, value in shared.items():
        check_range(name, value, precision)
    return {"swept": tuple(name for name in legal if name in names), "fixed": shared}


def checked_outputs(system: System, saved: Sequence[str] | None) -> dict[str, Any]:
    """Return the states and the observables to keep."""
    legal = (*system.states, *system.observables)
    names = legal if saved is None else checks.known("saved", saved, "state or observable", legal)
    if not names:
        raise InputError(f"saved is empty: name at least one of {', '.join(legal)}.")
    return {
        "saved_states": tuple(name for name in names if name in system.states),
        "saved_observables": tuple(name for name in names if name in system.observables),
    }


def check_range(name: str, values: ArrayLike, precision: str) -> None:
    """Raise if a value is beyond the largest number of the precision."""
    largest, most = float(max(np.max(values), -np.min(values))), float(np.finfo(precision).max)
    if largest > most:
        raise InputError(
            f"{name!r} reaches {largest:g}, but {precision} ends at {most:.3g}: change the unit "
            "or use a longer precision."
        )
