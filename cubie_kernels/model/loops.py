"""Outputs of a graph that can be computed in loops.

In a chain, a ring or a grid of alike compartments the equations of one compartment are those of its
neighbour with other indices. Written out one by one they make code that is slow to fetch and slow
to compile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cubie_kernels.model.alike import Alike, Part, Run, cost
from cubie_kernels.model.graph import Node, reachable

__all__ = ["Carry", "Loop", "Store", "find_loops"]

_MOST_CARRIED = 4  # rounds that a value is handed on
_LEAST_CARRIED = 2  # cost of a value that is handed on rather than computed again
_MOST_REPEATED = 1.5  # work of a loop over the work that it saves


class Store(NamedTuple):
    """A part of a loop is the output of a run."""

    run: Run
    part: int


class Carry(NamedTuple):
    """The part ``part`` is what the part ``newer`` was ``rounds`` rounds before."""

    part: int
    newer: int
    rounds: int


@dataclass(frozen=True)
class Loop:
    """Outputs to be computed in a loop.

    Attributes
    ----------
    rounds : int
        How often it runs.
    parts : tuple of Part
        The values that a round needs, arguments before what uses them.
    stores : tuple of Store
        The outputs.
    carries : tuple of Carry
        Values that are handed on to later rounds, older before newer ones.
    """

    rounds: int
    parts: tuple[Part, ...]
    stores: tuple[Store, ...]
    carries: tuple[Carry, ...]

    @property
    def first(self) -> int:
        """The first of the outputs."""
        return min(store.run.first for store in self.stores)

    @property
    def positions(self) -> set[int]:
        """All outputs."""
        return {position for store in self.stores for position in store.run.positions}

    @property
    def before(self) -> list[int]:
        """The nodes that must be known before the loop."""
        nodes = [part.instances[0] for part in self.parts if part.outer]
        for carry in self.carries:
            nodes += self.parts[carry.part].instances[: carry.rounds]
        return nodes

    @property
    def computed(self) -> list[Part]:
        """The parts that each round computes."""
        carried = {carry.part for carry in self.carries}
        return [part for k, part in enumerate(self.parts) if k not in carried and not part.outer]


def find_loops(nodes: Sequence[Node], outputs: Sequence[int]) -> list[Loop]:
    """Return the loops that outputs of a graph can be computed in.

    Parameters
    ----------
    nodes : sequence of Node
        The graph; equal expressions are one node.
    outputs : sequence of int
        Nodes wanted.

    Returns
    -------
    list of Loop
        No output is in two of them, and many may be in none. What outputs of different rounds
        share is handed on or computed again; where that would be much work, there is no loop.
    """
    alike = Alike(nodes, outputs)
    loops = [_loop(nodes, alike, runs) for runs in alike.bundles(list(alike.runs()))]
    while loops:
        repeated = _repeated(nodes, outputs, loops)
        worst = max(range(len(loops)), key=repeated.__getitem__)
        if repeated[worst] <= _MOST_REPEATED:
            break
        del loops[worst]
    return loops


def _loop(nodes: Sequence[Node], alike: Alike, runs: Sequence[Run]) -> Loop:
    """Return the loop that computes runs of equal length."""
    parts, outputs = alike.parts(runs)
    carries = {carry.part: carry for carry in _carries(nodes, parts)}
    wanted: set[int] = set()
    stack = list(outputs)
    while stack:
        k = stack.pop()
        if k not in wanted:
            wanted.add(k)
            stack += [carries[k].newer] if k in carries else parts[k].args
    new = {k: number for number, k in enumerate(sorted(wanted))}

    def moved(k: int) -> Part:
        args = () if k in carries else parts[k].args
        return Part(parts[k].instances, tuple(new[arg] for arg in args))

    return Loop(
        runs[0].rounds,
        tuple(moved(k) for k in new),
        tuple(Store(run, new[part]) for run, part in zip(runs, outputs, strict=True)),
        tuple(
            Carry(new[part], new[newer], rounds)
            for part, newer, rounds in _oldest_first(carries)
            if part in wanted
        ),
    )


def _carries(nodes: Sequence[Node], parts: Sequence[Part]) -> Iterator[Carry]:
    """Find parts that are what another part was some rounds before."""
    begin = {part.instances[0]: k for k, part in enumerate(parts) if not part.outer}
    for k, part in enumerate(parts):
        if part.outer or _work(nodes, parts, k) < _LEAST_CARRIED:
            continue
        for rounds in range(1, _MOST_CARRIED + 1):
            newer = begin.get(part.instances[rounds], k)
            if newer != k and part.instances[rounds:] == parts[newer].instances[:-rounds]:
                yield Carry(k, newer, rounds)
                break


def _work(nodes: Sequence[Node], parts: Sequence[Part], k: int) -> int:
    """Return the cost of computing a part, and what it needs, in one round."""
    needed: set[int] = set()
    stack = [k]
    while stack:
        at = stack.pop()
        if at not in needed and not parts[at].outer:
            needed.add(at)
            stack += parts[at].args
    return sum(cost(nodes[parts[at].instances[0]].op) for at in needed)


def _oldest_first(carries: Mapping[int, Carry]) -> list[Carry]:
    """Sort values that are handed on: each before the one that it is taken from."""

    def hops(carry: Carry) -> int:
        count = 0
        while carry.newer in carries:
            carry = carries[carry.newer]
            count += 1
        return count

    return sorted(carries.values(), key=hops, reverse=True)


def _repeated(nodes: Sequence[Node], outputs: Sequence[int], loops: Sequence[Loop]) -> list[float]:
    """Return, for each loop, its work over the work that is done nowhere else."""
    positions = set[int]().union(*(loop.positions for loop in loops))
    alone = [at for k, at in enumerate(outputs) if k not in positions]
    before = [at for loop in loops for at in loop.before]
    users = Counter(reachable(nodes, [*alone, *before]))
    inside = [{at for part in loop.computed for at in part.instances} for loop in loops]
    for own in inside:
        users.update(own)
    result: list[float] = []
    for loop, own in zip(loops, inside, strict=True):
        work = loop.rounds * sum(cost(nodes[part.instances[0]].op) for part in loop.computed)
        saved = sum(cost(nodes[at].op) for at in own if users[at] == 1)
        result.append(work / saved if saved else float(work))
    return result
