"""Linear solvers of implicit methods through `solve`: they agree, are chosen, and fail as told."""

import json
import pickle
import re

import numpy as np
import pytest
from kernel_problems import assert_same_bits
from method_list import FEW_IMPLICIT, TABLEAUS
from scipy.integrate import solve_ivp

import cubie_kernels as ck
from cubie_kernels import InputError, KrylovConfig, LinearMethod, Solver, Status, System
from cubie_kernels.build.linear_choice import DIRECT, LINEAR_SOLVERS
from cubie_kernels.run.batch import Column


def brusselator(cells: int) -> System:
    """Return a reaction with diffusion on a line (two unknowns in each cell)."""
    lines, states = [], {}
    for i in range(cells):
        left, right = max(i - 1, 0), min(i + 1, cells - 1)
        lines += [
            f"du{i} = 1 + u{i}*u{i}*v{i} - 4*u{i} + k*(u{left} - 2*u{i} + u{right})",
            f"dv{i} = 3*u{i} - u{i}*u{i}*v{i} + k*(v{left} - 2*v{i} + v{right})",
        ]
        x = (i + 1) / (cells + 1)
        states |= {f"u{i}": 1.0 + np.sin(2 * np.pi * x), f"v{i}": 3.0}
    return System.from_equations(
        "\n".join(lines), states=states, parameters={"k": 8.0}, name="brusselator"
    )


def plate(side: int) -> System:
    """Return diffusion with a reaction on a square."""
    cells = [(i, j) for i in range(side) for j in range(side)]
    lines, states = [], {}
    for i, j in cells:
        near = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        near = [f"u{a}_{b}" for a, b in near if (a, b) in cells]
        flow = f"k*({' + '.join(near)} - {len(near)}*u{i}_{j})"
        lines.append(f"du{i}_{j} = {flow} + u{i}_{j}*(1 - u{i}_{j})")
        states[f"u{i}_{j}"] = 1.0 / (1 + i + 2 * j)
    return System.from_equations(
        "\n".join(lines), states=states, parameters={"k": 40.0}, name="plate"
    )


ROBERTSON = System.from_equations(
    "da = -0.04*a + k*b*c\ndb = 0.04*a - k*b*c - 3e7*b*b\ndc = 3e7*b*b",
    states={"a": 1.0, "b": 0.0, "c": 0.0},
    parameters={"k": 1e4},
    name="robertson",
)
HIRES = System.from_equations(
    """
    dy1 = -k*y1 + 0.43*y2 + 8.32*y3 + 0.0007
    dy2 = k*y1 - 8.75*y2
    dy3 = -10.03*y3 + 0.43*y4 + 0.035*y5
    dy4 = 8.32*y2 + 1.71*y3 - 1.12*y4
    dy5 = -1.745*y5 + 0.43*(y6 + y7)
    dy6 = -280*y6*y8 + 0.69*y4 + 1.71*y5 - 0.43*y6 + 0.69*y7
    dy7 = 280*y6*y8 - 1.81*y7
    dy8 = -280*y6*y8 + 1.81*y7
    """,
    states={"y1": 1.0, **{f"y{i}": 0.0 for i in range(2, 8)}, "y8": 0.0057},
    parameters={"k": 1.71},
    name="hires",
)


@pytest.fixture(scope="module")
def problem(request):
    """A model, the end of its time span, and the state there by SciPy's Radau."""
    system, end = {
        "robertson": lambda: (ROBERTSON, 40.0),
        "hires": lambda: (HIRES, 5.0),
        "brusselator": lambda: (brusselator(20), 0.5),
        "plate": lambda: (plate(10), 0.2),
    }[request.param]()
    rhs, jacobian = system.numpy_rhs(), system.numpy_jacobian()
    p = np.array(system.parameter_defaults)
    found = solve_ivp(
        lambda t, y: rhs(t, y, p),
        (0.0, end),
        system.state_defaults,
        "Radau",
        rtol=1e-12,
        atol=1e-15,
        jac=lambda t, y: jacobian(t, y, p),
    )
    return system, end, found.y[:, -1]


PROBLEMS = ("robertson", "hires", "brusselator", "plate")
WAYS = [
    {"linear_solver": "lu"},
    {"linear_solver": "banded"},
    {"linear_solver": "indexed"},
    *(
        {"linear_solver": solver, "preconditioner": preconditioner}
        for solver in ("gmres", "bicgstab")
        for preconditioner in ("none", "jacobi", "neumann", "ilu")
    ),
]


def cases():
    """Yield problems and solvers; all of them for the first problem, the rest is slow."""
    for name in PROBLEMS:
        for way in WAYS:
            usual = way.get("preconditioner", "ilu") == "ilu"
            quick = name == "robertson" or (name == "brusselator" and usual)
            marks = [] if quick else [pytest.mark.slow]
            if not quick and not usual:
                marks.append(pytest.mark.exhaustive)
            yield pytest.param(name, way, marks=marks, id="-".join([name, *way.values()]))


@pytest.mark.parametrize(("problem", "way"), list(cases()), indirect=["problem"])
def test_all_agree_with_scipy(problem, way):
    system, end, exact = problem
    options = {"method": "rodas5p", "rtol": 1e-10, "atol": 1e-13, "target": "numpy"}
    found = ck.solve(system, t_span=(0, end), **options, **way)
    assert found.ok.all(), found.summary()
    values = np.array([float(found[state]) for state in system.states])
    np.testing.assert_allclose(values, exact, rtol=1e-9, atol=1e-12)
    assert (found.linear_iterations > 0) == (way["linear_solver"] not in DIRECT)


@pytest.mark.parametrize("preconditioner", ["none", "jacobi", "ilu"])
@pytest.mark.parametrize("name", FEW_IMPLICIT)
def test_every_family_takes_matrix_free_solvers(name, preconditioner):
    options = {"t_span": (0, 5), "method": name, "target": "numpy", "rtol": 1e-5, "atol": 1e-9}
    free = {"linear_solver": "gmres", "preconditioner": preconditioner}
    k = {"k": [1.0, 1.71, 3.0]}
    direct, found = (ck.solve(HIRES, k, **options, **more) for more in ({}, free))
    assert found.ok.all()
    for state in HIRES.states:
        np.testing.assert_allclose(found[state], direct[state], rtol=2e-3, atol=1e-6)
    assert (found.linear_iterations > found.accepted_steps).all()
    # Steps are those of exact solutions, but for a few.
    np.testing.assert_allclose(found.accepted_steps, direct.accepted_steps, rtol=0.1)


def test_single_precision():
    options = {"t_span": (0, 5), "method": "rodas4", "target": "numpy", "rtol": 1e-3, "atol": 1e-6}
    exact = ck.solve(HIRES, **options | {"rtol": 1e-7, "atol": 1e-10})
    for solver in ("lu", "gmres"):
        found = ck.solve(HIRES, precision="float32", linear_solver=solver, **options)
        assert found.ok.all()
        for state in HIRES.states:
            np.testing.assert_allclose(found[state], exact[state], rtol=1e-2, atol=1e-4)


def outcome(system, columns, **options):
    solver = Solver(system, swept=tuple(columns), **options)
    columns = {name: Column(values) for name, values in columns.items()}
    return solver.run(columns, len(next(iter(columns.values())).values))


@pytest.mark.parametrize(
    "linear_solver",
    ["gmres", *(pytest.param(name, marks=pytest.mark.slow) for name in ("banded", "bicgstab"))],
)
def test_compiled_solvers(linear_solver):
    """They agree with NumPy's, and a run does not see how many iterations its neighbours take."""
    system, k = brusselator(3), np.array([0.1, 800.0, 3.0, 50.0, 1e4, 7.0, 0.0, 200.0, 1.0, 20.0])
    options = {"t_span": (0, 1), "method": "rodas4", "linear_solver": linear_solver}
    compiled, plain = (
        outcome(system, {"k": k}, target=target, **options) for target in ("cpu", "numpy")
    )
    assert (compiled.status == Status.SUCCESS).all()
    np.testing.assert_allclose(compiled.final_state, plain.final_state, rtol=1e-4)
    if linear_solver != "banded":
        assert compiled.linear_iterations.max() > 1.2 * compiled.linear_iterations.min()
    for runs in ([1], [6, 4, 2], np.arange(9, -1, -1)):
        assert_same_bits(compiled, outcome(system, {"k": k[runs]}, target="cpu", **options), runs)


# -- what "auto" takes, and what it says


def choice(system, method="rodas5p", **options):
    return Solver(system, t_span=(0, 1), method=method, **options).choices[-1].linear


def crowd(n: int) -> System:
    """Return a model in which each unknown meets each other."""
    lines = [f"dx{i} = x{i}*(1 - x{i} - 0.1*all)" for i in range(n)]
    total = f"all = {' + '.join(f'x{i}' for i in range(n))}"
    return System.from_equations(
        "\n".join([total, *lines]), states={f"x{i}": 0.1 for i in range(n)}, name="crowd"
    )


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (lambda: ROBERTSON, "lu", r"its factors are [\d,]+ operations without a loop"),
        (lambda: brusselator(20), "lu", r"its factors are"),
        (lambda: brusselator(120), "banded", r"loops over a band of 2 \+ 1 \+ 2 take [\d,]+"),
        (lambda: plate(10), "indexed", r"loops over tables take [\d,]+ to factorise it"),
        (lambda: crowd(200), "gmres", r"loops over a band .* take [\d,]+ .*, more than [\d,]+"),
    ],
)
def test_auto_takes_what_suits_the_matrix_and_says_why(make, name, said):
    for method in ("auto", "rodas5p"):
        linear = choice(make(), method)
        assert linear.name == name
        assert re.search(said, linear.reason)


def test_a_choice_can_be_asked_for():
    assert choice(ROBERTSON, linear_solver="banded").reason == "it was asked for"
    assert choice(ROBERTSON, linear_solver="bicgstab").solver.preconditioner == "ilu"
    free = choice(ROBERTSON, preconditioner="jacobi")
    assert (free.name, free.solver.preconditioner) == ("gmres", "jacobi")
    given = KrylovConfig(LinearMethod("bicgstab", tolerance=1e-5), "none")
    assert choice(ROBERTSON, linear_solver=given).solver is given
    assert choice(ROBERTSON, linear_solver=given).name == "bicgstab"
    assert LINEAR_SOLVERS[0] == "auto"


@pytest.mark.parametrize(
    ("method", "options", "tolerance"),
    [
        ("rodas5p", {"rtol": 1e-6}, 1e-7),
        ("rodas5p", {"rtol": 3e-6}, 1e-7),
        ("rodas5p", {"rtol": [1e-4, 1e-8, 1e-6]}, 1e-9),
        ("rodas5p", {"rtol": 0.0, "atol": 1e-8}, 100 * 2.0**-52),
        ("rodas5p", {"rtol": 1e-4, "precision": "float32"}, 100 * 2.0**-23),
        ("radau-iia-5", {"rtol": 1e-9}, 1e-3),
    ],
)
def test_inner_tolerances_follow_the_outer_ones(method, options, tolerance):
    """An iteration of Newton's method puts right what a linear solver leaves."""
    found = choice(ROBERTSON, method, linear_solver="gmres", **options).solver.method.tolerance
    assert found == pytest.approx(tolerance)


def test_the_recipe_tells_linear_solvers_apart():
    given = KrylovConfig(LinearMethod("gmres", tolerance=1e-5))
    seen = set()
    for options in (
        {},
        {"linear_solver": "banded"},
        {"linear_solver": "gmres"},
        {"preconditioner": "jacobi"},
        {"linear_solver": given},
    ):
        solver = Solver(ROBERTSON, t_span=(0, 1), method="rodas4", **options)
        settings = solver.settings()
        assert json.loads(json.dumps(settings)) == settings
        assert pickle.loads(pickle.dumps(solver)).choices == solver.choices
        assert f"rodas4 with {solver.choices[0].linear.name}," in solver.describe()
        seen.add(json.dumps(settings))
    assert len(seen) == 5
    found = ck.solve(
        ROBERTSON, t_span=(0, 1), method="rodas4", linear_solver="banded", target="numpy"
    )
    assert found.to_xarray().attrs["linear_solver"] == "banded"


CONSTRAINED = System.from_equations(
    "dx = -x\n0 = x + z - 1", states={"x": 1.0, "z": 0.0}, name="constrained"
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"linear_solver": "LU"}, r"'LU' is none of 'auto', 'lu'.*or a KrylovConfig"),
        ({"linear_solver": "gmers"}, r"'gmers' is none of.*Did you mean 'gmres'\?"),
        ({"linear_solver": 3}, r"linear_solver=3 is none of"),
        ({"linear_solver": None}, r"linear_solver=None is none of"),
        ({"preconditioner": "ilut"}, r"'ilut' is none of 'none', 'jacobi'.*Did you mean 'ilu'\?"),
        (
            {"linear_solver": "indexed", "preconditioner": "jacobi"},
            r"'indexed' factorises the whole matrix.*leave out preconditioner='jacobi'",
        ),
        (
            {"linear_solver": KrylovConfig(), "preconditioner": "ilu"},
            r"is a KrylovConfig, which has a preconditioner: leave out preconditioner='ilu'",
        ),
        (
            {"method": "tsit5", "linear_solver": "lu"},
            r"linear_solver='lu' is for implicit methods, but 'tsit5' is explicit",
        ),
        ({"method": "tsit5", "preconditioner": "ilu"}, r"preconditioner='ilu' is for implicit"),
    ],
)
def test_wrong_options_are_refused_before_anything_compiles(options, said):
    with pytest.raises(InputError, match=said):
        Solver(ROBERTSON, **{"t_span": (0, 1), "method": "rodas4"} | options)


def test_models_that_a_solver_cannot_serve_are_refused():
    with pytest.raises(InputError, match=r"'neumann' needs a mass matrix that is diagonal"):
        choice(CONSTRAINED, preconditioner="neumann")


# -- failures


@pytest.mark.parametrize("name", FEW_IMPLICIT)
def test_a_linear_solver_that_does_not_converge(name):
    """Shorter steps make it easier; where they would be too short, the run ends.

    The first run has almost nothing to solve.
    """
    feeble = KrylovConfig(LinearMethod("gmres", tolerance=1e-6, max_iters=2), "none")
    options = {"t_span": (0.0, 5.0), "method": name, "target": "numpy", "rtol": 1e-2}
    options["linear_solver"] = feeble
    k = np.array([0.0, 1.71])
    found = outcome(HIRES, {"k": k}, dt_min=1e-3, dt_max=1.0, **options)
    assert found.status.tolist() == [Status.SUCCESS, Status.LINEAR_SOLVER_LIMIT]
    assert (found.linear_iterations > 0).all()
    assert found.final_time[1] < 5.0
    assert np.isfinite(found.final_state).all()


# (1/h) / gamma is the shift of a step h.
SHIFTS = {
    "rodas4": lambda tableau: 1.0 / tableau.diagonal,
    "radau-iia-5": lambda tableau: tableau.transform.real,
    "tr-bdf2": lambda tableau: 1.0 / tableau.a[-1][-1],
}


@pytest.mark.parametrize("linear_solver", ["lu", "banded", "indexed"])
@pytest.mark.parametrize("name", FEW_IMPLICIT)
def test_a_singular_matrix(name, linear_solver):
    """x' = c x has the matrix 1/(h gamma) - c."""
    growth = System.from_equations(
        "dx = c*x\ndy = -y", states={"x": 1e-3, "y": 1.0}, parameters={"c": 1.0}, name="growth"
    )
    c = np.array([8.0 * SHIFTS[name](TABLEAUS[name]), 1.0])
    options = {"t_span": (0.0, 1.0), "method": name, "target": "numpy", "dt": 0.125}
    options |= {"linear_solver": linear_solver}
    found = outcome(growth, {"c": c}, adaptive=False, **options)
    assert found.status.tolist() == [Status.SINGULAR_MATRIX, Status.SUCCESS]
    assert found.final_time[0] == 0.0
    assert found.final_state[:, 0].tolist() == [1e-3, 1.0]
    # A shorter step has another matrix.
    found = outcome(growth, {"c": c}, **options)
    assert (found.status == Status.SUCCESS).all()
    assert found.rejected[0] > 0
    np.testing.assert_allclose(found.final_state[0], 1e-3 * np.exp(c), rtol=1e-3)
