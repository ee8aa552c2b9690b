"""Generated LU factors: against ``numpy.linalg.solve``, fill-in, and matrices that have none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_kernels.errors import InputError
from cubie_kernels.lane.reference import Buffer
from cubie_kernels.model import System
from cubie_kernels.model.lu_plan import lu_plan
from cubie_kernels.model.sparse_lu import lu_source

LANES = 5


def solve(code, j, a, b):
    """Run the generated code on the reference target, a column per lane; w begins as NaN."""
    scope = {}
    exec(code.text, scope)
    w, x = np.full((code.entries, LANES), np.nan), b.copy()
    scope["lu_factor"](Buffer(j), a, Buffer(w))
    scope["lu_solve"](Buffer(w), Buffer(x))
    assert np.isfinite(w).all()
    return x


def check(n, pattern, mass, seed=0, shift=0.0, rtol=1e-11):
    """Compare the code with NumPy for one pattern, in each lane."""
    rng = np.random.default_rng(seed)
    code = lu_source(n, pattern, mass)
    j, b = rng.uniform(-1, 1, (len(pattern), LANES)), rng.uniform(-1, 1, (n, LANES))
    a = shift + rng.uniform(1, 2, LANES)
    found = solve(code, j, a, b)
    m = np.eye(n) if mass is None else np.zeros((n, n))
    for place, weight in (mass or {}).items():
        m[place] = weight
    for lane in range(LANES):
        w = a[lane] * m
        for k, place in enumerate(pattern):
            w[place] -= j[k, lane]
        wanted = np.linalg.solve(w, b[:, lane])
        np.testing.assert_allclose(found[:, lane], wanted, rtol=rtol, atol=rtol * abs(wanted).max())
    return code


@st.composite
def patterns(draw):
    n = draw(st.integers(1, 14))
    indices = st.integers(0, n - 1)
    return n, sorted(draw(st.sets(st.tuples(indices, indices), max_size=3 * n)))


@settings(max_examples=80, deadline=None)
@given(patterns(), st.integers(0, 1000))
def test_random_patterns_are_solved(matrix, seed):
    n, pattern = matrix
    check(n, pattern, None, seed, shift=3 * n)


@settings(max_examples=40, deadline=None)
@given(patterns(), st.permutations(range(14)), st.integers(0, 1000))
def test_rows_are_matched_to_columns_where_the_diagonal_is_empty(matrix, order, seed):
    # A permuted dominant mass matrix: each row has one large entry, off the diagonal.
    n, pattern = matrix
    order = [k for k in order if k < n]
    mass = {(row, column): 2.0 for row, column in enumerate(order)}
    code = check(n, pattern, mass, seed, shift=3 * n)
    assert sorted(row for row, _ in code.order) == list(range(n))
    assert sorted(column for _, column in code.order) == list(range(n))


def test_pivots_are_entries_of_the_mass_matrix_where_it_has_them():
    pattern = [(i, j) for i in range(3) for j in range(3)]
    plan = lu_plan(3, pattern, {(0, 1): 1.0, (1, 0): 1.0, (1, 1): 1.0})
    assert set(plan.order) == {(0, 1), (1, 0), (2, 2)}


def test_entries_may_come_in_any_order():
    check(3, [(2, 1), (0, 0), (1, 2), (0, 2), (2, 2), (1, 0)], None, shift=6.0)


@pytest.mark.parametrize("n", [1, 2, 9, 30])
def test_dense_matrices_are_solved(n):
    pattern = [(i, j) for i in range(n) for j in range(n)]
    code = check(n, pattern, None, shift=3.0 * n)
    assert code.entries == n * n
    assert code.order == tuple((i, i) for i in range(n))
    products = sum(3 * k + 2 * k * k for k in range(n))
    plan = lu_plan(n, pattern, None)
    assert plan.scalings == (n * (n - 1) // 2 if n < 12 else 0)
    assert code.operations == n + (3 * n - 1) + products + plan.scalings
    assert code.solve_operations == 2 * n * n - n
    assert max(map(len, code.text.splitlines())) < 250


def test_arrows_have_no_fill():
    n = 20
    pattern = [(i, j) for i in range(n) for j in range(n) if i == j or 0 in (i, j)]
    code = check(n, pattern, None, shift=40.0)
    assert code.entries == len(pattern) == 3 * n - 2
    assert (0, 0) in code.order[-2:]


def test_bands_have_no_fill():
    n = 24
    for width in (1, 2, 3):
        pattern = [(i, j) for i in range(n) for j in range(n) if abs(i - j) <= width]
        code = check(n, pattern, None, shift=20.0)
        assert code.entries == len(pattern)


def test_rings_fill_little():
    n = 30
    pattern = [(i, j) for i in range(n) for j in range(n) if (i - j) % n in (0, 1, n - 1)]
    code = check(n, pattern, None, shift=20.0)
    assert code.entries <= len(pattern) + 2 * (n - 3)


def test_grids_fill_less_than_their_band():
    side = 8
    n = side * side
    cells = [(x, y) for x in range(side) for y in range(side)]
    pattern = [
        (i, k)
        for i, (x, y) in enumerate(cells)
        for k, (u, v) in enumerate(cells)
        if abs(x - u) + abs(y - v) <= 1
    ]
    code = check(n, pattern, None, shift=20.0)
    assert code.entries < 0.75 * (2 * side + 1) * n


def test_one_sided_patterns_need_no_elimination():
    n = 12
    pattern = [(i, j) for i in range(n) for j in range(n) if j < i]
    code = check(n, pattern, None, shift=20.0)
    assert code.entries == len(pattern) + n
    assert code.operations == 3 * n - 1 + 3 * len(pattern)


def test_equations_without_derivative_are_solved():
    # A mass matrix of rank 2, and a constraint without its own unknown.
    pattern = [(0, 0), (0, 1), (0, 3), (1, 0), (1, 3), (2, 2), (2, 3), (3, 2)]
    check(4, pattern, {(0, 0): 1.0, (1, 1): -3.5, (2, 1): 0.25, (3, 3): 0.0}, rtol=1e-9)


def test_counts_are_those_of_the_code():
    rng = np.random.default_rng(5)
    pattern = [tuple(place) for place in np.argwhere(rng.random((12, 12)) < 0.2).tolist()]
    mass = {(i, i): 1.0 + i % 2 for i in range(12)}
    code, plan = lu_source(12, pattern, mass), lu_plan(12, pattern, mass)
    for name in ("entries", "order", "solve_operations"):
        assert getattr(plan, name) == getattr(code, name)
    assert code.operations == plan.operations + plan.scalings
    assert plan.scalings > 0
    factor, _, solution = code.text.partition("def lu_solve")
    assert solution.count("w[") == code.entries
    assert {int(k.partition("]")[0]) for k in factor.split("    w[")[1:]} == set(
        range(code.entries)
    )


def test_the_text_is_the_same_each_time():
    pattern = [(i, (3 * i + k) % 17) for i in range(17) for k in range(3)]
    assert lu_source(17, pattern).text == lu_source(17, pattern).text


def test_a_models_own_jacobian_is_solved():
    system = System.from_equations(
        "da = -k1*a + k3*b*c\ndb = k1*a - k2*b**2 - k3*b*c\ndc = k2*b**2",
        states={"a": 0.9, "b": 2e-5, "c": 0.1},
        parameters={"k1": 0.04, "k2": 3e7, "k3": 1e4},
    )
    y, p = np.array(system.state_defaults), np.array(system.parameter_defaults)
    matrix = system.numpy_jacobian()(0.0, y, p)
    code = lu_source(3, system.jacobian_pattern)
    assert code.entries == 8
    j = np.array([np.full(LANES, matrix[place]) for place in system.jacobian_pattern])
    a = np.logspace(-3, 4, LANES)
    b = np.ones((3, LANES))
    found = solve(code, j, a, b)
    for lane in range(LANES):
        wanted = np.linalg.solve(a[lane] * np.eye(3) - matrix, b[:, lane])
        np.testing.assert_allclose(found[:, lane], wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("n", "pattern", "mass", "message"),
    [
        (0, [], None, "1 row or more"),
        (2, [(0, 2)], None, r"\(0, 2\).*from 0 to 1"),
        (2, [(-1, 0)], None, "from 0 to 1"),
        (2, [(0, 1), (0, 1)], None, "twice"),
        (2, [], {(2, 2): 1.0}, "mass matrix has an entry at"),
        (2, [], {(0, 0): np.nan}, "finite"),
        (3, [(0, 0), (2, 1)], {(1, 1): 1.0}, r"singular.*\[2\].*0 rows"),
        (3, [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)], {}, r"singular.*columns \[0, 1\].*1 rows"),
    ],
)
def test_what_cannot_be_factorised_is_refused(n, pattern, mass, message):
    with pytest.raises(InputError, match=message):
        lu_plan(n, pattern, mass)
