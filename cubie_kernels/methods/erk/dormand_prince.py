"""The 5(4) pair of Dormand and Prince with Shampine's interpolant."""

from __future__ import annotations

from cubie_kernels.methods.tableau import DenseOutput, Tableau, hermite_nested, lower_triangle

__all__ = ["METHODS"]

_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)

DOPRI5 = Tableau(
    name="dopri5",
    family="erk",
    order=5,
    a=lower_triangle(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _B,
    ),
    b=(*_B, 0.0),
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    embedded_order=4,
    error=(71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
    dense=DenseOutput(
        order=4,
        nested=hermite_nested(
            _B,
            6,
            (
                (-12715105075 / 11282082432,),
                (0.0,),
                (87487479700 / 32700410799,),
                (-10690763975 / 1880347072,),
                (701980252875 / 199316789632,),
                (-1453857185 / 822651844,),
                (69997945 / 29380423,),
            ),
        ),
    ),
    reference="Dormand, Prince, J. Comput. Appl. Math. 6(1), 1980; "
    "dense output: Shampine, Math. Comp. 46, 1986",
    aliases=("dormand-prince-54", "dp5", "rk45", "ode45"),
)

METHODS = (DOPRI5,)
