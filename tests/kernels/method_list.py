"""The one list of methods, by family, that tests of methods and kernels are parametrised over.

`test_methods.py` fails when a method that the package offers is missing from it.
"""

from typing import NamedTuple

from cubie_kernels.methods import dirk, erk, firk, rosenbrock
from cubie_kernels.methods.increment_dense import ends_on_stage


class Facts(NamedTuple):
    """What a method must say of itself, and do."""

    order: int
    embedded: int | None
    power: int | None
    dense: int
    stages: int
    fsal: bool


ERK = {
    "euler": Facts(1, None, None, 1, 1, False),
    "heun": Facts(2, 1, 2, 2, 2, False),
    "midpoint": Facts(2, None, None, 2, 2, False),
    "ralston": Facts(2, None, None, 2, 2, False),
    "rk4": Facts(4, None, None, 3, 4, False),
    "bs3": Facts(3, 2, 3, 3, 4, True),
    "fehlberg45": Facts(4, 5, 5, 3, 6, False),
    "cash-karp54": Facts(5, 4, 5, 3, 6, False),
    "dopri5": Facts(5, 4, 5, 4, 7, True),
    "tsit5": Facts(5, 4, 5, 4, 7, True),
    "vern6": Facts(6, 5, 6, 6, 9, True),
    "vern7": Facts(7, 6, 7, 7, 10, False),
    "vern8": Facts(8, 7, 8, 8, 13, False),
    "vern9": Facts(9, 8, 9, 9, 16, False),
    "dop853": Facts(8, 5, 8, 7, 12, False),
}
DIRK = {
    "backward-euler": Facts(1, None, None, 1, 1, False),
    "implicit-midpoint": Facts(2, None, None, 2, 1, False),
    "trapezoidal": Facts(2, None, None, 2, 2, True),
    "sdirk2": Facts(2, 1, 2, 2, 2, True),
    "tr-bdf2": Facts(2, 3, 3, 2, 3, True),
    "sdirk4": Facts(4, 3, 4, 3, 5, True),
    "kvaerno3": Facts(3, 2, 3, 3, 4, True),
    "kvaerno4": Facts(4, 3, 4, 3, 5, True),
    "kvaerno5": Facts(5, 4, 5, 3, 7, True),
    "kencarp3": Facts(3, 2, 3, 2, 4, True),
    "kencarp4": Facts(4, 3, 4, 3, 6, True),
    "kencarp5": Facts(5, 4, 5, 3, 8, True),
    "esdirk54": Facts(5, 4, 5, 3, 7, True),
}
FIRK = {
    "gauss-legendre-2": Facts(2, 1, 2, 2, 1, False),
    "gauss-legendre-4": Facts(4, 2, 3, 3, 2, False),
    "gauss-legendre-6": Facts(6, 3, 4, 3, 3, False),
    "radau-iia-3": Facts(3, 2, 3, 2, 2, True),
    "radau-iia-5": Facts(5, 3, 4, 3, 3, True),
    "radau-iia-9": Facts(9, 5, 6, 5, 5, True),
    "lobatto-iiic-4": Facts(4, 3, 4, 3, 3, True),
}
ROSENBROCK = {
    "rosenbrock23": Facts(2, 3, 3, 2, 3, True),
    "ros3p": Facts(3, 2, 3, 3, 3, False),
    "rodas3": Facts(3, 2, 3, 3, 4, False),
    "ros34pw2": Facts(3, 2, 3, 3, 4, False),
    "ros34pw3": Facts(4, 2, 3, 3, 4, False),
    "grk4t": Facts(4, 3, 4, 3, 4, False),
    "rodas4": Facts(4, 3, 4, 3, 6, False),
    "rodas42": Facts(4, 3, 4, 3, 6, False),
    "rodas4p": Facts(4, 3, 4, 3, 6, False),
    "rodas5": Facts(5, 4, 5, 4, 8, False),
    "rodas5p": Facts(5, 4, 5, 4, 8, False),
}
FAMILIES = {"erk": ERK, "dirk": DIRK, "firk": FIRK, "rosenbrock": ROSENBROCK}
METHODS = {name: facts for family in FAMILIES.values() for name, facts in family.items()}
TABLEAUS = {
    tableau.name: tableau for family in (erk, dirk, firk, rosenbrock) for tableau in family.METHODS
}

NAMES = list(METHODS)
ADAPTIVE = [name for name in NAMES if METHODS[name].embedded is not None]
IMPLICIT = [name for name in NAMES if name not in ERK]
EXPLICIT = list(ERK)
# Those for singular mass matrices: a step ends on the last stage.
ABLE = [name for name in IMPLICIT if ends_on_stage(TABLEAUS[name])]
# One of each implicit family, for tests that cost seconds for each method.
FEW_IMPLICIT = ["tr-bdf2", "radau-iia-5", "rodas4"]


class Stiff(NamedTuple):
    """What a method must do with stiff problems."""

    angle: float
    """Stable in the sector of this half angle around the negative real axis, in degrees."""
    at_infinity: float
    """Stability function at infinity: 0 makes an A-stable method L-stable."""
    stage_order: int = 1


L = Stiff(90, 0.0)
STIFF = {
    "rosenbrock23": L,
    "ros3p": Stiff(90, 1 - 3**0.5),
    "rodas3": L,
    "ros34pw2": L,
    "ros34pw3": Stiff(90, -0.6304148),
    "grk4t": Stiff(89.3, 0.4535719),
    "rodas4": L,
    "rodas42": L,
    "rodas4p": L,
    "rodas5": L,
    "rodas5p": L,
    "backward-euler": L,
    "implicit-midpoint": Stiff(90, -1.0),
    "trapezoidal": Stiff(90, -1.0, 2),
    "sdirk2": L,
    "tr-bdf2": Stiff(90, 0.0, 2),
    "sdirk4": L,
    "kvaerno3": Stiff(90, 0.0, 2),
    "kvaerno4": Stiff(90, 0.0, 2),
    "kvaerno5": Stiff(90, 0.0, 2),
    "kencarp3": Stiff(90, 0.0, 2),
    "kencarp4": Stiff(90, 0.0, 2),
    "kencarp5": Stiff(90, 0.0, 2),
    "esdirk54": Stiff(90, 0.0, 2),
    "gauss-legendre-2": Stiff(90, -1.0),
    "gauss-legendre-4": Stiff(90, 1.0, 2),
    "gauss-legendre-6": Stiff(90, -1.0, 3),
    "radau-iia-3": Stiff(90, 0.0, 2),
    "radau-iia-5": Stiff(90, 0.0, 3),
    "radau-iia-9": Stiff(90, 0.0, 5),
    "lobatto-iiic-4": Stiff(90, 0.0, 2),
}

# Order that holds whatever matrix stands in for the Jacobian, where it is more than one.
W_ORDERS = {"rosenbrock23": 2, "ros34pw2": 3, "ros34pw3": 3, "rodas5p": 2}
# Rosenbrock methods whose order isn't reduced on stiff linear problems with a source.
UNREDUCED = ("ros3p", "ros34pw2", "ros34pw3", "rodas4p", "rodas5p")

# Orders within a step with a mass matrix: of differential states, and of algebraic ones if the
# method takes a singular matrix.
WITHIN = {
    "backward-euler": (1, 1),
    "implicit-midpoint": (1, None),
    "trapezoidal": (1, 1),
    "sdirk2": (2, 1),
    "tr-bdf2": (2, 2),
    "sdirk4": (3, 2),
    "kvaerno3": (3, 2),
    "kvaerno4": (3, 2),
    "kvaerno5": (3, 3),
    "kencarp3": (3, 2),
    "kencarp4": (3, 3),
    "kencarp5": (3, 3),
    "esdirk54": (3, 3),
    "gauss-legendre-2": (1, None),
    "gauss-legendre-4": (2, None),
    "gauss-legendre-6": (3, None),
    "radau-iia-3": (2, 2),
    "radau-iia-5": (3, 3),
    "radau-iia-9": (5, 5),
    "lobatto-iiic-4": (3, 2),
    "rosenbrock23": (2, None),
    "ros3p": (2, None),
    "rodas3": (2, 2),
    "ros34pw2": (2, 2),
    "ros34pw3": (3, None),
    "grk4t": (2, None),
    "rodas4": (3, 2),
    "rodas42": (3, 2),
    "rodas4p": (3, 2),
    "rodas5": (4, 3),
    "rodas5p": (4, 3),
}
