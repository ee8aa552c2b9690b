"""The one list of methods that tests of methods and kernels are parametrised over.

`test_methods.py` fails when a method that the package offers is missing from it.
"""

from typing import NamedTuple


class Facts(NamedTuple):
    """What a method must say of itself, and do."""

    order: int
    embedded: int | None
    power: int | None
    dense: int
    stages: int
    fsal: bool


METHODS = {
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
NAMES = list(METHODS)
ADAPTIVE = [name for name, facts in METHODS.items() if facts.embedded is not None]
