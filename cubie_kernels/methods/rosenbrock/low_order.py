"""Methods of order two and three."""

from __future__ import annotations

from cubie_kernels.methods.rosenbrock.tableau import RosenbrockDense, RosenbrockTableau
from cubie_kernels.methods.tableau import lower_triangle

__all__ = ["METHODS"]

ROSENBROCK23 = RosenbrockTableau(
    name="rosenbrock23",
    order=2,
    diagonal=0.2928932188134525,
    a=lower_triangle(
        (1.7071067811865475,),
        (3.414213562373095, 3.414213562373095),
    ),
    c=lower_triangle(
        (-3.414213562373095,),
        (-6.82842712474619, -25.31370849898476),
    ),
    m=(3.414213562373095, 3.414213562373095, 0.0),
    alpha_sums=(0.0, 0.5, 1.0),
    gamma_sums=(0.2928932188134525, 0.0, -0.2928932188134525),
    w_order=2,
    embedded_order=3,
    e=(-0.5690355937288492, -3.080880229039762, -0.5690355937288492),
    dense=RosenbrockDense(order=2, bend=((0.0, -8.242640687119286, 0.0),)),
    reference="Shampine, Reichelt, SIAM J. Sci. Comput. 18(1), 1997",
    aliases=("ode23s",),
)

ROS3P = RosenbrockTableau(
    name="ros3p",
    order=3,
    diagonal=0.7886751345948129,
    a=lower_triangle(
        (1.2679491924311228,),
        (1.2679491924311228, 0.0),
    ),
    c=lower_triangle(
        (-1.6076951545867362,),
        (-3.4641016151377544, -1.7320508075688772),
    ),
    m=(2.0, 0.5773502691896257, 0.4226497308103742),
    alpha_sums=(0.0, 1.0, 1.0),
    gamma_sums=(0.7886751345948129, -0.2113248654051871, -1.0773502691896257),
    w_order=1,
    embedded_order=2,
    e=(-0.11324865405187118, -0.4226497308103742, 0.0),
    reference="Lang, Verwer, BIT 41(4), 2001",
)

RODAS3 = RosenbrockTableau(
    name="rodas3",
    order=3,
    diagonal=0.5,
    a=lower_triangle(
        (0.0,),
        (2.0, 0.0),
        (2.0, 0.0, 1.0),
    ),
    c=lower_triangle(
        (4.0,),
        (1.0, -1.0),
        (1.0, -1.0, -2.6666666666666665),
    ),
    m=(2.0, 0.0, 1.0, 1.0),
    alpha_sums=(0.0, 0.0, 1.0, 1.0),
    gamma_sums=(0.5, 1.5, 0.0, 0.0),
    w_order=1,
    embedded_order=2,
    e=(0.0, 0.0, 0.0, 1.0),
    reference="Sandu et al., Atmos. Environ. 31(20), 1997 (part II)",
)

METHODS = (ROSENBROCK23, ROS3P, RODAS3)
