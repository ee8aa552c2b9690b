"""LU factors with a complex shift, and the growth that both kinds of factors report."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_kernels.lane.reference import Buffer, lanes
from cubie_kernels.model.lu_plan import lu_plan
from cubie_kernels.model.sparse_lu import lu_pair_source, lu_source

LANES = 5
LANGUAGE = lanes(64, 0, LANES)


def functions(code, start):
    """Return the functions of generated code."""
    scope = dict(LANGUAGE)
    exec(code.text, scope)
    return [scope[name] for name in scope if name.startswith(start)]


def matrices(n, pattern, mass, j, shift):
    """Return W of each lane."""
    m = np.zeros((n, n, 1))
    for place, weight in ({(i, i): 1.0 for i in range(n)} if mass is None else mass).items():
        m[place] = weight
    w = shift * m
    for k, place in enumerate(pattern):
        w[place] -= j[k]
    return np.moveaxis(w, -1, 0)


def check_pair(n, pattern, mass=None, seed=0, shift=0.0, rtol=1e-11):
    """Compare the code with NumPy for one pattern, in each lane; return it."""
    rng = np.random.default_rng(seed)
    code = lu_pair_source(n, pattern, mass)
    j, rhs = rng.uniform(-1, 1, (len(pattern), LANES)), rng.uniform(-1, 1, (2, n, LANES))
    a, b = shift + rng.uniform(1, 2, LANES), rng.uniform(1, 2, LANES) * (1 + 0.5 * shift)
    factor, solve = functions(code, "lu_")
    w, x, y = np.full((code.entries, LANES), np.nan), rhs[0].copy(), rhs[1].copy()
    growth = factor(Buffer(j), a, b, Buffer(w))
    solve(Buffer(w), Buffer(x), Buffer(y))
    assert np.isfinite(w).all()
    assert (growth >= 0.99 * n).all()
    wanted = np.linalg.solve(
        matrices(n, pattern, mass, j, a + 1j * b), (rhs[0] + 1j * rhs[1]).T[..., None]
    )[..., 0].T
    np.testing.assert_allclose(x + 1j * y, wanted, rtol=rtol, atol=rtol * abs(wanted).max())
    return code


@st.composite
def patterns(draw):
    n = draw(st.integers(1, 14))
    indices = st.integers(0, n - 1)
    return n, sorted(draw(st.sets(st.tuples(indices, indices), max_size=3 * n)))


@settings(max_examples=60, deadline=None)
@given(patterns(), st.integers(0, 1000))
def test_random_patterns_are_solved(matrix, seed):
    n, pattern = matrix
    check_pair(n, pattern, None, seed, shift=3 * n)


@settings(max_examples=40, deadline=None)
@given(patterns(), st.permutations(range(14)), st.integers(0, 1000))
def test_permuted_mass_matrices_are_solved(matrix, order, seed):
    n, pattern = matrix
    mass = {(row, k): 2.0 for row, k in enumerate(k for k in order if k < n)}
    check_pair(n, pattern, mass, seed, shift=3 * n)


def test_equations_without_derivative_are_solved():
    pattern = [(0, 0), (0, 1), (0, 3), (1, 0), (1, 3), (2, 2), (2, 3), (3, 2)]
    check_pair(4, pattern, {(0, 0): 1.0, (1, 1): -3.5, (2, 1): 0.25}, rtol=1e-9)


def test_a_real_matrix_takes_real_operations():
    # No mass at all: both factors are real, and the two sides are solved side by side.
    rng = np.random.default_rng(1)
    pattern = [(i, j) for i in range(6) for j in range(6)]
    pair, real = lu_pair_source(6, pattern, {}), lu_source(6, pattern, {})
    scalings = lu_plan(6, pattern, {}).scalings
    assert (pair.entries, pair.operations) == (real.entries, real.operations - scalings)
    assert pair.solve_operations == 2 * real.solve_operations
    check_pair(6, pattern, {}, seed=int(rng.integers(100)), rtol=1e-8)


def test_entries_of_the_jacobian_alone_stay_real():
    n = 30
    pattern = [(i, j) for i in range(n) for j in range(n) if abs(i - j) <= 1]
    pair, real = check_pair(n, pattern, shift=20.0), lu_source(n, pattern)
    assert pair.entries == real.entries + (2 * n - 1)
    assert pair.operations < 5 * real.operations


@pytest.mark.parametrize("n", [1, 2, 9, 24])
def test_dense_matrices_are_solved(n):
    code = check_pair(n, [(i, j) for i in range(n) for j in range(n)], shift=3.0 * n)
    assert code.entries <= 2 * n * n
    assert max(map(len, code.text.splitlines())) < 250


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_complex_pivots_do_not_overflow(size):
    factor, solve = functions(lu_pair_source(1, []), "lu_")
    shift = [np.full(LANES, 3.0 * size), np.full(LANES, 4.0 * size)]
    for kind in (np.float64, np.float32):
        w, x, y = (np.zeros((k, LANES), kind) for k in (2, 1, 1))
        x[:] = 5.0 * size
        growth = factor(Buffer(w), *(part.astype(kind) for part in shift), Buffer(w))
        solve(Buffer(w), Buffer(x), Buffer(y))
        np.testing.assert_allclose([x[0, 0], y[0, 0], growth[0]], [0.6, -0.8, 1.0], rtol=1e-6)


DENSE = [(0, 0), (0, 1), (1, 0), (1, 1)]


def growths(values, n=2, pattern=DENSE, a=0.0, b=0.0, mass=None):
    """Return the growth of the real and of the complex factors: a matrix in each lane."""
    j = -np.array(values, float).T
    shape = np.zeros(j.shape[1])
    result = []
    for code, shift in (
        (lu_source(n, pattern, mass), [a + shape]),
        (lu_pair_source(n, pattern, mass), [a + shape, b + shape]),
    ):
        factor, _ = functions(code, "lu_")
        with np.errstate(all="ignore"):
            result.append(factor(Buffer(j), *shift, Buffer(np.zeros((code.entries, len(shape))))))
    return np.array(result)


def test_growth_is_the_norm_of_the_lower_factor():
    rng = np.random.default_rng(3)
    n = 7
    pattern = [(i, k) for i in range(n) for k in range(n)]
    values = rng.uniform(-1, 1, (LANES, n * n))
    found = growths(values, n, pattern, a=6.0)
    for lane in range(LANES):
        rest = 6.0 * np.eye(n) + values[lane].reshape(n, n)
        lower = np.eye(n)
        for k in range(n):
            lower[k + 1 :, k] = rest[k + 1 :, k] / rest[k, k]
            rest[k + 1 :] -= np.outer(lower[k + 1 :, k], rest[k])
        np.testing.assert_allclose(found[:, lane], (lower**2).sum(), rtol=1e-12)


def test_small_pivots_show():
    found = growths([[1e-12, 1, 1, 1], [1, 1e-12, 1, 1], [2, 1, 1, 3]])
    np.testing.assert_allclose(found[:, 0], 1e24, rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], 3.0)
    np.testing.assert_allclose(found[:, 2], 2.25)


@pytest.mark.parametrize(
    "matrix",
    [
        [0, 1, 1, 1],  # the first pivot
        [1, 1, 1, 1],  # the last
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        [np.nan, 1, 1, 1],
        [1, 1, 1, np.nan],
        [1, 1, np.nan, 1],
        [1, np.nan, 1, 1],
        [np.inf, 1, 1, 1],
        [1, 1, 1, -np.inf],
        [1, 1, np.inf, 1],
        [1, np.inf, 1, 1],
    ],
)
def test_no_limit_admits_what_has_no_factors(matrix):
    found = growths([matrix, [2, 1, 1, 3]])
    assert not (found[:, 0] < 1e300).any()
    np.testing.assert_allclose(found[:, 1], 2.25)


def test_complex_shifts_with_a_zero_pivot_show():
    # W = [[i, 1], [1, -i]] is singular; [[i, 1], [1, i]] is not.
    mass = {(0, 0): 1.0, (1, 1): -1.0}
    assert not growths([[0, 1, 1, 0]], b=1.0, mass=mass)[1, 0] < 1e300
    np.testing.assert_allclose(growths([[0, 1, 1, 0]], b=1.0)[1], 3.0)
