"""Where scratch buffers live does not touch the results."""

import pytest
from kernel_problems import CHIRP, NARROW, assert_close, assert_same_bits, integrate
from method_list import ADAPTIVE, FEW_IMPLICIT, NAMES

from cubie_kernels import Solver
from cubie_kernels.build.module import kernel_registry
from cubie_kernels.kernels.scratch import LOOP

SWEPT = {"w": [0.5, 1.0, 1.5], "x": [0.8, 1.0, 1.2]}


class Places(dict):
    """A location for each buffer, as a frozen configuration can hold it."""

    def __hash__(self):
        return hash(tuple(self.items()))


def placements(solver):
    """All local, all shared, as declared, and mixed: every second buffer local, or shared."""
    buffers = [row.name for row in kernel_registry(solver.config()).explain(LOOP).rows]
    kinds = ("local", "shared")
    mixed = [
        Places({name: kinds[(i + shift) % 2] for i, name in enumerate(buffers)}) for shift in (0, 1)
    ]
    return (*kinds, "declared", *mixed)


def check(name, target, compare, **steps):
    swept = tuple(SWEPT)
    solver = Solver(
        CHIRP, t_span=(0, 1), save_every=0.3, method=name, swept=swept, target=target, **steps
    )
    auto = integrate(solver, SWEPT, width=NARROW)
    for placement in placements(solver):
        compare(auto, integrate(solver, SWEPT, width=NARROW, placement=placement))


FEW = ["bs3", "dop853", *FEW_IMPLICIT]
REST = [name for name in NAMES if name not in FEW]
FAMILIES = ("tsit5", "dop853", "rosenbrock23", *FEW_IMPLICIT)
FIXED = {"dt": 0.07, "adaptive": False}
ADAPTED = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("steps", [FIXED, ADAPTED])
@pytest.mark.parametrize("name", FEW)
def test_steps(name, steps):
    check(name, "numpy", assert_same_bits, **steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", REST)
def test_steps_of_every_method(name):
    check(name, "numpy", assert_same_bits, **FIXED)
    if name in ADAPTIVE:
        check(name, "numpy", assert_same_bits, **ADAPTED)


# A compiler may fuse other products and sums when operands come from elsewhere.
def test_compiled_steps():
    check("bs3", "cpu", assert_close, **ADAPTED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"),
    [*((name, FIXED) for name in ("tsit5", "dop853")), *((n, ADAPTED) for n in FAMILIES)],
)
def test_compiled_steps_of_every_family(name, steps):
    check(name, "cpu", assert_close, **steps)
