"""How a run ended."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Status"]


class Status(IntEnum):
    """How a run ended; each member carries a sentence and a remedy.

    ``NOT_RUN`` is 0, so that a slot that was never written cannot read as success.
    """

    sentence: str
    remedy: str

    NOT_RUN = (0, "The run has not been computed.", "Run the sweep again: it does what is missing.")
    SUCCESS = (1, "The run reached the end of its time span.", "Nothing to do.")
    NONFINITE = (
        2,
        "The state or its derivative became infinite or not a number.",
        "Look at the last good state: the model may blow up there, or leave the domain of a "
        "logarithm, root or division. Tighter tolerances or a smaller dt_max may keep it inside.",
    )
    STEP_TOO_SMALL = (
        3,
        "The step needed for the asked accuracy fell below dt_min.",
        "The model may be stiff or singular there: use a method for stiff problems, loosen the "
        "tolerances, or lower dt_min.",
    )
    STEP_BUDGET = (
        4,
        "The run used up max_steps before the end of its time span.",
        "Raise max_steps, loosen the tolerances, or use a method for stiff problems.",
    )

    NEWTON_DIVERGED = (
        5,
        "Newton's method did not solve the equations of a step, however short.",
        "Look at the last good state: the model may jump there, or leave the domain of a function. "
        "Smooth the jump, loosen the tolerances, or use a Rosenbrock method, which needs no "
        "iteration.",
    )
    LINEAR_SOLVER_LIMIT = (
        6,
        "The iterative linear solver did not converge within its iterations, however short the "
        "step.",
        "Use linear_solver='lu' or a better preconditioner, or allow more iterations.",
    )
    SINGULAR_MATRIX = (
        7,
        "The matrix of a step's linear equations was singular.",
        "Look at the last good state: an unknown may drop out of the model's equations there. With "
        "a mass matrix the equations may have an index above 1.",
    )

    STIFF = (
        8,
        "The explicit method found the run stiff and left it.",
        "Use a method for stiff problems, or method='auto', which hands such runs to one.",
    )

    INCONSISTENT_START = (
        9,
        "No initial values that meet the algebraic equations were found.",
        "Give initial values closer to a solution of the algebraic equations; for these parameters "
        "there may be none.",
    )

    WORKER_LOST = (
        10,
        "The run killed every process that began it, in a sweep on workers.",
        "Compute it alone with Solver and look at how the process ends: out of memory, or a fault "
        "in compiled code or a driver.",
    )

    def __new__(cls, value: int, sentence: str, remedy: str) -> Status:
        """Make the integer member and attach its texts."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        member.remedy = remedy
        return member
