"""Every fault in a model's text is told with its line, a caret and what to do."""

import pytest

from cubie_kernels.errors import CubieError, EquationError
from cubie_kernels.model import System

STATES = {"x": 1.0, "v": 0.0}
PARAMETERS = {"k": 1.0, "rho": 28.0}


def fault(text, **options):
    given = {"states": STATES, "parameters": PARAMETERS} | options
    with pytest.raises(EquationError) as caught:
        System.from_equations(text, **given)
    assert isinstance(caught.value, CubieError)
    return caught.value


# right side of dx, what the message says, what the caret underlines
RIGHT = [
    ("v + roh*2", "Undefined name 'roh'. Did you mean 'rho'?", "roh"),
    ("v + qqqq", "Undefined name 'qqqq'. Declare it in parameters", "qqqq"),
    ("v + time", "The time is written t", "time"),
    ("e*v", "exp(1)", "e"),
    ("exq(v)", "Unknown function 'exq'. Did you mean 'exp'?", "exq"),
    ("ln(v)", "Write log", "ln"),
    ("where(v > 0, 1, 2)", "Write select", "where"),
    ("v(2)", "'v' is not a function. A product is written v*(...)", "v"),
    ("2 + exp", "'exp' is a function", "exp"),
    ("exp(v, 2)", "exp takes 1 argument, not 2", "exp(v, 2)"),
    ("exp()", "exp takes 1 argument, not 0", "exp()"),
    ("select(v > 1, 2)", "select takes 3 arguments, not 2", "select(v > 1, 2)"),
    ("min(v)", "min takes 2 arguments or more, not 1", "min(v)"),
    ("Piecewise()", "Piecewise takes pairs", "Piecewise()"),
    ("Piecewise(1, 2)", "Piecewise takes pairs", "1"),
    ("Piecewise((1, v > 0))", "The last condition of a Piecewise must be True", "v > 0"),
    ("Piecewise((1, True), (2, v > 0))", "can never be reached", "True"),
    ("v, 2", "A pair (a, b) belongs in Piecewise only", "v, 2"),
    ("exp((v, x))", "A pair (a, b) belongs in Piecewise only", "(v, x)"),
    ("v +", "A value is expected after '+'", "+"),
    ("v * / k", "A value is expected after '*', not '/'", "/"),
    ("v k", "An operator is missing between 'v' and 'k'", "k"),
    ("(v)(k)", "An operator is missing after ')'", "(k)"[:1]),
    ("2v", "'2v' is neither a number nor a name. A product is written 2*v", "2"),
    ("(v + 1", "This '(' is never closed", "("),
    ("v) + 1", "This ')' closes nothing", ")"),
    ("x^2", "A power is written with '**'", "^"),
    ("v = k", "A second '='", "="),
    ("exp(x=2)", "A second '='", "="),
    ("v =< k", "This comparison is written '<='", "="),
    ("v > = k", "This comparison is written '>='", "="),
    ("(v > 0) + 1", "A condition is not a number", "v > 0"),
    ("v*(x < v)", "Piecewise((1, x < v), (0, True))", "x < v"),
    ("(x < v) < 1", "A condition is not a number", "x < v"),
    ("v > 0", "'dx/dt' is a condition, not a number", "v"),
    ("True", "'dx/dt' is a condition, not a number", "True"),
    ("1 + True", "A condition is not a number", "True"),
    ("1 if v else 2", "A condition is needed here", "v"),
    ("1 if v and x > 0 else 2", "A condition is needed here", "v"),
    ("select(not v, 1, 2)", "A condition is needed here", "v"),
    ("v if x > 0", "This 'if' has no 'else'", "if"),
    ("v else 2", "An 'else' without 'if'", "else"),
    ("1/0", "no finite value", "1/0"),
    ("v/0", "no finite value", "v/0"),
    ("v + log(-1)", "no finite value", "log(-1)"),
    ("v + 9**9**9", "no finite value", "9**9**9"),
    ("v + (-8)**(1/3)", "no finite value", "(-8)**(1/3)"),
    ("1e999", "too large", "1e999"),
    ("9" * 400, "too large", "9" * 153),
    ("007", "no leading zeros: 7", "007"),
    ("0x10", "'0x' is neither a number nor a name", "0"),
    ("1_000", "'1_' is neither a number nor a name", "1"),
    ("1j*v", "'1j' is neither a number nor a name", "1"),
    ("v // 2", "floor(x/y)", "//"),
    ("v % 2", "fmod(x, y)", "%"),
    ("v & x", "'and'", "&"),
    ("v[0]", "There is no indexing", "["),
    ("v; x", "one equation a line", ";"),
    ("v is x", "'is' is a word of Python", "is"),
    ("\N{GREEK SMALL LETTER SIGMA}*v", "write 'sigma'", "\N{GREEK SMALL LETTER SIGMA}"),
    ("dx + 1", "'dx/dt' is defined by itself", "dx"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "message", "marked"), RIGHT, ids=[row[0][:30] for row in RIGHT])
def test_faults_of_a_right_side(right, message, marked):
    line = f"  dx = {right}"
    found = fault(f"dv = -x  # first\n{line}\n")
    assert message in found.message
    assert found.line == 2
    shown, caret = str(found).splitlines()[-2:]
    assert shown.startswith(f"  line 2: {line[:100]}")
    assert len(shown) < 200
    column = len(caret) - len(caret.lstrip())
    assert shown[column : column + caret.count("^")] == marked
    assert found.column == column - len("  line 2: ")


# a line, what the message says, column and width of the caret
LINES = [
    ("dx/dt = v", "'dx/dt' is defined twice: first in line 2", 0, 2),
    ("dx = v", "'dx/dt' is defined twice: first in line 2", 0, 2),
    ("  d(x)/dt = v", "'dx/dt' is defined twice: first in line 2", 4, 1),
    ("a = 2", "'a' is defined twice: first in line 3", 0, 1),
    ("k = 2", "'k' is defined twice: it is also declared as a parameter", 0, 1),
    ("x = 2", "'x' is a state", 0, 1),
    ("dz/dt = x", "Derivative of 'z', which is not a state", 0, 2),
    ("d(z)/dt = x", "Derivative of 'z', which is not a state", 2, 1),
    ("d(xx)/dt = x", "Did you mean 'x'?", 2, 2),
    ("d(k)/dt = x", "'k', which is a parameter, not a state", 2, 1),
    ("dk/dt = x", "'k', which is a parameter, not a state", 0, 2),
    ("dz = x", "Nothing uses 'dz'. If it is the derivative of 'z', declare 'z'", 0, 2),
    ("lambda = 2", "'lambda' is a word of Python", 0, 6),
    ("if = 2", "The name 'if' is reserved", 0, 2),
    ("t = 2", "The name 't' is reserved: it is the time", 0, 1),
    ("dt = 2", "The name 'dt' is reserved", 0, 2),
    ("pi = 3", "The name 'pi' is reserved", 0, 2),
    ("exp = 2", "The name 'exp' is reserved: it is a function", 0, 3),
    ("_c0 = 2", "The name '_c0' is reserved", 0, 3),
    ("b == 2", "'==' compares; a definition is written with one '='", 2, 2),
    ("b = = 2", "'= =' has no meaning", 4, 1),
    ("b + 2", "Not an equation", 0, 1),
    ("= 2", "Nothing stands to the left of '='", 0, 1),
    ("b =", "A value is expected after '='", 2, 1),
    ("b += 2", "The left side is a name, or a derivative", 0, 3),
    ("3 = 2", "The left side is a name, or a derivative", 0, 1),
    ("b(x) = 2", "The left side is a name, or a derivative", 0, 4),
    ("x' = 2", "a derivative is written dx, dx/dt or d(x)/dt", 1, 1),
    ("b = (x +", "This '(' is never closed", 4, 1),
    ("b" * 101 + " = 2", "A name of more than 100 characters", 0, 101),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message", "column", "width"), LINES, ids=[r[0] for r in LINES])
def test_faults_of_a_line(line, message, column, width):
    found = fault(f"dv = -x\ndx = v\na = x\n{line}")
    assert message in found.message
    assert (found.line, found.column) == (4, column)
    assert str(found).splitlines()[-1].count("^") == width


def test_a_cycle_is_shown():
    found = fault("dx = a\ndv = 1\na = 2*b\nb = c - 1\nc = exp(a)")
    assert "a -> b -> c -> a" in found.message
    assert (found.line, found.column) == (5, 8)
    through = fault("dx = dv\ndv = p2\np2 = dx")
    assert "dx/dt -> dv/dt -> p2 -> dx/dt" in through.message


def test_a_parenthesis_left_open_is_found_where_it_is():
    found = fault("dx = (v + 1\ndv = -x")
    assert (found.message, found.line, found.column) == ("This '(' is never closed.", 1, 5)


def test_faults_inside_an_expression_of_several_lines():
    found = fault("dv = -x\ndx = (v  # one\n      + roh  # two\n   )")
    assert (found.line, found.column) == (3, 8)
    found = fault("dv = -x\ndx = exp(v,  # one\n      x)")
    assert (found.line, found.column) == (2, 5)


def test_a_state_without_an_equation():
    found = fault("dx = v\ndvv = x")
    assert "No equation for the state 'v'" in found.message
    assert "Did you mean 'dvv'?" in found.message


def test_a_state_that_is_not_declared_but_used():
    found = fault("dx = v*z\ndv = 1\ndz = x")
    assert "There is an equation for 'dz': declare 'z' in states" in found.message
    assert found.line == 1


def test_a_derivative_that_could_be_a_state():
    text = "dv = 1\n{} = v\nd(dx)/dt = 2"
    states = STATES | {"dx": 0.0}
    found = fault(text.format("dx"), states=states)
    assert "write dx/dt" in found.message
    assert System.from_equations(text.format("dx/dt"), states=states).states == ("x", "v", "dx")


GOOD = "dx = v\ndv = -k*x\npower = x*v\nopen = x > 0"
NAMES = [
    ({"observables": ["powr"]}, "'powr' is not defined by the equations. Did you mean 'power'?"),
    ({"observables": ["x"]}, "The observable 'x' is a state"),
    ({"observables": ["k"]}, "The observable 'k' is a parameter"),
    ({"observables": ["power", "power"]}, "listed twice"),
    ({"observables": "power"}, "a list of names"),
    ({"observables": ["open"]}, "'open' is a condition, not a number"),
    ({"parameters": {"k": 1.0, "x": 2.0}}, "'x' is both a state and a parameter"),
    ({"constants": {"k": 1.0}}, "'k' is both a parameter and a constant"),
    ({"states": {}}, "at least one state"),
    ({"states": ["x", "v"]}, "a mapping from names to values"),
    ({"states": {"x": float("nan"), "v": 0}}, "'x' needs a finite number, not nan"),
    ({"parameters": {"k": float("inf")}}, "'k' needs a finite number, not inf"),
    ({"constants": {"c": 10**400}}, "'c' needs a finite number"),
    ({"parameters": {"k": "1"}}, "'k' needs a number, not '1'"),
    ({"parameters": {"k": True}}, "'k' needs a number, not True"),
    ({"parameters": {"k": 1j}}, "'k' needs a number, not 1j"),
    ({"parameters": {1: 1.0}}, "must be a text, not 1"),
    ({"parameters": {"a b": 1.0}}, "'a b' is no name for a parameter"),
    ({"parameters": {"": 1.0}}, "'' is no name for a parameter"),
    ({"parameters": {"k\n": 1.0}}, "is no name for a parameter"),
    ({"parameters": {"\N{GREEK SMALL LETTER MU}": 1.0}}, "is no name for a parameter"),
    ({"parameters": {"exp": 1.0}}, "The name 'exp' is reserved: it is a function"),
    ({"parameters": {"t": 1.0}}, "The name 't' is reserved: it is the time"),
    ({"parameters": {"class": 1.0}}, "The name 'class' is reserved: it is a word of Python"),
    ({"name": ""}, "The name of a model must be a printable text"),
    ({"name": 3}, "The name of a model must be a printable text"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), NAMES, ids=[row[1][:40] for row in NAMES])
def test_faults_of_names_and_values(options, message):
    assert message in fault(GOOD, **options).message


def test_the_text_must_be_a_text():
    assert "must be a text, not bytes" in fault(b"dx = 1").message


def test_a_fault_in_what_is_not_needed_is_found_unless_it_has_a_value():
    assert "Undefined name" in fault(GOOD + "\nspare = nothing").message
    spared = "dx = v\ndv = Piecewise((log(c), c > 0), (x, True))"
    assert System.from_equations(spared, states=STATES, constants={"c": 0}).operations == 0


TOO_MUCH = {
    "parentheses": "(" * 70 + "x" + ")" * 70,
    "signs": "-" * 400 + "x",
    "powers": "x**" * 300 + "x",
    "choices": "1 if x > 0 else " * 300 + "2",
    "calls": "exp(" * 59 + "-+" * 40 + "x" + ")" * 59,
    "sum": "x+" * 4000 + "x",
}


@pytest.mark.parametrize("right", TOO_MUCH.values(), ids=TOO_MUCH)
def test_limits_on_depth_and_length(right):
    found = fault(f"dv = 1\ndx = {right}")
    assert "on lines of their own" in found.message
    assert found.line == 2
    assert len(str(found)) < 1500


def test_a_model_may_not_be_endless():
    assert "longer than 2,000,000 characters" in fault("# \n" * 700_000).message
