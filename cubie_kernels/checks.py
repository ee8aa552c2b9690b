"""Checks of arguments, made before anything compiles."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels.errors import InputError, nearest

__all__ = [
    "Tolerance",
    "choice",
    "count",
    "known",
    "number",
    "numbers",
    "save_times",
    "switch",
    "time_span",
    "tolerance",
]

Tolerance: TypeAlias = float | Sequence[float] | NDArray[Any] | Mapping[str, float]
"""One tolerance for all states, one for each in order, or a mapping from names of states."""

_EPS = float(np.finfo(np.float64).eps)
_MOST_TIMES = 2**31


def numbers(what: str, given: ArrayLike) -> NDArray[np.float64]:
    """Return finite numbers as ``float64`` in the shape they came in, without a needless copy.

    Raises
    ------
    InputError
        If something is not a real number, or not finite; ``what`` names the argument.
    """
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"they are {array.dtype}")
        array = np.asarray(array, np.float64)
    except (TypeError, ValueError) as fault:
        raise InputError(f"{what} needs real numbers, not {given!r} ({fault}).") from fault
    if not np.isfinite(array).all():
        at = np.argwhere(~np.isfinite(array))[0]
        where = f" at index {', '.join(str(i) for i in at)}" if array.ndim else ""
        raise InputError(f"{what} needs finite numbers, but is {array[tuple(at)]}{where}.")
    return array


def number(what: str, given: Any) -> float:
    """Return one finite number."""
    array = numbers(what, given)
    if array.ndim:
        raise InputError(f"{what} needs one number, not an array of shape {array.shape}.")
    return float(array)


def count(what: str, given: Any, most: int) -> int:
    """Return a whole number of 1 to ``most``."""
    try:
        value = operator.index(given)
    except TypeError:
        if not (isinstance(given, float) and given.is_integer()):
            raise InputError(f"{what} needs a whole number, not {given!r}.") from None
        value = int(given)
    if not 1 <= value <= most:
        raise InputError(f"{what} must be 1 to {most:,}, not {value:,}.")
    return value


def choice(what: str, given: Any, legal: Sequence[str]) -> str:
    """Return ``given`` if it is one of the legal words."""
    if isinstance(given, str) and given in legal:
        return given
    listed = ", ".join(repr(word) for word in legal)
    raise InputError(f"{what} must be one of {listed}, not {given!r}.{nearest(str(given), legal)}")


def switch(what: str, given: Any) -> bool:
    """Return ``given`` if it is True or False."""
    if isinstance(given, (bool, np.bool_)):
        return bool(given)
    raise InputError(f"{what} must be True or False, not {given!r}.")


def known(what: str, given: Iterable[Any], kind: str, legal: Sequence[str]) -> tuple[str, ...]:
    """Return names, checked to be of one kind (such as ``'state'``) and given once.

    Raises
    ------
    InputError
        Naming the unknown or repeated name, the nearest legal one, and the legal ones.
    """
    if isinstance(given, str):
        raise InputError(f"{what} needs a sequence of names, not the text {given!r}: [{given!r}].")
    found: list[str] = []
    for name in given:
        if name not in legal:
            listed = ", ".join(legal) or "none"
            raise InputError(
                f"{what} names {name!r}, which is no {kind} of this model."
                f"{nearest(str(name), legal)} It has: {listed}."
            )
        if name in found:
            raise InputError(f"{what} names {name!r} twice.")
        found.append(name)
    return tuple(found)


def time_span(given: Any) -> tuple[float, float]:
    """Return the start and the end of a span that double precision can resolve."""
    ends = numbers("t_span", given)
    if ends.shape != (2,):
        raise InputError(f"t_span needs two numbers (start, end), not {given!r}.")
    t0, t1 = float(ends[0]), float(ends[1])
    if t1 <= t0:
        kind = "is empty" if t1 == t0 else "runs backwards"
        raise InputError(
            f"t_span = ({t0!r}, {t1!r}) {kind}: the end must lie after the start. To integrate "
            "backwards, put -t for t in the model."
        )
    if not np.isfinite(t1 - t0):
        raise InputError(f"t_span = ({t0!r}, {t1!r}) is longer than a float64 can hold.")
    if t1 - t0 <= 1024 * _EPS * max(abs(t0), abs(t1)):
        raise InputError(
            f"t_span = ({t0!r}, {t1!r}) is too short beside its own start for a float64 to "
            "resolve steps in it: let time start near 0."
        )
    return t0, t1


def save_times(
    t_span: tuple[float, float], save_at: ArrayLike | None, save_every: float | None
) -> NDArray[np.float64] | None:
    """Return the times to save at, or None for the end state alone.

    ``save_every=d`` gives t0, t0 + d, t0 + 2 d, … each computed from its index, so that no error
    adds up; when d divides the span to rounding, the last time is the end itself.
    """
    t0, t1 = t_span
    if save_at is not None and save_every is not None:
        raise InputError("Give save_at (the times) or save_every (their distance), not both.")
    if save_every is not None:
        return _evenly(t0, t1, number("save_every", save_every))
    if save_at is None:
        return None
    times = np.array(numbers("save_at", save_at))
    if times.ndim != 1 or times.size == 0:
        raise InputError(
            f"save_at needs one dimension and at least one time, not the shape {times.shape}. "
            "Leave it out for the end state alone."
        )
    stalls = np.flatnonzero(np.diff(times) <= 0)
    if stalls.size:
        at = int(stalls[0]) + 1
        raise InputError(
            f"save_at must increase, but {float(times[at])!r} follows {float(times[at - 1])!r} at "
            f"index {at}: sort the times and drop repeated ones."
        )
    for time in (times[0], times[-1]):
        if not t0 <= time <= t1:
            raise InputError(
                f"save_at has the time {float(time)!r} outside of t_span = ({t0!r}, {t1!r})."
            )
    times.flags.writeable = False
    return times


def _evenly(t0: float, t1: float, distance: float) -> NDArray[np.float64]:
    if distance <= 0:
        raise InputError(f"save_every must be above 0, not {distance!r}.")
    span = t1 - t0
    if distance > span:
        raise InputError(
            f"save_every = {distance!r} is longer than t_span = ({t0!r}, {t1!r}): only the start "
            "would be saved. Leave it out for the end state alone."
        )
    ratio = span / distance
    if ratio >= _MOST_TIMES or distance <= 4 * _EPS * max(abs(t0), abs(t1)):
        raise InputError(
            f"save_every = {distance!r} asks for {ratio:.3g} times a run in t_span = "
            f"({t0!r}, {t1!r}): make it longer."
        )
    parts = round(ratio)
    slack = 4 * _EPS * (ratio + (abs(t0) + abs(t1)) / distance)
    divides = abs(ratio - parts) <= slack
    times = _multiples(t0, distance, parts if divides else int(ratio))
    if divides:
        times[-1] = t1
    times.flags.writeable = False
    return times


def _multiples(start: float, distance: float, most: int) -> NDArray[np.float64]:
    """Return ``start + i*distance``; numbers of few decimals give what one would write: 0.3."""
    index = np.arange(most + 1, dtype=np.float64)
    first, step = Fraction(repr(start)), Fraction(repr(distance))
    shared = math.lcm(first.denominator, step.denominator)
    whole, stride = int(first * shared), int(step * shared)
    if max(shared, abs(whole), abs(whole + most * stride), most * stride) < 2**53:
        return (whole + index * stride) / shared
    return start + index * distance


def tolerance(
    what: str, given: Tolerance, states: tuple[str, ...], smallest: float
) -> NDArray[np.float64]:
    """Return one tolerance for each state: each is 0 or at least ``smallest``.

    Raises
    ------
    InputError
        For a wrong number of them, an unknown or missing state, or a value below the limit.
    """
    if isinstance(given, Mapping):
        known(what, given, "state", states)
        missing = [name for name in states if name not in given]
        if missing:
            raise InputError(
                f"{what} leaves out the state {missing[0]!r}: give a tolerance for each of "
                f"{', '.join(states)}, or one number for all."
            )
        values = np.array([number(f"{what}[{name!r}]", given[name]) for name in states])
    else:
        values = numbers(what, given)
        if values.ndim == 0:
            values = np.full(len(states), float(values))
        elif values.shape != (len(states),):
            raise InputError(
                f"{what} needs one number, or {len(states)} in the order {', '.join(states)}, or "
                f"a mapping from names of states; its shape is {values.shape}."
            )
        values = np.array(values)
    for name, value in zip(states, values.tolist(), strict=True):
        if value < 0:
            raise InputError(f"{what} must not be below 0, but is {value!r} for {name!r}.")
        if 0 < value < smallest:
            raise InputError(
                f"{what} = {value!r} for {name!r} is below {smallest:.2g}, the least that this "
                "precision can hold to: raise it, or use a longer precision."
            )
    values.flags.writeable = False
    return values
