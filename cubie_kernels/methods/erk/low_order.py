"""Explicit methods of order one to four."""

from __future__ import annotations

from cubie_kernels.methods.tableau import DenseOutput, Tableau, hermite_nested, lower_triangle

__all__ = ["METHODS"]

EULER = Tableau(
    name="euler",
    family="erk",
    order=1,
    a=((0.0,),),
    b=(1.0,),
    c=(0.0,),
    reference="Euler, Institutiones calculi integralis I, 1768",
    aliases=("forward-euler", "explicit-euler"),
)

HEUN = Tableau(
    name="heun",
    family="erk",
    order=2,
    a=lower_triangle((1.0,)),
    b=(1 / 2, 1 / 2),
    c=(0.0, 1.0),
    embedded_order=1,
    error=(-1 / 2, 1 / 2),
    reference="Heun, Z. Math. Phys. 45, 1900; embedded: Euler",
    aliases=("heun-21", "explicit-trapezoid"),
)

MIDPOINT = Tableau(
    name="midpoint",
    family="erk",
    order=2,
    a=lower_triangle((1 / 2,)),
    b=(0.0, 1.0),
    c=(0.0, 1 / 2),
    reference="Runge, Math. Ann. 46, 1895",
    aliases=("explicit-midpoint",),
)

RALSTON = Tableau(
    name="ralston",
    family="erk",
    order=2,
    a=lower_triangle((2 / 3,)),
    b=(1 / 4, 3 / 4),
    c=(0.0, 2 / 3),
    reference="Ralston, Math. Comp. 16, 1962 (second order, least error bound)",
    aliases=("ralston-2",),
)

RK4 = Tableau(
    name="rk4",
    family="erk",
    order=4,
    a=lower_triangle((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    reference="Kutta, Z. Math. Phys. 46, 1901",
    aliases=("classical-rk4", "runge-kutta-4"),
)

BS3 = Tableau(
    name="bs3",
    family="erk",
    order=3,
    a=lower_triangle((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0.0),
    c=(0.0, 1 / 2, 3 / 4, 1.0),
    embedded_order=2,
    error=(-5 / 72, 1 / 12, 1 / 9, -1 / 8),
    # The cubic Hermite polynomial through both ends, as its authors recommend.
    dense=DenseOutput(
        order=3,
        nested=hermite_nested((2 / 9, 1 / 3, 4 / 9, 0.0), 3, ((),) * 4),
    ),
    reference="Bogacki, Shampine, Appl. Math. Lett. 2(4), 1989",
    aliases=("bogacki-shampine-32", "bosh3", "rk23", "ode23"),
)

METHODS = (EULER, HEUN, MIDPOINT, RALSTON, RK4, BS3)
