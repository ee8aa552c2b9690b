"""The recipe: what it holds, how it prints, that it is a frozen value."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cubie_kernels as ck
from cubie_kernels import checks
from cubie_kernels.kernels.controllers import CONTROLLERS
from cubie_kernels.run.batch import Column
from cubie_kernels.solver_method import DEFAULT_CONTROLLERS
from cubie_kernels.solver_options import SolverOptions

OSCILLATOR = ck.System.from_equations(
    "dx = v\ndv = -k*x - c*v\nenergy = 0.5*(k*x*x + v*v)",
    states={"x": 1.0, "v": 0.0},
    parameters={"k": 4.0, "c": 0.5},
    observables=["energy"],
    name="oscillator",
)


def make(**options):
    return ck.Solver(OSCILLATOR, **({"t_span": (0.0, 2.0)} | options))


def test_defaults():
    solver = make()
    assert (solver.method, solver.precision, solver.target) == ("tsit5", "float64", "cpu")
    assert solver.times is None
    assert solver.saved_states == ("x", "v")
    assert solver.saved_observables == ("energy",)
    assert solver.rtol.tolist() == [1e-6, 1e-6]
    assert solver.atol.tolist() == [1e-9, 1e-9]
    assert solver.dt is None
    assert 0 < solver.dt_min < 1e-14
    assert solver.dt_max == 2.0
    assert solver.fixed == {"k": 4.0, "c": 0.5, "x": 1.0, "v": 0.0}


def test_controller_of_each_family():
    for info in ck.methods():
        steps = {} if info.embedded_order else {"dt": 0.1, "adaptive": False}
        (choice,) = make(method=info.name, **steps).choices
        assert choice.controller == CONTROLLERS[DEFAULT_CONTROLLERS[info.family]]
        assert make(method=info.name, controller="pid", **steps).choices[0].controller.name == "pid"
        assert (choice.linear is None) == (info.family == "erk")


def test_order_of_names_does_not_make_another_kernel():
    one, other = make(swept=["x", "c", "k"]), make(swept=["k", "x", "c"])
    assert one.swept == other.swept == ("k", "c", "x")
    assert one.config() == other.config()
    assert make(saved=["energy", "v"]).config().saved_states == (1,)


def test_settings_are_plain_and_tell_computations_apart():
    solver = make(swept=["k"], save_every=0.5)
    settings = solver.settings()
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings
    assert settings["times"] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert settings["fixed"] == {"c": 0.5, "x": 1.0, "v": 0.0}
    changes = [
        {"t_span": (0.0, 3.0)},
        {"save_every": 0.25},
        {"save_every": None},
        {"method": "dopri5"},
        {"rtol": 1e-7},
        {"atol": [1e-9, 1e-8]},
        {"dt": 0.01},
        {"dt": 0.01, "adaptive": False},
        {"dt_min": 1e-9},
        {"dt_max": 0.1},
        {"max_steps": 5},
        {"controller": "i"},
        {"precision": "float32"},
        {"target": "numpy"},
        {"swept": ["c"]},
        {"fixed": {"c": 1.0}},
        {"saved": ["x"]},
    ]
    seen = [json.dumps(settings)]
    for change in changes:
        seen.append(json.dumps(make(**({"swept": ["k"], "save_every": 0.5} | change)).settings()))
    assert len(set(seen)) == len(changes) + 1


def test_equal_values_given_in_different_ways_are_one_recipe():
    plain = make(rtol=1e-5, fixed={"k": 4.0}, save_every=0.5, method="tsit5")
    spelled = make(
        rtol={"v": 1e-5, "x": np.float32(1e-5).astype(float)},
        save_at=[0, 0.5, 1, 1.5, 2],
        method="Tsit5",
        precision=np.float64,
        max_steps=100_000.0,
    )
    settings = spelled.settings()
    assert settings["rtol"] == pytest.approx(plain.settings()["rtol"], rel=1e-7)
    assert settings | {"rtol": None} == plain.settings() | {"rtol": None}


def test_a_solver_is_frozen_and_pickles():
    solver = make(swept=["k"], save_at=[1.0], controller=CONTROLLERS["h211b"])
    with pytest.raises(AttributeError, match="frozen; make a new one to change 'rtol'"):
        solver.rtol = 1e-3
    with pytest.raises(ValueError, match="read-only"):
        solver.times[0] = 0.0
    copy = pickle.loads(pickle.dumps(solver))
    assert copy.settings() == solver.settings()
    assert solver.settings()["controller"]["alpha"] == 0.25
    assert copy.choices == solver.choices


def test_batch_holds_the_numbers_of_a_call():
    solver = make(swept=["x", "c"], fixed={"v": 3.0}, rtol={"x": 0.0, "v": 1e-3}, dt=0.1)
    c, x = Column(np.array([1, 2])), Column(np.array([5.0]))
    batch = solver.batch({"x": x, "c": c}, 2)
    assert batch.parameters == (c,)
    assert batch.initial == (x,)
    assert batch.fixed_parameters[0] == 4.0
    assert batch.fixed_initial[1] == 3.0
    assert batch.rtol.tolist() == [0.0, 1e-3]
    assert (batch.runs, batch.t0, batch.t1, batch.dt) == (2, 0.0, 2.0, 0.1)


def test_repr_tells_the_recipe():
    assert repr(make(swept=["k"], atol=[1e-9, 1e-6])) == (
        "<Solver of 'oscillator': tsit5, rtol = 1e-06, atol = 1e-09 … 1e-06, t = 0 … 2, end state, "
        "float64 on cpu>\n  swept  k\n  saved  x, v, energy"
    )
    fixed = repr(make(method="rk4", dt=0.125, adaptive=False, save_every=0.5))
    assert "rk4, dt = 0.125, t = 0 … 2, 5 saves" in fixed


def test_solve_passes_on_every_option_of_the_solver():
    import inspect

    own = set(inspect.signature(ck.Solver).parameters) - {"system", "swept", "fixed"}
    assert own == set(SolverOptions.__annotations__)


@pytest.mark.parametrize(
    ("span", "every", "expected"),
    [
        ((0.0, 1.0), 0.1, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ((0.0, 1.0), 0.3, [0.0, 0.3, 0.6, 0.9]),
        ((-1.0, 1.0), 1.0, [-1.0, 0.0, 1.0]),
        ((0.0, 0.3), 0.1, [0.0, 0.1, 0.2, 0.3]),
        ((-0.1, 0.2), 0.1, [-0.1, 0.0, 0.1, 0.2]),
        ((2.0, 5.0), 3.0, [2.0, 5.0]),
        ((0.0, 1.0), 1 / 3, [0.0, 1 / 3, 2 / 3, 1.0]),
    ],
)
def test_even_saves(span, every, expected):
    assert checks.save_times(span, None, every).tolist() == expected


@given(
    t0=st.floats(-1e6, 1e6),
    span=st.floats(1e-3, 1e6),
    parts=st.integers(1, 5000),
)
def test_even_saves_meet_the_end_and_do_not_drift(t0, span, parts):
    t1 = t0 + span
    times = checks.save_times((t0, t1), None, (t1 - t0) / parts)
    assert len(times) == parts + 1
    assert (times[0], times[-1]) == (t0, t1)
    exact = t0 + (t1 - t0) * (np.arange(parts + 1) / parts)
    assert np.abs(times - exact).max() <= 4 * np.finfo(float).eps * max(abs(t0), abs(t1))
    assert (np.diff(times) > 0).all()


@given(span=st.floats(0.5, 100.0), every=st.floats(1e-2, 0.5))
def test_even_saves_stay_in_the_span(span, every):
    times = checks.save_times((0.0, span), None, every)
    assert times[-1] <= span
    assert span - times[-1] < every * (1 + 1e-12)
