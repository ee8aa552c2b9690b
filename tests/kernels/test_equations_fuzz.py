"""Whatever the text, the parser answers with a system or an EquationError, and executes nothing."""

import ast
import contextlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cubie_kernels.model
from cubie_kernels.errors import EquationError
from cubie_kernels.model import System
from cubie_kernels.model.functions import FUNCTIONS, SPECIAL

pytestmark = pytest.mark.timeout(120)

STATES = {"x": 1.0, "y": 0.5}
PARAMETERS = {"k": 2.0, "dz": 3.0}


class Watch:
    """Notes what Python reports of code that is run or files that are opened."""

    def __init__(self):
        self.on = False
        self.seen = []
        sys.addaudithook(self.note)

    def note(self, event, args):
        if self.on and (event in ("exec", "open") or event.startswith(("os.", "subprocess."))):
            self.seen.append((event, args))

    @contextlib.contextmanager
    def watching(self):
        self.on = True
        try:
            yield
        finally:
            self.on = False
        assert self.seen == []


WATCH = Watch()


def read(text):
    """Return a system, or None for an EquationError; anything else comes through."""
    fault, source = None, ""
    with WATCH.watching():
        try:
            system = System.from_equations(text, states=STATES, parameters=PARAMETERS)
            source = system.lane_source()
        except EquationError as raised:
            system, fault = None, raised
    ast.parse(source)
    if fault is not None and fault.line is not None:
        assert len(str(fault)) < 10_000
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert 1 <= fault.line <= len(lines)
        assert fault.column is not None
        assert 0 <= fault.column <= len(lines[fault.line - 1])
    return system


WORDS = st.sampled_from(
    [
        *["x", "y", "k", "t", "pi", "dx", "dy", "dt", "dz", "a", "b", "da", "d", "_", "lambda"],
        *["if", "else", "and", "or", "not", "True", "None", "for", "in", "is", "__import__"],
        *["exp", "min", "Piecewise", "select", "pow", "abs", "1", "0.5", "1e3", "2.", "9", "1e999"],
        *["+", "-", "*", "/", "**", "//", "<", "<=", "==", "!=", "=", "(", ")", "(", ")", ","],
        *["\n", "\n", " ", "#", ".", "^", "[", "]", ":", ":=", "'", '"', "\\", ";", "\t", "\r\n"],
    ]
)
PIECES = st.one_of(WORDS, WORDS, WORDS, st.text(max_size=3))
LINES = st.lists(PIECES, max_size=25).map(" ".join) | st.lists(PIECES, max_size=25).map("".join)


@settings(max_examples=400, deadline=None)
@given(LINES)
@example("lambda: 0")
def test_any_text(text):
    read(text)


@settings(max_examples=400, deadline=None)
@given(LINES)
@example("(x for x in y)")
@example("f'{x}'")
@example("x if y else k")
@example("*x, *y")
@example("(yield)")
@example("()")
@example("(x := 2)")
@example("x.__class__.__mro__")
@example("(lambda: x)()")
@example("[x for x in (1, 2)]")
@example("__import__('os').system('true')")
@example("9**9**9**9**9")
@example("9**9**9*x")
@example("x**9**9**9")
@example("(1e308*10)*x")
@example("print(x)")
@example("open('f')")
@example("exp.__globals__")
@example("x\n# \0")
@example("\0")
@example("\N{FULLWIDTH LATIN SMALL LETTER X}")
@example("x\f+ y")
@example("x # \N{SNOWMAN}")
@example("x \\\n + y")
@example("True(x)")
@example("not")
def test_any_right_side(right):
    read(f"dy = 1\ndx = {right}")


@pytest.mark.parametrize(
    "opened",
    ["(", "-", "not ", "exp(", "(-", "x**", "x+", "x if x>0 else ", "x<", "(x,", "[", "x*("],
)
@pytest.mark.parametrize("closed", ["", "x", "x)))))))))"])
def test_deep_and_long_texts(opened, closed):
    for count in (50, 1_000, 100_000):
        right = opened * count + closed
        read(f"dy = 1\ndx = {right}")
        if closed == "x":
            read(f"dy = 1\ndx = {right}" + ")" * right.count("("))


def test_a_deep_caller_gets_an_answer_too():
    text = "dy = 1\ndx = " + "(x*" * 50 + "x" + ")" * 50

    def deep(n):
        return deep(n - 1) if n else read(text)

    here = len(inspect.stack(0))
    assert deep(0) is not None
    for spare in (400, 250, 150):
        deep(sys.getrecursionlimit() - here - spare)


# -- expressions whose value Python can also tell

F = np.float64
PYTHON = {
    "F": F,
    "fabs": np.fabs,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "fmin": np.fmin,
    "fmax": np.fmax,
    "pick": lambda condition, a, b: a if condition else b,
    "square": lambda x: x * x,
    "cube": lambda x: x * x * x,
    "inverse": lambda x: F(1.0) / x,
}


def both(template, reference=None):
    """Return a function from operands (model text, Python text) to such a pair."""
    reference = template if reference is None else reference
    return lambda parts: tuple(
        pattern.format(*(part[i] for part in parts))
        for i, pattern in enumerate((template, reference))
    )


def grow(numbers):
    masks = st.one_of(
        *(
            st.tuples(numbers, numbers).map(both(f"({{}}) {op} ({{}})"))
            for op in ("<", "<=", ">", ">=", "==", "!=")
        ),
        st.tuples(numbers, numbers, numbers).map(both("({}) < ({}) <= ({})")),
    )
    masks = st.one_of(
        masks,
        st.tuples(masks, masks).map(both("({}) and ({})")),
        st.tuples(masks, masks).map(both("({}) or ({})")),
        masks.map(lambda m: both("not ({})")((m,))),
    )
    two, alone = st.tuples(numbers, numbers), numbers.map(lambda n: (n,))
    choice = st.tuples(numbers, masks, numbers)
    return st.one_of(
        two.map(both("({}) + ({})")),
        two.map(both("({}) - ({})")),
        two.map(both("({}) * ({})")),
        two.map(both("({}) / (1 + abs({}))", "({}) / (F(1) + fabs({}))")),
        two.map(both("-({}) - ({})")),
        alone.map(both("-({})")),
        alone.map(both("({})/-4", "({})/F(-4)")),
        alone.map(both("({})/7", "({})/F(7)")),
        alone.map(both("(k + ({}))**2", "square(k + ({}))")),
        alone.map(both("(k - ({}))**3", "cube(k - ({}))")),
        alone.map(both("(1 + abs({}) + x**2)**-1", "inverse(F(1) + fabs({}) + square(x))")),
        alone.map(both("abs({})**0.5", "sqrt(fabs({}))")),
        alone.map(both("floor({})")),
        two.map(both("min({}, {})", "fmin({}, {})")),
        two.map(both("max({}, {})", "fmax({}, {})")),
        choice.map(both("({}) if ({}) else ({})")),
        choice.map(both("Piecewise(({}, {}), ({}, True))", "pick({1}, {0}, {2})")),
    )


LEAVES = st.one_of(
    st.sampled_from(["x", "y", "k", "t"]).map(lambda name: (name, name)),
    st.sampled_from(["1", "2", "3.5", "1e-3", ".25", "7"]).map(lambda n: (n, f"F({n})")),
)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(LEAVES, grow, max_leaves=25), st.lists(st.integers(-9, 9), min_size=4, max_size=4)
)
def test_the_graph_computes_what_python_computes(expression, values):
    text, reference = expression
    t, x, y, k = (F(value) / 3 for value in values)
    with np.errstate(all="ignore"):
        wanted = eval(reference, PYTHON | {"t": t, "x": x, "y": y, "k": k})
    system = System.from_equations(
        f"dx = aux\ndy = {text}\naux = {text}", states=STATES, parameters=PARAMETERS
    )
    found = system.numpy_rhs()(t, [x, y], [k, 3.0])
    np.testing.assert_array_equal(found, [wanted, wanted])
    scope = {name: row.array for name, row in FUNCTIONS.items()} | {"real": np.float64}
    exec(system.lane_source(), scope)
    dy = np.full(2, np.nan)
    with np.errstate(all="ignore"):
        scope["rhs"](t, np.array([x, y]), np.array([k, 3.0]), dy)
    np.testing.assert_array_equal(dy, [wanted, wanted])


CALLS = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["x", "y", "k", "t", "2", "0.5", "pi"]),
        st.tuples(CALLS, st.sampled_from(["+", "-", "*", "/", "**"]), CALLS).map(
            lambda p: f"({p[0]} {p[1]} {p[2]})"
        ),
        st.tuples(
            st.sampled_from([n for n, row in FUNCTIONS.items() if row.takes == "n"]), CALLS
        ).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(
            st.sampled_from([n for n, row in FUNCTIONS.items() if row.takes == "nn"]), CALLS, CALLS
        ).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
    )
)


@settings(max_examples=100, deadline=None)
@given(CALLS, CALLS)
def test_generated_code_computes_what_the_graph_computes(first, second):
    system = read(f"dx = {first}\ndy = {second}")
    if system is None:  # a constant part without a finite value
        return
    rng = np.random.default_rng(7)
    y, p = rng.normal(0, 2, (2, 8)), rng.normal(0, 2, (2, 8))
    scope = {name: row.array for name, row in FUNCTIONS.items()} | {"real": np.float64}
    exec(system.lane_source(), scope)
    dy = np.full((2, 8), np.nan)
    with np.errstate(all="ignore"):
        scope["rhs"](np.float64(0.5), y, p, dy)
    np.testing.assert_array_equal(dy, system.numpy_rhs()(0.5, y, p))


def test_the_package_neither_evaluates_nor_executes():
    names = {"eval", "exec", "compile", "sympify", "__import__", "literal_eval", "getattr"}
    folder = Path(cubie_kernels.model.__file__).parent
    files = sorted(folder.glob("*.py"))
    assert len(files) > 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                name = (
                    called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                )
                assert name not in names or ast.unparse(called) == "re.compile", (file, name)


def test_no_function_is_both_plain_and_special():
    assert not set(FUNCTIONS) & set(SPECIAL)
