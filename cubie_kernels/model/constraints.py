"""The algebraic equations of a model with a singular mass matrix, computed with NumPy by lanes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels.errors import InputError
from cubie_kernels.model.graph import Node, evaluate, reachable
from cubie_kernels.model.mass import NullSpaces, Vector, null_spaces
from cubie_kernels.model.pattern import algebraic_pattern, solvable_parts
from cubie_kernels.model.system import System

__all__ = ["Constraints", "Lanes"]

_MOST_SHOWN = 8

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lanes:
    """Times, states and parameters of runs.

    Attributes
    ----------
    t : numpy.ndarray, shape () or (lanes,)
        Time.
    y : numpy.ndarray, shape (states, lanes)
        States.
    p : numpy.ndarray, shape (parameters,) or (parameters, lanes)
        Parameters.
    shape : tuple of int
        ``(lanes,)``; empty if arguments had no lanes.
    """

    t: Array
    y: Array
    p: Array
    shape: tuple[int, ...]

    @classmethod
    def of(cls, system: System, t: ArrayLike, y: ArrayLike, p: ArrayLike) -> Lanes:
        """Return arguments as arrays, checked to fit the model and each other.

        Raises
        ------
        InputError
            If a shape or a kind of number doesn't fit.
        """
        found: list[Array] = []
        for what, given, names in (
            ("t", t, None),
            ("y", y, system.states),
            ("p", p, system.parameters),
        ):
            try:
                array = np.asarray(given, np.float64)
            except (TypeError, ValueError) as fault:
                raise InputError(f"{what} needs real numbers, not {given!r:.60}.") from fault
            first = () if names is None else (len(names),)
            if array.shape[: len(first)] != first or array.ndim > len(first) + 1:
                one = f"({len(first) and first[0]},)" if first else "()"
                many = f"({first[0]}, lanes)" if first else "(lanes,)"
                raise InputError(f"{what} needs the shape {one} or {many}, not {array.shape}.")
            found.append(array)
        time, states, parameters = found
        counts = {*time.shape, *states.shape[1:], *parameters.shape[1:]}
        if len(counts) > 1:
            raise InputError(
                f"t, y and p are of {', '.join(map(str, sorted(counts)))} runs: they need as many."
            )
        shape = tuple(counts)
        if states.ndim == 1:
            states = np.broadcast_to(states[:, None], (len(states), *(shape or (1,))))
        return cls(time, states, parameters, shape)

    @property
    def count(self) -> int:
        """Number of runs."""
        return self.y.shape[1]

    def part(self, lanes: slice | NDArray[np.intp]) -> Lanes:
        """Return some of the runs."""
        y = self.y[:, lanes]
        return Lanes(
            self.t[lanes] if self.t.ndim else self.t,
            y,
            self.p[:, lanes] if self.p.ndim > 1 else self.p,
            y.shape[1:],
        )

    def at(self, y: Array) -> Lanes:
        """Return the same runs with other states."""
        return Lanes(self.t, y, self.p, self.shape)


class Constraints:
    """``L^T f`` and its derivatives ``L^T J R``; ``L^T M = 0`` and ``M R = 0``.

    Methods take and return the states that occur in these equations only: :meth:`own`.

    Parameters
    ----------
    system : System
        The model.
    spaces : NullSpaces
        ``L`` and ``R``, or as many vectors of each.

    Attributes
    ----------
    equations : str
        States whose equations ``L`` combines, for messages.
    algebraic : str
        States that ``R`` moves, for messages.
    states : list of int
        The states that occur in the equations, or that ``R`` moves.
    numbers : int
        How many numbers :meth:`linearised` computes for each run, temporary ones included.
    """

    def __init__(self, system: System, spaces: NullSpaces) -> None:
        self.equations = _names(system, spaces.left)
        self.algebraic = _names(system, spaces.right)
        rows = sorted({row for vector in spaces.left for row in vector})
        entries = system.jacobian.entries
        places = [place for place in entries if place[0] in rows]
        outputs = [system.equations.derivatives[row] for row in rows]
        outputs += [entries[place] for place in places]
        graph = reachable(system.jacobian.nodes, outputs)
        nodes = [system.jacobian.nodes[at] for at in graph]
        moved = {state for vector in spaces.right for state in vector}
        self.states = sorted(moved | {column for _, column in places} | _leaves(nodes, "state"))
        self._parameters = sorted(_leaves(nodes, "parameter"))
        leaves = {"state": _index(self.states), "parameter": _index(self._parameters)}
        at_node, at_row = _index(graph), _index(rows)
        self._nodes = [
            Node(
                op,
                tuple(at_node[arg] for arg in args),
                leaves[op][int(value)] if op in leaves else value,
            )
            for op, args, value in nodes
        ]
        self._values = [at_node[at] for at in outputs[: len(rows)]]
        self._partials = [at_node[at] for at in outputs[len(rows) :]]
        self._entries = [(at_row[row], leaves["state"][column]) for row, column in places]
        self._left = [_renamed(vector, at_row) for vector in spaces.left]
        self._right = [_renamed(vector, leaves["state"]) for vector in spaces.right]
        k = len(self._left)
        self.numbers = len(nodes) + len(places) + 4 * len(self.states) + 4 * k * k + 16 * k

    @classmethod
    def parts(cls, system: System) -> list[Constraints]:
        """Return the algebraic equations of a model in groups that can be solved in turn."""
        spaces = null_spaces(len(system.states), system.mass)
        if not spaces.left:
            return []
        entries = algebraic_pattern(spaces, system.jacobian.entries)
        return [
            cls(
                system,
                NullSpaces(
                    tuple(spaces.left[i] for i in rows), tuple(spaces.right[j] for j in columns)
                ),
            )
            for rows, columns in solvable_parts(len(spaces.left), entries)
        ]

    def own(self, lanes: Lanes, runs: slice | NDArray[np.intp]) -> Lanes:
        """Return some of the runs, with the states and parameters that occur here."""
        return Lanes(
            lanes.t[runs] if lanes.t.ndim else lanes.t,
            lanes.y[self.states][:, runs],
            lanes.p[self._parameters][:, runs] if lanes.p.ndim > 1 else lanes.p[self._parameters],
            lanes.shape,
        )

    def residual(self, lanes: Lanes) -> Array:
        """Compute ``L^T f``, shape (equations, lanes)."""
        return self._combined(self._evaluate(self._values, lanes))

    def linearised(self, lanes: Lanes) -> tuple[Array, Array, Array]:
        """Compute the equations and their derivatives.

        Returns
        -------
        residual : numpy.ndarray, shape (equations, lanes)
            ``L^T f``.
        size : numpy.ndarray, shape (equations, lanes)
            Sum of the sizes of its terms, as the derivatives tell: ``|L^T| (|f| + |J| |y|)``.
        matrix : numpy.ndarray, shape (lanes, equations, equations)
            ``L^T J R``.
        """
        values = self._evaluate([*self._values, *self._partials], lanes)
        f, partials = values[: len(self._values)], values[len(self._values) :]
        k = len(self._left)
        size = self._combined(np.abs(f), absolute=True)
        matrix = np.zeros((lanes.count, k, k))
        left, right = _by_place(self._left), _by_place(self._right)
        with np.errstate(all="ignore"):
            for (row, column), value in zip(self._entries, partials, strict=True):
                term = np.abs(value * lanes.y[column])
                term = np.where(np.isfinite(term), term, 0.0)
                for i, factor in left[row].items():
                    size[i] += abs(factor) * term
                    for j, other in right.get(column, {}).items():
                        matrix[:, i, j] += factor * other * value
        return self._combined(f), size, matrix

    def moved(self, y: Array) -> Array:
        """Return the largest of the states that each column of ``R`` moves."""
        return np.array([y[list(vector)].max(axis=0) for vector in self._right])

    def shifted(self, y: Array, v: Array) -> Array:
        """Return ``y + R v``."""
        result = y.copy()
        with np.errstate(all="ignore"):
            for vector, amount in zip(self._right, v, strict=True):
                for state, factor in vector.items():
                    result[state] += factor * amount
        return result

    def _evaluate(self, outputs: list[int], lanes: Lanes) -> Array:
        values = evaluate(self._nodes, outputs, lanes.t, lanes.y, lanes.p)
        return np.broadcast_to(values.reshape(len(outputs), -1), (len(outputs), lanes.count))

    def _combined(self, f: Array, *, absolute: bool = False) -> Array:
        result = np.zeros((len(self._left), f.shape[1]))
        with np.errstate(all="ignore"):
            for total, vector in zip(result, self._left, strict=True):
                for row, factor in vector.items():
                    total += (abs(factor) if absolute else factor) * f[row]
        return result


def _leaves(nodes: Iterable[Node], op: str) -> set[int]:
    return {int(node.value) for node in nodes if node.op == op}


def _index(places: Iterable[int]) -> dict[int, int]:
    return {place: i for i, place in enumerate(places)}


def _renamed(vector: Vector, index: Mapping[int, int]) -> Vector:
    return {index[place]: factor for place, factor in vector.items()}


def _names(system: System, vectors: Iterable[Vector]) -> str:
    """Return the states that vectors have elements for."""
    places = sorted({place for vector in vectors for place in vector})
    more = ", ..." if len(places) > _MOST_SHOWN else ""
    return ", ".join(repr(system.states[i]) for i in places[:_MOST_SHOWN]) + more


def _by_place(vectors: Iterable[Vector]) -> Mapping[int, Mapping[int, float]]:
    """Return for each element the vectors that have it, and its factors."""
    found: dict[int, dict[int, float]] = {}
    for k, vector in enumerate(vectors):
        for place, factor in vector.items():
            found.setdefault(place, {})[k] = factor
    return found
