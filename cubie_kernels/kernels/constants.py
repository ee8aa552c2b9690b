"""The numbers that the kernel source is specialised on."""

from __future__ import annotations

import math
from typing import Any

from cubie_kernels.kernels.controllers import Controller
from cubie_kernels.lane.abi import Control, Setting
from cubie_kernels.lane.specialise import Code
from cubie_kernels.methods.rosenbrock import RosenbrockTableau
from cubie_kernels.methods.tableau import Tableau
from cubie_kernels.status import Status

__all__ = ["abi_constants", "controller_constants", "erk_constants", "rosenbrock_constants"]

# After a step whose equations could not be solved the next one is half as long.
_LOG2_UNSOLVED = -1.0


def abi_constants() -> dict[str, Any]:
    """Return the places of host data and the codes of statuses."""
    names: dict[str, Any] = {}
    for kind in (Control, Setting, Status):
        names.update({member.name: int(member) for member in kind})
    return names


def erk_constants(tableau: Tableau, states: int) -> dict[str, Any]:
    """Return the coefficients of an explicit method, with its last stage at the new state."""
    a = [row[:i] for i, row in enumerate(tableau.a)]
    c = list(tableau.c)
    if not tableau.fsal:
        a.append(tableau.b)
        c.append(1.0)
    stages = len(a)
    names: dict[str, Any] = {
        "N": states,
        "STAGES": stages,
        "END": stages - 1,
        "ORDER": tableau.order,
        "IMPLICIT": False,
        "A": tuple(a),
        "C": tuple(c),
        "ERROR": _padded(tableau.error, stages),
        "ERROR_2": _padded(tableau.error_2, stages),
        "DENSE_A": (),
        "DENSE_C": (),
        "DENSE_COLUMNS": (),
        "DENSE_ROWS": 0,
        "DENSE_DEGREE": 3,
        "DENSE_STAGES": 0,
    }
    dense = tableau.dense
    if dense is not None:
        # Without FSAL the first extra stage is the derivative at the new state, which is here
        # the last stage anyway.
        first = stages - tableau.stages
        names |= {
            "DENSE_A": dense.extra_a[first:],
            "DENSE_C": dense.extra_c[first:],
            "DENSE_COLUMNS": tuple(zip(*dense.nested, strict=True)),
            "DENSE_ROWS": len(dense.nested),
            "DENSE_DEGREE": len(dense.nested[0]),
            "DENSE_STAGES": len(dense.extra_c) - first,
        }
    return names


def _padded(weights: tuple[float, ...] | None, stages: int) -> tuple[float, ...]:
    if weights is None:
        return ()
    return (*weights, *(0.0,) * (stages - len(weights)))


def rosenbrock_constants(tableau: RosenbrockTableau, states: int, timed: bool) -> dict[str, Any]:
    """Return the coefficients of a Rosenbrock method.

    A stage whose argument is that of the stage before it, or the start of the step, takes the
    derivative from there.
    """
    evaluated, source = [], []
    for s, first in enumerate(tableau.arguments):
        evaluated.append(first == s and s > 0)
        source.append(0 if first == 0 else 1)
    return {
        "N": states,
        "STAGES": tableau.stages,
        "END": 1,
        "ORDER": tableau.order,
        "IMPLICIT": True,
        "PAIRED": False,
        "GAMMA": tableau.diagonal,
        "STAGE_A": tableau.a,
        "STAGE_C": tableau.c,
        "WEIGHTS": tableau.m,
        "ERROR": tableau.e or (),
        "NODES": tableau.alpha_sums,
        "GAMMA_SUM": tableau.gamma_sums,
        "EVALUATED": tuple(evaluated),
        "SOURCE": tuple(source),
        "TIMED": timed and any(tableau.gamma_sums),
        "DENSE": () if tableau.dense is None else tableau.dense.bend,
        "DENSE_DEGREE": 0 if tableau.dense is None else len(tableau.dense.bend),
    }


def controller_constants(
    controller: Controller, tableau: Tableau | RosenbrockTableau, precision: str
) -> dict[str, Any]:
    """Return the exponents of a controller for the order of a method's error estimate."""
    k = tableau.error_power or tableau.order
    return {
        "BETA_1": controller.beta[0] / k,
        "BETA_2": controller.beta[1] / k,
        "BETA_3": controller.beta[2] / k,
        "ALPHA": controller.alpha,
        "BETA_REJECT": 1.0 / k,
        "LOG2_SAFETY": math.log2(controller.safety),
        "LOG2_MIN_FACTOR": math.log2(controller.min_factor),
        "LOG2_MAX_FACTOR": math.log2(controller.max_factor),
        "LOG2_UNSOLVED": _LOG2_UNSOLVED,
        "TINY": {"float16": 1e-6, "float32": 1e-36, "float64": 1e-300}[precision],
        "NAN": Code("nan"),
    }
