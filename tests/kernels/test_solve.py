"""Whole solves against SciPy and exact solutions, and the ways in which runs end."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cubie_kernels as ck
from cubie_kernels import Status

LORENZ = ck.System.from_equations(
    """
    dx = sigma*(y - x)
    dy = x*(rho - z) - y
    dz = x*y - beta*z
    """,
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"sigma": 10.0, "rho": 21.0, "beta": 8 / 3},
    name="lorenz",
)
OSCILLATOR = ck.System.from_equations(
    "dx = v\ndv = -k*x\nenergy = 0.5*(k*x*x + v*v)\nphase = k*t",
    states={"x": 1.0, "v": 0.0},
    parameters={"k": 4.0},
    observables=["energy", "phase"],
    name="oscillator",
)
# With a = 1, b = 0 and a start of 0 or more: infinite at t = 1/x0. With b = 1: no number below 0.
BLOW_UP = ck.System.from_equations(
    "dx = a*x**2 - b*sqrt(x)", states={"x": 0.5}, parameters={"a": 1.0, "b": 0.0}, name="blow-up"
)


def lorenz_by_scipy(rho, x, times):
    found = solve_ivp(
        lambda t, y: LORENZ.numpy_rhs()(t, y, [10.0, rho, 8 / 3]),
        (0.0, 2.0),
        [x, 0.0, 0.0],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        t_eval=times,
    )
    return found.y


@pytest.mark.parametrize("method", ["tsit5", pytest.param("dop853", marks=pytest.mark.slow)])
def test_lorenz_agrees_with_scipy(method):
    times = [0.0, 0.3, 1.1, 2.0]
    found = ck.solve(
        LORENZ,
        {"rho": [14.0, 28.0]},
        {"x": [1.0, -2.0, 0.5]},
        t_span=(0, 2),
        save_at=times,
        method=method,
        rtol=1e-12,
        atol=1e-12,
    )
    assert found.ok.all()
    for i, rho in enumerate(found["rho"]):
        for j, x in enumerate(found["x_0"]):
            exact = lorenz_by_scipy(rho, x, times)
            for name, expected in zip("xyz", exact, strict=True):
                # Dense output of tsit5 is one order below its steps.
                inner = 1e-9 if method == "tsit5" else 1e-10
                error = np.abs(found[name][:, i, j] - expected)
                assert error[1:-1].max() <= inner * 30
                assert error[-1] <= 1e-10 * 30
                assert found.final[name][i, j] == pytest.approx(expected[-1], abs=3e-9)


def test_the_oscillator_is_exact_with_observables():
    k = np.linspace(1, 9, 5)
    found = ck.solve(
        OSCILLATOR, {"k": k}, {"x": -0.5}, t_span=(0, 3), save_every=0.25, rtol=1e-10, atol=1e-10
    )
    time, k = np.ix_(found["time"], k)
    assert found["x"] == pytest.approx(-0.5 * np.cos(np.sqrt(k) * time), abs=2e-9)
    assert found["v"] == pytest.approx(0.5 * np.sqrt(k) * np.sin(np.sqrt(k) * time), abs=5e-9)
    assert found["energy"] == pytest.approx(np.broadcast_to(0.125 * k, (13, 5)), abs=3e-8)
    assert found["phase"] == pytest.approx(np.broadcast_to(k * time, (13, 5)), rel=1e-15)
    assert found.final["phase"] == pytest.approx(3.0 * k[0], rel=1e-15)
    assert (found.final_time == 3.0).all()


def test_the_end_alone_is_the_last_save():
    options = {"t_span": (0, 1.7), "rtol": 1e-9, "atol": 1e-9}
    ends = ck.solve(OSCILLATOR, {"k": [1.0, 2.0, 3.0]}, **options)
    saved = ck.solve(OSCILLATOR, {"k": [1.0, 2.0, 3.0]}, save_at=[0.0, 1.7], **options)
    for name in ("x", "v", "energy"):
        assert ends[name] == pytest.approx(saved[name][-1], rel=1e-12)
        assert np.array_equal(ends.final[name], ends[name])
    assert saved["x"][0].tolist() == [1.0, 1.0, 1.0]


def test_what_is_kept_does_not_depend_on_what_else_is():
    options = {"t_span": (0, 1.7), "target": "numpy"}
    ends = ck.solve(OSCILLATOR, {"k": [1.0, 2.0, 3.0]}, **options)
    kept = ck.solve(OSCILLATOR, {"k": [1.0, 2.0, 3.0]}, saved=["energy", "v"], **options)
    assert set(kept.arrays) == {"energy", "v"}
    for name in kept.arrays:
        assert np.array_equal(kept[name], ends[name])


def test_fixed_steps_are_counted_and_exact_in_order():
    options = {"t_span": (0, 1), "method": "rk4", "adaptive": False}
    exact = np.cos(2.0)
    errors = [
        abs(float(ck.solve(OSCILLATOR, dt=dt, **options)["x"]) - exact) for dt in (0.05, 0.025)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.15)
    odd = ck.solve(OSCILLATOR, dt=0.03, **options)
    assert (int(odd.accepted_steps), float(odd.final_time)) == (34, 1.0)


def test_zip_product_and_single_runs_have_the_same_bits():
    rho, x = np.linspace(5, 40, 7), np.linspace(-1, 2, 5)
    options = {"t_span": (0, 1.3), "save_at": [0.4, 1.3]}
    whole = ck.solve(LORENZ, {"rho": rho}, {"x": x}, **options)
    pairs = np.meshgrid(rho, x, indexing="ij")
    order = np.random.default_rng(7).permutation(35)
    shuffled = ck.solve(
        LORENZ,
        {"rho": pairs[0].ravel()[order]},
        {"x": pairs[1].ravel()[order]},
        grid="zip",
        threads=1,
        **options,
    )
    single = ck.solve(LORENZ, {"rho": [rho[3]]}, {"x": [x[2]]}, **options)
    for name in "xyz":
        flat = whole[name].reshape(2, 35)
        assert np.array_equal(flat[:, order], shuffled[name])
        assert np.array_equal(whole[name][:, 3, 2], single[name][:, 0, 0])
    assert np.array_equal(whole.accepted_steps.ravel()[order], shuffled.accepted_steps)


def test_names_not_given_keep_their_defaults():
    plain = ck.solve(LORENZ, {"rho": [21.0, 22.0]}, t_span=(0, 1))
    spelled = ck.solve(
        LORENZ, {"sigma": 10, "rho": [21, 22]}, {"x": 1, "y": 0, "z": 0}, t_span=(0, 1)
    )
    other = ck.solve(LORENZ, {"sigma": 11, "rho": [21, 22]}, t_span=(0, 1))
    assert np.array_equal(plain["x"], spelled["x"])
    assert (plain["x"] != other["x"]).all()


def test_the_reference_target_agrees():
    given = {"rho": np.linspace(1, 30, 9)}
    options = {"t_span": (0, 1), "rtol": 1e-8, "atol": 1e-8}
    cpu = ck.solve(LORENZ, given, **options)
    reference = ck.solve(LORENZ, given, target="numpy", **options)
    for name in "xyz":
        assert cpu[name] == pytest.approx(reference[name], rel=1e-6, abs=1e-6)
    assert np.abs(cpu.accepted_steps - reference.accepted_steps).max() <= 1


def test_single_and_half_precision():
    given = {"k": [1.0, 2.0, 4.0]}
    single = ck.solve(
        OSCILLATOR, given, t_span=(0, 2), precision="float32", rtol=1e-5, atol=1e-5, saved=["x"]
    )
    assert single["x"].dtype == np.float32
    assert single["x"] == pytest.approx(np.cos(2 * np.sqrt(given["k"])), abs=2e-4)
    half = ck.solve(
        OSCILLATOR,
        given,
        t_span=(0, 0.5),
        precision="float16",
        target="numpy",
        rtol=0.05,
        atol=0.05,
        saved=["x"],
    )
    assert half["x"].dtype == np.float16
    assert half["x"] == pytest.approx(np.cos(0.5 * np.sqrt(given["k"])), abs=5e-2)


def test_a_blow_up_fails_alone_with_its_last_good_state():
    x = np.array([0.5, 2.0, 0.1, 4.0, 0.0])
    options = {"t_span": (0, 1), "save_at": [0.1, 0.2, 0.9]}
    found = ck.solve(BLOW_UP, None, {"x": x}, **options)
    failed = x > 1
    assert (found.status[~failed] == Status.SUCCESS).all()
    assert np.isin(found.status[failed], [Status.NONFINITE, Status.STEP_TOO_SMALL]).all()
    assert (found.ok == ~failed).all()
    assert found.final["x"][~failed] == pytest.approx(x[~failed] / (1 - x[~failed]), rel=1e-5)
    assert found.final_time[failed] == pytest.approx(1 / x[failed], rel=1e-5)
    assert np.isfinite(found.final["x"]).all()
    assert (found.final["x"][failed] > 1000).all()
    assert np.isnan(found["x"]).tolist() == [[False] * 5, [False] * 5, failed.tolist()]
    assert found["x"][:2] == pytest.approx(x / (1 - x * np.array([[0.1], [0.2]])), rel=1e-4)
    alone = ck.solve(BLOW_UP, None, {"x": x[~failed]}, **options)
    assert np.array_equal(alone["x"], found["x"][:, ~failed])
    assert "The first is run 1 (x_0 = 2): it got to t = 0.5" in str(found.summary())


def test_a_bad_derivative_at_the_start_keeps_the_start():
    found = ck.solve(
        BLOW_UP, {"a": 0, "b": 1}, {"x": [4.0, -1.0, 9.0]}, t_span=(0, 1), save_at=[0.0, 1.0]
    )
    assert found.status.tolist() == [Status.SUCCESS, Status.NONFINITE, Status.SUCCESS]
    assert found.final_time.tolist() == [1.0, 0.0, 1.0]
    assert found.final["x"][1] == -1.0
    assert found.accepted_steps[1] == 0
    assert found["x"][1, [0, 2]] == pytest.approx([2.25, 6.25], rel=1e-6)


def test_a_step_below_dt_min_ends_the_run():
    found = ck.solve(
        OSCILLATOR, {"k": [1.0, 1e8]}, t_span=(0, 1), dt=0.01, dt_min=1e-3, rtol=1e-6, atol=1e-6
    )
    assert found.status.tolist() == [Status.SUCCESS, Status.STEP_TOO_SMALL]
    assert found["x"][0] == pytest.approx(np.cos(1.0), abs=1e-5)
    assert found.final_time[1] < 1.0


def test_the_step_budget_ends_the_run():
    found = ck.solve(OSCILLATOR, {"k": [1.0, 1e6]}, t_span=(0, 1), max_steps=60)
    assert found.status.tolist() == [Status.SUCCESS, Status.STEP_BUDGET]
    assert found.accepted_steps[1] + found.rejected_steps[1] == 60
    reached = found.final_time[1]
    assert 0 < reached < 1
    assert found["x"][1] == pytest.approx(np.cos(1e3 * reached), abs=1e-3)


def test_tolerances_of_each_state_count():
    def steps(rtol, atol):
        found = ck.solve(OSCILLATOR, {"k": [4.0]}, t_span=(0, 1), rtol=rtol, atol=atol)
        return int(found.accepted_steps[0])

    loose = steps(0.0, 1e-3)
    assert steps(0.0, {"x": 1e-12, "v": 1e-3}) > 5 * loose
    assert steps([1e-12, 0.0], [0.0, 1e-3]) > 5 * loose
    assert steps(0.0, [1e-3, 1e-3]) == loose


@pytest.mark.parametrize("t_span", [(0.0, 0.1), (-3.0, 1 / 3), (1e5, 1e5 + 0.7)])
def test_the_end_is_met_exactly(t_span):
    found = ck.solve(OSCILLATOR, {"k": [0.5, 3.0]}, t_span=t_span)
    assert (found.final_time == t_span[1]).all()
    span = t_span[1] - t_span[0]
    assert found["x"] == pytest.approx(np.cos(np.sqrt([0.5, 3.0]) * span), abs=1e-5)


def test_a_first_step_and_a_longest_step_are_kept():
    options = {"t_span": (0, 1), "rtol": 1e-3, "atol": 1e-3}
    smooth = ck.solve(OSCILLATOR, {"k": [4.0]}, **options)
    capped = ck.solve(OSCILLATOR, {"k": [4.0]}, dt_max=0.01, **options)
    slow_start = ck.solve(OSCILLATOR, {"k": [4.0]}, dt=1e-6, **options)
    assert capped.accepted_steps[0] >= 100 > slow_start.accepted_steps[0] > smooth.accepted_steps[0]
