"""The numbers that the kernel source is specialised on."""

from __future__ import annotations

import math
from typing import Any

from cubie_kernels.kernels.controllers import Controller
from cubie_kernels.lane.abi import Control, Setting
from cubie_kernels.lane.specialise import Code
from cubie_kernels.methods import Method
from cubie_kernels.status import Status

__all__ = ["abi_constants", "controller_constants"]

# After a step whose equations could not be solved the next one is half as long.
_LOG2_UNSOLVED = -1.0


# What is allowed of the tolerance's power, for methods with a power of more than 1.
_PART_OF_POWER = 6.0


def abi_constants() -> dict[str, Any]:
    """Return the places of host data and the codes of statuses."""
    names: dict[str, Any] = {}
    for kind in (Control, Setting, Status):
        names.update({member.name: int(member) for member in kind})
    return names


def controller_constants(controller: Controller, tableau: Method, precision: str) -> dict[str, Any]:
    """Return the exponents of a controller for the order of a method's error estimate."""
    k = tableau.error_power or tableau.order
    return {
        "BETA_1": controller.beta[0] / k,
        "BETA_2": controller.beta[1] / k,
        "BETA_3": controller.beta[2] / k,
        "ALPHA": controller.alpha,
        "CAUTIOUS": controller.cautious,
        "BETA_REJECT": 1.0 / k,
        "LOG2_SAFETY": math.log2(controller.safety),
        "LOG2_MIN_FACTOR": math.log2(controller.min_factor),
        "LOG2_MAX_FACTOR": math.log2(controller.max_factor),
        "TOLERANCE_POWER": _tolerance_power(tableau),
        "TOLERANCE_PART": _PART_OF_POWER,
        "LOG2_UNSOLVED": _LOG2_UNSOLVED,
        "TINY": {"float16": 1e-6, "float32": 1e-36, "float64": 1e-300}[precision],
        "NAN": Code("nan"),
    }


def _tolerance_power(tableau: Method) -> float:
    """Return the power of the tolerance that bounds the estimate, for errors proportional to it.

    That is 1 for methods that go on with the more accurate of their two solutions. With the other
    one the estimate is of the error itself, in a step, of which there are the more the shorter.
    """
    power, embedded = tableau.error_power, tableau.embedded_order
    if power is None or embedded is None or not tableau.implicit or embedded <= tableau.order:
        return 1.0
    return power / tableau.order
