"""Derivatives of random expressions: against complex steps, as graph and as generated code."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cubie_kernels.model import System
from cubie_kernels.model.functions import FUNCTIONS

STEP = 1e-40  # a complex step has no cancellation, so that it can be as small as that
STATES = {"x": 1.0, "y": 1.0}
PARAMETERS = {"k": 1.0}


def by_real_part(compare):
    return lambda a, b: a if compare(a.real, b.real) else b


COMPLEX = {
    "sin": np.sin,
    "cos": np.cos,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "cosh": np.cosh,
    # NumPy's lose imaginary parts as small as these, or branch on them
    "tanh": lambda z: np.sinh(z) / np.cosh(z),
    "atan": lambda z: complex(math.atan(z.real), z.imag / (1 + z.real**2)),
    "min": by_real_part(lambda a, b: a < b),
    "max": by_real_part(lambda a, b: a > b),
    "abs": lambda z: z if z.real > 0 else -z,
    "select": lambda mask, a, b: a if mask else b,
    "above": lambda a, b: a.real > b.real,
}


def grow(inner):
    """Return larger expressions, as text for models and text for complex numbers."""

    def both(form, complex_form=None):
        def build(parts):
            parts = (parts,) if isinstance(parts[0], str) else parts
            return tuple(
                kind.format(*(part[i] for part in parts))
                for i, kind in enumerate((form, complex_form or form))
            )

        return build

    two = st.tuples(inner, inner)
    four = st.tuples(inner, inner, inner, inner)
    return st.one_of(
        two.map(both("({} + {})")),
        two.map(both("({} - {})")),
        two.map(both("({}*{})")),
        two.map(both("({}/(2 + cos({})))")),
        inner.map(both("-{}")),
        inner.map(both("sin({})")),
        inner.map(both("tanh({})")),
        inner.map(both("atan({})")),
        inner.map(both("exp(sin({}))")),
        inner.map(both("log(2 + sin({}))")),
        inner.map(both("log1p(1 + cos({}))", "log(2 + cos({}))")),
        inner.map(both("(2 + sin({}))**3")),
        inner.map(both("(1.5 + sin({}))**-1.5")),
        inner.map(both("(1.5 + sin({}))**0.7")),
        two.map(both("(1.5 + sin({}))**tanh({})")),
        two.map(both("sqrt(1 + ({})**2/cosh(sin({})))")),
        two.map(both("min({}, {})")),
        two.map(both("max({}, {})")),
        inner.map(both("abs({})")),
        four.map(both("select({} > {}, {}, {})", "select(above({}, {}), {}, {})")),
    )


LEAVES = st.one_of(
    st.sampled_from(["x", "y", "k", "t"]).map(lambda name: (name, name)),
    st.sampled_from(["2", "-0.5", "3"]).map(lambda n: (n, f"({n} + 0j)")),
)
EXPRESSIONS = st.recursive(LEAVES, grow, max_leaves=12)


@settings(max_examples=120, deadline=None)
@given(EXPRESSIONS, EXPRESSIONS, st.integers(0, 1000))
def test_derivatives_of_random_expressions(first, second, seed):
    system = System.from_equations(
        f"dx = {first[0]} + part\ndy = ({second[0]})*part\npart = {second[0]}",
        states=STATES,
        parameters=PARAMETERS,
    )
    t, x, y, k = np.random.default_rng(seed).uniform(-2, 2, 4).tolist()

    def by(name):
        """Return the exact derivative of both equations by one argument."""
        names = {"t": complex(t), "x": complex(x), "y": complex(y), "k": complex(k)}
        names[name] += 1j * STEP
        part = eval(second[1], COMPLEX | names)
        return np.array([eval(first[1], COMPLEX | names) + part, part * part]).imag / STEP

    wanted = np.stack([by("x"), by("y")], axis=1)
    found = system.numpy_jacobian()(t, [x, y], [k])
    close = {"rtol": 1e-8, "atol": 1e-10 * (1 + abs(wanted).max())}
    np.testing.assert_allclose(found, wanted, **close)

    scope = {name: row.array for name, row in FUNCTIONS.items()} | {"real": np.float64}
    exec(system.derivative_source(), scope)
    arrays = np.array([x, y]), np.array([k])
    entries = np.full(len(system.jacobian_pattern), np.nan)
    scope["jacobian"](t, *arrays, entries)
    places = tuple(np.array(system.jacobian_pattern, dtype=int).reshape(-1, 2).T)
    np.testing.assert_array_equal(entries, found[places])
    change, product = np.full((2, 2), np.nan)
    scope["time_derivative"](t, *arrays, change)
    np.testing.assert_allclose(change, by("t"), **close)
    scope["jvp"](t, *arrays, np.array([0.3, -2.0]), product)
    np.testing.assert_allclose(product, wanted @ [0.3, -2.0], **close)
