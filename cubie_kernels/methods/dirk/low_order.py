"""Diagonally implicit methods of order one and two."""

from __future__ import annotations

from cubie_kernels.methods.dirk.rows import lower_rows
from cubie_kernels.methods.tableau import Tableau

__all__ = ["METHODS"]

BACKWARD_EULER = Tableau(
    name="backward-euler",
    family="dirk",
    order=1,
    a=lower_rows(
        (1.0,),
    ),
    b=(1.0,),
    c=(1.0,),
    reference="Curtiss, Hirschfelder, Proc. Natl. Acad. Sci. 38(3), 1952",
    aliases=("implicit-euler",),
)

IMPLICIT_MIDPOINT = Tableau(
    name="implicit-midpoint",
    family="dirk",
    order=2,
    a=lower_rows(
        (0.5,),
    ),
    b=(1.0,),
    c=(0.5,),
    reference="Hairer, Lubich, Wanner, Geometric Numerical Integration, 2006, section II.1",
)

TRAPEZOIDAL = Tableau(
    name="trapezoidal",
    family="dirk",
    order=2,
    a=lower_rows(
        (0.0,),
        (0.5, 0.5),
    ),
    b=(0.5, 0.5),
    c=(0.0, 1.0),
    reference="Crank, Nicolson, Proc. Camb. Phil. Soc. 43(1), 1947",
    aliases=("crank-nicolson", "trapezoid", "trapezoidal-rule"),
)

SDIRK2 = Tableau(
    name="sdirk2",
    family="dirk",
    order=2,
    a=lower_rows(
        (0.2928932188134525,),
        (0.7071067811865476, 0.2928932188134525),
    ),
    b=(0.7071067811865476, 0.2928932188134525),
    c=(0.2928932188134525, 1.0),
    embedded_order=1,
    error=(-0.06066017177982129, 0.06066017177982129),
    reference="Alexander, SIAM J. Numer. Anal. 14(6), 1977; embedded: Ellsiepen, 1999",
)

TR_BDF2 = Tableau(
    name="tr-bdf2",
    family="dirk",
    order=2,
    a=lower_rows(
        (0.0,),
        (0.2928932188134525, 0.2928932188134525),
        (0.3535533905932738, 0.3535533905932738, 0.2928932188134525),
    ),
    b=(0.3535533905932738, 0.3535533905932738, 0.2928932188134525),
    c=(0.0, 0.585786437626905, 1.0),
    # Unbounded for infinitely stiff components: its authors solve (I - h*a_33*J) with it.
    embedded_order=3,
    error=(0.13807118745769836, -0.3333333333333333, 0.19526214587563498),
    reference="Hosea, Shampine, Appl. Numer. Math. 20(1-2), 1996",
)

METHODS = (BACKWARD_EULER, IMPLICIT_MIDPOINT, TRAPEZOIDAL, SDIRK2, TR_BDF2)
