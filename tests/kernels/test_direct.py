"""Direct solvers of implicit steps: lanes that need pivots by value beside lanes that don't."""

import numpy as np
import pytest
from direct_cases import Matrix, dense, made, solved
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_kernels.build.direct_source import LINEAR, PAIR

LANES = 8
KINDS = ("lu", "banded", "indexed")


def side_by_side(bits=64, n=5):
    """Return a matrix of each kind in the lanes, all with ``a = 4`` and ``b = 1``.

    0, 1: static pivots do. 2: a small pivot. 3: a pivot of zero. 4: singular. 5: undefined.
    6: badly scaled. 7: a leading part that is singular.
    """
    rng = np.random.default_rng(7)
    tiny = 1e-13 if bits == 64 else 1e-6
    w = np.tile(rng.uniform(-1, 1, (n, n)), (LANES, 1, 1)) + rng.uniform(-0.1, 0.1, (LANES, n, n))
    for lane in (0, 1, 6):
        w[lane] += 3.0 * np.eye(n)
    w[2, 0, 0] = tiny
    w[3, range(n), range(n)] = 0.0
    w[4, 3] = w[4, 1]
    w[5, 2, 1] = np.nan
    scales = 10.0 ** np.linspace(0, 10 if bits == 64 else 6, n)
    w[6] = np.diag(scales) @ w[6] @ np.diag(1.0 / scales)
    w[7, 1, :2] = w[7, 0, :2]
    return w


def jacobian_of(w, a):
    """Return the Jacobian's entries of each lane, for a dense pattern and the identity as mass."""
    n = w.shape[1]
    return (a * np.eye(n) - w).reshape(len(w), n * n).T


def backward_error(w, x, side):
    """Return the largest residual of a row beside the row's terms."""
    rest = abs(side - w @ x)
    return (rest / (abs(w) @ abs(x) + abs(side))).max()


def check_lanes(kind, target, bits=64, most_dense=100, roll=0, **options):
    """Solve the matrices side by side; return the solutions and the lanes found singular."""
    n = 5
    matrix = Matrix(n, dense(n))
    w = np.roll(side_by_side(bits), roll, axis=0)
    a, b = np.full(LANES, 4.0), np.full(LANES, 1.0)
    j = jacobian_of(w, 4.0)
    sides = np.tile(np.random.default_rng(1).uniform(-1, 1, (3, n, 1)), (1, 1, LANES))
    source = made(matrix, kind, bits, most_dense)
    found = solved(matrix, source, target, j, a, b, sides, bits, **options)
    rounded = np.float64 if bits == 64 else np.float32
    w = matrix.values(j.astype(rounded).astype(float), a)
    z = w + 1j * np.eye(n)
    sides = sides.astype(rounded).astype(float)
    return [np.roll(part, -roll, axis=-1) for part in found], (
        np.roll(w, -roll, axis=0),
        np.roll(z, -roll, axis=0),
        sides[0, :, 0],
        sides[1, :, 0] + 1j * sides[2, :, 0],
    )


COMPILED = [
    ("lu", "cpu"),
    ("lu", "cuda"),
    pytest.param("banded", "cpu", marks=pytest.mark.slow),
    pytest.param("banded", "cuda", marks=pytest.mark.slow),
    pytest.param("indexed", "cpu", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "target"), [*((kind, "numpy") for kind in KINDS), *COMPILED])
@pytest.mark.parametrize("bits", [64, pytest.param(32, marks=pytest.mark.slow)])
def test_each_lane_gets_the_pivots_that_it_needs(kind, target, bits):
    (x, z, bad, bad_pair), (w, w_pair, side, side_pair) = check_lanes(kind, target, bits)
    # Complex, lanes 4 and 7 are not singular: the imaginary part of the shift moves the spectrum.
    assert bad[[0, 1, 2, 3, 5, 6, 7]].tolist() == [False] * 4 + [True] + [False] * 2
    assert bad_pair.tolist() == [False] * 5 + [True] + [False] * 2
    limit = 1e-13 if bits == 64 else 1e-5
    for lane in (0, 1, 2, 3, 6, 7):
        assert backward_error(w[lane], x[:, lane], side) < limit
    for lane in (0, 1, 2, 3, 4, 6, 7):
        assert backward_error(w_pair[lane], z[:, lane], side_pair) < limit


@pytest.mark.parametrize(("kind", "target"), [("lu", "numpy"), *COMPILED])
def test_a_lane_gets_the_same_bits_whatever_its_neighbours(kind, target):
    first, _ = check_lanes(kind, target)
    for roll in (1, 3):
        again, _ = check_lanes(kind, target, roll=roll)
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_large_matrices_have_no_second_factors(kind):
    (x, z, bad, bad_pair), (w, w_pair, side, side_pair) = check_lanes(kind, "numpy", most_dense=0)
    assert bad.tolist() == [False, False, True, True, True, True, False, True]
    assert bad_pair.tolist()[5:7] == [True, False]
    # The badly scaled lane grows, stands the test and keeps its factors.
    assert backward_error(w[6], x[:, 6], side) < 1e-13
    assert backward_error(w_pair[6], z[:, 6], side_pair) < 1e-13


def test_a_pair_may_be_too_large_where_a_matrix_is_not():
    (_, _, bad, bad_pair), _ = check_lanes("lu", "numpy", most_dense=5)
    assert not bad[[2, 3]].any()
    source = made(Matrix(5, dense(5)), "lu", 64, 5)
    assert source.sizes["lin_dense"] == 35
    assert source.sizes["pair_dense"] == 0
    assert bad_pair[5]


SMALL = [[1e-12, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1e-300, 1, 1e-300, 2]]


@pytest.mark.parametrize("kind", KINDS)
def test_two_by_two(kind):
    w = np.array(SMALL, float).reshape(-1, 2, 2)
    lanes = len(w)
    zero = np.zeros(lanes)
    sides = np.tile(np.array([1.0, 2.0])[:, None], (3, 1, lanes))
    matrix = Matrix(2, dense(2))
    found, _, bad, _ = solved(
        matrix, made(matrix, kind, 64), "numpy", -w.reshape(lanes, 4).T, zero, zero, sides
    )
    assert bad.tolist() == [False, False, True, True, False]
    np.testing.assert_allclose(found[:, 0], [1.0, 1.0], rtol=1e-11)
    np.testing.assert_allclose(found[:, 1], [2.0, 1.0], rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10_000), st.sampled_from(KINDS))
def test_random_matrices_without_good_diagonals(n, seed, kind):
    """Entries of very different size and many zeros; one good pivot in each row, anywhere."""
    rng = np.random.default_rng(seed)
    w = rng.uniform(-1, 1, (LANES, n, n)) * 10.0 ** rng.integers(-12, 3, (LANES, n, n))
    w[rng.random((LANES, n, n)) < 0.4] = 0.0
    order = rng.permutation(n)
    w[:, range(n), order] = rng.uniform(1, 2, (LANES, n)) * 1e3
    zero = np.zeros(LANES)
    sides = rng.uniform(-1, 1, (3, n, LANES))
    matrix = Matrix(n, dense(n))
    x, z, bad, bad_pair = solved(
        matrix,
        made(matrix, kind, 64),
        "numpy",
        -w.reshape(LANES, n * n).T,
        zero,
        zero + 1.0,
        sides,
    )
    assert not (bad | bad_pair).any()
    for lane in range(LANES):
        assert backward_error(w[lane], x[:, lane], sides[0, :, lane]) < 1e-9
        side = sides[1, :, lane] + 1j * sides[2, :, lane]
        assert backward_error(w[lane] + 1j * np.eye(n), z[:, lane], side) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_constraints_are_rescued_too(kind):
    """A mass matrix of rank 2 in a system of 4, with pivots that vanish in some lanes."""
    pattern = ((0, 0), (0, 1), (0, 3), (1, 0), (1, 3), (2, 2), (2, 3), (3, 2), (3, 3))
    mass = (((0, 0), 1.0), ((1, 1), -3.5), ((2, 1), 0.25))
    matrix = Matrix(4, pattern, mass)
    rng = np.random.default_rng(5)
    j = rng.uniform(0.5, 1.5, (len(pattern), LANES))
    a, b = rng.uniform(1, 2, LANES), rng.uniform(1, 2, LANES)
    j[0, :4] = a[:4]  # an empty place on the diagonal
    j[5, 2:6] = 0.0
    j[8, 3:7] = 0.0
    j[7, 7] = j[8, 7] = 0.0  # an equation without unknowns
    sides = rng.uniform(-1, 1, (3, 4, LANES))
    x, z, bad, bad_pair = solved(matrix, made(matrix, kind, 64), "numpy", j, a, b, sides)
    w, w_pair = matrix.values(j, a), matrix.values(j, a + 1j * b)
    assert bad.tolist() == bad_pair.tolist() == [False] * 7 + [True]
    for lane in range(7):
        assert backward_error(w[lane], x[:, lane], sides[0, :, lane]) < 1e-13
        side = sides[1, :, lane] + 1j * sides[2, :, lane]
        assert backward_error(w_pair[lane], z[:, lane], side) < 1e-13


def test_buffers_have_the_names_that_functions_take():
    source = made(Matrix(5, dense(5)), "lu", 64)
    assert set(source.sizes) == {*LINEAR, *PAIR}
    assert source.sizes["lin_jacobian"] == 25
    assert source.sizes["pair_dense"] == 10 * 12
    for name, group in (("linear_factor", LINEAR), ("pair_factor", PAIR)):
        text = next(text for text in source.inlined if text.startswith(f"def {name}("))
        assert f"a, {', '.join(group)})" in text or f"a, b, {', '.join(group)})" in text
