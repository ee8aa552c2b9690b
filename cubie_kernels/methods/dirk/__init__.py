"""Diagonally implicit Runge-Kutta methods: each module lists its tableaus in ``METHODS``."""

from __future__ import annotations

from cubie_kernels.methods.dirk import esdirk54, kencarp, kvaerno, low_order, sdirk4
from cubie_kernels.methods.tableau import Tableau

__all__ = ["METHODS"]

METHODS: tuple[Tableau, ...] = (
    *low_order.METHODS,
    *sdirk4.METHODS,
    *kvaerno.METHODS,
    *kencarp.METHODS,
    *esdirk54.METHODS,
)
