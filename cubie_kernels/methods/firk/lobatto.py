"""The method Lobatto IIIC of Chipman."""

from __future__ import annotations

from cubie_kernels.methods.tableau import Tableau
from cubie_kernels.methods.transform import FilteredError, StageTransform

__all__ = ["METHODS"]

_B_4 = (0.16666666666666666, 0.6666666666666666, 0.16666666666666666)

LOBATTO_IIIC_4 = Tableau(
    name="lobatto-iiic-4",
    family="firk",
    order=4,
    a=(
        (0.16666666666666666, -0.3333333333333333, 0.16666666666666666),
        (0.16666666666666666, 0.4166666666666667, -0.08333333333333333),
        _B_4,
    ),
    b=_B_4,
    c=(0.0, 0.5, 1.0),
    embedded_order=3,
    filtered_error=FilteredError(
        gamma=0.380833877207265, weights=(-1.142501631621795, -1.52333550882906, 0.380833877207265)
    ),
    transform=StageTransform(
        inverse=(
            (3.0, 4.0, -1.0),
            (-1.0, 0.0, 1.0),
            (1.0, -4.0, 3.0),
        ),
        weights=(0.0, 0.0, 1.0),
        real=2.6258168189584667,
        pairs=((1.6870915905207666, 2.5087317549248804),),
        t=(
            (0.40726395317321046, -0.6027050205505142, -0.43093212292032257),
            (0.1854720936535791, 0.1775508472321798, 0.5194499080011394),
            (0.8942796961362184, 1.0, 0.0),
        ),
        t_inverse=(
            (1.0326372242409412, 0.8566688421623935, 0.470273360734019),
            (-0.9234665031131368, -0.7661015518583513, 0.5794440818618233),
            (-0.053062148095041166, 1.881093442936076, -0.36597055757427455),
        ),
    ),
    reference="Chipman, BIT 11(4), 1971 (Lobatto IIIC, 3 stages)",
    aliases=("lobatto-iiic",),
)

METHODS = (LOBATTO_IIIC_4,)
