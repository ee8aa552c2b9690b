"""The bits of a run depend on its own inputs: not on neighbours, order, chunks or threads."""

import numpy as np
import pytest
from kernel_problems import assert_same_bits
from method_list import ADAPTIVE as ADAPTIVE_METHODS
from method_list import IMPLICIT

from cubie_kernels import Solver, Status, System
from cubie_kernels.run import execute as executor
from cubie_kernels.run.batch import Column

# Ten times as many steps at the largest mu as at the smallest.
VAN_DER_POL = System.from_equations(
    "dx = v\ndv = mu*(1 - x*x)*v - x\nslope = v - x",
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 1.0},
    observables=["slope"],
    name="van der pol",
)
# Large arguments send a few lanes through the slow parts of the functions, others overflow.
FUNCTIONS = System.from_equations(
    """
    dx = sin(k*t) + tanh(y)*cos(k) - pow(x*x + 1, 0.3)
    dy = exp(-x*k) - log(y*y + 1) + (y if k > 1e3 else 0)
    """,
    states={"x": 0.5, "y": 0.2},
    parameters={"k": 1.0},
    name="functions",
)
MU = np.random.default_rng(7).permutation(np.geomspace(0.2, 60.0, 301))
X = 1.0 + np.arange(301) / 300
ADAPTIVE = {"rtol": 1e-6, "atol": 1e-6}
FIXED = {"dt": 0.013, "adaptive": False}
# Newton's iteration converges with these at every mu.
SHORT = {"dt": 0.004, "adaptive": False}
OPTIONS = [
    pytest.param({**ADAPTIVE, "save_at": [0.0, 0.7, 3.3, 5.0]}, id="adaptive"),
    pytest.param({**FIXED, "save_at": [0.0, 0.7, 3.3, 5.0]}, id="fixed"),
    pytest.param(
        {"rtol": 1e-4, "atol": 1e-4, "precision": "float32", "controller": "h211b"}, id="float32"
    ),
    pytest.param({**ADAPTIVE, "target": "numpy", "save_at": [0.7, 5.0]}, id="numpy"),
    pytest.param(
        {**FIXED, "precision": "float32", "method": "bs3"}, id="fixed32", marks=pytest.mark.slow
    ),
    pytest.param({"method": "dop853", "save_every": 0.1}, id="dop853", marks=pytest.mark.slow),
    pytest.param({"method": "rodas4", "save_at": [0.7, 5.0]}, id="rodas4"),
    pytest.param(
        {**ADAPTIVE, "method": "radau-iia-5", "target": "numpy", "save_at": [0.7, 5.0]},
        id="numpy-radau",
    ),
    *(
        pytest.param(
            {"method": name, **steps, "save_at": [0.7, 5.0]},
            id=f"{name}-{next(iter(steps))}",
            marks=pytest.mark.slow,
        )
        for name in IMPLICIT
        for steps in (SHORT, ADAPTIVE)
        if steps is SHORT or name in ADAPTIVE_METHODS
    ),
]


def run(solver, indices=slice(None), threads=None):
    columns = {"mu": Column(MU[indices]), "x": Column(X[indices])}
    return solver.run(columns, len(columns["mu"].values), threads)


@pytest.fixture(params=OPTIONS)
def solver(request):
    return Solver(VAN_DER_POL, t_span=(0.0, 5.0), swept=["mu", "x"], **request.param)


def test_batch_is_independent_of_its_order(solver):
    base = run(solver)
    assert (base.status == Status.SUCCESS).all()
    if solver.adaptive:
        work = base.accepted + base.rejected
        assert work.max() > (7 if solver.kind == "explicit" else 3) * work.min()
    for order in (
        np.random.default_rng(3).permutation(301),
        np.argsort(MU),
        np.arange(300, -1, -1),
    ):
        assert_same_bits(base, run(solver, order), order)


def test_batch_is_independent_of_its_size(solver):
    base = run(solver)
    for part in (slice(0, 1), slice(117, 118), slice(300, 301), slice(13, 30), slice(100, 301)):
        assert_same_bits(base, run(solver, part), part)
    twice = np.tile(np.arange(301), 5)
    assert_same_bits(base, run(solver, twice), twice)


def test_batch_is_independent_of_threads(solver):
    base = run(solver, threads=1)
    for threads in (2, 3, 7):
        assert_same_bits(base, run(solver, threads=threads))


def test_batch_is_independent_of_how_inputs_are_handed_over(solver, monkeypatch):
    """Values of long columns are copied in pieces; axes of a grid by position."""
    base = run(solver)
    monkeypatch.setattr(executor, "_INPUT_BYTES", 1000)
    assert_same_bits(base, run(solver))
    grid = {"mu": Column(MU[:20], stride=7), "x": Column(X[:7])}
    r = np.arange(140)
    plain = {"mu": Column(MU[r // 7]), "x": Column(X[r % 7])}
    assert_same_bits(solver.run(plain, 140), solver.run(grid, 140))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_neighbours_in_slow_parts_of_functions(precision):
    """Huge arguments, overflow and failures next door do not change a bit."""
    k = np.concatenate(
        [np.linspace(0.1, 3, 20), np.geomspace(1e3, 1e9, 20), -np.geomspace(1, 500, 9)]
    )
    solver = Solver(
        FUNCTIONS, t_span=(0, 1), dt=0.02, adaptive=False, swept=["k"], precision=precision
    )
    mixed = np.random.default_rng(5).permutation(len(k))
    base = solver.run({"k": Column(k)}, len(k))
    assert set(base.status) == {Status.SUCCESS, Status.NONFINITE}
    assert_same_bits(base, solver.run({"k": Column(k[mixed])}, len(k)), mixed)
    for i in (0, 10, 25, 39, 44, 48):
        assert_same_bits(base, solver.run({"k": Column(k[i : i + 1])}, 1), slice(i, i + 1))
