"""Rosenbrock methods: each module lists its tableaus in ``METHODS``."""

from __future__ import annotations

from cubie_kernels.methods.rosenbrock import grk4t, low_order, rodas4, rodas5, w_methods
from cubie_kernels.methods.rosenbrock.tableau import RosenbrockDense as RosenbrockDense
from cubie_kernels.methods.rosenbrock.tableau import RosenbrockTableau as RosenbrockTableau

__all__ = ["METHODS"]

METHODS: tuple[RosenbrockTableau, ...] = (
    *low_order.METHODS,
    *w_methods.METHODS,
    *grk4t.METHODS,
    *rodas4.METHODS,
    *rodas5.METHODS,
)
