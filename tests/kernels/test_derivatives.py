"""Derivatives of models: against Jacobians written by hand, differences, and what is known."""

import pickle
import random
import re
from pathlib import Path

import numpy as np
import pytest

from cubie_kernels.errors import InputError
from cubie_kernels.model import System
from cubie_kernels.model.functions import FUNCTIONS

NAMESPACE = {name: row.array for name, row in FUNCTIONS.items()} | {"real": np.float64}


def run_derivatives(system, t, y, p, v):
    """Run the generated code with NumPy arrays as lanes; return J as a matrix, df/dt, and J v."""
    scope = dict(NAMESPACE)
    exec(system.derivative_source(), scope)
    y, p, v = (np.asarray(a, dtype=np.float64) for a in (y, p, v))
    n, lanes = len(system.states), y.shape[1:]
    entries = np.full((len(system.jacobian_pattern), *lanes), np.nan)
    dense = np.zeros((n, n, *lanes))
    change, product = np.full((2, n, *lanes), np.nan)
    with np.errstate(all="ignore"):
        scope["jacobian"](t, y, p, entries)
        scope["time_derivative"](t, y, p, change)
        scope["jvp"](t, y, p, v, product)
    for (row, column), entry in zip(system.jacobian_pattern, entries, strict=True):
        dense[row, column] = entry
    return dense, change, product


def differences(f, x, step=1e-2):
    """Return the derivative of ``f``: differences of order 8."""
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    return sum(w * (f(x + k * step) - f(x - k * step)) for k, w in weights.items()) / step


ROBERTSON = System.from_equations(
    "da = -k1*a + k3*b*c\ndb = k1*a - k2*b**2 - k3*b*c\ndc = k2*b**2",
    states={"a": 1.0, "b": 0.0, "c": 0.0},
    parameters={"k1": 0.04, "k2": 3e7, "k3": 1e4},
)


def robertson_by_hand(t, y, p):
    (_, b, c), (k1, k2, k3) = y, p
    return [
        [-k1, k3 * c, k3 * b],
        [k1, -2 * k2 * b - k3 * c, -k3 * b],
        [0, 2 * k2 * b, 0],
    ], [0, 0, 0]


VAN_DER_POL = System.from_equations(
    "dx = v\ndv = mu*(1 - x**2)*v - x + F*cos(w*t)",
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 10.0, "F": 1.0, "w": 3.0},
)


def van_der_pol_by_hand(t, y, p):
    (x, v), (mu, force, w) = y, p
    matrix = [[0, 1], [-2 * mu * x * v - 1, mu * (1 - x**2)]]
    return matrix, [0, -force * w * np.sin(w * t)]


HIRES = System.from_equations(
    """
    a = 280*y6*y8
    dy1 = -1.71*y1 + 0.43*y2 + 8.32*y3 + 0.0007
    dy2 = 1.71*y1 - 8.75*y2
    dy3 = -10.03*y3 + 0.43*y4 + 0.035*y5
    dy4 = 8.32*y2 + 1.71*y3 - 1.12*y4
    dy5 = -1.745*y5 + 0.43*(y6 + y7)
    dy6 = -a + 0.69*y4 + 1.71*y5 - 0.43*y6 + 0.69*y7
    dy7 = a - 1.81*y7
    dy8 = -a + 1.81*y7
    """,
    states={f"y{i}": float(i == 1) for i in range(1, 9)},
)


def hires_by_hand(t, y, p):
    u, v = 280 * y[7], 280 * y[5]
    return [
        [-1.71, 0.43, 8.32, 0, 0, 0, 0, 0],
        [1.71, -8.75, 0, 0, 0, 0, 0, 0],
        [0, 0, -10.03, 0.43, 0.035, 0, 0, 0],
        [0, 8.32, 1.71, -1.12, 0, 0, 0, 0],
        [0, 0, 0, 0, -1.745, 0.43, 0.43, 0],
        [0, 0, 0, 0.69, 1.71, -0.43 - u, 0.69, -v],
        [0, 0, 0, 0, 0, u, -1.81, v],
        [0, 0, 0, 0, 0, -u, 1.81, -v],
    ], [0] * 8


HODGKIN = System.from_equations(
    """
    a_n = 0.01*(V + 55)/(1 - exp(-(V + 55)/10))
    b_n = 0.125*exp(-(V + 65)/80)
    dV = (I - 36*n**4*(V + 77) - 0.3*(V + 54.387))/C
    dn = a_n*(1 - n) - b_n*n
    """,
    states={"V": -65.0, "n": 0.3},
    parameters={"I": 10.0, "C": 1.0},
)


def hodgkin_by_hand(t, y, p):
    (v, n), (_, c) = y, p
    e = np.exp(-(v + 55) / 10)
    b = 0.125 * np.exp(-(v + 65) / 80)
    a = 0.01 * (v + 55) / (1 - e)
    slope = 0.01 / (1 - e) - 0.01 * (v + 55) * (e / 10) / (1 - e) ** 2
    return [
        [(-36 * n**4 - 0.3) / c, -144 * n**3 * (v + 77) / c],
        [slope * (1 - n) + b / 80 * n, -a - b],
    ], [0, 0]


@pytest.mark.parametrize(
    ("system", "by_hand"),
    [
        (ROBERTSON, robertson_by_hand),
        (VAN_DER_POL, van_der_pol_by_hand),
        (HIRES, hires_by_hand),
        (HODGKIN, hodgkin_by_hand),
    ],
    ids=["robertson", "van-der-pol", "hires", "hodgkin-huxley"],
)
def test_derivatives_are_those_found_by_hand(system, by_hand):
    rng = np.random.default_rng(3)
    y, v = rng.normal(0.5, 1.0, (2, len(system.states), 6))
    p = rng.normal(1.0, 0.5, (len(system.parameters), 6))
    t = 0.7
    found, change, product = run_derivatives(system, t, y, p, v)
    for lane in range(6):
        matrix, by_time = by_hand(t, y[:, lane], p[:, lane])
        matrix = np.array(matrix, dtype=float)
        np.testing.assert_allclose(found[..., lane], matrix, rtol=1e-12)
        np.testing.assert_allclose(change[:, lane], by_time, rtol=1e-12)
        scale = 1e-12 * (abs(matrix) @ abs(v[:, lane])).max()
        np.testing.assert_allclose(product[:, lane], matrix @ v[:, lane], rtol=1e-12, atol=scale)
        assert system.jacobian_pattern == tuple(map(tuple, np.argwhere(matrix != 0).tolist()))
    np.testing.assert_array_equal(system.numpy_jacobian()(t, y, p), found)
    np.testing.assert_array_equal(system.numpy_jacobian()(t, y[:, 0], p[:, 0]), found[..., 0])


SMOOTH = [
    name
    for name, row in FUNCTIONS.items()
    if row.takes in ("n", "nn") and name not in ("sign", "floor", "ceil", "trunc", "rint")
]
STARTS = {"acosh": (2.5,), "atanh": (0.3,), "asin": (0.3,), "acos": (-0.4,), "fmod": (-4.7, 1.3)}
STARTS |= {"fabs": (-0.8,), "cbrt": (-1.4,), "tan": (0.6,), "minimum": (2.0, 1.1)}


@pytest.mark.parametrize("name", SMOOTH)
def test_each_function_has_its_derivative(name):
    row = FUNCTIONS[name]
    at = STARTS.get(name, (1.2, 1.7)[: len(row.takes)])
    states = dict(zip("xy", at, strict=False))
    extra = "\ndy = 0" if "y" in states else ""
    call = f"{name}({', '.join(states)})"
    system = System.from_equations(f"dx = {call}{extra}", states=states)
    found, _, product = run_derivatives(system, 0.0, at, (), np.ones(len(at)))
    for i in range(len(at)):
        wanted = differences(lambda s, i=i: row.array(*at[:i], s, *at[i + 1 :]), at[i])
        assert found[0, i] == pytest.approx(wanted, rel=1e-10, abs=1e-12)
    assert product[0] == pytest.approx(found[0].sum(), rel=1e-14)


def test_steps_have_no_derivative():
    text = "dx = sign(x) + floor(y) + ceil(x) + trunc(y) + rint(x)\ndy = 1 if x < y else 0"
    system = System.from_equations(text, states={"x": 1.0, "y": 1.0})
    assert system.jacobian_pattern == ()
    found, change, product = run_derivatives(system, 0.0, [1.5, 2.5], (), [1.0, 1.0])
    assert not found.any()
    assert not change.any()
    assert not product.any()


@pytest.mark.parametrize(
    ("right", "x", "k", "wanted"),
    [
        ("sqrt(x) if x > 0 else 0", 0.0, 1.0, 0.0),
        ("select(x > 0, 3*log(x)*x, k*x)", 0.0, 5.0, 5.0),
        ("Piecewise((x*log(x), x > 0), (0, True))**2 + x", 0.0, 1.0, 1.0),
        ("exp(select(x > 1, 1/(x - 1), 2*x))", 1.0, 1.0, 2 * np.exp(2.0)),
        ("abs(x)", 0.0, 1.0, 0.0),
        ("max(x, 0)", -1.0, 1.0, 0.0),
        ("max(x, 0)", 1.0, 1.0, 1.0),
        ("max(x, 0)*sqrt(max(x, 0))", -1.0, 1.0, 0.0),
        ("min(x, k, 3*x)", 2.0, 1.0, 0.0),
        ("x**2.7", 0.0, 1.0, 0.0),
        ("x**k", 0.0, 1.0, 1.0),
        ("x**k", 0.0, 2.0, 0.0),
        ("x**k", 0.0, 0.0, 0.0),
        ("x**k/(1 + x**k)", 0.0, 1.0, 1.0),
        ("x**1.5", 0.0, 1.0, 0.0),
        ("k*x**2.5/(1 + x)", 0.0, 1.0, 0.0),
        ("x**7.5", 0.0, 1.0, 0.0),
        ("x**7.5", 4.0, 1.0, 7.5 * 4**6.5),
        ("sqrt(x)*x*k*t", 0.0, 1.0, 0.0),
        ("k**x", 2.0, 3.0, 9 * np.log(3.0)),
        ("k**x", 2.0, 0.0, 0.0),
        ("x**x", 1.0, 0.0, 1.0),
        ("x**-2", 2.0, 0.0, -0.25),
        ("x**0", 2.0, 0.0, 0.0),
        ("2**x", 3.0, 0.0, 8 * np.log(2.0)),
        ("x*x*x*x*x", 2.0, 0.0, 80.0),
        ("hypot(x, k)", 3.0, 4.0, 0.6),
        ("1e-200*(1e-200*x)*1e200*1e200", 1.0, 0.0, 1.0),
    ],
)
def test_derivatives_at_kinks_ends_and_zeros(right, x, k, wanted):
    system = System.from_equations(f"dx = {right}", states={"x": 1.0}, parameters={"k": 1.0})
    found, _, product = run_derivatives(system, 0.0, [x], [k], [2.0])
    assert found[0, 0] == pytest.approx(wanted, rel=1e-14)
    assert product[0] == pytest.approx(2 * wanted, rel=1e-14)


def test_what_cancels_is_not_in_the_pattern():
    text = "s = x + y\ndx = s - x\ndy = 3*x*y - x*(2*y) - y*x + t*t\ndz = dx"
    system = System.from_equations(text, states={"x": 1.0, "y": 1.0, "z": 1.0})
    assert system.jacobian_pattern == ((0, 1), (2, 1))
    found, change, _ = run_derivatives(system, 3.0, [1.0, 2.0, 3.0], (), [0.0, 0.0, 0.0])
    assert found.tolist() == [[0, 1, 0], [0, 0, 0], [0, 1, 0]]
    assert change.tolist() == [0, 6, 0]


def test_code_shares_what_occurs_twice():
    n = 12
    text = f"r = exp(-(E/T)*({'+'.join(f'x{i}' for i in range(n))}))\n"
    text += "\n".join(f"dx{i} = -x{i}*r/(1 + x{i}**2)" for i in range(n))
    states = {f"x{i}": 1.0 for i in range(n)}
    system = System.from_equations(text, states=states, parameters={"E": 1.0, "T": 2.0})
    source = system.derivative_source("jacobian")
    assert len(system.jacobian_pattern) == n * n
    assert source.count("exp(") == 1
    assert source.count(" / ") == n + 1
    assert "time_derivative" not in source


def test_names_of_states_may_be_those_of_arguments():
    names = ["j", "d", "v", "jacobian", "jvp", "t_", "real_", "w", "a", "b"]
    text = "\n".join(
        f"d{s} = {s}*{e} + t" for s, e in zip(names, names[1:] + names[:1], strict=True)
    )
    system = System.from_equations(text, states=dict.fromkeys(names, 1.0))
    y = np.arange(1.0, 11.0)
    found, change, product = run_derivatives(system, 0.5, y, (), y)
    wanted = np.diag(np.roll(y, -1)) + np.roll(np.diag(y), 1, axis=1)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(change, np.ones(10))
    np.testing.assert_array_equal(product, wanted @ y)


def test_an_unknown_derivative_is_named():
    with pytest.raises(InputError, match=r"No derivative is called 'jacobi'.*'jacobian'"):
        ROBERTSON.derivative_source("jacobi")


def test_a_system_travels_without_its_derivatives():
    fresh = System.from_dict(ROBERTSON.to_dict())
    before = len(pickle.dumps(fresh))
    assert fresh.jacobian_pattern == ROBERTSON.jacobian_pattern
    assert len(pickle.dumps(fresh)) == before
    back = pickle.loads(pickle.dumps(fresh))
    assert back == fresh
    assert back.derivative_source() == fresh.derivative_source()


def test_the_text_is_the_same_each_time():
    again = System.from_dict(HODGKIN.to_dict())
    assert again.derivative_source() == HODGKIN.derivative_source()
    assert again.derivative_source("jvp", "jacobian").startswith("def jvp(t, y, p, v, d):")


def ring(n):
    return "\n".join(
        f"dx{i} = D*(x{(i - 1) % n} - 2*x{i} + x{(i + 1) % n}) + x{i}**2/(K + x{i}**2)"
        for i in range(n)
    )


def crowd(n):
    chance = random.Random(1)
    return "\n".join(
        f"dx{i} = "
        + " + ".join(
            f"{chance.uniform(-1, 1):.4f}*x{k}*x{(7 * k + i) % n}/(K + x{k})"
            for k in range(n)
            if chance.random() < 0.5
        )
        for i in range(n)
    )


@pytest.mark.parametrize(("text", "entries"), [(ring(100), 300), (crowd(100), 7563)])
def test_derivatives_of_a_hundred_equations(text, entries):
    states = {f"x{i}": 1.0 + i / 100 for i in range(100)}
    system = System.from_equations(text, states=states, parameters={"D": 1.0, "K": 2.0})
    assert len(system.jacobian_pattern) == entries
    y, p = np.array(list(states.values())), np.array([1.0, 2.0])
    v = np.cos(np.arange(100.0))
    found = system.numpy_jacobian()(0.0, y, p) @ v
    rhs = system.numpy_rhs()
    wanted = differences(lambda s: rhs(0.0, y + s * v, p), 0.0)
    np.testing.assert_allclose(found, wanted, atol=1e-10 * abs(wanted).max())


def test_the_page_shows_what_is_printed(capsys):
    page = (Path(__file__).parents[2] / "docs" / "derivatives.md").read_text(encoding="utf-8")
    code, shown = (
        re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "text")
    )
    assert len(code) == len(shown) == 3
    namespace: dict = {}
    for block, wanted in zip(code, shown, strict=True):
        exec(block, namespace)
        assert capsys.readouterr().out.strip() == wanted.strip()
