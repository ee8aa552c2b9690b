"""How the runs of a solution ended, in words."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from cubie_kernels.status import Status

__all__ = ["Ending", "Summary"]


@dataclass(frozen=True)
class Ending:
    """One way in which runs ended.

    Attributes
    ----------
    status : Status
        The way.
    runs : int
        How many runs ended so.
    first : int
        The first of them, counted over the flattened grid.
    inputs : dict of str to float
        The swept values of that run.
    time : float
        The time that it reached.
    """

    status: Status
    runs: int
    first: int
    inputs: dict[str, float]
    time: float

    def lines(self) -> list[str]:
        """Return what to tell of it."""
        name = self.status.name
        told = [f"{name}{self.runs:>{29 - len(name)},}  {self.status.sentence}"]
        if self.status is not Status.SUCCESS:
            told += textwrap.wrap(
                self.status.remedy, 96, initial_indent="  ", subsequent_indent="  "
            )
            values = ", ".join(f"{name} = {value:.6g}" for name, value in self.inputs.items())
            told.append(
                f"  The first is run {self.first:,}{f' ({values})' if values else ''}: "
                f"it got to t = {self.time:.6g}."
            )
        return told


@dataclass(frozen=True)
class Summary:
    """Counts of statuses, with what to do about those that failed; prints as text.

    Attributes
    ----------
    model : str
        Name of the model.
    runs : int
        Number of runs.
    endings : tuple of Ending
        The ways in which runs ended, by status.
    accepted, rejected : (int, float, int)
        Least, mean and largest number of steps of a run.
    newton, linear : (int, float, int) or None
        The same of the iterations of an implicit method's solvers.
    stiff : int or None
        With ``method="auto"``: how many runs the implicit method integrated.
    """

    model: str
    runs: int
    endings: tuple[Ending, ...]
    accepted: tuple[int, float, int]
    rejected: tuple[int, float, int]
    newton: tuple[int, float, int] | None = None
    linear: tuple[int, float, int] | None = None
    stiff: int | None = None

    @property
    def counts(self) -> dict[Status, int]:
        """Number of runs for each status that occurs."""
        return {ending.status: ending.runs for ending in self.endings}

    def in_words(self) -> str:
        """Return the counts in one line."""
        succeeded = self.counts.get(Status.SUCCESS, 0)
        if succeeded == self.runs:
            return "all succeeded" if self.runs > 1 else "succeeded"
        failed = [
            f"{count:,} {status.name}"
            for status, count in self.counts.items()
            if status is not Status.SUCCESS
        ]
        return f"{succeeded:,} succeeded, {', '.join(failed)}"

    def __repr__(self) -> str:
        lines = [f"{self.runs:,} {'run' if self.runs == 1 else 'runs'} of {self.model!r}"]
        for ending in self.endings:
            lines += ending.lines()
        told = {"accepted steps": self.accepted, "rejected steps": self.rejected}
        # A method without Newton's iteration, or with a direct linear solver, counts none.
        if self.newton is not None and self.newton[2] > 0:
            told["Newton iterations"] = self.newton
        if self.linear is not None and self.linear[2] > 0:
            told["linear iterations"] = self.linear
        for what, (least, mean, most) in told.items():
            lines.append(f"{what} per run: {least:,} to {most:,}, {mean:,.1f} on average")
        if self.stiff is not None:
            lines.append(f"integrated by the implicit method: {self.stiff:,}")
        return "\n".join(lines)
