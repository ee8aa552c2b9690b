"""The 4(5) pair of Fehlberg, which advances with the weights of order four."""

from __future__ import annotations

from cubie_kernels.methods.tableau import Tableau, lower_triangle

__all__ = ["METHODS"]

FEHLBERG45 = Tableau(
    name="fehlberg45",
    family="erk",
    order=4,
    a=lower_triangle(
        (1 / 4,),
        (3 / 32, 9 / 32),
        (1932 / 2197, -7200 / 2197, 7296 / 2197),
        (439 / 216, -8.0, 3680 / 513, -845 / 4104),
        (-8 / 27, 2.0, -3544 / 2565, 1859 / 4104, -11 / 40),
    ),
    b=(25 / 216, 0.0, 1408 / 2565, 2197 / 4104, -1 / 5, 0.0),
    c=(0.0, 1 / 4, 3 / 8, 12 / 13, 1.0, 1 / 2),
    embedded_order=5,
    error=(-1 / 360, 0.0, 128 / 4275, 2197 / 75240, -1 / 50, -2 / 55),
    reference="Fehlberg, NASA TR R-315, 1969",
    aliases=("rkf45", "fehlberg"),
)

METHODS = (FEHLBERG45,)
