"""Implicit methods: stability, stage order, error estimates, transformations."""

import dataclasses

import numpy as np
import pytest
from method_list import DIRK, FIRK, METHODS, ROSENBROCK, STIFF, TABLEAUS
from order_conditions import error_weights

from cubie_kernels.errors import TableauError
from cubie_kernels.methods import Tableau

ALL = [*DIRK, *FIRK, *ROSENBROCK]


def coefficients(tableau):
    """Matrix and weights of the stability function: of a Rosenbrock method alpha + gamma, b."""
    a = tableau.a if isinstance(tableau, Tableau) else np.add(tableau.alpha, tableau.gamma)
    return np.array(a), np.array(tableau.b)


def stages_at(tableau, z):
    """Stages of one step of ``y' = z*y`` with ``h = 1`` from ``y = 1``."""
    a, _ = coefficients(tableau)
    return np.linalg.solve(np.eye(len(a)) - z * a, np.ones(len(a)))


def test_every_method_is_expected():
    assert set(STIFF) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_stability(name):
    """The sector of stability and the limit at infinity of the stability function."""
    tableau, stiff = TABLEAUS[name], STIFF[name]
    a, b = coefficients(tableau)
    assert np.linalg.eigvals(a).real.min() > -1e-15
    ray = -np.exp(1j * np.radians(stiff.angle))
    sizes = [abs(1 + z * (b @ stages_at(tableau, z))) for z in ray * np.logspace(-3, 4, 120)]
    assert max(sizes) < 1 + 1e-11
    limit = 1 + -1e9 * (b @ stages_at(tableau, -1e9))
    assert limit == pytest.approx(stiff.at_infinity, abs=1e-6)


@pytest.mark.parametrize("name", [*DIRK, *FIRK])
def test_stage_order(name):
    tableau = TABLEAUS[name]
    a, c = np.array(tableau.a), np.array(tableau.c)
    met = [np.abs(a @ c ** (q - 1) - c**q / q).max() < 1e-15 for q in range(1, 12)]
    assert met.index(False) == STIFF[name].stage_order


@pytest.mark.parametrize("name", [name for name in ALL if METHODS[name].embedded])
def test_error_is_bounded(name):
    """Infinitely stiff components don't blow up the error estimate, but that of TR-BDF2."""
    tableau = TABLEAUS[name]
    z = -1e7
    error, start = error_weights(tableau)
    estimate = z * (start + error @ stages_at(tableau, z))
    if start:
        estimate /= 1 - z * tableau.filtered_error.gamma
    assert (abs(estimate) > 1e5) if name == "tr-bdf2" else (abs(estimate) < 5)


@pytest.mark.parametrize("name", DIRK)
def test_diagonal(name):
    """One factor of a step's matrix serves all implicit stages."""
    tableau = TABLEAUS[name]
    assert not np.triu(tableau.a, 1).any()
    first, *others = np.diag(tableau.a)
    assert len({first, *others} - {0.0}) == 1
    assert 0.0 not in others


@pytest.mark.parametrize("name", FIRK)
class TestTransform:
    def test_identities(self, name):
        tableau = TABLEAUS[name]
        transform, unit = tableau.transform, np.eye(tableau.stages)
        inverse, t, back = map(np.array, (transform.inverse, transform.t, transform.t_inverse))
        close = {"rtol": 0, "atol": 3e-13}
        np.testing.assert_allclose(np.array(tableau.a) @ inverse, unit, **close)
        np.testing.assert_allclose(t @ back, unit, **close)
        np.testing.assert_allclose(back @ inverse @ t, transform.blocks, **close)
        np.testing.assert_allclose(
            transform.weights, np.linalg.solve(np.transpose(tableau.a), tableau.b), **close
        )

    def test_split_solution(self, name):
        """One real and some complex systems give the stages of the whole."""
        tableau = TABLEAUS[name]
        transform, a = tableau.transform, np.array(tableau.a)
        jacobian = np.array([[-3.0, 1.0], [0.5, -200.0]])
        h, unit = 0.1, np.eye(2)
        right = np.linspace(-1.0, 2.0, 2 * len(a)).reshape(len(a), 2)
        whole = np.linalg.solve(
            np.kron(np.linalg.inv(a) / h, unit) - np.kron(np.eye(len(a)), jacobian), right.ravel()
        )
        turned = np.array(transform.t_inverse) @ right
        parts = np.empty_like(turned)
        first = 0
        if transform.real is not None:
            parts[0] = np.linalg.solve(transform.real / h * unit - jacobian, turned[0])
            first = 1
        for k, (alpha, beta) in zip(range(first, len(a), 2), transform.pairs, strict=True):
            matrix = complex(alpha, beta) / h * unit - jacobian
            solution = np.linalg.solve(matrix, turned[k] + 1j * turned[k + 1])
            parts[k], parts[k + 1] = solution.real, solution.imag
        np.testing.assert_allclose(
            np.array(transform.t) @ parts, whole.reshape(len(a), 2), atol=1e-12
        )

    def test_stiff_accuracy(self, name):
        """The increment of the last stage is that of the step, to the bit."""
        tableau = TABLEAUS[name]
        last = (0.0,) * (tableau.stages - 1) + (1.0,)
        assert (tableau.transform.weights == last) == tableau.fsal

    def test_gamma(self, name):
        transform, error = TABLEAUS[name].transform, TABLEAUS[name].filtered_error
        if transform.real is not None:
            assert error.gamma == pytest.approx(1 / transform.real, rel=2e-16)


def test_published_values_of_radau():
    """Values printed by Hairer and Wanner, in their book and in their codes."""
    radau = TABLEAUS["radau-iia-5"]
    root = np.sqrt(6.0)
    np.testing.assert_allclose(radau.c, ((4 - root) / 10, (4 + root) / 10, 1.0), rtol=1e-15)
    weights = np.divide(radau.filtered_error.weights, radau.filtered_error.gamma)
    np.testing.assert_allclose(
        weights, np.divide((-13 - 7 * root, -13 + 7 * root, -1), 3), rtol=1e-14
    )
    assert radau.transform.t[0] == pytest.approx(
        (9.1232394870892942792e-02, -0.14125529502095420843, -3.0029194105147424492e-02), rel=1e-15
    )
    longer = TABLEAUS["radau-iia-9"].filtered_error
    np.testing.assert_allclose(
        np.divide(longer.weights, longer.gamma),
        (-27.780933944064637, 3.6414784980492132, -1.2525477211691187, 0.5920031671845429, -0.2),
        rtol=1e-14,
    )


RADAU = TABLEAUS["radau-iia-5"]


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        (
            {"transform": dataclasses.replace(RADAU.transform, real=3.6)},
            ["'radau-iia-5'", "transform.inverse @ t[0][0]"],
        ),
        (
            {"transform": dataclasses.replace(RADAU.transform, weights=(0.0, 0.0, 1.1))},
            ["transform.weights @ a[0][0]"],
        ),
        (
            {"transform": dataclasses.replace(RADAU.transform, t=RADAU.transform.t[:2])},
            ["list of rows transform.t has 2 entries, but 3 are wanted"],
        ),
        (
            {"filtered_error": dataclasses.replace(RADAU.filtered_error, gamma=0.3)},
            ["gamma and the embedded weights sum to 1.025", "residual 0.0251"],
        ),
        ({"embedded_order": 4}, ["filtered_error times c**3", "the integral 1/4"]),
        ({"error": (0.0, 0.0, 0.0)}, ["filtered_error instead of error only"]),
    ],
)
def test_wrong_coefficients_are_named(fault, parts):
    with pytest.raises(TableauError) as caught:
        dataclasses.replace(RADAU, **fault)
    for part in parts:
        assert part in str(caught.value)
