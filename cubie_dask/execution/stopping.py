"""When a sweep takes no more chunks: after Ctrl-C or SIGTERM, and before its time is over."""

from __future__ import annotations

import math
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cubie_kernels.errors import InputError

__all__ = ["Stopping", "check_max_time", "heeding_signals", "seconds_in"]

_SEEN_CHUNKS = 64
_MARGIN = 1.2
# Wrappers hand on a Ctrl-C that the terminal has sent to this process as well.
_SAME_SIGNAL_SECONDS = 0.5
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Stopping:
    """Tells whether to take more chunks; asked before each.

    Parameters
    ----------
    max_time : float, optional
        Seconds from now within which all chunks that are taken should end.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self, max_time: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._max_time = clock, max_time
        self._end = math.inf if max_time is None else clock() + max_time
        self._seen: deque[float] = deque(maxlen=_SEEN_CHUNKS)
        self._reason: str | None = None

    def note(self, seconds: float) -> None:
        """Take note of how long a chunk took."""
        self._seen.append(seconds)

    def ask(self, reason: str) -> None:
        """Let no more chunks be taken; the first reason counts."""
        self._reason = self._reason or reason

    def reason(self, ahead: int = 1) -> str | None:
        """Return why no more chunks are taken, or None.

        Parameters
        ----------
        ahead : int
            How many chunks may follow one after the other until one that is taken now has ended.
        """
        if self._reason is None:
            needed = _MARGIN * ahead * max(self._seen, default=0.0)
            if self._clock() + needed >= self._end:
                self._reason = f"max_time={self._max_time:g} s"
        return self._reason


@contextmanager
def heeding_signals(stopping: Stopping) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end a sweep in order, and the second at once.

    Outside the main thread, and for signals that are ignored (as under ``nohup``), nothing is
    changed. Handlers are put back at the end.

    Parameters
    ----------
    stopping : Stopping
        Asked to stop by the first signal; the second raises ``KeyboardInterrupt``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def heed(number: int, frame: Any) -> None:
        now = time.monotonic()
        if not first:
            first.append(now)
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            stopping.ask(name)
            # This may run in the middle of another write to the same stream.
            with suppress(RuntimeError, OSError, ValueError, AttributeError):
                sys.stderr.write(
                    f"\n{name}: the chunks in hand are finished; once more stops now.\n"
                )
                sys.stderr.flush()
        elif now - first[0] > _SAME_SIGNAL_SECONDS:
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, heed)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def seconds_in(text: str) -> float:
    """Return the seconds in a text such as ``"90"``, ``"55m"``, ``"23h"`` or ``"1d12h"``.

    Raises
    ------
    InputError
        For any other text, or no time at all.
    """
    parts = re.fullmatch(r"(?:(?:\d+(?:\.\d+)?)[smhd]?)+", text.strip())
    found = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text) if parts else []
    total = sum(float(number) * _UNITS[unit] for number, unit in found)
    if not total or (len(found) > 1 and any(not unit for _, unit in found)):
        raise InputError(
            f"{text!r} is no time: write seconds (3300), or numbers with s, m, h or d (55m, 1d12h)."
        )
    return total


def check_max_time(given: float | None) -> float | None:
    """Return a time limit in seconds.

    Raises
    ------
    InputError
        If it isn't a number above 0.
    """
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf:
        raise InputError(f"max_time must be a number of seconds above 0, or None, not {given!r}.")
    return float(given)
