"""Recordings of runs that fail, their names, what can't be recorded, and solvers by themselves."""

from dataclasses import replace

import numpy as np
import pytest
from kernel_problems import integrate
from record_cases import MU, VAN_DER_POL, instrumented, told

from cubie_kernels import (
    InputError,
    KrylovConfig,
    LinearMethod,
    Solver,
    Status,
    System,
    TargetError,
    record,
)
from cubie_kernels.kernels.factories import linear_solver_factory, newton_krylov_solver_factory
from cubie_kernels.lane import reference
from cubie_kernels.methods import get_method
from cubie_kernels.run.record import Recorder

CONSTRAINED = System.from_equations(
    "dx = -x + y\n0 = y*y*y*y + y - 1 - k*x",
    states={"x": 1.0, "y": 1.0},
    parameters={"k": 1.0},
    name="constrained",
)
# A tank with a stiff sensor; strong pumps empty it, and the root has no value from then on.
TANK = System.from_equations(
    "dh = 0.3 - pump - 0.5*sqrt(h)\nds = (h - s)/1e-4",
    states={"h": 1.0, "s": 1.0},
    parameters={"pump": 0.2},
    name="tank",
)


# ------------------------------------------------------------------------------- failures
def tanks(pumps=(0.2, 0.5, 0.8, 1.5), **options):
    return record(TANK, {"pump": pumps}, t_span=(0, 10), **options)


def test_newton_diverges():
    steps = tanks(method="radau-iia-5")
    failed = np.flatnonzero(steps.status == Status.NEWTON_DIVERGED)
    assert steps.status[0] == Status.SUCCESS
    assert len(failed) > 0
    for run in failed:
        own = steps.isel(run=run, attempt=slice(int((steps.accepted[run] >= 0).sum())))
        bad = np.flatnonzero(own.trouble)
        assert (own.trouble[bad] == Status.NEWTON_DIVERGED).all()
        assert bad[-1] == own.sizes["attempt"] - 1
        assert own.time[-1] == own.final_time
        # Each such step is tried again at half its length.
        again = bad[bad < own.sizes["attempt"] - 1]
        halves = own.step_size.values[again + 1] / own.step_size.values[again]
        np.testing.assert_allclose(halves, 0.5, rtol=1e-6)
        assert np.isnan(own.error_norm.values[bad]).all()
        # It was looked for beyond the bottom of the tank.
        assert (own.stage_state.sel(state="h")[bad] < 0).any("stage").all()
        assert float(own.stage_state.sel(state="h").where(own.accepted == 1).min()) > -1e-9


def test_linear_solver_gives_up():
    solver = KrylovConfig(LinearMethod("gmres", 1e-8, 1), "none")
    options = {"linear_solver": solver, "dt": 0.1, "dt_min": 1e-3, "method": "radau-iia-3"}
    steps = record(VAN_DER_POL, {"mu": [5.0, 50.0]}, t_span=(0, 1), **options)
    assert (steps.status == Status.LINEAR_SOLVER_LIMIT).all()
    bad = steps.trouble == Status.LINEAR_SOLVER_LIMIT
    assert ((steps.linear_code == 4).any("iteration") == bad).all()
    unsolved = (steps.linear_code == 4).values
    ends = steps.linear_residual.isel(linear_iteration=0).max("system")
    assert (ends.values[unsolved] > 1).all()


def test_a_singular_matrix():
    # x' = 5x: with 1/(h*gamma) = 5 the matrix is zero.
    growth = System.from_equations("dx = k*x", states={"x": 1.0}, parameters={"k": 5.0})
    gamma = get_method("rodas4").diagonal
    steps = record(
        growth, {"k": [1.0, 1 / (0.25 * gamma)]}, t_span=(0, 1), dt=0.25, method="rodas4"
    )
    assert steps.trouble[:, 0].values.tolist() == [0, Status.SINGULAR_MATRIX]
    assert np.isnan(steps.error_norm[1, 0])
    assert steps.step_size[1, 1] == pytest.approx(0.125)
    assert (steps.status == Status.SUCCESS).all()


@pytest.mark.parametrize("method", ["euler", "radau-iia-3"])
def test_fixed_steps_that_are_looked_at_again(method):
    """A block of steps in which a run is lost is done twice; its steps are told of once."""
    pumps = [0.2, 0.5, 0.8]
    dt = 1e-4 if method == "euler" else 0.03
    solver = Solver(
        TANK, t_span=(0, 200 * dt), dt=dt, adaptive=False, method=method, target="numpy",
        swept=["pump", "h"],
    )  # fmt: skip
    columns = {"pump": pumps, "h": [1.0, 40 * dt * 0.1, 1e-3]}
    plain = integrate(solver, columns)
    steps = record(
        TANK, {"pump": pumps}, {"h": columns["h"]}, grid="zip", t_span=solver.t_span, dt=dt,
        adaptive=False, method=method,
    )  # fmt: skip
    assert plain.status[0] == Status.SUCCESS
    assert (plain.status[1:] > Status.SUCCESS).all()
    np.testing.assert_array_equal((steps.accepted == 1).sum("attempt"), plain.accepted)
    np.testing.assert_array_equal((steps.accepted == 0).sum("attempt"), [0, 1, 1])
    for run in (1, 2):
        last = int(plain.accepted[run])
        assert steps.accepted[run, last] == 0
        assert steps.time[run, last] == plain.final_time[run]
        assert np.isnan(steps.new_state[run, last]).any()
        assert not told(steps.stage_state[run, last + 1 :]).any()


def test_runs_without_a_start_are_not_told_of():
    steps = record(CONSTRAINED, {"k": [1.0, -50.0, 2.0]}, t_span=(0, 1), method="rodas4")
    assert steps.status.values.tolist() == [1, Status.INCONSISTENT_START, 1]
    for name in ("time", "accepted", "stage_state", "linear_code"):
        others = [dim for dim in steps[name].dims if dim != "run"]
        assert told(steps[name]).any(others).values.tolist() == [True, False, True]


# ---------------------------------------------------------------------------- the dataset
def test_names_and_labels():
    system = System.from_equations(
        "dtime = -stage*time\nstate = 2*time",
        states={"time": 1.0},
        parameters={"stage": 1.0},
        observables=["state"],
    )
    steps = record(system, {"stage": [1.0, 2.0]}, {"time": [3.0, 4.0]}, t_span=(0, 1))
    assert steps.stage_state.dims == ("run", "attempt", "stage_", "state_")
    assert steps.time_.dims == ("run", "attempt")
    assert steps.stage.values.tolist() == [1.0, 1.0, 2.0, 2.0]
    assert steps.time_0.values.tolist() == [3.0, 4.0, 3.0, 4.0]
    assert steps.state_.values.tolist() == ["time"]
    for values in steps.data_vars.values():
        assert values.attrs["long_name"]
    assert steps.attrs["method"] == "tsit5"
    assert steps.accepted.attrs["flag_meanings"] == "not_attempted rejected accepted"
    meanings = dict(
        zip(steps.trouble.flag_values.tolist(), steps.trouble.flag_meanings.split(), strict=True)
    )
    assert meanings[Status.NEWTON_DIVERGED] == "newton_diverged"


def test_what_cannot_be_recorded():
    decay = System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0})
    with pytest.raises(TargetError, match="target='numpy', not on 'cpu': leave target out"):
        record(decay, t_span=(0, 1), target="cpu")
    with pytest.raises(TargetError, match="use target='numpy'"):
        replace(Solver(decay, t_span=(0, 1)).config(), records=True)
    with pytest.raises(InputError, match="method='tsit5' or method='rodas5p'"):
        record(decay, t_span=(0, 1), method="auto")
    with pytest.raises(InputError, match=r"101 runs .* the most is 100 .*zip"):
        record(decay, {"k": np.ones(101)}, t_span=(0, 1))
    with pytest.raises(TypeError, match=r"record\(\) has no option 'metod'. Did you mean 'method'"):
        record(decay, t_span=(0, 1), metod="rk4")
    with pytest.raises(TypeError, match="needs t_span"):
        record(decay)
    with pytest.raises(InputError, match="'kk' in parameters"):
        record(decay, {"kk": 1.0}, t_span=(0, 1))


def test_more_than_fits():
    solver = Solver(VAN_DER_POL, t_span=(0, 1), swept=["mu"], target="numpy")
    recorder = Recorder(2, most_bytes=20_000)
    with pytest.raises(InputError, match=r"attempted steps of 4 runs take .* fewer runs"):
        instrumented(solver, {"mu": MU}, recorder)
    with pytest.raises(InputError, match="take"):
        recorder.arrays(100, np.empty(0, int))


@pytest.mark.slow
def test_ten_thousand_steps():
    wave = System.from_equations("dx = cos(t) - x", states={"x": 0.0})
    steps = record(wave, t_span=(0, 100), method="rodas3", dt_max=0.01)
    assert steps.sizes["attempt"] > 10_000
    assert int(steps.accepted_steps[0]) > 10_000
    assert steps.stage_state.notnull().all()


# ------------------------------------------------------------------ solvers outside kernels
def test_newton_krylov_solvers():
    """y' = -y^3, a step of backward Euler for four lengths."""
    residual = (
        "def residual(h, y, d, base, r):\n    u = y[0] + d[0]\n"
        "    r[0] = base[0] - u * u * u - d[0] / h"
    )
    operator = (
        "def operator(h, y, d, v, out):\n    u = y[0] + d[0]\n"
        "    out[0] = (1.0 / h + 3.0 * u * u) * v[0]"
    )

    def solve_steps(records):
        linear = linear_solver_factory(operator, 1, "linear", records=records)
        newton = newton_krylov_solver_factory(
            residual, linear, 1, "newton", tolerance=1e-6, max_iters=20, records=records
        )
        recorder = Recorder(1)
        size = newton.registry.shared_buffer_size("newton")
        names = reference.lanes(bits=64, shared=size, width=4) | recorder.calls()
        exec(newton.text, names)
        shared, _ = names["open_arena"](np.zeros((size, 4)))
        scratch = [eval(text, names, {"shared": shared}) for text in newton.storage()]
        y, base, d = (names["private"](1) for _ in range(3))
        y.values[:] = 2.0
        h = np.array([0.01, 0.1, 1.0, 10.0])
        with np.errstate(all="ignore"):
            found = names["newton_solver"](h, y, base, d, *scratch)
        nothing = np.zeros(4, np.int64)
        step = (nothing, np.zeros(4), h, y, d, np.zeros(4), found[0], found[0] == 0)
        recorder.calls()["record_attempt"](np.full(4, True), np.arange(4), *step)
        return newton.text, d.values.copy(), found, recorder.arrays(4, np.empty(0, int))

    text, plain, found, nothing = solve_steps(False)
    assert "record" not in text
    assert "newton_delta_norm" not in nothing
    _, values, again, told_of = solve_steps(True)
    np.testing.assert_array_equal(values, plain)
    np.testing.assert_array_equal(again, found)
    _, updates, iterations = found
    norms = told_of["newton_delta_norm"]
    assert norms.dims == ("run", "attempt", "iteration")
    np.testing.assert_array_equal((~np.isnan(norms.values)).sum((1, 2)), updates)
    np.testing.assert_array_equal(told_of["linear_iterations"].values.sum((1, 2)), iterations)
    rests = told_of["linear_residual"]
    assert rests.dims == ("run", "attempt", "iteration", "linear_iteration")
    np.testing.assert_array_equal((~np.isnan(rests.values)).sum((1, 2, 3)), iterations)
    assert np.nanmax(rests.values) <= 1
    for run in range(4):
        sizes = norms.values[run, 0, : updates[run]]
        lengths = told_of["newton_length"].values[run, 0, : updates[run]]
        assert sizes[-1] < 1e-6
        assert (lengths == 1).all()
        # The sum of all updates is the solution; all go the same way here.
        assert np.sum(sizes) == pytest.approx(abs(values[0, run]), rel=1e-9)
