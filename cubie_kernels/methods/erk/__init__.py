"""Explicit Runge-Kutta methods: each module lists its tableaus in ``METHODS``."""

from __future__ import annotations

from cubie_kernels.methods.erk import dormand_prince, low_order, tsit5
from cubie_kernels.methods.tableau import Tableau

__all__ = ["METHODS"]

METHODS: tuple[Tableau, ...] = (
    *low_order.METHODS,
    *dormand_prince.METHODS,
    *tsit5.METHODS,
)
