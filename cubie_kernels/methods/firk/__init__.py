"""Fully implicit Runge-Kutta methods: each module lists its tableaus in ``METHODS``."""

from __future__ import annotations

from cubie_kernels.methods.firk import gauss, lobatto, radau
from cubie_kernels.methods.tableau import Tableau

__all__ = ["METHODS"]

METHODS: tuple[Tableau, ...] = (*gauss.METHODS, *radau.METHODS, *lobatto.METHODS)
