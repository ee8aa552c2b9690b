"""Step-size controllers: digital filters as data, and the lane source that applies them.

With e the error estimate divided by the tolerance, k the order of that estimate plus one and r the
ratio of a step to the one before it, the next step is

    h_next = h * safety * e_n**(-b1/k) * e_(n-1)**(-b2/k) * e_(n-2)**(-b3/k) * r_n**(-a2)

(Söderlind, *Digital filters in adaptive time-stepping*, ACM TOMS 29 (2003) 1-26). The kernel works
with logarithms, so that one logarithm and one power serve every controller.
"""

from __future__ import annotations

from dataclasses import dataclass

from cubie_kernels.errors import InputError, nearest

__all__ = ["CONTROLLERS", "Controller", "get_controller"]


@dataclass(frozen=True)
class Controller:
    """Coefficients of a step-size filter.

    Parameters
    ----------
    name : str
        Name to ask for it.
    beta : tuple of float
        Exponents of the last three errors, times k.
    alpha : float
        Exponent of the last step ratio.
    safety, min_factor, max_factor : float
        Safety factor and bounds of one change of the step.
    cautious : bool, default False
        Whether the step is no longer than ``safety * e_n**(-1/k)`` allows.
    reference : str
        Source of the coefficients.
    """

    name: str
    beta: tuple[float, float, float]
    alpha: float = 0.0
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0
    cautious: bool = False
    reference: str = ""


_SODERLIND = "Söderlind, ACM TOMS 29 (2003) 1-26"
CONTROLLERS: dict[str, Controller] = {
    controller.name: controller
    for controller in (
        Controller(
            "i",
            (1.0, 0.0, 0.0),
            reference="Hairer, Nørsett & Wanner, Solving ODEs I (1993), II.4",
        ),
        Controller("pi", (0.7, -0.4, 0.0), reference="Gustafsson, ACM TOMS 17 (1991) 533-554"),
        Controller("pi42", (0.6, -0.2, 0.0), reference=_SODERLIND),
        Controller("pi33", (2.0 / 3.0, -1.0 / 3.0, 0.0), reference=_SODERLIND),
        Controller(
            "pid",
            (0.58, -0.21, 0.10),
            reference="Kennedy, Carpenter & Lewis, Appl. Numer. Math. 35 (2000) 177-219",
        ),
        Controller("h211pi", (1.0 / 6.0, 1.0 / 6.0, 0.0), reference=_SODERLIND),
        Controller("h211b", (0.25, 0.25, 0.0), alpha=0.25, reference=_SODERLIND),
        Controller("h312pid", (1.0 / 18.0, 1.0 / 9.0, 1.0 / 18.0), reference=_SODERLIND),
        Controller(
            "gustafsson",
            (2.0, -1.0, 0.0),
            alpha=-1.0,
            reference="Gustafsson, ACM TOMS 20 (1994) 496-517 (predictive)",
        ),
        Controller(
            "predictive",
            (2.0, -1.0, 0.0),
            alpha=-1.0,
            cautious=True,
            reference="Hairer & Wanner, Solving ODEs II (1996), IV.8 (RADAU5)",
        ),
        Controller(
            "careful",
            (2.0, -1.0, 0.0),
            alpha=-1.0,
            safety=0.85,
            cautious=True,
            reference="predictive, with the safety factor that the stiff ensembles take least "
            "steps with (benchmarks/stiff_precision.py, Rosenbrock methods)",
        ),
    )
}


def get_controller(name: str) -> Controller:
    """Return the controller called ``name``.

    Raises
    ------
    InputError
        If there is none of that name; lists the legal ones.
    """
    try:
        return CONTROLLERS[name.lower()]
    except KeyError:
        raise InputError(
            f"There is no step-size controller {name!r}. Legal: {', '.join(CONTROLLERS)}."
            + nearest(name.lower(), CONTROLLERS)
        ) from None


# ---------------------------------------------------------------------------- lane source
def larger(a, b):
    """Return the larger of two numbers, ``b`` where they do not compare."""
    return select(a > b, a, b)


def smaller(a, b):
    """Return the smaller of two numbers, ``b`` where they do not compare."""
    return select(a < b, a, b)


def reciprocal(x):
    """Return 1 / x to one part in 7000 for positive normal x: one third-order step, no division."""
    r = reciprocal_seed(x)
    rest = 1.0 - x * r
    return r + r * (rest + rest * rest)


def log2_estimate(x):
    """Return the binary logarithm of a positive normal number to 2e-4."""
    exponent, m = exponent_mantissa(x)
    c = ((-0.081615808 * m + 0.645142202) * m - 2.120674915) * m + 4.070090803
    return exponent + (c * m - 2.512854628)


def exp2_estimate(x):
    """Return 2**x to 2e-4; the result must be a normal number."""
    whole = floor(x)
    r = x - whole
    return power_of_two(whole) * (((0.07944 * r + 0.22449) * r + 0.69607) * r + 1.0)


def log2_error(q):
    """Return the logarithm of the error whose square is ``q``; large where that is no number."""
    return 0.5 * log2_estimate(larger(real(TINY), q))


def tightened(q, y, rtol, atol):
    """Return the square of an error norm that is held to a power, of more than 1, of the tolerance.

    As powers need numbers without a unit, the tolerance is taken relative to the state (Söderlind
    and Wang, J. Comput. Appl. Math. 185 (2006) 225-243, calibrate tolerances in this way).
    """
    size = real(0.0)
    for i in range(N):
        part = fabs(y[i]) * reciprocal(atol[i] + rtol[i] * fabs(y[i]))
        size = size + part * part
    size = larger(size * (1.0 / N), real(TINY))
    growth = exp2_estimate((TOLERANCE_POWER - 1.0) * log2_estimate(size))
    return q * larger(growth * (1.0 / (TOLERANCE_PART * TOLERANCE_PART)), real(1.0))


def log2_ratio(accept, retry, e, e_before, e_before_that, ratio_before):
    """Return the binary logarithm of the next step over this one.

    ``e`` are logarithms of errors. After a rejection the step does not grow at once.
    """
    filtered = (
        LOG2_SAFETY
        - BETA_1 * e
        - BETA_2 * e_before
        - BETA_3 * e_before_that
        - ALPHA * ratio_before
    )
    plain = LOG2_SAFETY - BETA_REJECT * e
    most = select(either(negate(accept), retry), 0.0, real(LOG2_MAX_FACTOR))
    if CAUTIOUS:
        filtered = smaller(filtered, plain)
    wish = select(accept, filtered, plain)
    return larger(smaller(wish, most), real(LOG2_MIN_FACTOR))
