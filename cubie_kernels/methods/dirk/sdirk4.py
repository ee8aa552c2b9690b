"""The fourth-order method of Hairer and Wanner."""

from __future__ import annotations

from cubie_kernels.methods.dirk.rows import lower_rows
from cubie_kernels.methods.tableau import DenseOutput, Tableau

__all__ = ["METHODS"]

_B = (1.0416666666666667, -1.0208333333333333, 7.8125, -7.083333333333333, 0.25)

SDIRK4 = Tableau(
    name="sdirk4",
    family="dirk",
    order=4,
    a=lower_rows(
        (0.25,),
        (0.5, 0.25),
        (0.34, -0.04, 0.25),
        (0.2727941176470588, -0.05036764705882353, 0.027573529411764705, 0.25),
        _B,
    ),
    b=_B,
    c=(0.25, 0.75, 0.55, 0.5, 1.0),
    embedded_order=3,
    error=(-0.1875, -0.84375, 0.78125, 0.0, 0.25),
    dense=DenseOutput(
        order=3,
        nested=(
            (1.0416666666666667, 2.625, -1.5833333333333333, -2.2222222222222223),
            (-1.0208333333333333, 6.520833333333333, -7.541666666666667, -10.0),
            (7.8125, -14.756944444444445, 22.569444444444443, 9.25925925925926),
            (-7.083333333333333, 7.083333333333333, -14.166666666666666, 0.0),
            (0.25, -1.4722222222222223, 0.7222222222222222, 2.962962962962963),
        ),
    ),
    reference="Hairer, Wanner, Solving ODEs II, 1996, table IV.6.5",
    aliases=("hairer-wanner-sdirk4",),
)

METHODS = (SDIRK4,)
