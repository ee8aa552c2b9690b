"""Explicit Runge-Kutta methods: each module lists its tableaus in ``METHODS``."""

from __future__ import annotations

from cubie_kernels.methods.erk import (
    cash_karp,
    dop853,
    dormand_prince,
    fehlberg,
    low_order,
    tsit5,
    verner6,
    verner7,
    verner8,
    verner9,
)
from cubie_kernels.methods.tableau import Tableau

__all__ = ["METHODS"]

METHODS: tuple[Tableau, ...] = (
    *low_order.METHODS,
    *fehlberg.METHODS,
    *cash_karp.METHODS,
    *dormand_prince.METHODS,
    *tsit5.METHODS,
    *verner6.METHODS,
    *verner7.METHODS,
    *verner8.METHODS,
    *verner9.METHODS,
    *dop853.METHODS,
)
