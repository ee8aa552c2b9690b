"""Models with a mass matrix: what may be given, what it becomes, and which index is refused."""

import json
import pickle
import re

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.csgraph
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_kernels.errors import EquationError
from cubie_kernels.model import System
from cubie_kernels.model.mass import null_spaces
from cubie_kernels.model.pattern import matching, solvable_parts

ROBERTSON = "da = -0.04*a + 1e4*b*c\ndb = 0.04*a - 1e4*b*c - 3e7*b**2\n0 = a + b + c - 1"
START = {"a": 1.0, "b": 0.0, "c": 0.0}


def robertson(text=ROBERTSON, **options):
    return System.from_equations(text, **({"states": START, "name": "robertson"} | options))


def plain(text, names="xyz", **options):
    return System.from_equations(text, states=dict.fromkeys(names, 1.0), **options)


def dense(system):
    matrix = np.zeros((len(system.states),) * 2)
    for place, value in system.mass.items():
        matrix[place] = value
    return matrix


def fault(*args, **options):
    with pytest.raises(EquationError) as caught:
        plain(*args, **options)
    return caught.value


# -- forms


def test_models_without_a_mass_matrix_stay_what_they_were():
    system = robertson("da = -a\ndb = a\ndc = 0")
    assert system.mass is None
    assert "mass" not in system.to_dict()
    # Stored sweeps are known by their hashes: this one is of a version without mass matrices.
    assert system.content_hash == (
        "643ff77e87a2b68eb92d445b4e06af62fb28aaadf5cb3de187117aa3abb629a1"
    )
    for identity in ({}, {"a": 1.0}, {("a", "b"): 0.0}, np.eye(3), np.eye(3, dtype=int).tolist()):
        same = robertson("da = -a\ndb = a\ndc = 0", mass=identity)
        assert same == system
        assert same.mass is None


def test_algebraic_states_from_equations_of_zero():
    system = robertson()
    assert system.mass == {(0, 0): 1.0, (1, 1): 1.0}
    assert system.equations.algebraic == (2,)
    y = np.array([0.5, 0.25, 0.125])
    np.testing.assert_array_equal(system.numpy_rhs()(0.0, y, ())[2], y.sum() - 1.0)
    np.testing.assert_array_equal(system.numpy_jacobian()(0.0, y, ())[2], [1.0, 1.0, 1.0])
    assert repr(system).splitlines()[-1] == "  mass        index-1 DAE: algebraic c"


def test_equations_of_zero_go_to_the_states_in_their_order():
    text = "0 = 2*w - x\ndy = -y\n0 = x - 3*z\n0.0 = z + 4*w"
    system = plain(text, "xyzw")
    assert system.equations.algebraic == (0, 2, 3)
    y = np.array([2.0, 3.0, 5.0, 7.0])
    np.testing.assert_array_equal(system.numpy_rhs()(0.0, y, ()), [12.0, -3.0, -13.0, 33.0])
    assert "dy[1] = -y" in system.lane_source()


def test_a_zero_on_the_diagonal_makes_a_state_algebraic():
    named = robertson(ROBERTSON.replace("0 =", "dc ="), mass={"c": 0.0})
    assert named.mass == robertson().mass
    matrix = robertson(ROBERTSON.replace("0 =", "dc ="), mass=np.diag([1, 1, 0]))
    assert matrix == named
    y = np.random.default_rng(1).normal(size=(3, 5))
    np.testing.assert_array_equal(named.numpy_rhs()(0, y, ()), robertson().numpy_rhs()(0, y, ()))


def test_entries_by_name_by_pair_and_as_a_matrix():
    text = "dx = y\ndy = z\ndz = -x"
    wanted = [[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]]
    mixed = plain(text, mass={"x": 2, ("x", "z"): np.float32(-1), ("z", "x"): 0.5})
    np.testing.assert_array_equal(dense(mixed), wanted)
    assert plain(text, mass=wanted) == mixed
    assert plain(text, mass=np.array(wanted, np.float32)) == mixed
    assert repr(mixed).splitlines()[-1] == "  mass        nonsingular, entries: 5"


def test_stored_and_hashed():
    systems = [
        robertson(),
        robertson(mass={"a": 2.0}),
        robertson(mass={"a": 2.0, ("a", "b"): 1e-3}),
        robertson(ROBERTSON.replace("0 =", "dc ="), mass={"c": 0.0}),
    ]
    assert len({system.content_hash for system in systems}) == len(systems)
    for system in systems:
        back = System.from_dict(json.loads(json.dumps(system.to_dict(), sort_keys=True)))
        assert back == system
        assert back.mass == system.mass
        assert pickle.loads(pickle.dumps(system)).mass == system.mass
    assert systems[2].to_dict()["mass"] == [["a", "a", 2.0], ["a", "b", 1e-3], ["c", "c", 0.0]]
    assert robertson(mass={"c": 0.0, "a": 1.0}) == robertson()


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, "rows of two states and a value"),
        ([["a", 1.0]], "rows of two states and a value"),
        ([["a", "b", 1.0], ["a", "b", 2.0]], "an entry twice"),
        ([["a", "q", 1.0]], "'q', which is no state"),
        ([["a", "b", "1"]], "needs a number, not '1'"),
        ([[["a"], "b", 1.0]], "rows of two states and a value"),
        ([[1, "b", 1.0]], "not (1, 'b')"),
    ],
)
def test_stored_entries_are_checked(stored, message):
    with pytest.raises(EquationError) as caught:
        System.from_dict(robertson().to_dict() | {"mass": stored})
    assert message in str(caught.value)


# -- faults

GIVEN = [
    ({"q": 0.0}, "an entry for 'q', which is no state"),
    ({("x", "zz"): 0.0}, "Did you mean 'z'?"),
    ({("x", "y", "z"): 0.0}, "not ('x', 'y', 'z')"),
    ({0: 0.0}, "{'z': 0.0} on the diagonal"),
    ({"x": 1.0, ("x", "x"): 1.0}, "row of 'x' and the column of 'x' is given twice"),
    ({"x": float("nan")}, "row of 'x' and the column of 'x' needs a finite number, not nan"),
    ({"x": "2"}, "needs a number, not '2'"),
    ({"x": True}, "needs a number, not True"),
    (np.eye(2), "of the shape (3, 3) or a mapping"),
    ([1.0, 1.0, 0.0], "not shape (3,), float64"),
    ([[1.0], [1.0, 2.0]], "not [[1.0], [1.0, 2.0]]"),
    (np.eye(3) * 1j, "complex128"),
    (np.eye(3, dtype=bool), "bool"),
    ("identity", "not shape (), <U8"),
    (np.diag([1.0, np.inf, 1.0]), "row of 'y' and the column of 'y' needs a finite number"),
]


@pytest.mark.parametrize(("mass", "message"), GIVEN, ids=[str(m)[:24] for _, m in GIVEN])
def test_faults_of_a_mass_matrix(mass, message):
    assert message in str(fault("dx = 1\ndy = 1\ndz = 1", mass=mass))


# text, mass, message, line, what the caret underlines
FAULTS = [
    ("dx = 1\ndy = 1", None, "No equation for the state 'z': dz/dt = ... is missing.", None, ""),
    ("dx = 1\ndy = 1", None, "If 'z' is algebraic, its equation is written 0 = ...", None, ""),
    ("dx = 1\n0 = y", None, "No equation for the state 'z'", None, ""),
    ("dx = 1\n0 = y", None, "Without derivative are 'y', 'z': as many", None, ""),
    ("dx = 1\ndy = 1\n0 = z\n0 = y", None, "2 equations 0 = ... for the states without", 4, "0"),
    ("dx = 1\ndy = 1\ndz = 1\n 0 = z", None, "1 equation 0 = ... for no state", 4, "0"),
    ("dx = 1\ndy = dz\n0 = z", None, "'z' has an algebraic equation: none gives its", 2, "dz"),
    ("dx = 1\ndy = 1\n0 = z > 0", None, "'0 = ...' is a condition, not a number", 3, "z"),
    ("dx = 1\ndy = 1\n0 = zz", None, "Undefined name 'zz'", 3, "zz"),
    ("dx = 1\ndy = 1\n0 =", None, "A value is expected after '='", 3, "="),
    ("dx = 1\ndy = 1\n1 = z", None, "an algebraic equation is written 0 = ...", 3, "1"),
    ("dx = 1\ndy = 1\nz + y = 0", None, "an algebraic equation is written 0 = ...", 3, "z + y"),
    ("dx = 1\ndy = 1\nz = y", None, "or by an algebraic equation, 0 = ...", 3, "z"),
    ("dx = 1\ndy = 1\n0 = z", {"z": 1}, "the mass matrix has the entry 1 in its row", 3, "0"),
    ("dx = 1\ndy = 1\n0 = z", np.eye(3), "the mass matrix has the entry 1 in its row", 3, "0"),
    ("dx = 1\ndy = 1\n0 = z", {("z", "x"): 2}, "the column of 'x'", 3, "0"),
    ("dx = y\ndy = dx\ndz = 1", {"x": 2}, "The row of 'x' in the mass matrix", 2, "dx"),
    ("dx = y\ndy = dx\ndz = 1", {("x", "z"): 2}, "isn't its derivative", 2, "dx"),
]


@pytest.mark.parametrize(("text", "mass", "message", "line", "marked"), FAULTS)
def test_faults_of_equations(text, mass, message, line, marked):
    found = fault(text, mass=mass)
    assert message in found.message
    assert found.line == line
    if line:
        shown, caret = str(found).splitlines()[-2:]
        column = len(caret) - len(caret.lstrip())
        assert shown[column : column + caret.count("^")] == marked


def test_derivatives_that_the_mass_matrix_changes_are_no_observables():
    assert "'dx' is not defined by the equations. The row of 'x'" in str(
        fault("dx = y\ndy = 1\ndz = 1", mass={"x": 2.0}, observables=["dx"])
    )
    assert "none gives its derivative" in str(fault("dx = y\ndy = 1\n0 = z", observables=["dz"]))
    other = plain("dx = y\ndy = dx\ndz = 1", mass={"z": 2.0}, observables=["dx"])
    np.testing.assert_array_equal(other.numpy_observe()(0.0, [1.0, 5.0, 3.0], ()), [5.0])


# -- null spaces


def test_null_spaces_of_simple_matrices():
    assert null_spaces(3, None).left == ()
    spaces = null_spaces(3, {(0, 0): 1.0, (2, 2): 1e-30})
    assert (spaces.left, spaces.right) == (({1: 1.0},), ({1: 1.0},))
    swapped = null_spaces(2, {(0, 1): 1.0})
    assert (swapped.left, swapped.right) == (({1: 1.0},), ({0: 1.0},))
    zero = null_spaces(2, {})
    assert zero.right == ({0: 1.0}, {1: 1.0})


def capacitors(values):
    """Return the matrix of a ring of capacitors: singular, but only up to rounding."""
    n = len(values)
    matrix = np.zeros((n, n))
    for i, value in enumerate(values):
        j = (i + 1) % n
        matrix[i, i] += value
        matrix[j, j] += value
        matrix[i, j] -= value
        matrix[j, i] -= value
    return matrix


def entries(matrix):
    return {(int(i), int(j)): float(matrix[i, j]) for i, j in np.argwhere(matrix)}


@pytest.mark.parametrize("n", [3, 5, 12, 40])
@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e200])
def test_rings_of_capacitors_have_one_free_voltage(n, unit):
    values = np.random.default_rng(n).uniform(0.1, 10.0, n) * unit
    spaces = null_spaces(n, entries(capacitors(values)))
    for vectors in spaces.left, spaces.right:
        assert len(vectors) == 1
        np.testing.assert_allclose([vectors[0][i] for i in range(n)], 1.0, rtol=1e-11)


def test_full_rank_is_seen_whatever_the_units():
    rng = np.random.default_rng(3)
    third = np.array([[1 / 3, 2 / 3, 1.0], [0.1, 0.2, 0.4], [1.0, 2.0, 3.0]])
    assert len(null_spaces(3, entries(third)).left) == 1
    for n in (2, 6, 30):
        # Masses of finite elements, each in units of its own.
        element = np.diag([4.0] * n) + np.diag([1.0] * (n - 1), 1) + np.diag([1.0] * (n - 1), -1)
        left, right = 10.0 ** rng.integers(-40, 40, (2, n))
        assert null_spaces(n, entries(left[:, None] * element * right)).left == ()
    for n in (2, 5, 8):
        assert null_spaces(n, entries(scipy.linalg.hilbert(n))).left == ()
    for n, rank in ((20, 19), (60, 50), (60, 60)):
        halves = rng.normal(size=(2, n, rank))
        assert len(null_spaces(n, entries(halves[0] @ halves[1].T)).left) == n - rank


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_null_spaces_are_null_spaces(data):
    n = data.draw(st.integers(1, 7))
    rank = data.draw(st.integers(0, n))
    numbers = st.integers(-3, 3)
    halves = data.draw(
        st.lists(numbers, min_size=2 * n * rank, max_size=2 * n * rank).map(
            lambda v: np.array(v, float).reshape(2, n, rank)
        )
    )
    units = 10.0 ** np.array(data.draw(st.lists(st.integers(-30, 30), min_size=n, max_size=n)))
    product = halves[0] @ halves[1].T
    matrix = product * units[:, None] / 3.0
    spaces = null_spaces(n, entries(matrix))
    # Of small whole numbers: NumPy's rank is the rank.
    assert len(spaces.left) == len(spaces.right) == n - np.linalg.matrix_rank(product)
    for vectors, a in ((spaces.left, matrix.T), (spaces.right, matrix)):
        basis = np.zeros((n, len(vectors)))
        for k, vector in enumerate(vectors):
            assert max(map(abs, vector.values())) == 1.0
            for place, value in vector.items():
                basis[place, k] = value
        off = np.abs(a @ basis)
        assert (off <= 1e-12 * (np.abs(a) @ np.abs(basis)) + 1e-300).all()
        scaled = basis * (units[:, None] if a is not matrix else 1.0) if vectors else basis
        scaled = scaled / np.abs(scaled).max(axis=0, initial=1e-300)
        assert np.linalg.matrix_rank(scaled) == len(vectors)


# -- patterns


def pattern_of(matrix):
    return {(int(i), int(j)) for i, j in np.argwhere(matrix)}


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 8).flatmap(
    lambda n: st.lists(st.booleans(), min_size=n * n, max_size=n * n).map(
        lambda v: np.array(v).reshape(n, n)
    )
))  # fmt: skip
def test_matching_and_blocks(pattern):
    n = len(pattern)
    found = matching(n, pattern_of(pattern))
    perfect = scipy.sparse.csgraph.maximum_bipartite_matching(scipy.sparse.csr_matrix(pattern))
    assert (found.crowded == ()) == (perfect >= 0).all()
    if found.crowded:
        holding = np.flatnonzero(pattern[list(found.crowded)].any(axis=0))
        assert found.shared == tuple(holding)
        assert len(holding) < len(found.crowded)
        return
    assert sorted(found.column_of) == sorted(found.column_of.values()) == list(range(n))
    assert all(pattern[row, column] for row, column in found.column_of.items())
    parts = solvable_parts(n, pattern_of(pattern))
    later = set(range(n))
    for rows, columns in parts:
        later -= set(columns)
        assert len(rows) == len(columns)
        assert not pattern[np.ix_(rows, sorted(later))].any()
    assert sorted(row for rows, _ in parts for row in rows) == list(range(n))
    order = np.array([found.column_of[row] for row in range(n)])
    links = scipy.sparse.csr_matrix(pattern[:, order])
    count, _ = scipy.sparse.csgraph.connected_components(links, connection="strong")
    assert len(parts) == count


# -- the index

PENDULUM = "dx = u\ndy = v\ndu = -force*x\ndv = -force*y - 9.81\n0 = {}"
PENDULUM_START = {"x": 1.0, "y": 0.0, "u": 0.0, "v": 0.0, "force": 0.0}


def pendulum(constraint):
    return System.from_equations(PENDULUM.format(constraint), states=PENDULUM_START)


@pytest.mark.parametrize("constraint", ["x**2 + y**2 - 1", "x*u + y*v"])
def test_the_pendulum_of_index_3_or_2_is_refused(constraint):
    with pytest.raises(EquationError) as caught:
        pendulum(constraint)
    message = caught.value.message
    assert "don't determine 'force': line 5 holds no algebraic state." in message
    assert "index is higher than 1: differentiate the constraint" in message
    assert str(caught.value).endswith(f"line 5: 0 = {constraint}\n          ^")


def test_the_pendulum_of_index_1_is_accepted():
    system = pendulum("u**2 + v**2 - force*(x**2 + y**2) - 9.81*y")
    assert "index-1 DAE: algebraic force" in repr(system)


def test_too_few_states_in_several_equations():
    found = fault("dx = -x\n0 = y + x\n0 = y*x\n0 = w + z\n0 = w - y", "xyzwv")
    assert re.search(r"determine '.': line 2, line 3 hold only 'y' of", found.message)
    assert found.line == 2


def test_what_cancels_is_not_there():
    assert "line 2 holds no algebraic state" in str(fault("dx = -x\n0 = x + 2*z - z - z", "xz"))


def test_a_capacitor_at_a_voltage_source_has_index_2():
    text = "du = i/C\n0 = u - sin(t)"
    with pytest.raises(EquationError, match="don't determine 'i'"):
        System.from_equations(text, states={"u": 0.0, "i": 0.0}, parameters={"C": 1.0})
    with_resistor = System.from_equations(
        "du = i/C\n0 = u + R*i - sin(t)",
        states={"u": 0.0, "i": 0.0},
        parameters={"C": 1.0, "R": 2.0},
    )
    assert with_resistor.mass == {(0, 0): 1.0}


def test_general_singular_matrices():
    # The algebraic equation is 2*(first) - (second), the free direction is (1, 1).
    mass = [[1.0, -1.0], [2.0, -2.0]]
    good = plain("dx = y\ndy = x", "xy", mass=mass)
    assert repr(good).splitlines()[-1] == "  mass        index-1 DAE: rank 1 of 2"
    found = fault("dx = t\ndy = sin(t)", "xy", mass=mass)
    assert "don't determine 'x', 'y'" in found.message
    assert "line 1 and 2 without the derivatives holds no algebraic state" in found.message


def test_a_regular_matrix_has_no_index_to_check():
    assert dense(plain("dx = 1\ndy = 1", "xy", mass=[[2.0, 1.0], [1.0, 1.0]])).tolist() == [
        [2.0, 1.0],
        [1.0, 1.0],
    ]
