"""Algebraic equations and mass matrices through `solve`, in every family that takes them."""

import numpy as np
import pytest
from kernel_problems import PRODUCT, assert_same_bits
from method_list import ABLE, ERK, FEW_IMPLICIT, METHODS, NAMES, TABLEAUS
from scipy.integrate import solve_ivp

import cubie_kernels as ck
from cubie_kernels import InputError, Solver, Status, System
from cubie_kernels.run.batch import Column
from cubie_kernels.solver_start import consistent_batch

FEW_ABLE = [name for name in FEW_IMPLICIT if name in ABLE]
FEW_SAVING = ["kvaerno5", "radau-iia-5", "rodas4"]

# Hairer and Wanner, Solving Ordinary Differential Equations II, section VII.1. The capacities
# C1, C3 and C5 join two unknowns each, so that the mass matrix has rank 5 of 8.
AMPLIFIER = System.from_equations(
    """
    first = beta*(exp((y2 - y3)/0.026) - 1)
    second = beta*(exp((y5 - y6)/0.026) - 1)
    dy1 = (y1 - volume*sin(200*pi*t))/1000
    dy2 = (2*y2 - 6)/9000 + 0.01*first
    dy3 = y3/9000 - first
    dy4 = (y4 - 6)/9000 + 0.99*first
    dy5 = (2*y5 - 6)/9000 + 0.01*second
    dy6 = y6/9000 - second
    dy7 = (y7 - 6)/9000 + 0.99*second
    dy8 = y8/9000
    """.replace("pi", repr(np.pi)),
    states={"y1": 0.0, "y2": 3.0, "y3": 3.0, "y4": 6.0, "y5": 3.0, "y6": 3.0, "y7": 6.0, "y8": 0.0},
    parameters={"volume": 0.1, "beta": 1e-6},
    mass={
        (f"y{i}", f"y{j}"): 1e-6 * c * (-1 if i == j else 1)
        for c, *pair in ((1, 1, 2), (2, 3), (3, 4, 5), (4, 6), (5, 7, 8))
        for i in pair
        for j in pair
    },
    name="amplifier",
)
# Reference solution at t = 0.2 of the Test Set for IVP Solvers (Mazzia and Magherini, 2008).
AMPLIFIED = {
    "y1": -0.5562145012262709e-2,
    "y2": 0.3006522471903042e1,
    "y3": 0.2849958788608128e1,
    "y4": 0.2926422536206241e1,
    "y5": 0.2704617865010554e1,
    "y6": 0.2761837778393145e1,
    "y7": 0.4770927631616772e1,
    "y8": 0.1236995868091548e1,
}


def adaptive(name):
    return TABLEAUS[name].embedded_order is not None


def high_order(names):
    return [name for name in names if METHODS[name].order > 2 and adaptive(name)]


def slow_but(quick, names):
    return [pytest.param(name, marks=[] if name == quick else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", slow_but("rodas4", high_order(ABLE)))
def test_the_transistor_amplifier(name):
    options = {"method": name, "rtol": 1e-7, "atol": 1e-9}
    found = ck.solve(AMPLIFIER, {"volume": [0.1]}, t_span=(0, 0.2), **options)
    assert found.ok.all()
    for state, value in AMPLIFIED.items():
        np.testing.assert_allclose(found[state], value, rtol=2e-5, atol=1e-7, err_msg=state)


@pytest.mark.parametrize("name", ["ros34pw2", "tr-bdf2"])
def test_no_estimate_holds_what_a_step_left_over_of_the_algebraic_equations(name):
    # Such a part doesn't shrink with the step: at 8e-4 none would be short enough.
    options = {"method": name, "rtol": 1e-4, "atol": 1e-6, "target": "numpy"}
    found = ck.solve(AMPLIFIER, {"volume": [0.1]}, t_span=(0, 0.002), **options)
    assert found.ok.all()


def test_an_estimate_is_freed_of_it_without_a_matrix_too():
    options = {"method": "ros34pw2", "rtol": 1e-6, "atol": 1e-8, "target": "numpy"}
    direct, free = (
        ck.solve(AMPLIFIER, {"volume": [0.1]}, t_span=(0, 0.002), linear_solver=name, **options)
        for name in ("lu", "gmres")
    )
    assert free.ok.all()
    steps = [float(found.to_xarray().accepted_steps[0]) for found in (free, direct)]
    assert steps[0] == pytest.approx(steps[1], rel=0.05)
    for state in AMPLIFIER.states:
        np.testing.assert_allclose(free[state], direct[state], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", slow_but("rodas4", FEW_SAVING))
def test_targets_agree(name):
    options = {"t_span": (0, 0.01), "save_every": 0.002, "rtol": 1e-6, "atol": 1e-8}
    volumes = np.linspace(0.0, 0.2, 11)
    compiled, plain = (
        ck.solve(AMPLIFIER, {"volume": volumes}, method=name, target=target, **options)
        for target in ("cpu", "numpy")
    )
    assert compiled.ok.all()
    assert plain.ok.all()
    for state in AMPLIFIER.states:
        np.testing.assert_allclose(compiled[state], plain[state], rtol=1e-5, atol=1e-7)


# An index of 1: the constraint is the second derivative of x**2 + y**2 = 1.
PENDULUM = System.from_equations(
    """
    dx = u
    dy = v
    du = -force*x
    dv = -force*y - g
    0 = u**2 + v**2 - force*(x**2 + y**2) - g*y
    """,
    states={"x": 1.0, "y": 0.0, "u": 0.0, "v": 0.0, "force": 5.0},
    parameters={"g": 9.81},
    name="pendulum",
)
GRAVITY = np.array([1.62, 9.81, 24.79])


@pytest.fixture(scope="module")
def swing():
    """The same by its angle: x = cos(a), y = sin(a), a'' = -g cos(a)."""
    found = []
    for g in GRAVITY:
        end = solve_ivp(
            lambda t, a, g=g: [a[1], -g * np.cos(a[0])], (0, 2), [0, 0], "DOP853", rtol=1e-12,
            atol=1e-13,
        ).y[:, -1]  # fmt: skip
        found.append([np.cos(end[0]), np.sin(end[0])])
    return np.array(found).T


@pytest.mark.parametrize("name", high_order(ABLE))
def test_a_pendulum_with_its_force(name, swing):
    options = {"rtol": 1e-6, "atol": 1e-7, "target": "numpy", "method": name}
    found = ck.solve(PENDULUM, {"g": GRAVITY}, t_span=(0, 2), **options)
    assert found.ok.all()
    x, y, u, v, force = (found[state] for state in PENDULUM.states)
    np.testing.assert_allclose([x, y], swing, atol=1e-3)
    np.testing.assert_allclose(force * (x * x + y * y), u * u + v * v - GRAVITY * y, atol=1e-3)


STEPS = {
    1: (512, 724, 1024),
    2: (64, 128, 256),
    3: (32, 64, 128),
    4: (16, 32, 64),
    5: (10, 20, 40),
    9: (2, 3, 4),
}


@pytest.mark.parametrize("name", ABLE)
def test_order_with_an_algebraic_equation(name):
    """Differential and algebraic states alike are at least of the method's order."""
    order = METHODS[name].order
    exact = np.array([2 + np.sin(2.0), 1 / (2 + np.sin(2.0))])
    steps, errors = 2.0 / np.array(STEPS[order]), []
    for step in steps:
        solver = Solver(
            PRODUCT,
            t_span=(0, 2),
            method=name,
            dt=step,
            adaptive=False,
            rtol=1e-13,
            atol=1e-13,
            target="numpy",
        )
        outcome = solver.run({}, 1)
        assert outcome.status[0] == Status.SUCCESS
        errors.append(np.abs(outcome.final_state[:, 0] - exact))
    errors = np.array(errors)
    assert errors.min() > 1e-14
    slopes = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order - 0.4 < slopes.min() < order + 1.4, (slopes, errors)


# Kinetics whose sum stands for one of the equations, and the same without that.
START = {"a": 1.0, "b": 0.0, "c": 0.0}
RATES = {"k1": 0.04, "k2": 3e7, "k3": 1e4}
CONSERVED, KINETICS = (
    System.from_equations(
        f"da = -k1*a + k3*b*c\ndb = k1*a - k3*b*c - k2*b*b\n{last}",
        states=START,
        parameters=RATES,
        name="robertson",
    )
    for last in ("0 = a + b + c - 1", "dc = k2*b*b")
)
K1 = np.array([0.02, 0.04, 0.08])


@pytest.mark.parametrize("name", FEW_ABLE)
def test_robertson_with_its_sum(name):
    """Algebraic form, differential form and SciPy agree to the tolerance."""
    options = {"rtol": 1e-5, "atol": 1e-10, "target": "numpy", "method": name, "t_span": (0, 1e4)}
    algebraic, plain = (ck.solve(s, {"k1": K1}, **options) for s in (CONSERVED, KINETICS))
    assert algebraic.ok.all()
    assert plain.ok.all()
    rhs = KINETICS.numpy_rhs()
    for run, k1 in enumerate(K1):
        p = np.array([k1, 3e7, 1e4])
        exact = solve_ivp(
            lambda t, y, p=p: rhs(t, y, p), (0, 1e4), [1.0, 0, 0], "Radau", rtol=1e-11, atol=1e-15
        ).y[:, -1]
        for found in (algebraic, plain):
            values = [found[state][run] for state in "abc"]
            np.testing.assert_allclose(values, exact, rtol=5e-4)
    total = sum(algebraic[state] for state in "abc")
    np.testing.assert_allclose(total, 1.0, atol=1e-14)


@pytest.mark.parametrize("linear_solver", ["lu", "banded", "indexed", "gmres", "bicgstab"])
def test_linear_solvers_with_a_singular_mass_matrix(linear_solver):
    options = {"method": "rodas4", "rtol": 1e-5, "atol": 1e-7, "target": "numpy"}
    found, wanted = (
        ck.solve(AMPLIFIER, t_span=(0, 0.02), linear_solver=solver, **options)
        for solver in (linear_solver, "lu")
    )
    assert found.ok.all()
    for state in AMPLIFIER.states:
        np.testing.assert_allclose(found[state], wanted[state], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", FEW_ABLE)
def test_single_precision(name):
    options = {"rtol": 1e-4, "atol": 1e-7, "target": "numpy", "method": name, "t_span": (0, 100)}
    single, double = (
        ck.solve(CONSERVED, {"k1": K1}, precision=precision, **options)
        for precision in ("float32", "float64")
    )
    assert single.ok.all()
    assert single["a"].dtype == np.float32
    for state in "abc":
        np.testing.assert_allclose(single[state], double[state], rtol=5e-3, atol=1e-6)
    total = sum(single[state].astype(float) for state in "abc")
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


# -- initial values

# z is a root of c - x; there is none where x is above c.
ROOT = System.from_equations(
    "dx = -x\n0 = c - x - z**2\nwork = x*z",
    states={"x": 1.0, "z": 1.0},
    parameters={"c": 2.0},
    observables=["work"],
    name="root",
)


@pytest.mark.parametrize("method", FEW_SAVING)
def test_a_start_that_cannot_be_made_consistent(method):
    """It ends that run alone, before its first step."""
    x = np.array([1.0, 3.0, 0.5, 2.5, -1.0])
    solver = Solver(
        ROOT, t_span=(0.5, 1), save_at=[0.5, 0.75, 1], method=method, swept=["x"], target="numpy"
    )
    outcome = solver.run({"x": Column(x)}, 5)
    good = x < 2
    wanted = np.where(good, Status.SUCCESS, Status.INCONSISTENT_START)
    np.testing.assert_array_equal(outcome.status, wanted)
    assert_same_bits(outcome, solver.run({"x": Column(x[good])}, 3), good)
    x, z = outcome.states[..., good]
    np.testing.assert_allclose(z[::2] ** 2, 2 - x[::2], rtol=1e-6)
    np.testing.assert_allclose(z[1] ** 2, 2 - x[1], rtol=1e-4)
    np.testing.assert_array_equal(outcome.final_time, np.where(good, 1.0, 0.5))
    np.testing.assert_array_equal(outcome.final_state[:, ~good], [[3.0, 2.5], [1.0, 1.0]])
    assert np.isnan(outcome.states[..., ~good]).all()
    assert np.isnan(outcome.observables[..., ~good]).all()
    assert np.isnan(outcome.final_observables[..., ~good]).all()
    for count in ("accepted", "rejected", "newton_iterations", "linear_iterations"):
        assert not getattr(outcome, count)[~good].any()


def test_the_summary_says_what_to_do_about_such_a_start():
    found = ck.solve(
        ROOT, initial_values={"x": [1.0, 3.0]}, t_span=(0, 1), method="auto", target="numpy"
    )
    said = " ".join(repr(found.summary()).split())
    assert "INCONSISTENT_START 1 No initial values" in said
    assert "Give initial values closer to a solution" in said
    assert "The first is run 1 (x_0 = 3): it got to t = 0." in said


def test_a_start_value_chooses_among_solutions():
    options = {"t_span": (0, 1), "method": "rodas4", "target": "numpy"}
    found = ck.solve(ROOT, initial_values={"z": [0.2, -0.2]}, **options)
    np.testing.assert_allclose(found["z"], np.sqrt(2 - found["x"]) * [1, -1], rtol=1e-6)
    assert found.to_xarray()["z_0"].values.tolist() == [0.2, -0.2]


def test_start_values_of_many_runs():
    """They are looked for in pieces."""
    runs = 70_000
    solver = Solver(ROOT, t_span=(0, 1), method="rodas4", swept=["c", "x"])
    columns = {"c": Column(np.linspace(0, 3, runs)), "x": Column(np.array([0.5, 1.5]), 7)}
    batch = solver.batch(columns, runs)
    begun, failed = consistent_batch(ROOT, batch, columns, solver.fixed, "float64")
    c, x = (columns[name].block(0, runs) for name in ("c", "x"))
    # Next to a double root the matrix is nearly singular.
    clear = np.abs(c - x) > 1e-4
    np.testing.assert_array_equal(np.isin(np.arange(runs), failed)[clear], (x > c)[clear])
    found = np.setdiff1d(np.arange(runs), failed)
    kept, z = (column.block(0, runs) for column in begun.initial)
    np.testing.assert_array_equal(kept, x)
    np.testing.assert_allclose(z[found] ** 2, (c - x)[found], rtol=1e-9, atol=1e-9)
    assert (z[failed] == 1.0).all()


def test_start_values_that_do_not_fit_the_precision():
    huge = System.from_equations(
        "dx = 0*x\n0 = z - 1e30*x",
        states={"x": 1.0, "z": 0.0},
        name="huge",
    )
    options = {"t_span": (0, 1), "method": "rodas4", "target": "numpy", "rtol": 1e-4}
    found = ck.solve(huge, initial_values={"x": [1.0, 1e10]}, precision="float32", **options)
    assert found.status.tolist() == [Status.SUCCESS, Status.INCONSISTENT_START]


# -- what is refused


@pytest.mark.parametrize("name", NAMES)
def test_methods_that_cannot_take_a_mass_matrix(name):
    options = {"t_span": (0, 1), "method": name}
    if not adaptive(name):
        options |= {"dt": 0.1, "adaptive": False}
    regular = System.from_equations("dx = -x", states={"x": 1.0}, mass={"x": 2.0})
    if name in ERK:
        with pytest.raises(InputError, match=rf"has a mass matrix, but {name!r} is explicit: take"):
            Solver(regular, **options)
        with pytest.raises(InputError, match=r"has algebraic equations, but .* is explicit: take"):
            Solver(CONSERVED, **options)
        return
    assert Solver(regular, **options).choices[0].linear is not None
    if name in ABLE:
        assert Solver(CONSERVED, **options).choices[0].linear is not None
        return
    with pytest.raises(InputError, match=rf"but {name!r} ends its step off") as refused:
        Solver(CONSERVED, **options)
    offered = str(refused.value).partition("take")[2]
    assert "'rodas5p'" in offered
    assert not any(f"{other!r}" in offered for other in NAMES if other not in ABLE)
