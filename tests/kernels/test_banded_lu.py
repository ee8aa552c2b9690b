"""LU factors in loops, over bands and over tables: their order, their code, what they solve."""

import numpy as np
import pytest
from direct_cases import Matrix, band, dense, made, solved
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_kernels.build.direct_source import banded_source
from cubie_kernels.errors import InputError
from cubie_kernels.model.banded_lu import band_plan
from cubie_kernels.model.lu_plan import lu_plan
from cubie_kernels.model.sparse_lu import lu_source

LANES = 5


KINDS = ("banded", "indexed")


def check(matrix, kind, seed=0, shift=0.0, rtol=1e-11, target="numpy", lanes=LANES):
    """Compare loops with NumPy, real and complex."""
    rng = np.random.default_rng(seed)
    j = rng.uniform(-1, 1, (len(matrix.pattern), lanes))
    a, b = shift + rng.uniform(1, 2, lanes), 0.5 * shift + rng.uniform(1, 2, lanes)
    sides = rng.uniform(-1, 1, (3, matrix.n, lanes))
    source = made(matrix, kind, 64, 0)
    x, z, bad, bad_pair = solved(matrix, source, target, j, a, b, sides)
    assert not (bad | bad_pair).any()
    for found, shifts, side in ((x, a, sides[0]), (z, a + 1j * b, sides[1] + 1j * sides[2])):
        wanted = np.linalg.solve(matrix.values(j, shifts), side.T[..., None])[..., 0].T
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * abs(wanted).max())


def shuffled(pattern, n, seed=0):
    """Return a pattern with its unknowns renumbered."""
    order = np.random.default_rng(seed).permutation(n).tolist()
    return tuple(sorted((order[row], order[column]) for row, column in pattern))


@st.composite
def matrices(draw):
    n = draw(st.integers(1, 14))
    indices = st.integers(0, n - 1)
    pattern = draw(st.sets(st.tuples(indices, indices), max_size=3 * n))
    order = draw(st.sampled_from([None, draw(st.permutations(range(n)))]))
    mass = None if order is None else tuple(((row, k), 2.0) for row, k in enumerate(order))
    return Matrix(n, tuple(sorted(pattern)), mass)


@settings(max_examples=60, deadline=None)
@given(matrices(), st.sampled_from(KINDS), st.integers(0, 1000))
def test_random_patterns_are_solved(matrix, kind, seed):
    check(matrix, kind, seed, shift=3 * matrix.n)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n", "lower", "upper"), [(1, 0, 0), (2, 1, 1), (9, 0, 2), (9, 3, 0), (30, 2, 1), (30, 29, 29)]
)
def test_bands_are_solved(n, lower, upper, kind):
    matrix = Matrix(n, band(n, lower, upper))
    plan = band_plan(n, matrix.pattern)
    assert (plan.lower, plan.upper) == (min(lower, n - 1), min(upper, n - 1))
    check(matrix, kind, shift=2.0 * (lower + upper + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_without_a_jacobian_is_solved(kind):
    check(Matrix(3, ()), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_equations_without_derivative_are_solved(kind):
    pattern = ((0, 0), (0, 1), (0, 3), (1, 0), (1, 3), (2, 2), (2, 3), (3, 2))
    mass = (((0, 0), 1.0), ((1, 1), -3.5), ((2, 1), 0.25))
    check(Matrix(4, pattern, mass), kind, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_no_mass_at_all(kind):
    check(Matrix(4, dense(4), ()), kind, rtol=1e-8)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("banded", "cpu"),
        ("indexed", "cuda"),
        pytest.param("banded", "cuda", marks=pytest.mark.slow),
        pytest.param("indexed", "cpu", marks=pytest.mark.slow),
    ],
)
def test_compiled_loops_solve(kind, target):
    check(Matrix(40, shuffled(band(40, 2, 1), 40)), kind, shift=8.0, target=target, lanes=8)


def test_shuffled_bands_are_found_again():
    for n, width in ((50, 1), (80, 2), (80, 5)):
        plan = band_plan(n, shuffled(band(n, width, width), n))
        assert plan.lower + plan.upper <= 3 * width
        assert sorted(row for row, _ in plan.order) == list(range(n))


def test_the_given_order_stays_where_it_is_best():
    plan = band_plan(20, band(20, 3, 0))
    assert plan.order == tuple((i, i) for i in range(20))
    assert (plan.lower, plan.upper) == (3, 0)


def test_grids_get_the_band_of_a_side():
    side = 8
    cells = [(x, y) for x in range(side) for y in range(side)]
    pattern = [
        (i, k)
        for i, (x, y) in enumerate(cells)
        for k, (u, v) in enumerate(cells)
        if abs(x - u) + abs(y - v) <= 1
    ]
    assert band_plan(side * side, shuffled(pattern, side * side)).lower <= side + 2


def test_separate_parts_stay_apart():
    parts = [(i + start, k + start) for start in range(0, 60, 6) for i, k in dense(6)]
    plan = band_plan(60, shuffled(parts, 60))
    assert (plan.lower, plan.upper) == (5, 5)


def test_diagonals_without_entries_are_matched():
    # Each equation holds the next unknown; the last one holds the first.
    n = 12
    pattern = [(i, (i + 1) % n) for i in range(n)]
    plan = band_plan(n, pattern, {})
    assert (plan.lower, plan.upper) == (0, 0)
    assert all(column == (row + 1) % n for row, column in plan.order)


def test_code_does_not_grow_with_the_matrix():
    small, large = (
        "".join(banded_source(band_plan(n, band(n, 2, 2)), pair=True)) for n in (200, 900)
    )
    assert len(large) < 1.05 * len(small)


def test_tables_name_each_product_of_the_elimination():
    n = 12
    plan = lu_plan(n, shuffled(band(n, 2, 1), n))
    tables = plan.tables()
    assert tables["starts"][-1] == plan.entries == len(tables["inner"])
    lower = sum(k < i for i, row in enumerate(plan.rows) for k in row)
    given = len(plan.weights)
    assert plan.operations == 3 * n - 1 + 3 * lower + 2 * len(tables["targets"]) + given
    assert sorted(tables["inner"][at] for at in tables["pivots"]) == list(range(n))


def test_operations_are_those_of_dense_elimination():
    n = 30
    whole, straight = band_plan(n, dense(n)), lu_source(n, dense(n))
    assert whole.operations == straight.operations + n * n + 1  # which also loads the entries
    assert whole.solve_operations == n * (4 * (n - 1) + 1)


def test_what_cannot_be_factorised_is_refused():
    with pytest.raises(InputError, match="singular whatever its values"):
        band_plan(2, [(0, 0), (1, 0)], {})
    with pytest.raises(InputError, match="twice"):
        band_plan(2, [(0, 0), (0, 0)])
