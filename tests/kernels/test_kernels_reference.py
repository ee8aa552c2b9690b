"""Reference problems against SciPy's DOP853 at tightest tolerance, and against exact solutions."""

import numpy as np
import pytest
from kernel_problems import NARROW, integrate
from scipy.integrate import solve_ivp

from cubie_kernels import Solver, Status, System, solve

LORENZ = System.from_equations(
    "dx = sigma*(y - x)\ndy = x*(rho - z) - y\ndz = x*y - beta*z",
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"rho": 28.0},
    constants={"sigma": 10.0, "beta": 8 / 3},
    name="lorenz",
)


def lorenz(t, s, rho):
    x, y, z = s
    return [10 * (y - x), x * (rho - z) - y, x * y - 8 / 3 * z]


HODGKIN_HUXLEY = System.from_equations(
    """
    a_m = 0.1*(V + 40)/(1 - exp(-(V + 40)/10))
    b_m = 4*exp(-(V + 65)/18)
    a_h = 0.07*exp(-(V + 65)/20)
    b_h = 1/(1 + exp(-(V + 35)/10))
    a_n = 0.01*(V + 55)/(1 - exp(-(V + 55)/10))
    b_n = 0.125*exp(-(V + 65)/80)
    dV = I - 120*m**3*h*(V - 50) - 36*n**4*(V + 77) - 0.3*(V + 54.387)
    dm = a_m*(1 - m) - b_m*m
    dh = a_h*(1 - h) - b_h*h
    dn = a_n*(1 - n) - b_n*n
    """,
    states={"V": -64.0, "m": 0.0529, "h": 0.5961, "n": 0.3177},
    parameters={"I": 10.0},
    name="hodgkin-huxley",
)


def hodgkin_huxley(t, s, current):
    v, m, h, n = s
    e = np.exp
    return [
        current - 120 * m**3 * h * (v - 50) - 36 * n**4 * (v + 77) - 0.3 * (v + 54.387),
        0.1 * (v + 40) / (1 - e(-(v + 40) / 10)) * (1 - m) - 4 * e(-(v + 65) / 18) * m,
        0.07 * e(-(v + 65) / 20) * (1 - h) - h / (1 + e(-(v + 35) / 10)),
        0.01 * (v + 55) / (1 - e(-(v + 55) / 10)) * (1 - n) - 0.125 * e(-(v + 65) / 80) * n,
    ]


PENDULUM = System.from_equations(
    "dq = v\ndv = -g*sin(q) - 0.1*v",
    states={"q": 2.5, "v": 0.0},
    parameters={"g": 9.81},
    name="pendulum",
)


def pendulum(t, s, g):
    return [s[1], -g * np.sin(s[0]) - 0.1 * s[1]]


LOTKA_VOLTERRA = System.from_equations(
    "du = a*u - u*v\ndv = u*v - 0.7*v",
    states={"u": 1.0, "v": 2.0},
    parameters={"a": 1.1},
    name="lotka-volterra",
)


def lotka_volterra(t, s, a):
    return [a * s[0] - s[0] * s[1], s[0] * s[1] - 0.7 * s[1]]


CELLS = 8
RING = System.from_equations(
    "\n".join(
        f"dv{i} = v{i} - v{i}*v{i}*v{i}/3 - w{i} + I"
        f" + 0.3*(v{(i - 1) % CELLS} - 2*v{i} + v{(i + 1) % CELLS})\n"
        f"dw{i} = 0.08*(v{i} + 0.7 - 0.8*w{i})"
        for i in range(CELLS)
    ),
    states={f"v{i}": -1.2 + 0.3 * i for i in range(CELLS)} | {f"w{i}": -0.6 for i in range(CELLS)},
    parameters={"I": 0.5},
    name="ring",
)


def ring(t, s, current):
    v, w = s[:CELLS], s[CELLS:]
    near = np.roll(v, 1) - 2 * v + np.roll(v, -1)
    return np.concatenate([v - v**3 / 3 - w + current + 0.3 * near, 0.08 * (v + 0.7 - 0.8 * w)])


@pytest.mark.parametrize(
    ("system", "rhs", "values", "end", "method"),
    [
        (LORENZ, lorenz, [5.0, 14.0, 28.0], 1.5, "dop853"),
        (HODGKIN_HUXLEY, hodgkin_huxley, [0.0, 6.3, 15.0], 12.0, "dopri5"),
        (PENDULUM, pendulum, [1.6, 9.81, 24.8], 3.0, "dopri5"),
        (LOTKA_VOLTERRA, lotka_volterra, [0.4, 1.1, 2.0], 8.0, "tsit5"),
        (RING, ring, [0.0, 0.5, 0.9], 10.0, "tsit5"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_against_scipy(system, rhs, values, end, method):
    (name,) = system.parameters
    times = np.linspace(0.0, end, 6)
    solver = Solver(
        system,
        t_span=(0.0, end),
        save_at=times,
        method=method,
        rtol=1e-13,
        atol=1e-13,
        swept=[name],
    )
    outcome = integrate(solver, {name: values}, width=NARROW)
    assert (outcome.status == Status.SUCCESS).all()
    for run, value in enumerate(values):
        reference = solve_ivp(
            rhs,
            (0.0, end),
            system.state_defaults,
            "DOP853",
            t_eval=times,
            args=(value,),
            rtol=3e-14,
            atol=1e-14,
        )
        scale = 1 + np.abs(reference.y)
        assert np.abs((outcome.states[..., run] - reference.y) / scale).max() < 1e-10
        assert (
            np.abs((outcome.final_state[:, run] - reference.y[:, -1]) / scale[:, -1]).max() < 1e-10
        )


def test_exponential():
    decay = System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0})
    k = np.linspace(-1, 3, 11)
    times = np.linspace(0, 2, 9)
    solution = solve(
        decay, {"k": k}, t_span=(0, 2), save_at=times, method="tsit5", rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(solution["x"], np.exp(-np.outer(times, k)), rtol=1e-10)


def test_oscillator():
    spring = System.from_equations(
        "dx = v\ndv = -w*w*x", states={"x": 1.0, "v": 0.0}, parameters={"w": 1.0}
    )
    w = np.array([0.5, 1.0, 3.0, 10.0])
    solution = solve(spring, {"w": w}, t_span=(0, 10), method="dopri5", rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(solution["x"], np.cos(10 * w), atol=1e-9)
    np.testing.assert_allclose(solution["v"], -w * np.sin(10 * w), atol=1e-8)


def test_logistic():
    growth = System.from_equations(
        "dn = r*n*(1 - n/c)", states={"n": 0.1}, parameters={"r": 1.0, "c": 2.0}
    )
    r, c = np.array([0.3, 1.0, 2.0]), np.array([1.0, 5.0])
    solution = solve(
        growth, {"r": r, "c": c}, t_span=(0, 8), method="tsit5", rtol=1e-12, atol=1e-12
    )
    r, c = r[:, None], c[None, :]
    np.testing.assert_allclose(solution["n"], c / (1 + (c / 0.1 - 1) * np.exp(-8 * r)), rtol=1e-10)
