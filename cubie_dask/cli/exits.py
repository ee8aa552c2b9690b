"""What the exit code of the command means."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cubie_dask.progress.report import Report

__all__ = ["Exit", "exit_of"]


class Exit(IntEnum):
    """Exit codes; those from 64 on are of BSD's ``sysexits.h``.

    They are ``EX_DATAERR``, ``EX_SOFTWARE`` and ``EX_TEMPFAIL``.
    """

    meaning: str

    COMPLETE = (0, "complete, and all runs succeeded")
    FAILED_RUNS = (1, "complete, but some runs failed; the store says which and how")
    WRONG_USE = (2, "wrong use: nothing was computed")
    DAMAGED = (65, "verify found damage")
    BROKEN = (70, "a fault in cubie itself, or a kernel that can't be compiled")
    STOPPED = (75, "stopped or not complete; the same command does the rest")

    def __new__(cls, value: int, meaning: str) -> Exit:
        """Make the integer member and attach its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


def exit_of(report: Report, share: tuple[int, int] = (0, 1)) -> Exit:
    """Return the exit code that a report calls for; after a finished share, of what there is."""
    if not report.complete and share == (0, 1):
        return Exit.STOPPED
    return Exit.FAILED_RUNS if report.runs_failed else Exit.COMPLETE
