"""method="auto": stiff runs are found, and integrated by the implicit method alone."""

import json
from dataclasses import fields

import numpy as np
import pytest
from kernel_problems import assert_same_bits
from scipy.integrate import solve_ivp

import cubie_kernels as ck
from cubie_kernels import InputError, Solver, Status, System
from cubie_kernels.run.batch import Column, Outcome
from cubie_kernels.solver_method import AUTO

VAN_DER_POL = System.from_equations(
    "dx = y\ndy = mu*((1 - x*x)*y) - x",
    states={"x": 2.0, "y": 0.0},
    parameters={"mu": 1.0},
    name="van der Pol",
)
MU = np.logspace(0, 3, 120)
TIMES = np.linspace(0.0, 20.0, 5)


def outcome(mu, method="auto", threads=None, **options) -> Outcome:
    options = {"t_span": (0.0, 20.0), "save_at": TIMES} | options
    solver = Solver(VAN_DER_POL, method=method, swept=["mu"], **options)
    return solver.run({"mu": Column(np.asarray(mu, float))}, len(mu), threads)


def assert_same_but_counts(whole: Outcome, runs, alone: Outcome) -> None:
    """Check that runs are those of a method alone, which counts less."""
    for field in fields(Outcome):
        wanted = getattr(alone, field.name)
        if wanted is not None:
            got = np.ascontiguousarray(getattr(whole, field.name)[..., runs])
            assert got.tobytes() == np.ascontiguousarray(wanted).tobytes(), field.name


@pytest.fixture(scope="module")
def sweep() -> Outcome:
    return outcome(MU)


def test_a_sweep_from_mild_to_stiff_just_works(sweep):
    assert (sweep.status == Status.SUCCESS).all()
    stiff = sweep.stiff.astype(bool)
    assert not stiff[MU < 5].any()
    assert stiff[MU > 50].all()
    assert 20 < stiff.sum() < 100
    # An explicit method would take some mu * 20 / 3.3 steps.
    assert (sweep.accepted + sweep.rejected < 800).all()


@pytest.mark.parametrize("at", [0, 40, 60, 119])
def test_results_are_right(sweep, at):
    def slope(t, u):
        return [u[1], MU[at] * (1 - u[0] * u[0]) * u[1] - u[0]]

    found = solve_ivp(slope, (0, 20), [2.0, 0.0], "Radau", TIMES, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(sweep.states[:, :, at], found.y, rtol=2e-4, atol=2e-6)


def test_each_run_is_that_of_one_method_to_the_bit(sweep):
    stiff = sweep.stiff.astype(bool)
    for runs, method in ((~stiff, AUTO[0]), (stiff, AUTO[1])):
        assert_same_but_counts(sweep, runs, outcome(MU[runs], method))
    assert not sweep.newton_iterations[~stiff].any()


def test_a_run_does_not_depend_on_others_order_or_threads(sweep):
    order = np.random.default_rng(1).permutation(len(MU))
    for runs in (order, [3], [119], np.arange(55, 75)):
        assert_same_bits(sweep, outcome(MU[runs]), runs)
    assert_same_bits(sweep, outcome(MU, threads=1))
    assert_same_bits(sweep, outcome(MU, threads=3))


def test_grids_without_a_value_for_each_run():
    """A product keeps the axes only: stiff runs are picked out of it."""
    mu, x = np.array([1.0, 100.0, 2.0, 500.0]), np.array([2.0, -1.5, 0.5])
    options = {"t_span": (0, 2), "method": "auto", "target": "numpy"}
    product = ck.solve(VAN_DER_POL, {"mu": mu}, {"x": x}, **options)
    pairs = np.array([(m, v) for m in mu for v in x])
    single = ck.solve(VAN_DER_POL, {"mu": pairs[:, 0]}, {"x": pairs[:, 1]}, grid="zip", **options)
    assert 0 < product.stiff.sum() < product.stiff.size
    for name in ("stiff", "accepted_steps", "status"):
        np.testing.assert_array_equal(
            getattr(product, name).ravel(), getattr(single, name), err_msg=name
        )
    assert product["x"].tobytes() == single["x"].tobytes()


def test_many_saves_are_computed_in_pieces():
    """A run of these takes 320 kB, and 32 MB at most are computed beside the whole."""
    mu = np.repeat([300.0, 1.0], [150, 3])
    whole = outcome(mu, save_at=np.linspace(0, 20, 20_000))
    np.testing.assert_array_equal(whole.stiff, mu > 1)
    first = np.ascontiguousarray(whole.states[..., :1])
    assert np.isfinite(whole.states).all()
    assert (whole.states[..., :150] == first).all()
    assert_same_but_counts(
        whole, [0], outcome([300.0], AUTO[1], save_at=np.linspace(0, 20, 20_000))
    )


def test_a_budget_that_is_used_up_is_handed_on():
    explicit = outcome([4.0, 30.0, 0.1], AUTO[0], max_steps=150)
    assert explicit.status.tolist() == [Status.STEP_BUDGET, Status.STEP_BUDGET, Status.SUCCESS]
    found = outcome([4.0, 30.0, 0.1], max_steps=150)
    assert found.stiff.tolist() == [1, 1, 0]
    assert found.status.tolist() == [Status.STEP_BUDGET, Status.SUCCESS, Status.SUCCESS]
    assert_same_but_counts(found, [0, 1], outcome([4.0, 30.0], AUTO[1], max_steps=150))


def test_a_step_that_is_too_small_is_handed_on():
    found = outcome([1.0, 1000.0], dt_min=2e-3)
    alone = outcome([1000.0], AUTO[0], dt_min=2e-3)
    assert alone.status.tolist() == [Status.STEP_TOO_SMALL]
    assert found.stiff.tolist() == [0, 1]
    assert_same_but_counts(found, [1], outcome([1000.0], AUTO[1], dt_min=2e-3))


def test_no_number_stays_no_number():
    leaves = System.from_equations(
        "dx = -r\ndy = log(x)", states={"x": 1.0, "y": 0.0}, parameters={"r": 1.0}, name="leaves"
    )
    options = {"method": "auto", "target": "numpy"}
    found = ck.solve(leaves, {"r": [0.1, 1.0]}, t_span=(0, 2), save_every=0.5, **options)
    assert found.status.tolist() == [Status.SUCCESS, Status.NONFINITE]
    assert found.stiff.tolist() == [0, 0]
    assert 0.9 < found.final_time[1] <= 1.0
    assert np.isnan(found["y"][3:, 1]).all()


def test_models_that_are_not_stiff_are_not_taken_for_it(tmp_path, monkeypatch):
    """And their implicit kernel is not even compiled."""
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    lorenz = System.from_equations(
        "dx = sigma*(y - x)\ndy = x*(rho - z) - y\ndz = x*y - beta*z",
        states={"x": 1.0, "y": 0.0, "z": 0.0},
        parameters={"rho": 28.0, "sigma": 10.0, "beta": 2.6666},
        name="lorenz",
    )
    options = {"t_span": (0.0, 20.0), "rtol": 1e-5, "method": "auto"}
    found = ck.solve(lorenz, {"rho": np.linspace(30, 200, 600)}, **options)
    assert (found.status == Status.SUCCESS).all()
    assert not found.stiff.any()
    assert len({path.stem.split(".")[0] for path in tmp_path.rglob("*.py")}) == 1


def test_stiffness_that_comes_late_is_found():
    """A decay becomes fast in the middle of the run: x' = -k(t) (x - cos(t))."""
    late = System.from_equations(
        "rate = 1 + k*exp(3*(t - 10))/(1 + exp(3*(t - 10)))\ndx = -rate*(x - cos(t))",
        states={"x": 0.0},
        parameters={"k": 0.0},
        name="late",
    )
    options = {"method": "auto", "target": "numpy"}
    found = ck.solve(late, {"k": [0.0, 1.0, 1e4, 1e6]}, t_span=(0, 20), **options)
    assert found.ok.all()
    assert found.stiff.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found["x"][2:], np.cos(20.0), atol=2e-4)


def test_algebraic_equations_go_to_the_implicit_method():
    dae = System.from_equations(
        "dx = -k*x\n0 = x + z - 1",
        states={"x": 0.5, "z": 0.0},
        parameters={"k": 1.0},
        name="decay with a sum",
    )
    auto, alone = (
        ck.solve(dae, {"k": [1.0, 5.0]}, t_span=(0, 1), method=method, target="numpy")
        for method in ("auto", AUTO[1])
    )
    assert [choice.tableau.name for choice in auto.solver.choices] == [AUTO[1]]
    assert (auto.solver.method, auto.solver.kind) == (AUTO[1], "implicit")
    assert auto.stiff is None
    for name in ("x", "z"):
        assert auto[name].tobytes() == alone[name].tobytes()
    np.testing.assert_allclose(auto["x"], 0.5 * np.exp([-1.0, -5.0]), rtol=1e-5)


def test_labelled_results_tell_which_runs_were_stiff():
    pytest.importorskip("pandas")
    mu = [1.0, 400.0, 700.0]
    options = {"t_span": (0, 20), "save_at": TIMES, "method": "auto"}
    found = ck.solve(VAN_DER_POL, {"mu": mu}, **options)
    assert found.stiff.tolist() == [0, 1, 1]
    assert "solved by    tsit5 or rodas5p with lu, " in repr(found)
    assert found.summary().stiff == 2
    assert "integrated by the implicit method: 2" in repr(found.summary())
    data = found.to_xarray()
    assert data["stiff"].dims == ("mu",)
    assert data["stiff"].dtype == np.uint8
    assert data["stiff"].values.tolist() == [0, 1, 1]
    assert data.attrs["method"] == "tsit5, rodas5p"
    assert data.attrs["controller"] == "pi, careful"
    table = found.to_pandas()
    assert table.groupby("mu")["stiff"].first().tolist() == [0, 1, 1]
    explicit = ck.solve(VAN_DER_POL, {"mu": [1.0]}, t_span=(0, 20), save_at=TIMES)
    assert explicit.stiff is None
    assert explicit.summary().stiff is None
    assert "stiff" not in explicit.to_xarray()


def test_the_recipe_holds_both_methods():
    solver = Solver(VAN_DER_POL, t_span=(0, 1), method="Auto", linear_solver="banded")
    assert (solver.method, solver.kind) == ("auto", "auto")
    explicit, implicit = solver.choices
    assert (explicit.tableau.name, explicit.controller.name) == (AUTO[0], "pi")
    assert explicit.linear is None
    assert (implicit.tableau.name, implicit.controller.name) == (AUTO[1], "careful")
    assert implicit.linear.name == "banded"
    assert solver.config(0).detect_stiffness
    assert not solver.config(1).detect_stiffness
    settings = solver.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["method"] == "auto"
    assert settings["stiff"]["linear_solver"] == "banded"
    same = Solver(VAN_DER_POL, t_span=(0, 1), method="auto", controller="pid")
    assert [choice.controller.name for choice in same.choices] == ["pid", "pid"]


def test_a_matrix_free_solver_serves_stiff_runs():
    found = ck.solve(
        VAN_DER_POL,
        {"mu": [1.0, 300.0]},
        t_span=(0, 20),
        method="auto",
        linear_solver="gmres",
        target="numpy",
    )
    assert found.ok.all()
    assert found.linear_iterations[0] == 0
    assert found.linear_iterations[1] > found.accepted_steps[1]


@pytest.mark.parametrize("precision", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_targets_agree(precision):
    mu = np.array([1.0, 30.0, 800.0])
    options = {"precision": precision, "rtol": 1e-4, "atol": 1e-6}
    compiled, plain = (outcome(mu, target=target, **options) for target in ("cpu", "numpy"))
    assert compiled.stiff.tolist() == plain.stiff.tolist()
    assert compiled.stiff.tolist()[::2] == [0, 1]
    assert (compiled.status == Status.SUCCESS).all()
    np.testing.assert_array_equal(compiled.status, plain.status)
    assert compiled.states.dtype == np.dtype(precision)
    apart = 1e-8 if precision == "float64" else 2e-2
    np.testing.assert_allclose(compiled.states, plain.states, rtol=apart, atol=apart)


def test_fixed_steps_are_refused():
    with pytest.raises(InputError, match=r"which a fixed step hides.*leave out adaptive=False"):
        Solver(VAN_DER_POL, t_span=(0, 1), method="auto", dt=0.1, adaptive=False)
