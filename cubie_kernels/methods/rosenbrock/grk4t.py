"""The fourth-order method of Kaps and Rentrop."""

from __future__ import annotations

from cubie_kernels.methods.rosenbrock.tableau import RosenbrockTableau
from cubie_kernels.methods.tableau import lower_triangle

__all__ = ["METHODS"]

GRK4T = RosenbrockTableau(
    name="grk4t",
    order=4,
    diagonal=0.231,
    a=lower_triangle(
        (2.0,),
        (4.524708207373116, 4.163528788597648),
        (4.524708207373116, 4.163528788597648, 0.0),
    ),
    c=lower_triangle(
        (-5.071675338776316,),
        (6.020152728650786, 0.1597506846727117),
        (-1.856343618686113, -8.505380858179826, -2.084075136023187),
    ),
    m=(3.957503746640777, 4.624892388363313, 0.6174772638750108, 1.282612945269037),
    alpha_sums=(0.0, 0.462, 0.8802083333333334, 0.8802083333333334),
    gamma_sums=(0.231, -0.03962966775244303, 0.5507789395789127, -0.05535098457052764),
    w_order=1,
    embedded_order=3,
    e=(2.302155402932996, 3.073634485392623, -0.8732808018045032, -1.282612945269037),
    reference="Kaps, Rentrop, Numer. Math. 33(1), 1979",
    aliases=("kaps-rentrop-43",),
)

METHODS = (GRK4T,)
