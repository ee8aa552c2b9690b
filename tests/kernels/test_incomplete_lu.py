"""Incomplete LU factors: exact on their pattern, complete where there is no fill-in."""

import numpy as np
import pytest

from cubie_kernels.errors import InputError
from cubie_kernels.lane.reference import lanes
from cubie_kernels.model import System
from cubie_kernels.model.incomplete_lu import incomplete_lu_pair_source, incomplete_lu_source
from cubie_kernels.model.jacobian_diagonal import jacobian_diagonal_source

LANES = 4


def random_pattern(n, seed, diagonal=True):
    rng = np.random.default_rng(seed)
    chosen = rng.random((n, n)) < 0.25
    np.fill_diagonal(chosen, diagonal)
    return [tuple(place) for place in np.argwhere(chosen).tolist()]


def matrices(n, pattern, mass, j, shift):
    m = np.eye(n)
    if mass is not None:
        m = np.zeros((n, n))
        for place, weight in mass.items():
            m[place] = weight
    w = shift[:, None, None] * m
    for place, values in zip(pattern, j, strict=True):
        w[:, place[0], place[1]] -= values
    return w


def reference(w, pattern):
    """Factorise with NumPy row by row, leave out what is not in the pattern; return L times U."""
    n = len(w)
    allowed = set(pattern) | {(i, i) for i in range(n)}
    factors = w.copy()
    for i in range(n):
        for k in range(i):
            if (i, k) not in allowed:
                continue
            factors[i, k] /= factors[k, k]
            for c in range(k + 1, n):
                if (i, c) in allowed:
                    factors[i, c] -= factors[i, k] * factors[k, c]
    lower = np.tril(factors, -1) + np.eye(n)
    return lower @ np.triu(factors)


def applied(code, j, shifts, sides):
    """Factorise and solve on the reference target; shifts and sides are one or two of each."""
    names = lanes(64, 0, LANES)
    exec(code.text, names)
    buffer = type(names["private"](1))
    end = "_pair" if len(shifts) == 2 else ""
    w = buffer(np.full((code.entries, LANES), np.nan))
    made = names[f"ilu_factor{end}"](buffer(j), *shifts, w)
    found = [side.copy() for side in sides]
    names[f"ilu_solve{end}"](w, *map(buffer, found))
    assert np.isfinite(made).all()
    assert np.isfinite(w.values).all()
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("with_mass", [False, True])
def test_factors_are_those_of_the_pattern(seed, with_mass):
    n = 9
    pattern = random_pattern(n, seed)
    mass = {(i, i): 1.0 + 0.1 * i for i in range(n)} | {(0, 4): 0.5} if with_mass else None
    rng = np.random.default_rng(seed)
    j, a = rng.uniform(-1, 1, (len(pattern), LANES)), rng.uniform(6, 9, LANES)
    sides = rng.normal(size=(n, LANES))
    code = incomplete_lu_source(n, pattern, mass)
    places = {*pattern, *(mass or {})}
    assert code.entries == len(places)
    (found,) = applied(code, j, (a,), (sides,))
    for lane, w in enumerate(matrices(n, pattern, mass, j, a)):
        wanted = np.linalg.solve(reference(w, places), sides[:, lane])
        np.testing.assert_allclose(found[:, lane], wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_factors_of_pairs(seed):
    n = 8
    pattern = random_pattern(n, seed)
    rng = np.random.default_rng(seed)
    j = rng.uniform(-1, 1, (len(pattern), LANES))
    a, b = rng.uniform(5, 9, (2, LANES))
    re, im = rng.normal(size=(2, n, LANES))
    code = incomplete_lu_pair_source(n, pattern)
    x, y = applied(code, j, (a, b), (re, im))
    for lane, w in enumerate(matrices(n, pattern, None, j, a + 1j * b)):
        wanted = np.linalg.solve(reference(w, pattern), re[:, lane] + 1j * im[:, lane])
        np.testing.assert_allclose(x[:, lane] + 1j * y[:, lane], wanted, rtol=1e-10, atol=1e-12)


def test_a_band_of_three_is_factorised_completely():
    n = 7
    pattern = [(i, k) for i in range(n) for k in range(n) if abs(i - k) <= 1]
    rng = np.random.default_rng(0)
    j, a = rng.uniform(-1, 1, (len(pattern), LANES)), rng.uniform(4, 5, LANES)
    sides = rng.normal(size=(n, LANES))
    (found,) = applied(incomplete_lu_source(n, pattern), j, (a,), (sides,))
    wanted = np.linalg.solve(matrices(n, pattern, None, j, a), sides.T[..., None])[..., 0].T
    np.testing.assert_allclose(found, wanted, rtol=1e-11)


def test_rows_are_matched_where_the_diagonal_is_empty():
    # Each of two constraints determines the other's unknown.
    pattern = [(0, 0), (0, 1), (1, 2), (2, 1)]
    mass = {(0, 0): 1.0}
    code = incomplete_lu_source(3, pattern, mass)
    assert set(code.order) == {(0, 0), (1, 2), (2, 1)}
    rng = np.random.default_rng(0)
    j, a = rng.uniform(1, 2, (4, LANES)), rng.uniform(4, 5, LANES)
    sides = rng.normal(size=(3, LANES))
    (found,) = applied(code, j, (a,), (sides,))
    wanted = np.linalg.solve(matrices(3, pattern, mass, j, a), sides.T[..., None])[..., 0].T
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_pivot_of_zero_is_told():
    code = incomplete_lu_source(2, [(0, 0), (0, 1), (1, 0)])
    names = lanes(64, 0, 2)
    exec(code.text, names)
    buffer = type(names["private"](1))
    j = buffer(np.array([[1.0, 1.0], [2.0, 2.0], [0.5, 0.5]]))
    with np.errstate(all="ignore"):
        made = names["ilu_factor"](j, np.array([3.0, 1.0]), buffer(np.zeros((code.entries, 2))))
    assert np.isfinite(made).tolist() == [True, False]


def test_matrices_that_are_always_singular_are_refused():
    with pytest.raises(InputError, match="singular whatever its values"):
        incomplete_lu_source(2, [(0, 0), (1, 0)], {})
    with pytest.raises(InputError, match="twice"):
        incomplete_lu_pair_source(2, [(0, 0), (0, 0)])


def test_the_diagonal_of_a_jacobian():
    system = System.from_equations(
        "da = -k*a*a + sin(b)\ndb = exp(-t)*a*b*c\ndc = a*b",
        states={"a": 1.0, "b": 0.4, "c": 0.1},
        parameters={"k": 3.0},
    )
    rng = np.random.default_rng(1)
    y, p = rng.uniform(0.1, 1, (3, LANES)), np.full((1, LANES), 3.0)
    names = lanes(64, 0, LANES)
    text = jacobian_diagonal_source(system)
    assert "sin" not in text  # nor cos: nothing of entries beside the diagonal
    assert "cos" not in text
    names["exp"] = np.exp
    exec(text, names)
    buffer = type(names["private"](1))
    d = buffer(np.full((3, LANES), np.nan))
    names["jacobian_diagonal"](np.full(LANES, 0.7), buffer(y), buffer(p), d)
    wanted = system.numpy_jacobian()(0.7, y, p)
    np.testing.assert_allclose(d.values, np.einsum("iil->il", wanted), rtol=1e-14)
