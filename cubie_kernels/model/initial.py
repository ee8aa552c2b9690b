"""Initial values that meet a model's algebraic equations, and whether these determine anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels.errors import InputError
from cubie_kernels.model.constraints import Constraints, Lanes
from cubie_kernels.model.system import System

__all__ = ["InitialValues", "check_index", "consistent_initial"]

_EPS = float(np.finfo(np.float64).eps)
_BYTES = 64 * 2**20  # of temporary arrays, about
_EXACT = 16 * _EPS  # residual that is all rounding, relative to its terms
_NEAR = 4096 * _EPS  # residual that is good enough where no step makes it smaller
_SMALL = 1e-10  # relative change after which the next one is below rounding
_LEAST = 1e-14  # smallest part of a Newton step that is tried

_GOING, _FOUND, _NOT_FINITE, _SINGULAR, _STUCK, _LIMIT = range(6)
_REASONS = {
    _NOT_FINITE: "the equations have no finite value there",
    _SINGULAR: "the algebraic equations don't determine the algebraic states there (their "
    "Jacobian is singular: the index is higher than 1)",
    _STUCK: "Newton's method finds no step that brings it closer",
    _LIMIT: "Newton's method reached its limit of iterations",
}


@dataclass(frozen=True)
class InitialValues:
    """Values that meet the algebraic equations, run by run.

    Attributes
    ----------
    y : numpy.ndarray, shape (states,) or (states, lanes)
        The values; as given in runs where none were found.
    found : numpy.ndarray, shape () or (lanes,)
        Whether values were found.
    residual : numpy.ndarray, shape () or (lanes,)
        Largest residual of the algebraic equations at ``y``, absolute.
    """

    y: NDArray[np.float64]
    found: NDArray[np.bool_]
    residual: NDArray[np.float64]


def consistent_initial(
    system: System,
    t: ArrayLike,
    y: ArrayLike,
    p: ArrayLike,
    *,
    iterations: int = 500,
    check: bool = True,
) -> InitialValues:
    """Find initial values that meet the algebraic equations, close to given ones.

    ``M y`` stays as it is given, up to rounding; states that it determines, such as those with a
    derivative of their own, stay to the bit. The rest is found by Newton's method, damped so that
    each step shrinks the next one (Deuflhard, Newton Methods for Nonlinear Problems, section 3.3),
    as far as double precision goes. Equations that can be solved in turn are. Without algebraic
    equations values come back as they are.

    Parameters
    ----------
    system : System
        The model.
    t : array_like, shape () or (lanes,)
        Initial time.
    y : array_like, shape (states,) or (states, lanes)
        Initial values; those of algebraic states are where the search starts.
    p : array_like, shape (parameters,) or (parameters, lanes)
        Parameters.
    iterations : int, default 500
        Limit of Newton steps.
    check : bool, default True
        Whether to raise an error if no values are found for a run.

    Returns
    -------
    InitialValues
        Values, for which runs they were found, and what is left of the equations.

    Raises
    ------
    InputError
        For shapes that don't fit; and with ``check`` for the first run without values, with the
        equation that isn't met, what is left of it, and the reason.
    """
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise InputError(f"iterations must be a whole number of 1 or more, not {iterations!r}.")
    parts = Constraints.parts(system)
    lanes = Lanes.of(system, t, y, p)
    code, failed_in = np.full((2, lanes.count), _GOING)
    residual = np.zeros(lanes.count)
    result = lanes.y.copy()
    for block in _blocks(parts, lanes):
        runs = lanes.part(block)
        newton = _Newton(runs, iterations)
        for i, part in enumerate(parts):
            failed_in[block][newton.solve(part)] = i
        code[block], result[:, block] = newton.code, newton.solution()
        runs = runs.at(result[:, block])
        residual[block] = np.max([_left(part, runs, slice(None)) for part in parts], axis=0)
    failed = np.flatnonzero(code != _GOING)
    if check and failed.size:
        run = int(failed[0])
        part = parts[int(failed_in[run])]
        left = _left(part, lanes, failed[:1])[0]
        more = f" In all, {failed.size} runs have none." if failed.size > 1 else ""
        raise InputError(
            f"No consistent initial values were found near those given{_of(run, lanes)}: "
            f"{_REASONS[int(code[run])]}. The algebraic equation of {part.equations} "
            f"is left with {left:.3g}. Give start values closer to a solution for "
            f"{part.algebraic}.{more}"
        )
    shape = lanes.shape
    return InitialValues(
        result.reshape(len(result), *shape),
        (code == _GOING).reshape(shape),
        residual.reshape(shape),
    )


def check_index(system: System, t: ArrayLike, y: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
    """Check that the algebraic equations determine the algebraic states at given values.

    That is index 1, for which solvers of ``M y' = f`` are made. What the pattern of the equations
    tells is checked when a model is made; the rest depends on values.

    Parameters
    ----------
    system : System
        The model.
    t : array_like, shape () or (lanes,)
        Time.
    y : array_like, shape (states,) or (states, lanes)
        States.
    p : array_like, shape (parameters,) or (parameters, lanes)
        Parameters.

    Returns
    -------
    numpy.ndarray, shape () or (lanes,)
        Reciprocal condition number, rows and columns scaled, of the algebraic equations'
        derivatives by the algebraic states; the smallest one if groups of equations can be solved
        in turn, and 1 without such equations.

    Raises
    ------
    InputError
        If shapes don't fit, or that matrix is singular in a run; names the first such run.
    """
    parts = Constraints.parts(system)
    lanes = Lanes.of(system, t, y, p)
    found = np.ones(lanes.count)
    for block in _blocks(parts, lanes):
        found[block] = np.min([_regular(part, part.own(lanes, block)) for part in parts], axis=0)
    bad = np.flatnonzero(found == 0.0)
    if bad.size:
        run = int(bad[0])
        of = _of(run, lanes)
        part = next(part for part in parts if not _regular(part, part.own(lanes, bad[:1])).all())
        raise InputError(
            f"At the values given{of} the algebraic equation of {part.equations} doesn't determine "
            f"{part.algebraic}: its Jacobian is singular or not finite. There the index is higher "
            "than 1: differentiate the constraint with respect to t, or give other values."
        )
    return found.reshape(lanes.shape)


def _of(run: int, lanes: Lanes) -> str:
    return f" for run {run}" if lanes.shape else ""


def _left(part: Constraints, lanes: Lanes, runs: slice | NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the largest residual of each run; infinite where one has no finite value."""
    found = np.abs(part.residual(part.own(lanes, runs))).max(axis=0)
    return np.where(np.isfinite(found), found, np.inf)


def _finite(values: NDArray[np.float64], axes: int | tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(values).all(axis=axes))


def _blocks(parts: list[Constraints], lanes: Lanes) -> Iterator[slice]:
    """Yield runs, as many as need a bounded memory for temporary arrays; none without equations."""
    if not parts:
        return
    numbers = max(part.numbers for part in parts) + 4 * len(lanes.y) + len(parts)
    width = max(1, _BYTES // (8 * numbers))
    for start in range(0, lanes.count, width):
        yield slice(start, min(start + width, lanes.count))


def _regular(part: Constraints, lanes: Lanes) -> NDArray[np.float64]:
    """Return reciprocal condition numbers of scaled matrices; 0 for those that are singular."""
    _, _, matrix = part.linearised(lanes)
    matrix = np.where(_finite(matrix, (1, 2))[:, None, None], matrix, 0.0)
    for axis in (2, 1, 2):
        largest = np.abs(matrix).max(axis=axis, keepdims=True)
        matrix = matrix / np.where(largest > 0.0, largest, 1.0)
    sizes = np.linalg.svd(matrix, compute_uv=False)
    found = sizes[:, -1] / np.where(sizes[:, 0] > 0.0, sizes[:, 0], 1.0)
    return np.where(found < 16 * matrix.shape[1] * _EPS, 0.0, found)


class _Newton:
    """Newton's method for many runs, each with steps of its own.

    Attributes
    ----------
    code : numpy.ndarray, shape (lanes,)
        Why runs have failed; ``_GOING`` for others.
    """

    def __init__(self, lanes: Lanes, limit: int) -> None:
        self._given, self._limit = lanes.y, limit
        self._lanes = lanes.at(lanes.y.copy())
        self.code = np.full(lanes.count, _GOING)

    def solve(self, part: Constraints) -> NDArray[np.intp]:
        """Solve some of the equations, in the runs that have met those before; say which failed."""
        runs = started = np.flatnonzero(self.code == _GOING)
        lanes = part.own(self._lanes, runs)
        for _ in range(self._limit):
            if not runs.size:
                break
            y, code = _step(part, lanes)
            self.code[runs] = code
            done = code == _FOUND
            self._lanes.y[np.array(part.states)[:, None], runs[done]] = y[:, done]
            going = np.flatnonzero(code == _GOING)
            lanes, runs = lanes.at(y).part(going), runs[going]
        self.code[runs] = _LIMIT
        failed = started[self.code[started] != _FOUND]
        self.code[self.code == _FOUND] = _GOING
        return failed

    def solution(self) -> NDArray[np.float64]:
        """Return the values; those given in runs that have failed."""
        return np.where(self.code == _GOING, self._lanes.y, self._given)


def _step(part: Constraints, lanes: Lanes) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the values after a step, and how runs stand."""
    residual, size, matrix = part.linearised(lanes)
    finite = _finite(residual, 0) & _finite(matrix, (1, 2))
    inverse, singular = _inverse(matrix, finite)
    with np.errstate(all="ignore"):
        level = np.max(np.abs(residual) / np.where(residual == 0.0, 1.0, size), axis=0)
        step = -_times(inverse, residual)
        singular |= finite & ~_finite(step, 0)
        usable = finite & ~singular
        sizes = part.moved(np.abs(lanes.y))
        close = usable & (np.abs(step) <= _SMALL * sizes).all(axis=0)
    y = np.where(close, part.shifted(lanes.y, step), lanes.y)
    exact = usable & ~close & (level <= _EXACT)
    going = usable & ~close
    least = np.where(exact, 1.0, _LEAST)[going]
    search = _Search(part, lanes.part(np.flatnonzero(going)), inverse[going])
    y[:, going], taken = search.run(step[:, going], sizes[:, going], least)
    stuck = np.zeros(lanes.count, np.bool_)
    stuck[going] = ~taken
    good = close | exact | (stuck & (level <= _NEAR))
    cases = [good, stuck, singular, ~finite]
    return y, np.select(cases, [_FOUND, _STUCK, _SINGULAR, _NOT_FINITE], _GOING)


class _Search:
    """How much of a Newton step to take: as much as shrinks the next one, with the same matrix."""

    def __init__(
        self, constraints: Constraints, lanes: Lanes, inverse: NDArray[np.float64]
    ) -> None:
        self._constraints, self._lanes, self._inverse = constraints, lanes, inverse

    def run(
        self, step: NDArray[np.float64], sizes: NDArray[np.float64], least: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the values after the step, and where part of it (``least`` or more) was taken.

        Steps are measured relative to themselves, or to ``sizes`` where these are larger.
        """
        scale = np.maximum(sizes, np.abs(step))
        scale = np.where(scale > 0.0, scale, 1.0)
        norm = np.max(np.abs(step) / scale, axis=0, initial=0.0)
        y = self._lanes.y.copy()
        taken = np.zeros(self._lanes.count, np.bool_)
        part = np.ones(self._lanes.count)
        while (at := np.flatnonzero(~taken & (part >= least))).size:
            share, full = part[at], step[:, at]
            trial = self._constraints.shifted(self._lanes.y[:, at], share * full)
            residual = self._constraints.residual(self._lanes.part(at).at(trial))
            with np.errstate(all="ignore"):
                after = -_times(self._inverse[at], residual)
                size = np.max(np.abs(after) / scale[:, at], axis=0)
                bend = np.max(np.abs(after - (1.0 - share) * full) / scale[:, at], axis=0)
                guess = 0.5 * share * share * norm[at] / bend
            shrunk = size <= (1.0 - share / 4.0) * norm[at]
            taken[at] = shrunk
            y[:, at[shrunk]] = trial[:, shrunk]
            guess = np.where(np.isfinite(guess), guess, 0.0)
            part[at] = np.clip(guess, share / 16.0, share / 2.0)
        return y, taken


def _inverse(
    matrix: NDArray[np.float64], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Invert matrices, shape (lanes, n, n), where that makes sense; say which are singular."""
    largest = np.abs(matrix).max(axis=2, keepdims=True)
    singular = usable & (largest == 0.0).any(axis=(1, 2))
    usable = (usable & ~singular)[:, None, None]
    identity = np.eye(matrix.shape[1])
    scale = np.where(usable, largest, 1.0)
    scaled = np.where(usable, matrix / scale, identity)
    try:
        inverse = np.linalg.inv(scaled)
    except np.linalg.LinAlgError:
        without = np.linalg.slogdet(scaled)[0] == 0.0
        scaled[without] = identity
        singular = singular | without
        inverse = np.linalg.inv(scaled)
    return inverse / scale.transpose(0, 2, 1), singular


def _times(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply matrices (lanes, n, n) and vectors (n, lanes)."""
    return (matrix @ vector.T[:, :, None])[:, :, 0].T
