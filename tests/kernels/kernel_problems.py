"""Models with known solutions, and a short way to run a kernel on them."""

from dataclasses import fields, replace

import numpy as np

from cubie_kernels import Solver, System
from cubie_kernels.build import build_kernel
from cubie_kernels.run.batch import Column, Outcome
from cubie_kernels.run.execute import execute

# Lanes for tests that need many kernels: fewer lanes compile faster.
NARROW = 2
ROUNDING = {"float64": 2e-13, "float32": 3e-5}
# With 32 bits changes shrink to rounding in an iteration or two, so that rounding decides whether
# there is one more: a part of all iterations of a run.
UNDECIDED = {"float64": 0.0, "float32": 0.03}

# z' = i (1 + w t) z with z = x + i y: coupled, not autonomous, oscillating ever faster, and free
# of functions that take long to compile.
CHIRP = System.from_equations(
    """
    c = 1 + w*t
    dx = -c*y
    dy = c*x
    work = w + t*x*y
    """,
    states={"x": 1.0, "y": 0.5},
    parameters={"w": 1.0},
    observables=["work"],
    name="chirp",
)


def chirp(t, w, x=1.0, y=0.5):
    """Exact states of `CHIRP`, shape (2, times, runs), from their values at t = 0."""
    t, w = np.asarray(t, float)[:, None], np.asarray(w)
    z = (np.asarray(x) + 1j * np.asarray(y)) * np.exp(1j * (t + 0.5 * w * t * t))
    return np.stack([z.real, z.imag])


# The same as CHIRP, its equations mixed.
MIXED = System.from_equations(
    """
    c = 1 + w*t
    dx = -2*c*y + 0.5*c*x
    dy = 3*c*x - c*y
    """,
    states={"x": 1.0, "y": 0.5},
    parameters={"w": 1.0},
    mass={("x", "x"): 2.0, ("x", "y"): 0.5, ("y", "x"): 1.0, ("y", "y"): 3.0},
    name="mixed",
)

# x = 2 + sin(t), z = 1/x.
PRODUCT = System.from_equations(
    "dx = cos(t)*x*z - 3*(x - 2 - sin(t))*z\n0 = x*z**2 - z",
    states={"x": 2.0, "z": 0.5},
    parameters={"unused": 0.0},
    name="product",
)


def integrate(
    solver: Solver, columns=None, *, width=None, placement="auto", maths="auto", threads=None
) -> Outcome:
    """Run ``solver`` over columns of one value for each run; options beyond those of its face."""
    columns = {name: Column(np.asarray(values, float)) for name, values in (columns or {}).items()}
    runs = max((len(column.values) for column in columns.values()), default=1)
    config = replace(solver.config(), placement=placement, maths=maths)
    if solver.target == "cpu":
        config = replace(config, width=width)
    return execute(build_kernel(config), solver.batch(columns, runs), threads)


def assert_same_bits(one: Outcome, other: Outcome, runs=slice(None)) -> None:
    """Check that ``other`` holds exactly the runs ``runs`` of ``one``, NaN included."""
    for field in fields(Outcome):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if a is None or b is None:
            assert a is b, field.name
            continue
        a = np.ascontiguousarray(a[..., runs])
        assert a.shape == b.shape, field.name
        assert a.tobytes() == np.ascontiguousarray(b).tobytes(), field.name


def assert_close(one: Outcome, other: Outcome, factor=1.0, undecided=1.0) -> None:
    """Check that runs took the same steps and differ by rounding, or ``factor`` times as much.

    ``undecided`` is such a factor of the iterations that rounding decides.
    """
    for name in ("status", "accepted", "rejected", "final_time"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name in ("newton_iterations", "linear_iterations"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            part = undecided * UNDECIDED[one.final_state.dtype.name]
            np.testing.assert_allclose(a, b, rtol=part, err_msg=name)
    for name in ("final_state", "final_observables", "states", "observables"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.dtype == b.dtype, name
            rounding = factor * ROUNDING[a.dtype.name]
            np.testing.assert_allclose(a, b, rounding, rounding, err_msg=name)
