"""Symbolic derivatives of a model, on the graph of its equations.

Jacobian and time derivative come from eliminating the vertices of the linearised graph one after
the other, cheapest first (Griewank and Walther, Evaluating Derivatives, 2nd ed., chapter 9): an
order between forward and reverse accumulation that each model's graph decides. The results are
nodes of the same graph, so that equal subexpressions are one node.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels.model.algebra import Algebra
from cubie_kernels.model.equations import Equations
from cubie_kernels.model.graph import Builder, Node, evaluate, reachable

__all__ = ["Derived", "Jacobian", "jacobian", "jvp", "time_derivative"]


@dataclass(frozen=True)
class Derived:
    """A graph and the nodes in it that are asked for.

    Attributes
    ----------
    nodes : tuple of Node
        The graph: that of the equations, and what derivatives add behind it.
    outputs : tuple of int
        A node per result.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Jacobian:
    """The entries of a Jacobian that aren't zero for every argument.

    Attributes
    ----------
    nodes : tuple of Node
        The graph.
    entries : mapping of (int, int) to int
        The node at each row and column, sorted by row, then column.
    states : int
        Number of rows and columns.
    """

    nodes: tuple[Node, ...]
    entries: Mapping[tuple[int, int], int]
    states: int

    def dense(self, t: ArrayLike, y: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
        """Compute the whole matrix with NumPy; see ``System.numpy_jacobian``."""
        values = evaluate(self.nodes, tuple(self.entries.values()), t, y, p)
        result = np.zeros((self.states, self.states, *values.shape[1:]))
        for (row, column), value in zip(self.entries, values, strict=True):
            result[row, column] = value
        return result


def jacobian(equations: Equations) -> Jacobian:
    """Derive the derivatives of all states by all states."""
    builder = Builder(equations.nodes)
    states = [builder.leaf("state", i) for i in range(len(equations.derivatives))]
    rows = _partials(builder, equations.derivatives, states)
    entries = {
        (i, j): row[at] for i, row in enumerate(rows) for j, at in enumerate(states) if at in row
    }
    return Jacobian(tuple(builder.nodes), entries, len(states))


def time_derivative(equations: Equations) -> Derived:
    """Derive the derivatives of all states by the time, at constant states."""
    builder = Builder(equations.nodes)
    time = builder.leaf("time")
    zero = builder.number(0.0)
    rows = _partials(builder, equations.derivatives, [time])
    return Derived(tuple(builder.nodes), tuple(row.get(time, zero) for row in rows))


def jvp(equations: Equations) -> Derived:
    """Derive the product of the Jacobian and a direction, without the Jacobian.

    The direction's elements are leaves named ``direction``.
    """
    builder = Builder(equations.nodes)
    algebra = Algebra(builder)
    change = {
        builder.leaf("state", i): builder.leaf("direction", i)
        for i in range(len(equations.derivatives))
    }
    for at in reachable(equations.nodes, equations.derivatives):
        terms = [
            algebra.times(partial, change[arg]) for arg, partial in _local(algebra, at, change)
        ]
        if terms:
            total = terms[0]
            for term in terms[1:]:
                total = algebra.plus(total, term)
            change[at] = total
    zero = builder.number(0.0)
    outputs = tuple(change.get(at, zero) for at in equations.derivatives)
    return Derived(tuple(builder.nodes), outputs)


def _local(algebra: Algebra, at: int, active: Iterable[int]) -> list[tuple[int, int]]:
    """Return what a node is computed from, if active, and its derivative by each of that."""
    found = []
    for arg, rule in algebra.partials(at):
        if arg in active:
            partial = rule()
            if algebra.builder.literal(partial) != 0.0:
                found.append((arg, partial))
    return found


class _Linearised:
    """The linearised graph: an edge from argument to result holds the partial derivative.

    Results asked for are vertices of their own, ``-1 - row``, so that a node may be asked for
    twice, and be an argument of others too.
    """

    def __init__(self, builder: Builder, outputs: Sequence[int], sources: Sequence[int]) -> None:
        self._algebra = Algebra(builder)
        self._sources = frozenset(sources)
        self.into: dict[int, dict[int, int]] = {}
        self._out: dict[int, dict[int, None]] = {at: {} for at in sources}
        for at in reachable(tuple(builder.nodes), outputs):
            edges = _local(self._algebra, at, self._out)
            if edges and at not in self._sources:
                self.into[at], self._out[at] = {}, {}
                for arg, partial in edges:
                    self._join(arg, at, partial)
        one = builder.number(1.0)
        for row, at in enumerate(outputs):
            self.into[-1 - row] = {}
            if at in self._out:
                self._join(at, -1 - row, one)

    def _join(self, start: int, end: int, partial: int) -> None:
        """Add to an edge."""
        before = self.into[end].get(start)
        total = partial if before is None else self._algebra.plus(before, partial)
        if self._algebra.builder.literal(total) == 0.0:
            self.into[end].pop(start, None)
            self._out[start].pop(end, None)
        else:
            self.into[end][start] = total
            self._out[start][end] = None

    def eliminate_all(self) -> None:
        """Leave edges from sources to results only."""
        heap = [(self._cost(at), -at) for at in self.into if at >= 0]
        heapq.heapify(heap)
        while heap:
            cost, at = heapq.heappop(heap)
            if -at not in self.into or cost != self._cost(-at):
                continue
            for other in self._eliminate(-at):
                if other >= 0 and other not in self._sources:
                    heapq.heappush(heap, (self._cost(other), -other))

    def _cost(self, at: int) -> int:
        return len(self.into[at]) * len(self._out[at])

    def _eliminate(self, at: int) -> list[int]:
        """Replace the paths through a vertex by edges; return its neighbours."""
        starts, ends = self.into.pop(at), self._out.pop(at)
        for end in ends:
            outer = self.into[end].pop(at)
            for start, inner in starts.items():
                self._join(start, end, self._algebra.times(outer, inner))
        for start in starts:
            del self._out[start][at]
        return [*starts, *ends]


def _partials(
    builder: Builder, outputs: Sequence[int], sources: Sequence[int]
) -> list[dict[int, int]]:
    """Return, for each output, the sources that it depends on and the derivatives by them."""
    graph = _Linearised(builder, outputs, sources)
    graph.eliminate_all()
    return [graph.into[-1 - row] for row in range(len(outputs))]
