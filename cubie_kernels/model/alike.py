"""Outputs of a graph that differ by their place only.

Two expressions have the same form if they are equal but for the indices of states and parameters. A
run is a row of outputs of one form, at equal distances, in which each index grows by equal steps.
Runs that belong together, such as the equations of the quantities of one compartment, are cut to
the rounds that they have in common.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cubie_kernels.model.functions import COMPARISONS
from cubie_kernels.model.graph import LEAVES, Node, reachable

__all__ = ["Alike", "Part", "Run", "cost"]

FEWEST_ROUNDS = 8
_MOST_KINDS = 12  # runs in one loop, and outputs of one form between two of the same run
_MOST_SHARERS = 16  # outputs that use a value, beyond which it doesn't tell who belongs together
_INDEXED = ("state", "parameter", "direction")
# What operations cost, in additions.
_COSTS = {
    **dict.fromkeys(LEAVES, 0),
    **dict.fromkeys([*COMPARISONS, "+", "-", "*", "neg", "fabs", "minimum", "maximum"], 1),
    **dict.fromkeys(["select", "both", "either", "negate"], 1),
    **dict.fromkeys(["/", "sqrt"], 4),
}
_FUNCTION_COST = 20


def cost(op: str) -> int:
    """Return what an operation costs, in additions."""
    return _COSTS.get(op, _FUNCTION_COST)


class Part(NamedTuple):
    """A value in a loop: its node in each round, and the parts that it is computed from.

    The node is the same in all rounds for what is known before the loop.
    """

    instances: tuple[int, ...]
    args: tuple[int, ...]

    @property
    def outer(self) -> bool:
        """Whether the value is known before the loop."""
        return self.instances[0] == self.instances[-1]


class Run(NamedTuple):
    """Outputs ``first``, ``first + step``, ... of one form, one a round."""

    first: int
    step: int
    rounds: int

    @property
    def positions(self) -> range:
        """The outputs, by round."""
        return range(self.first, self.first + self.step * self.rounds, self.step)

    def cut(self, start: int, rounds: int) -> Run:
        """Return a part of the run."""
        return Run(self.first + self.step * start, self.step, rounds)


class Alike:
    """Finds what is alike among the outputs of a graph.

    Parameters
    ----------
    nodes : sequence of Node
        The graph; equal expressions are one node.
    outputs : sequence of int
        Nodes wanted.
    """

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[int]) -> None:
        self._nodes = nodes
        self._outputs = outputs

    def parts(self, runs: Sequence[Run]) -> tuple[list[Part], list[int]]:
        """Return the parts of runs of equal length, and the part that is the output of each."""
        parts: list[Part] = []
        places: dict[tuple[int, ...], int] = {}
        wanted = [tuple(self._outputs[k] for k in run.positions) for run in runs]
        for output in wanted:
            stack = [output]
            while stack:
                instances = stack[-1]
                args: list[tuple[int, ...]] = []
                if instances[0] != instances[-1]:
                    args = list(zip(*(self._nodes[at].args for at in instances), strict=True))
                missing = [arg for arg in args if arg not in places]
                if missing:
                    stack += reversed(missing)
                    continue
                stack.pop()
                if instances not in places:
                    places[instances] = len(parts)
                    parts.append(Part(instances, tuple(places[arg] for arg in args)))
        return parts, [places[output] for output in wanted]

    # -- runs

    def runs(self) -> Iterator[Run]:
        """Find the runs. No output is in two of them."""
        alike: dict[int, list[int]] = defaultdict(list)
        forms = self._forms()
        for position, at in enumerate(self._outputs):
            alike[forms[at]].append(position)
        for positions in alike.values():
            left = positions
            for kinds in range(1, _MOST_KINDS + 1):
                found = [run for run in self._progressions(left, kinds) if self._regular(run)]
                yield from found
                taken = {position for run in found for position in run.positions}
                left = [position for position in left if position not in taken]

    def _forms(self) -> dict[int, int]:
        """Return a number for the form of each node that is needed."""
        numbers: dict[tuple[object, ...], int] = {}
        forms: dict[int, int] = {}
        for at in reachable(self._nodes, self._outputs):
            op, args, value = self._nodes[at]
            own = repr(value) if op in ("number", "truth") else ""
            form = (op, own, *(forms[arg] for arg in args))
            forms[at] = numbers.setdefault(form, len(numbers))
        return forms

    def _progressions(self, positions: Sequence[int], kinds: int) -> Iterator[Run]:
        """Find runs among outputs of one form, of which each ``kinds``-th belongs to a run."""
        known: dict[int, tuple[int, ...]] = {}

        def change(k: int) -> tuple[int, ...]:
            if k not in known:
                here, there = positions[k], positions[k + kinds]
                growth = self._growth(self._outputs[here], self._outputs[there])
                known[k] = (there - here, *growth)
            return known[k]

        taken: set[int] = set()
        last = len(positions) - kinds
        for start in range(last):
            end = start
            while end < last and end not in taken and change(end) == change(start):
                end += kinds
            rounds = (end - start) // kinds + 1
            if rounds >= FEWEST_ROUNDS and end not in taken:
                taken.update(range(start, end + 1, kinds))
                yield Run(positions[start], change(start)[0], rounds)

    def _growth(self, one: int, other: int) -> tuple[int, ...]:
        """Return the growth of each index from one node to another of the same form."""
        found: list[int] = []
        seen: set[tuple[int, int]] = set()
        stack = [(one, other)]
        while stack:
            pair = stack.pop()
            if pair in seen:
                continue
            seen.add(pair)
            a, b = self._nodes[pair[0]], self._nodes[pair[1]]
            if pair[0] == pair[1] or not a.args:
                found.append(int(b.value) - int(a.value) if a.op in _INDEXED else 0)
            else:
                stack.extend(zip(reversed(a.args), reversed(b.args), strict=True))
        return tuple(found)

    def _regular(self, run: Run) -> bool:
        """Say whether each index grows by equal steps throughout."""
        for part in self.parts([run])[0]:
            if part.outer:
                if len(set(part.instances)) > 1:
                    return False
            elif not part.args:
                values = [int(self._nodes[at].value) for at in part.instances]
                step = values[1] - values[0]
                if values != [values[0] + step * k for k in range(len(values))]:
                    return False
        return True

    # -- runs that belong together

    def bundles(self, runs: Sequence[Run]) -> list[list[Run]]:
        """Join runs, cut to the rounds that they have in common.

        Those belong together that compute the same values, use the same states and parameters for
        the most part, or lie between each other.
        """
        # A bundle: by run, the round of the bundle in which its own rounds begin.
        bundles = [{k: 0} for k in range(len(runs))]
        of = list(range(len(runs)))
        votes = self._votes(runs)
        for (a, b, shift), _ in sorted(votes.items(), key=lambda row: (-row[1], row[0])):
            if of[a] == of[b]:
                continue
            one, other = bundles[of[a]], bundles[of[b]]
            move = one[a] - shift - other[b]
            joined = one | {k: start + move for k, start in other.items()}
            longest = max(runs[k].rounds for k in joined)
            enough = max(FEWEST_ROUNDS, 3 * longest // 4)
            if len(joined) <= _MOST_KINDS and _common(runs, joined)[1] >= enough:
                bundles[of[a]] = joined
                for k in other:
                    of[k] = of[a]
        result: list[list[Run]] = []
        for k in sorted(set(of)):
            start, rounds = _common(runs, bundles[k])
            members = sorted(bundles[k].items())
            result.append([runs[n].cut(start - own, rounds) for n, own in members])
        return result

    def _votes(self, runs: Sequence[Run]) -> Counter[tuple[int, int, int]]:
        """Return how well runs a, b go together if round r of a goes with round r + shift of b."""
        values: dict[int, list[tuple[int, int]]] = defaultdict(list)
        leaves: dict[int, list[tuple[int, int]]] = defaultdict(list)
        kinds: list[int] = []
        votes: Counter[tuple[int, int, int]] = Counter()
        for k, run in enumerate(runs):
            parts = [part for part in self.parts([run])[0] if not part.outer]
            kinds.append(sum(not part.args for part in parts))
            for part in parts:
                for turn, at in enumerate(part.instances):
                    (values if part.args else leaves)[at].append((k, turn))
            for other, near in enumerate(runs[:k]):
                if near.step == run.step > 1:
                    votes[other, k, -((run.first - near.first) // run.step)] += 1
        for at, places in values.items():
            for pair in _pairs(places):
                votes[pair] += 1 + cost(self._nodes[at].op)
        loads = Counter(pair for places in leaves.values() for pair in _pairs(places))
        for (a, b, shift), count in loads.items():
            _, rounds = _common(runs, {a: 0, b: -shift})
            if 2 * count >= rounds * min(kinds[a], kinds[b]):
                votes[a, b, shift] += count
        return votes


def _pairs(places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Return the runs that use a value, two at a time, and by how many rounds they differ."""
    if len(places) <= _MOST_SHARERS:
        for i, (a, turn) in enumerate(places):
            for b, other_turn in places[i + 1 :]:
                if a != b:
                    yield a, b, other_turn - turn


def _common(runs: Sequence[Run], bundle: Mapping[int, int]) -> tuple[int, int]:
    """Return the first round that all runs of a bundle have, and how many they have in common."""
    start = max(bundle.values())
    return start, min(own + runs[k].rounds for k, own in bundle.items()) - start
