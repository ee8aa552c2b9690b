"""Rows of a diagonally implicit method, made square."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["lower_rows"]


def lower_rows(*rows: Sequence[float]) -> tuple[tuple[float, ...], ...]:
    """Return a square matrix from rows that end with their diagonal entry."""
    return tuple((*row, *(0.0,) * (len(rows) - len(row))) for row in rows)
