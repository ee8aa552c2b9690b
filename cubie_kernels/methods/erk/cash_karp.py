"""The 5(4) pair of Cash and Karp."""

from __future__ import annotations

from cubie_kernels.methods.tableau import Tableau, difference, lower_triangle

__all__ = ["METHODS"]

_B = (37 / 378, 0.0, 250 / 621, 125 / 594, 0.0, 512 / 1771)
_EMBEDDED = (2825 / 27648, 0.0, 18575 / 48384, 13525 / 55296, 277 / 14336, 1 / 4)

CASH_KARP54 = Tableau(
    name="cash-karp54",
    family="erk",
    order=5,
    a=lower_triangle(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (3 / 10, -9 / 10, 6 / 5),
        (-11 / 54, 5 / 2, -70 / 27, 35 / 27),
        (1631 / 55296, 175 / 512, 575 / 13824, 44275 / 110592, 253 / 4096),
    ),
    b=_B,
    c=(0.0, 1 / 5, 3 / 10, 3 / 5, 1.0, 7 / 8),
    embedded_order=4,
    error=difference(_B, _EMBEDDED),
    reference="Cash, Karp, ACM Trans. Math. Softw. 16(3), 1990",
    aliases=("cash-karp", "rkck"),
)

METHODS = (CASH_KARP54,)
