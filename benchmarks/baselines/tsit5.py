"""Coefficients of Tsitouras 5(4) and the step-size control of the baselines.

Ch. Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying
assumption, Computers & Mathematics with Applications 62 (2011) 770-775.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INTERPOLANT", "ORDER", "A", "C", "Control", "E"]

ORDER = 5
C = (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
A = (
    (),
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (
        5.86145544294642,
        -12.92096931784711,
        8.159367898576159,
        -0.071584973281401,
        -0.028269050394068383,
    ),
    (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
)
E = (
    0.09646076681806523 - 0.09468075576583945,
    0.01 - 0.009183565540343254,
    0.4798896504144996 - 0.48777052842476157,
    1.379008574103742 - 1.2342975669304790,
    -3.290069515436081 + 2.7077123499835255,
    2.324710524099774 - 1.8666284181705870,
    -1.0 / 66.0,
)
# b_j(x) of y(t + x h) = y + h sum_j b_j(x) k_j, as source text; xx is x * x.
INTERPOLANT = (
    "-1.0530884977290216 * x * (x - 1.3299890189751412)"
    " * (xx - 1.4364028541716351 * x + 0.7139816917074209)",
    "0.1017 * xx * (xx - 2.1966568338249754 * x + 1.2949852507374631)",
    "2.490627285651252793 * xx * (xx - 2.38535645472061657 * x + 1.57803468208092486)",
    "-16.54810288924490272 * (x - 1.21712927295533244) * (x - 0.61620406037800089) * xx",
    "47.37952196281928122 * (x - 1.203071208372362603) * (x - 0.658047292653547382) * xx",
    "-34.87065786149660974 * (x - 1.2) * (x - 0.666666666666666667) * xx",
    "2.5 * (x - 1.0) * (x - 0.6) * xx",
)


@dataclass(frozen=True)
class Control:
    """PI control of the step: ``h *= safety * e_n**(-b1/k) * e_(n-1)**(-b2/k)``, within bounds.

    `k` is 5, the order of the error estimate plus one. A rejected step is shortened by
    ``safety * e**(-1/k)`` and the step after a rejection doesn't grow.

    Attributes
    ----------
    beta
        ``(b1, b2)``.
    safety, least, most
        Safety factor and bounds of one change of the step.
    """

    beta: tuple[float, float] = (0.7, -0.4)
    safety: float = 0.9
    least: float = 0.2
    most: float = 10.0

    @classmethod
    def like(cls, name: str) -> Control:
        """The same control as the controller of that name in ``cubie_kernels``."""
        from cubie_kernels.kernels.controllers import get_controller

        other = get_controller(name)
        if other.alpha or other.beta[2]:
            raise ValueError(f"the baselines know PI control only, {name!r} uses more history")
        return cls(other.beta[:2], other.safety, other.min_factor, other.max_factor)

    @property
    def accepted(self) -> str:
        """Source of the factor after an accepted step, over `e`, `e_old` and the bound `most`."""
        b1, b2 = self.beta
        wish = f"{self.safety!r} * e ** {-b1 / ORDER!r} * e_old ** {-b2 / ORDER!r}"
        return f"min(most, max({self.least!r}, {wish}))"

    @property
    def rejected(self) -> str:
        """Source of the factor after a rejected step."""
        return f"max({self.least!r}, {self.safety!r} * e ** {-1.0 / ORDER!r})"
