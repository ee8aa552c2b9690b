"""What must hold before a time counts: all runs succeeded, and both contenders agree."""

from __future__ import annotations

import numpy as np

__all__ = ["WrongResultError", "attempted", "require_agreement", "require_success"]


class WrongResultError(RuntimeError):
    """A contender's results are wrong, so its time means nothing."""


def attempted(solution) -> float:
    """Attempted steps per run of a solution."""
    return float(np.mean(solution.accepted_steps) + np.mean(solution.rejected_steps))


def require_success(solution) -> None:
    if not solution.ok.all():
        raise WrongResultError(f"some runs failed:\n{solution.summary()}")


def require_agreement(what: str, difference: float, bound: float, *steps: float) -> None:
    """Refuse a difference above `bound` or not finite, and step counts 2 % apart."""
    if not difference <= bound:
        raise WrongResultError(f"{what}: results differ by {difference:.3g}, more than {bound:g}")
    if steps and not max(steps) <= 1.02 * min(steps):
        raise WrongResultError(f"{what}: steps per run differ: {steps}")
