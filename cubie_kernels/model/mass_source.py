"""The product with a mass matrix as lane code."""

from __future__ import annotations

from cubie_kernels.model.mass import Entries

__all__ = ["mass_source"]


def mass_source(states: int, mass: Entries) -> str:
    """Return ``mass_product(v, d)``, which writes ``M v`` to ``d``; they must not overlap."""
    lines = ["def mass_product(v, d):"]
    for i in range(states):
        terms = [
            f"v[{j}]" if weight == 1.0 else f"{weight!r} * v[{j}]"
            for (row, j), weight in mass.items()
            if row == i
        ]
        lines.append(f"    d[{i}] = {' + '.join(terms) or 'real(0.0)'}")
    return "\n".join(lines) + "\n"
