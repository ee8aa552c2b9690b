"""The methods of Gauss, whose nodes are zeros of Legendre polynomials."""

from __future__ import annotations

from cubie_kernels.methods.tableau import DenseOutput, Tableau
from cubie_kernels.methods.transform import FilteredError, StageTransform

__all__ = ["METHODS"]

GAUSS_LEGENDRE_2 = Tableau(
    name="gauss-legendre-2",
    family="firk",
    order=2,
    a=((0.5,),),
    b=(1.0,),
    c=(0.5,),
    embedded_order=1,
    filtered_error=FilteredError(gamma=0.5, weights=(-1.0,)),
    transform=StageTransform(
        inverse=((2.0,),), weights=(2.0,), real=2.0, pairs=(), t=((1.0,),), t_inverse=((1.0,),)
    ),
    reference="Butcher, Math. Comp. 18, 1964 (Gauss, 1 stage)",
    aliases=("gauss2",),
)

GAUSS_LEGENDRE_4 = Tableau(
    name="gauss-legendre-4",
    family="firk",
    order=4,
    a=(
        (0.25, -0.03867513459481288),
        (0.5386751345948129, 0.25),
    ),
    b=(0.5, 0.5),
    c=(0.2113248654051871, 0.7886751345948129),
    embedded_order=2,
    filtered_error=FilteredError(
        gamma=0.28867513459481287, weights=(-1.8660254037844386, 0.13397459621556135)
    ),
    transform=StageTransform(
        inverse=(
            (3.0, 0.4641016151377546),
            (-6.464101615137754, 3.0),
        ),
        weights=(-1.7320508075688772, 1.7320508075688772),
        real=None,
        pairs=((3.0, 1.7320508075688772),),
        t=(
            (0.0, 0.2679491924311227),
            (1.0, 0.0),
        ),
        t_inverse=(
            (0.0, 1.0),
            (3.732050807568877, 0.0),
        ),
    ),
    reference="Butcher, Math. Comp. 18, 1964 (Gauss, 2 stages)",
    aliases=("gauss4",),
)

GAUSS_LEGENDRE_6 = Tableau(
    name="gauss-legendre-6",
    family="firk",
    order=6,
    a=(
        (0.1388888888888889, -0.0359766675249389, 0.009789444015308325),
        (0.30026319498086457, 0.2222222222222222, -0.022485417203086815),
        (0.26798833376246944, 0.48042111196938336, 0.1388888888888889),
    ),
    b=(0.2777777777777778, 0.4444444444444444, 0.2777777777777778),
    c=(0.11270166537925831, 0.5, 0.8872983346207417),
    embedded_order=3,
    filtered_error=FilteredError(
        gamma=0.21531442311611218,
        weights=(-2.825278112319014, 0.28708589748814956, -0.045580862562481624),
    ),
    transform=StageTransform(
        inverse=(
            (5.0, 1.1639777949432226, -0.1639777949432225),
            (-5.727486121839514, 2.0, 0.7274861218395141),
            (10.163977794943223, -9.163977794943223, 5.0),
        ),
        weights=(1.6666666666666667, -1.3333333333333333, 1.6666666666666667),
        real=4.644370709252171,
        pairs=((3.6778146453739144, 3.5087619195674433),),
        t=(
            (0.07146455671480077, -0.08224123057363067, -0.0601207386193085),
            (0.11770061780985167, 0.053065090742061394, 0.3162050511322916),
            (0.9904743215756461, 1.0, 0.0),
        ),
        t_inverse=(
            (6.049321980812396, 1.1501704489859705, 0.4364697845938464),
            (-5.991698084937801, -1.1392142951557354, 0.5676878862161416),
            (-1.2462132735862315, 2.9255596461923137, -0.25773520127343247),
        ),
    ),
    dense=DenseOutput(
        order=3,
        nested=(
            (0.2777777777777778, 1.2010527799234583, -1.1111111111111112),
            (0.4444444444444444, -1.1111111111111112, 2.2222222222222223),
            (0.2777777777777778, -0.08994166881234726, -1.1111111111111112),
        ),
    ),
    reference="Butcher, Math. Comp. 18, 1964 (Gauss, 3 stages)",
    aliases=("gauss6",),
)

METHODS = (GAUSS_LEGENDRE_2, GAUSS_LEGENDRE_4, GAUSS_LEGENDRE_6)
