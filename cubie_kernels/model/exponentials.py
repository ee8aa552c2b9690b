"""Fewer exponentials: those of arguments that differ by a constant, or a factor of two, share one.

Rate functions of membrane and reaction models are full of exponentials of one quantity, such as
``exp(-(V + 65)/20)`` and ``exp(-0.1*(V + 40))``; each costs as much as twenty additions. With u the
varying part of the argument,

    exp(u + a) = exp(u + b) * exp(a - b)        exp(2*u + a) = exp(u + b)**2 * exp(a - 2*b)

and the last factor is a number. The error of a result grows from one unit in the last place to two
or three. Exponentials that share nothing stay as they were written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cubie_kernels.model.graph import Builder, Node, reachable

if TYPE_CHECKING:
    from cubie_kernels.model.equations import Equations

__all__ = ["share_exponentials"]

# Constants farther apart would bring over- and underflow of one result closer to another.
_FARTHEST = 30.0

Slopes = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class _Argument:
    """``sum(slope * node) + constant``."""

    slopes: Slopes
    constant: float

    def scaled(self, factor: float) -> _Argument:
        slopes = tuple((at, slope * factor) for at, slope in self.slopes)
        return _Argument(slopes, self.constant * factor)

    def plus(self, other: _Argument, sign: float) -> _Argument:
        total = dict(self.slopes)
        for at, slope in other.slopes:
            total[at] = total.get(at, 0.0) + sign * slope
        # A slope of zero stays: it may multiply an infinity.
        return _Argument(tuple(sorted(total.items())), self.constant + sign * other.constant)


def _arguments(nodes: Sequence[Node]) -> list[_Argument]:
    """Return every number of a graph as a sum of nodes times numbers."""
    found: list[_Argument] = []
    for at, (op, args, value) in enumerate(nodes):
        itself = _Argument(((at, 1.0),), 0.0)
        parts = [found[arg] for arg in args]
        if op == "number":
            itself = _Argument((), float(value))
        elif op == "neg":
            itself = parts[0].scaled(-1.0)
        elif op in ("+", "-"):
            itself = parts[0].plus(parts[1], 1.0 if op == "+" else -1.0)
        elif op == "*" and not parts[0].slopes:
            itself = parts[1].scaled(parts[0].constant)
        elif op == "*" and not parts[1].slopes:
            itself = parts[0].scaled(parts[1].constant)
        elif op == "/" and not parts[1].slopes and parts[1].constant != 0.0:
            itself = parts[0].scaled(1.0 / parts[1].constant)
        found.append(itself)
    return found


@dataclass(frozen=True)
class _Shared:
    """An exponential as ``exp(base)**power * exp(shift)``."""

    base: _Argument
    power: int
    shift: float


def _plan(nodes: Sequence[Node], live: Iterable[int]) -> dict[int, _Shared]:
    """Return the exponentials that share a base with another one."""
    arguments = _arguments(nodes)
    groups: dict[Slopes, list[int]] = {}
    for at in live:
        if nodes[at].op == "exp" and arguments[nodes[at].args[0]].slopes:
            groups.setdefault(arguments[nodes[at].args[0]].slopes, []).append(at)
    plan: dict[int, _Shared] = {}
    bases: dict[Slopes, _Argument] = {}
    # By size of slope, so that a base stands before what is its square.
    for slopes in sorted(groups, key=lambda key: (max(abs(slope) for _, slope in key), key)):
        members = groups[slopes]
        half = bases.get(tuple((at, slope / 2.0) for at, slope in slopes))
        base = half or arguments[nodes[members[0]].args[0]]
        if half is None:
            bases[slopes] = base
        power = 2 if half else 1
        for at in members:
            shift = arguments[nodes[at].args[0]].constant - power * base.constant
            if abs(shift) <= _FARTHEST:
                plan[at] = _Shared(base, power, shift)
    count: dict[_Argument, int] = {}
    for shared in plan.values():
        count[shared.base] = count.get(shared.base, 0) + 1
    return {at: shared for at, shared in plan.items() if count[shared.base] > 1}


def share_exponentials(equations: Equations) -> Equations:
    """Return equations in which exponentials of like arguments are computed from one another."""
    nodes = equations.nodes
    live = reachable(nodes, (*equations.derivatives, *equations.observables))
    plan = _plan(nodes, live)
    if not plan:
        return equations
    builder = Builder()
    moved: list[int] = []
    for at, (op, args, value) in enumerate(nodes):
        if at in plan:
            moved.append(_write(builder, plan[at], moved))
        elif op == "number":
            moved.append(builder.number(float(value)))
        elif op == "truth":
            moved.append(builder.truth(bool(value)))
        elif args:
            moved.append(builder.apply(op, *(moved[arg] for arg in args)))
        else:
            moved.append(builder.leaf(op, int(value)))
    return replace(
        equations,
        nodes=tuple(builder.nodes),
        derivatives=tuple(moved[at] for at in equations.derivatives),
        observables=tuple(moved[at] for at in equations.observables),
        names=tuple((name, moved[at]) for name, at in equations.names),
    )


def _write(builder: Builder, shared: _Shared, moved: Sequence[int]) -> int:
    """Return the node of a shared exponential."""
    argument = builder.number(shared.base.constant)
    for at, slope in shared.base.slopes:
        term = builder.apply("*", builder.number(slope), moved[at])
        argument = builder.apply("+", term, argument)
    result = builder.apply("exp", argument)
    if shared.power == 2:
        result = builder.apply("*", result, result)
    return builder.apply("*", builder.number(math.exp(shared.shift)), result)
