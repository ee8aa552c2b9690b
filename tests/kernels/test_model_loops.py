"""Alike equations are written as loops, which compute what the equations say."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from cubie_kernels import System
from cubie_kernels.lane import cpu, cpu_math, symbols
from cubie_kernels.lane.cpu_math_apply import _register
from cubie_kernels.lane.cpu_types import FLAGS, Real
from cubie_kernels.model.functions import FUNCTIONS
from cubie_kernels.model.loops import find_loops

WIDTH = 4
NAMESPACE = {name: row.array for name, row in FUNCTIONS.items()} | {"real": np.float64}


def ring(cells: int) -> System:
    """FitzHugh-Nagumo cells; all v come before all w."""
    lines, states = [], {}
    for i in range(cells):
        left, right = (i - 1) % cells, (i + 1) % cells
        lines += [f"dv{i} = v{i} - v{i}**3/3 - w{i} + I{i} + D*(v{left} - 2*v{i} + v{right})"]
        lines += [f"dw{i} = 0.08*(v{i} + 0.7 - 0.8*w{i})"]
        states |= {f"v{i}": 0.1 * i}
    states |= {f"w{i}": 0.2 for i in range(cells)}
    parameters = {"D": 0.5} | {f"I{i}": 0.5 + 0.01 * i for i in range(cells)}
    return System.from_equations("\n".join(lines), states=states, parameters=parameters)


def synapses(cells: int) -> System:
    """A ring in which each cell needs a costly function of both neighbours."""
    lines = [f"s{i} = 1/(1 + exp(-x{i}))" for i in range(cells)]
    lines += [f"dx{i} = s{(i + 1) % cells} + s{(i - 1) % cells} - x{i}" for i in range(cells)]
    return System.from_equations("\n".join(lines), states={f"x{i}": 0.1 * i for i in range(cells)})


def fluxes(cells: int) -> System:
    """A chain in which neighbours exchange what an auxiliary says."""
    lines = [f"f{i} = D*(u{i} - u{i + 1})" for i in range(cells - 1)]
    for i in range(cells):
        came = f"f{i - 1}" if i else "0"
        went = f"f{i}" if i < cells - 1 else "0"
        lines.append(f"du{i} = {came} - {went} - k{i}*u{i}")
    return System.from_equations(
        "\n".join(lines),
        states={f"u{i}": 1.0 for i in range(cells)},
        parameters={"D": 0.3} | {f"k{i}": 0.1 * i for i in range(cells)},
    )


def grid(size: int) -> System:
    """Two substances on a torus; a cell's states lie side by side."""
    lines, states = [], {}
    for i in range(size):
        for j in range(size):
            near = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            spread = {
                name: " + ".join(f"{name}{a % size}_{b % size}" for a, b in near) for name in "uv"
            }
            own = f"{i}_{j}"
            lines.append(f"r{own} = k*u{own}*exp(-v{own})")
            lines.append(f"du{own} = D*({spread['u']} - 4*u{own}) - r{own}")
            lines.append(f"dv{own} = 0.1*({spread['v']} - 4*v{own}) + r{own} - v{own}")
            states |= {f"u{own}": 1.0, f"v{own}": 0.5}
    return System.from_equations("\n".join(lines), states=states, parameters={"D": 0.2, "k": 0.4})


def mean_field(cells: int) -> System:
    """Each cell sees the mean of all, and the first one is different."""
    mean = " + ".join(f"sin(x{i})" for i in range(cells))
    lines = [f"m = ({mean})/{cells}", "hub = 2*K*m", "dx0 = -x0 + hub"]
    lines += [f"dx{i} = w{i} + hub*cos(x{i}) - x0*t" for i in range(1, cells)]
    return System.from_equations(
        "\n".join(lines),
        states={f"x{i}": 0.1 * i for i in range(cells)},
        parameters={"K": 1.5} | {f"w{i}": 0.2 * i for i in range(cells)},
    )


def gates(cells: int) -> System:
    """Conditions as auxiliaries, next to numbers of the same stem; and indices that fall."""
    lines = [f"open{i} = x{i} > 0.5" for i in range(cells)]
    lines += [f"open_{i} = x{i}*x{i} + 1" for i in range(cells)]
    for i in range(cells):
        back = cells - 1 - i
        lines.append(
            f"dx{i} = Piecewise((open_{i}, open{i} and x{back} > 0), (-x{back}/open_{i}, True))"
        )
        lines.append(f"dz{i} = Piecewise((1, open{i}), (0, True)) - k*z{i}*open_{i}")
    names = [f"x{i}" for i in range(cells)] + [f"z{i}" for i in range(cells)]
    return System.from_equations(
        "\n".join(lines), states=dict.fromkeys(names, 0.3), parameters={"k": 1.0}
    )


MODELS = [ring(20), synapses(15), fluxes(12), grid(11), mean_field(12), gates(16)]
IDS = ["ring", "synapses", "fluxes", "grid", "mean-field", "gates"]


def arguments(system: System, seed: int, lanes: int = 3):
    make = np.random.default_rng(seed)
    y = make.uniform(-1, 1, (len(system.states), lanes))
    return 0.7, y, make.uniform(0, 1, (len(system.parameters), lanes)), make.uniform(-1, 1, y.shape)


def written(system: System, t, y, p, v):
    """Run all generated functions with arrays as lanes."""
    scope = dict(NAMESPACE)
    exec(system.lane_source() + "\n\n" + system.derivative_source(), scope)
    lanes = y.shape[1:]
    entries = np.full((len(system.jacobian_pattern), *lanes), np.nan)
    slope, change, product = np.full((3, len(system.states), *lanes), np.nan)
    seen = np.full((len(system.observables), *lanes), np.nan)
    with np.errstate(all="ignore"):
        scope["rhs"](t, y, p, slope)
        scope["jacobian"](t, y, p, entries)
        scope["time_derivative"](t, y, p, change)
        scope["jvp"](t, y, p, v, product)
        if system.observables:
            scope["observe"](t, y, p, seen)
    return slope, seen, entries, change, product


def assert_written_right(system: System, seed: int) -> None:
    """Compare generated code with the graph: bit for bit, as both compute the same operations."""
    t, y, p, v = arguments(system, seed)
    slope, seen, entries, _, product = written(system, t, y, p, v)
    np.testing.assert_array_equal(slope, system.numpy_rhs()(t, y, p))
    np.testing.assert_array_equal(seen, system.numpy_observe()(t, y, p))
    matrix = system.numpy_jacobian()(t, y, p)
    places = tuple(np.array(system.jacobian_pattern, dtype=int).reshape(-1, 2).T)
    np.testing.assert_array_equal(entries, matrix[places])
    wanted = np.einsum("ijl,jl->il", matrix, v)
    near = 1e-12 * (1 + np.abs(matrix).max() * len(system.states))
    np.testing.assert_allclose(product, wanted, rtol=1e-10, atol=near)


@pytest.mark.parametrize("system", MODELS, ids=IDS)
def test_loops_compute_what_the_equations_say(system):
    assert " in range(" in system.lane_source()
    assert_written_right(system, 1)


def test_a_round_holds_the_equations_of_a_cell():
    source = ring(100).lane_source()
    assert (
        "    for _i in range(98):\n"
        "        _v = y[1 + _i]\n"
        "        _w = y[101 + _i]\n"
        "        dy[1 + _i] = _v - _v * _v * _v / 3.0 - _w + p[2 + _i]"
        " + D * (y[_i] - 2.0 * _v + y[2 + _i])\n"
        "        dy[101 + _i] = 0.08 * (_v + 0.7 - 0.8 * _w)\n"
    ) in source
    assert source.count("\n") < 30
    assert ring(100).derivative_source().count("\n") < 80


def test_what_is_costly_is_computed_once():
    source = synapses(100).lane_source()
    # Those of the cells 0, 1, 98 and 99 for the ends, and one a round.
    assert source.count("exp(") == 5
    assert "\n        _s = _s_1\n        _s_1 = _s_2\n" in source
    # Both equations of a cell are in one round.
    system = grid(12)
    loops = find_loops(system.equations.nodes, system.equations.derivatives)
    rounds = sum(loop.rounds * len(loop.stores) for loop in loops)
    computed = sum(
        system.equations.nodes[at].op == "exp"
        for loop in loops
        for part in loop.computed
        for at in part.instances
    )
    assert computed == rounds / 2 > 100


def test_what_each_output_shares_with_all_others_is_computed_before():
    source = mean_field(30).lane_source()
    before, inside = source.split("    for _i in range(29):\n")
    assert before.count("sin(") == 30
    assert "hub = " in before
    assert inside.count("\n") == 1


def test_what_a_loop_would_repeat_at_much_cost_stays_as_it_was():
    """Each cell needs an exponential of a cell far away, whose own cell needs it too."""
    n = 40
    lines = [f"e{i} = exp(x{i})\ndx{i} = e{i} - e{(i + 13) % n}" for i in range(n)]
    system = System.from_equations("\n".join(lines), states={f"x{i}": 0.1 for i in range(n)})
    assert " in range(" not in system.lane_source()
    assert system.lane_source().count("exp(") == n
    assert_written_right(system, 3)


def test_models_without_repetition_have_no_loops():
    lorenz = System.from_equations(
        "dx = s*(y - x)\ndy = x*(r - z) - y\ndz = x*y - b*z",
        states={"x": 1.0, "y": 0.0, "z": 0.0},
        parameters={"s": 10.0, "r": 28.0, "b": 8 / 3},
    )
    few = ring(7)
    make = random.Random(1)
    apart = System.from_equations(
        "\n".join(f"dx{i} = -{1 + i / 7}*x{i} + x{make.randrange(60)}" for i in range(60)),
        states={f"x{i}": 0.0 for i in range(60)},
    )
    network = System.from_equations(
        "\n".join(f"dx{i} = sin(x{make.randrange(60)}) - x{i}" for i in range(60)),
        states={f"x{i}": 0.0 for i in range(60)},
    )
    for system in (lorenz, few, apart, network):
        equations = system.equations
        assert find_loops(equations.nodes, equations.derivatives) == []
        assert " in range(" not in system.lane_source()


def test_no_output_is_lost_or_written_twice():
    for system in MODELS:
        outputs = system.equations.derivatives
        loops = find_loops(system.equations.nodes, outputs)
        positions = [k for loop in loops for store in loop.stores for k in store.run.positions]
        assert len(set(positions)) == len(positions) > len(outputs) / 2
        assert set(positions) <= set(range(len(outputs)))


@pytest.mark.parametrize(
    ("system", "derivative"), [(ring(20), True), (gates(16), False), (synapses(15), True)]
)
def test_loops_on_the_cpu(system, derivative):
    n, p = len(system.states), len(system.parameters)
    entries = len(system.jacobian_pattern) if derivative else 0
    functions = "\n" + system.lane_source()
    if derivative:
        functions += "\n\n" + system.derivative_source("jacobian")
    parts = ["@device\ndef " + part for part in functions.split("\ndef ")[1:]]
    main = [
        "def run(given, out):",
        f"    y, p, f, j = private({n}), private({p}), private({n}), private({entries})",
        f"    for i in range({n}):",
        "        y[i] = load(given, i, 0)",
        f"    for i in range({p}):",
        f"        p[i] = load(given, {n} + i, 0)",
        "    t = real(0.7)",
        "    rhs(t, y, p, f)",
        "    jacobian(t, y, p, j)" if derivative else "",
        f"    for i in range({n}):",
        "        store(out, i, 0, f[i])",
        f"    for i in range({entries}):",
        f"        store(out, {n} + i, 0, j[i])",
    ]
    symbols.load_symbols()
    scope = cpu.lanes(bits=64, width=WIDTH, shared=0) | cpu_math.namespace("auto")
    scope |= dict(zip(("load", "store"), _register(Real(64, WIDTH)), strict=True))
    exec("\n\n".join([*parts, "\n".join(main)]), scope)
    run = njit(scope["run"], fastmath=set(FLAGS), error_model="numpy")
    t, y, p, v = arguments(system, 2, WIDTH)
    out = np.full((n + entries, WIDTH), np.nan)
    run(np.concatenate([y, p]), out)
    slope, _, jacobian, _, _ = written(system, t, y, p, v)
    wanted = np.concatenate([slope, jacobian[:entries]])
    np.testing.assert_allclose(out, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("system", "precision"),
    [
        (fluxes(12), "float32"),
        pytest.param(gates(10), "float64", marks=pytest.mark.slow),
        pytest.param(ring(12), "float32", marks=pytest.mark.slow),
    ],
)
def test_loops_on_cuda(system, precision):
    pytest.importorskip("numba_cuda", reason="the extra cubie[cuda]")
    from cuda_cases import RUNS, assert_equal_bits, columns, cuda_config, solver
    from cuda_on_cpu import EmulatedBlock

    from cubie_kernels.run.execute import execute

    made = solver(system, method="heun", precision=precision, dt=0.1, adaptive=False)
    inputs = columns(system)
    block = EmulatedBlock(cuda_config(made))
    result = execute(block.kernel, made.batch(inputs, RUNS), threads=1)
    # The reference rounds after each operation, as the emulated code does.
    assert_equal_bits(result, made.run(inputs, RUNS))


# ------------------------------------------------------------------------------- random models
LEAVES = st.sampled_from(
    [
        "{own}",
        "{own}",
        "{left}",
        "{right}",
        "{other}",
        "{p}",
        "K",
        "t",
        "2",
        "0.5",
        "{a}",
        "{b}",
        "m",
    ]
)


def _grow(inner):
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(lambda e: f"({e[0]} + {e[1]})"),
        two.map(lambda e: f"({e[0]} - {e[1]})"),
        two.map(lambda e: f"({e[0]}*{e[1]})"),
        two.map(lambda e: f"({e[0]}/(2 + cos({e[1]})))"),
        inner.map(lambda e: f"sin({e})"),
        inner.map(lambda e: f"(-{e})"),
        st.tuples(inner, inner, inner).map(lambda e: f"select({e[0]} > {e[1]}, {e[2]}, {e[1]})"),
    )


EXPRESSIONS = st.recursive(LEAVES, _grow, max_leaves=10)


@st.composite
def compartments(draw):
    """Cells with two states and an auxiliary each; some other; in a row or a ring, in any order."""
    cells = draw(st.integers(9, 14))
    closed = draw(st.booleans())
    right_sides = {name: draw(EXPRESSIONS) for name in "ax"} | {"z": draw(EXPRESSIONS)}
    odd = draw(st.sets(st.integers(0, cells - 1), max_size=2))
    lines = [f"m = x0*K + x{cells - 1}"]
    for i in range(cells):
        left, right = (i - 1) % cells, (i + 1) % cells
        if not closed:
            left, right = max(i - 1, 0), min(i + 1, cells - 1)
        for name, text in right_sides.items():
            own = {"own": f"x{i}", "other": f"z{i}", "left": f"x{left}", "right": f"x{right}"}
            # An auxiliary is made from states only.
            own |= {"p": f"p{i}", "a": "t" if name == "a" else f"a{i}"}
            own |= {"b": "K" if name == "a" else f"a{right}"}
            lines.append(f"{'' if name == 'a' else 'd'}{name}{i} = " + text.format(**own))
        if i in odd:
            lines[-1] += " + 1.5"
    order = draw(st.sampled_from(["blocks", "cells", "backwards", "mixed"]))
    states = [f"{name}{i}" for name in "xz" for i in range(cells)]
    if order == "cells":
        states = [f"{name}{i}" for i in range(cells) for name in "xz"]
    elif order == "backwards":
        states = states[::-1]
    elif order == "mixed":
        random.Random(cells).shuffle(states)
    used = set(re.findall(r"\b\w+\b", "\n".join(lines)))
    shown = [f"a{i}" for i in range(cells)] + (["m"] if "m" in used else [])
    return System.from_equations(
        "\n".join(lines),
        states=dict.fromkeys(states, 0.5),
        parameters={"K": 1.0} | {f"p{i}": 0.1 for i in range(cells)},
        observables=shown,
    )


@settings(max_examples=60, deadline=None)
@given(compartments(), st.integers(0, 1000))
def test_random_compartments(system, seed):
    assert_written_right(system, seed)
