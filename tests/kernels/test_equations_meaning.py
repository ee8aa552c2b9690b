"""Equations compute what they say: against functions written by hand, and as generated code."""

import ast
import math

import numpy as np
import pytest

from cubie_kernels.model import System
from cubie_kernels.model.functions import COMPARISONS, FUNCTIONS
from cubie_kernels.model.graph import Builder, evaluate

NAMESPACE = {name: row.array for name, row in FUNCTIONS.items()} | {"real": np.float64}


def one(right, states=None, **options):
    """Return a system dx = right."""
    states = {"x": 1.0} if states is None else states
    extra = "".join(f"\nd{name} = 0" for name in states if name != "x")
    return System.from_equations(f"dx = {right}{extra}", states=states, **options)


def rhs_line(system):
    """Return what the generated code stores in dy[0]."""
    line = next(row for row in system.lane_source().splitlines() if "dy[0] =" in row)
    return line.partition("= ")[2]


def run_source(system, t, y, p):
    """Run the generated code with NumPy arrays as lanes."""
    scope = dict(NAMESPACE)
    exec(system.lane_source(), scope)
    lanes = np.shape(y)[1:]
    dy = np.full((len(system.states), *lanes), np.nan)
    o = np.full((len(system.observables), *lanes), np.nan)
    with np.errstate(all="ignore"):
        scope["rhs"](t, y, p, dy)
        if system.observables:
            scope["observe"](t, y, p, o)
    return dy, o


HODGKIN = """
# Hodgkin and Huxley 1952, membrane potential in mV
a_n = 0.01*(V + 55)/(1 - exp(-(V + 55)/10))
b_n = 0.125*exp(-(V + 65)/80)
a_m = 0.1*(V + 40)/(1 - exp(-(V + 40)/10))
b_m = 4*exp(-(V + 65)/18)
a_h = 0.07*exp(-(V + 65)/20)
b_h = 1/(1 + exp(-(V + 35)/10))
dV/dt = (I_ext - I_Na - I_K - I_L)/C
I_Na = g_Na*m**3*h*(V - E_Na)      # used above, defined here
I_K = g_K*n**4*(V - E_K)
I_L = g_L*(V - E_L)
dm/dt = a_m*(1 - m) - b_m*m
d(h)/dt = a_h*(1 - h) - b_h*h
dn = a_n*(1 - n) - b_n*n
I_ext = I if 5 <= t < 30 else 0
"""


def hodgkin_by_hand(t, V, m, h, n, drive, g_Na):
    a_n = 0.01 * (V + 55) / (1 - np.exp(-(V + 55) / 10))
    b_n = 0.125 * np.exp(-(V + 65) / 80)
    a_m = 0.1 * (V + 40) / (1 - np.exp(-(V + 40) / 10))
    b_m = 4 * np.exp(-(V + 65) / 18)
    a_h = 0.07 * np.exp(-(V + 65) / 20)
    b_h = 1 / (1 + np.exp(-(V + 35) / 10))
    current = drive if 5 <= t < 30 else 0.0
    sodium = g_Na * m**3 * h * (V - 50.0)
    total = current - sodium - 36.0 * n**4 * (V + 77.0) - 0.3 * (V + 54.387)
    rates = [
        total / 1.0,
        a_m * (1 - m) - b_m * m,
        a_h * (1 - h) - b_h * h,
        a_n * (1 - n) - b_n * n,
    ]
    return np.array(rates), np.array([sodium, current + 0 * V])


def hodgkin():
    return System.from_equations(
        HODGKIN,
        states={"V": -65.0, "m": 0.05, "h": 0.6, "n": 0.32},
        parameters={"I": 10.0, "g_Na": 120.0},
        constants={"C": 1, "g_K": 36, "g_L": 0.3, "E_Na": 50, "E_K": -77, "E_L": -54.387},
        observables=["I_Na", "I_ext"],
    )


@pytest.mark.parametrize("t", [0.0, 5.0, 29.9, 30.0])
def test_hodgkin_huxley_against_a_function_written_by_hand(t):
    system = hodgkin()
    rng = np.random.default_rng(1)
    y = rng.uniform([[-90], [0], [0], [0]], [[50], [1], [1], [1]], (4, 7))
    p = np.array([[7.0], [110.0]]) * np.ones(7)
    wanted = hodgkin_by_hand(t, *y, *p[:, :1])
    for found in (
        (system.numpy_rhs()(t, y, p), system.numpy_observe()(t, y, p)),
        run_source(system, t, y, p),
    ):
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-13, atol=1e-13)
    single = system.numpy_rhs()(t, y[:, 3], p[:, 3])
    assert single.shape == (4,)
    np.testing.assert_array_equal(single, system.numpy_rhs()(t, y, p)[:, 3])


def test_generated_code_is_straight_line_and_reads_what_it_uses():
    source = hodgkin().lane_source()
    tree = ast.parse(source)
    assert [f.name for f in tree.body] == ["rhs", "observe"]
    for function in tree.body:
        assert all(isinstance(row, ast.Assign) for row in function.body)
        assert all(len(row.targets) == 1 for row in function.body)
        for node in ast.walk(function):
            if isinstance(node, ast.Constant):
                assert isinstance(node.value, float) or node.value in range(4)
    rhs, observe = source.split("def observe")
    for name in ("V", "m", "h", "n", "I", "g_Na"):
        assert rhs.count(f"    {name} = ") == 1
    assert "I_K = " in rhs
    assert "I_K" not in observe
    assert "exp" not in observe
    assert " n = " not in observe
    assert max(map(len, source.splitlines())) < 110


def test_equal_parts_are_computed_once():
    system = System.from_equations(
        "dx = -k*x*v + exp(v*k)\ndv = k*x*v - exp(k*v)\ndw = v*x*k",
        states={"x": 1, "v": 2, "w": 0},
        parameters={"k": 0.5},
        observables=[],
    )
    source = system.lane_source()
    assert source.count("exp(") == 1
    assert source.count("k * x") == 1
    assert " = k * x * v\n" in source
    assert system.operations == len(
        [n for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.BinOp, ast.Call))]
    )


def test_names_stay_and_clashing_ones_get_an_underscore():
    system = System.from_equations(
        "dy = p*y + y_ + o\ndy_ = o\no = rhs*t\none = select(real > t, 1, 2)",
        states={"y": 1.0, "y_": 2.0},
        parameters={"p": 3.0, "rhs": 4.0, "real": 5.0},
        observables=["o", "dy", "one"],
    )
    found, shown = run_source(system, 0.5, np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]))
    assert found.tolist() == [7.0, 2.0]
    assert shown.tolist() == [2.0, 7.0, 1.0]
    assert "y__ = y[0]" in system.lane_source()


def test_a_state_called_like_a_derivative():
    system = System.from_equations(
        "dx/dt = exp(v)*dx\nd(dx)/dt = exp(v)*dx\ndv = dx",
        states={"x": 1.0, "dx": 2.0, "v": 0.0},
    )
    y = np.array([1.0, 2.0, 0.0])
    assert run_source(system, 0.0, y, ())[0].tolist() == [2.0, 2.0, 2.0]
    assert system.numpy_rhs()(0.0, y, ()).tolist() == [2.0, 2.0, 2.0]


WRITTEN = {
    "x**2": "x * x",
    "x**3": "x * x * x",
    "x**1": "x",
    "x**0": "real(1.0)",
    "x**-1": "1.0 / x",
    "x**-2": "1.0 / (x * x)",
    "x**0.5": "sqrt(x)",
    "x**(1/2)": "sqrt(x)",
    "x**-0.5": "1.0 / sqrt(x)",
    "x**1.5": "x * sqrt(x)",
    "x**h": "sqrt(x)",
    "x**0.3": "pow(x, 0.3)",
    "x**50": "pow(x, 50.0)",
    "x**k": "pow(x, k)",
    "2**x": "exp2(x)",
    "pow(x, 2)": "x * x",
    "-x**2": "-(x * x)",
    "2*3*x": "6.0 * x",
    "x*(2*pi)": f"x * {2 * math.pi!r}",
    "x/4": "x * 0.25",
    "x/3": "x / 3.0",
    "x + -2": "x - 2.0",
    "x - -2": "x + 2.0",
    "x + 0": "x",
    "1*x/1": "x",
    "0*x": "0.0 * x",
    "x - x": "x - x",
    "--x": "x",
    "+x": "x",
    "k + -x": "k - x",
    "-x - k": "-(x + k)",
    "x - (k - 1)": "x - (k - 1.0)",
    "x/(k/3)": "x / (k / 3.0)",
    "x/k/3": "x / k / 3.0",
    "(x + k)*2": "(x + k) * 2.0",
    "x*-2": "x * -2.0",
    "abs(x)": "fabs(x)",
    "min(x, k, 3)": "minimum(minimum(x, k), 3.0)",
    "max(x, 2)": "maximum(x, 2.0)",
    "1 if x > k else 2": "select(x > k, real(1.0), 2.0)",
    "1 if 0 < x <= k else 2": "select(both(0.0 < x, x <= k), real(1.0), 2.0)",
    "select(not x > 1 or x == k, x, 2)": "select(either(negate(x > 1.0), x == k), x, 2.0)",
    "Piecewise((k, x < 1), (x, x < k), (3, True))": "select(x < 1.0, k, select(x < k, x, 3.0))",
    "x if 1 < 2 else k": "x",
    "x if 1 < 2 and x != k else k": "select(x != k, x, k)",
    "x if h > 1 or not True else k": "k",
    "exp(0) + x*sin(h - 0.5)": "1.0 + x * 0.0",
    "1e-3*x + .5": "0.001 * x + 0.5",
    "(x  # why\n   + k)": "x + k",
}  # fmt: skip


@pytest.mark.parametrize(("right", "code"), WRITTEN.items())
def test_what_is_written_for_an_expression(right, code):
    system = one(right, parameters={"k": 2.0}, constants={"h": 0.5})
    assert rhs_line(system) == code


def test_powers_to_32_are_products():
    for n in (4, 7, 16, 31, 32, -5):
        system = one(f"x**{n}")
        assert "pow" not in system.lane_source()
        assert system.operations <= 10
        x = np.array([[0.7, -1.3, 2.0]])
        np.testing.assert_allclose(system.numpy_rhs()(0, x, ())[0], x[0] ** n, rtol=1e-14)


def points(name):
    x = np.array([0.3, 0.7, 0.99, 0.5, 0.05])
    return x + 1.0 if name == "acosh" else x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_in_equations(name):
    row = FUNCTIONS[name]
    x, v = points(name), points(name)[::-1].copy()
    given = {"n": iter(["x", "v"]), "m": iter(["x > v", "x < 0.6"])}
    masks = {"x > v": x > v, "x < 0.6": x < 0.6, "x": x, "v": v}
    words = [next(given[kind]) for kind in row.takes]
    call = f"{name}({', '.join(words)})"
    right = call if row.gives == "n" else f"select({call}, 1, 2)"
    system = one(right, {"x": 1.0, "v": 1.0})
    wanted = row.array(*(masks[word] for word in words))
    wanted = wanted if row.gives == "n" else np.where(wanted, 1.0, 2.0)
    np.testing.assert_array_equal(system.numpy_rhs()(0.0, [x, v], ())[0], wanted)
    np.testing.assert_array_equal(run_source(system, 0.0, np.array([x, v]), ())[0][0], wanted)


@pytest.mark.parametrize("name", [name for name, row in FUNCTIONS.items() if "m" not in row.takes])
def test_scalar_and_array_forms_agree(name):
    row = FUNCTIONS[name]
    for x in points(name):
        args = (float(x), 0.6)[: len(row.takes)]
        folded = one(f"{name}({', '.join(map(repr, args))})")
        assert folded.operations == 0
        assert float(rhs_line(folded)[5:-1]) == pytest.approx(float(row.array(*args)), rel=4e-16)


def test_minimum_and_maximum_give_way_to_numbers():
    system = one("min(x, v) + 10*max(x, v)", {"x": 1.0, "v": 1.0})
    found = system.numpy_rhs()(0.0, [[math.nan, 2.0], [3.0, math.nan]], ())
    assert found[0].tolist() == [33.0, 22.0]


def test_a_choice_keeps_the_other_side_out():
    system = one("Piecewise((1, abs(x) < 1e-9), (sin(x)/x, True))")
    assert system.numpy_rhs()(0.0, [[0.0, 2.0]], ())[0].tolist() == [1.0, math.sin(2.0) / 2.0]


def test_time():
    assert one("sin(t)*x").autonomous is False
    assert one("x").autonomous
    watched = System.from_equations("dx = -x\na = t*x", states={"x": 1.0}, observables=["a"])
    assert watched.autonomous
    assert watched.numpy_observe()(3.0, [2.0], ()).tolist() == [6.0]


def test_long_expressions_are_cut_into_lines():
    terms = " + ".join(f"sin({i}*x)" for i in range(1, 200))
    system = one(terms)
    assert max(map(len, system.lane_source().splitlines())) < 400
    x = np.linspace(0.1, 2.0, 5)
    wanted = sum(np.sin(i * x) for i in range(1, 200))
    np.testing.assert_allclose(run_source(system, 0.0, x[None], ())[0][0], wanted, atol=1e-12)


def test_the_text_of_the_code_does_not_change():
    assert hodgkin().lane_source() == hodgkin().lane_source()
    swapped = "\n".join(reversed(HODGKIN.strip().splitlines()))
    system = System.from_equations(
        swapped,
        states={"V": -65.0, "m": 0.05, "h": 0.6, "n": 0.32},
        parameters={"I": 10.0, "g_Na": 120.0},
        constants=dict(hodgkin().constants),
        observables=["I_Na", "I_ext"],
    )
    assert system.lane_source() == hodgkin().lane_source()


def test_a_graph_can_be_extended():
    system = one("k*x**2", parameters={"k": 3.0})
    builder = Builder(system.equations.nodes)
    x, k = builder.leaf("state", 0), builder.leaf("parameter", 0)
    assert builder.nodes[x].op == "state"
    assert len(builder.nodes) == len(system.equations.nodes)
    slope = builder.apply("*", builder.number(2.0), builder.apply("*", k, x))
    assert evaluate(builder.nodes, [slope], 0.0, [5.0], [3.0]).tolist() == [30.0]


def test_the_tables_name_no_operation_twice():
    assert not set(FUNCTIONS) & set(COMPARISONS)
