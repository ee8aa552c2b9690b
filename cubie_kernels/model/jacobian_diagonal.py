"""The diagonal of a model's Jacobian as a function of its own, for preconditioners."""

from __future__ import annotations

from dataclasses import replace

from cubie_kernels.model.equations import Declared
from cubie_kernels.model.graph import Node
from cubie_kernels.model.source import Function, lane_function
from cubie_kernels.model.system import System

__all__ = ["jacobian_diagonal_source"]


def jacobian_diagonal_source(system: System) -> str:
    """Return ``jacobian_diagonal(t, y, p, d)`` in the lane language.

    It writes d f_i / d y_i to ``d[i]``, 0 where f_i does not depend on y_i, and computes nothing of
    the other entries. ``d`` must not overlap ``y`` or ``p``.
    """
    nodes = (*system.jacobian.nodes, Node("number", (), 0.0))
    zero = len(nodes) - 1
    entries = system.jacobian.entries
    outputs = tuple(entries.get((i, i), zero) for i in range(len(system.states)))
    declared = Declared(system.states, system.parameters, system.constants, system.observables)
    function = Function("jacobian_diagonal", "d", outputs)
    return lane_function(replace(system.equations, nodes=nodes), declared, function)
