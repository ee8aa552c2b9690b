"""Every argument that cannot be used is refused in words, before anything compiles."""

import re
import subprocess
import sys

import numpy as np
import pytest

import cubie_kernels as ck
from cubie_kernels.run.batch import Column

LORENZ = ck.System.from_equations(
    """
    dx = sigma*(y - x)
    dy = x*(rho - z) - y
    dz = x*y - beta*z
    speed = sqrt(x*x + y*y)
    """,
    states={"x": 1.0, "y": 0.0, "z": 0.0},
    parameters={"sigma": 10.0, "rho": 21.0, "beta": 8 / 3},
    observables=["speed"],
    name="lorenz",
)
GOOD = {"t_span": (0.0, 1.0)}


def refused(message, **options):
    with pytest.raises(ck.InputError, match=message) as caught:
        ck.Solver(LORENZ, **(GOOD | options))
    return caught.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t_span": (1.0, 0.0)}, r"\(1.0, 0.0\) runs backwards"),
        ({"t_span": (1.0, 1.0)}, "is empty: the end must lie after the start"),
        ({"t_span": (0.0, np.inf)}, "finite numbers, but is inf at index 1"),
        ({"t_span": (0.0, np.nan)}, "finite numbers, but is nan at index 1"),
        ({"t_span": 3.0}, r"two numbers \(start, end\), not 3.0"),
        ({"t_span": (0, 1, 2)}, "two numbers"),
        ({"t_span": ("a", "b")}, "needs real numbers"),
        ({"t_span": (1e16, 1e16 + 2)}, "let time start near 0"),
        ({"t_span": (-1.7e308, 1.7e308)}, "longer than a float64"),
        ({"save_at": [0.5], "save_every": 0.1}, "not both"),
        ({"save_at": [0.5, 1.5]}, r"1.5 outside of t_span = \(0.0, 1.0\)"),
        ({"save_at": [-0.5, 0.5]}, "-0.5 outside"),
        ({"save_at": [0.5, 0.2, 0.7]}, "must increase, but 0.2 follows 0.5 at index 1"),
        ({"save_at": [0.1, 0.2, 0.2]}, "must increase, but 0.2 follows 0.2 at index 2"),
        ({"save_at": [0.1, np.nan]}, "finite numbers, but is nan at index 1"),
        ({"save_at": [[0.1, 0.2]]}, r"one dimension and at least one time, not the shape \(1, 2\)"),
        ({"save_at": 0.5}, "one dimension"),
        ({"save_at": []}, "at least one time"),
        ({"save_at": ["now"]}, "real numbers"),
        ({"save_every": 0.0}, "above 0, not 0.0"),
        ({"save_every": -0.1}, "above 0, not -0.1"),
        ({"save_every": np.inf}, "finite"),
        ({"save_every": [0.1, 0.2]}, "one number, not an array"),
        ({"save_every": 2.0}, "longer than t_span"),
        ({"save_every": 1e-12}, "make it longer"),
        ({"method": "tsit6"}, "no method 'tsit6'.*Did you mean 'tsit5'"),
        ({"method": 5}, "no method 5"),
        ({"method": "rk4"}, "no embedded error estimate.*pass dt=… and adaptive=False"),
        ({"method": "auto", "adaptive": False, "dt": 0.1}, "which a fixed step hides"),
        ({"linear_solver": "lu"}, "for implicit methods, but 'tsit5' is explicit"),
        ({"preconditioner": "ilu"}, "preconditioner='ilu' is for implicit methods"),
        ({"method": "rodas4", "linear_solver": "gmrs"}, "'gmrs' is none of.*Did you mean 'gmres'"),
        (
            {"method": "rodas4", "linear_solver": "gmres", "preconditioner": "jacoby"},
            "'jacoby' is none of.*Did you mean 'jacobi'",
        ),
        (
            {"method": "rodas4", "linear_solver": "lu", "preconditioner": "ilu"},
            "factorises the whole matrix and has no preconditioner",
        ),
        ({"adaptive": "no"}, "True or False, not 'no'"),
        ({"adaptive": False}, "adaptive=False needs the step"),
        ({"adaptive": False, "dt": 0.1, "dt_min": 0.01}, "dt_min limits an adaptive step"),
        ({"adaptive": False, "dt": 1e-6}, "takes 1,000,000 steps, more than max_steps = 100,000"),
        ({"dt": 0.0}, "dt must be above 0"),
        ({"dt": -1e-3}, "dt must be above 0, not -0.001"),
        ({"dt": np.nan}, "finite numbers, but is nan"),
        ({"dt": 2.0}, "and 1, the length of t_span"),
        ({"dt": 1e-20}, "the least that a float64 resolves"),
        ({"dt_min": -1.0}, "dt_min must be above 0"),
        ({"dt_max": 0.0}, "dt_max must be above 0"),
        ({"dt_min": 0.1, "dt_max": 0.01}, "dt_min = 0.1 is above dt_max = 0.01"),
        ({"dt_min": 5.0}, "dt_min = 5 is above dt_max = 1"),
        ({"dt": 0.5, "dt_max": 0.1}, "first step, must lie between"),
        ({"max_steps": 0}, "max_steps must be 1 to 2,147,483,647, not 0"),
        ({"max_steps": 2**31}, "not 2,147,483,648"),
        ({"max_steps": 1.5}, "whole number, not 1.5"),
        ({"max_steps": "many"}, "whole number, not 'many'"),
        ({"rtol": -1e-6}, "rtol must not be below 0, but is -1e-06 for 'x'"),
        ({"rtol": 1e-15}, "below 1.8e-15, the least that this precision can hold"),
        ({"rtol": 1e-7, "precision": "float32"}, "below 9.5e-07"),
        ({"rtol": 0.0, "atol": [1e-9, 0.0, 1e-9]}, "rtol and atol are both 0 for 'y'"),
        ({"rtol": [1e-6, 1e-6]}, r"3 in the order x, y, z.*\(2,\)"),
        ({"atol": [[1e-6] * 3]}, r"\(1, 3\)"),
        ({"atol": {"x": 1e-9, "w": 1e-9}}, "atol names 'w', which is no state"),
        ({"atol": {"x": 1e-9, "y": 1e-9}}, "leaves out the state 'z'"),
        ({"atol": {"x": 1e-9, "y": 1e-9, "z": np.nan}}, r"atol\['z'\] needs finite"),
        ({"atol": "tight"}, "real numbers"),
        ({"controller": "pdi"}, "no step-size controller 'pdi'.*Did you mean 'pi"),
        ({"precision": "float46"}, "must be one of.*Did you mean 'float64'"),
        ({"precision": "int32"}, "precision must be one of"),
        ({"precision": None}, "precision must be one of"),
        ({"target": "gpu"}, "target must be one of 'auto', 'cpu', 'numpy'"),
        ({"target": None}, "target must be one of"),
        ({"swept": ["rhoo"]}, "swept names 'rhoo'.*Did you mean 'rho'"),
        ({"swept": ["rho", "rho"]}, "'rho' twice"),
        ({"swept": "rho"}, "sequence of names, not the text 'rho'"),
        ({"fixed": {"simga": 1.0}}, "fixed names 'simga'.*Did you mean 'sigma'"),
        ({"fixed": {"sigma": np.nan}}, r"fixed\['sigma'\] needs finite numbers"),
        ({"fixed": {"sigma": [1.0, 2.0]}}, "one number, not an array"),
        ({"fixed": {"rho": 1.0}, "swept": ["rho"]}, "both swept and fixed"),
        ({"fixed": {"rho": 1e39}, "precision": "float32"}, "'rho' reaches 1e\\+39, but float32"),
        ({"saved": ["x", "spede"]}, "saved names 'spede'.*Did you mean 'speed'"),
        ({"saved": []}, "saved is empty: name at least one of x, y, z, speed"),
        ({"saved": "x"}, "sequence of names"),
    ],
)
def test_an_unusable_option_is_refused(options, message):
    refused(message, **options)


def test_a_fixed_method_names_adaptive_ones_of_similar_order():
    message = str(refused("embedded", method="rk4"))
    offered = re.findall(r"'([^']+)'", message.split("similar order:")[1])
    info = {entry.name: entry for entry in ck.methods()}
    assert len(offered) == 3
    assert all(info[name].embedded_order is not None for name in offered)
    assert all(abs(info[name].order - 4) <= 1 for name in offered)


def test_half_precision_is_for_the_reference_target():
    with pytest.raises(ck.PrecisionError, match="float16; targets that can: 'numpy'"):
        ck.Solver(LORENZ, **GOOD, precision="float16")
    solver = ck.Solver(LORENZ, **GOOD, precision="float16", target="numpy", rtol=1e-2, atol=1e-2)
    assert solver.precision == "float16"
    with pytest.raises(ck.InputError, match="atol = 1e-09 for 'x' is below 6e-08"):
        ck.Solver(LORENZ, **GOOD, precision="float16", target="numpy", rtol=1e-2)


def test_a_gpu_is_not_launched_yet():
    with pytest.raises(ck.TargetError, match='use target="cpu" or target="numpy"'):
        ck.Solver(LORENZ, **GOOD, target="cuda")


def test_a_model_must_be_a_system():
    for wrong in ("dx = -x", None, lambda t, y: -y):
        with pytest.raises(ck.InputError, match=r"system must be a System, not .*from_equations"):
            ck.solve(wrong, t_span=(0, 1))


@pytest.mark.parametrize(
    ("parameters", "initial_values", "message"),
    [
        ({"roh": 1.0}, {}, "'roh' in parameters is neither.*Did you mean 'rho'"),
        ({"q": 1.0}, {}, "neither a parameter nor a state of this model. Its parameters are: sigm"),
        ({"x": 1.0}, {}, "'x' in parameters is a state of this model: give it in initial_values"),
        ({}, {"rho": 1.0}, "'rho' in initial_values is a parameter.*give it in parameters"),
        ({}, {"speed": 1.0}, "'speed' in initial_values is neither"),
        ({3: 1.0}, {}, "3 in parameters is neither"),
        ({"rho": [1.0, np.inf, 2.0]}, {}, "'rho' needs finite numbers, but is inf at index 1"),
        ({"rho": np.nan}, {}, "'rho' needs finite numbers, but is nan"),
        ({}, {"x": [np.nan]}, "The initial value of 'x' needs finite numbers"),
        ({"rho": [[1.0, 2.0]]}, {}, r"'rho' has the shape \(1, 2\)"),
        ({"rho": []}, {}, "'rho' has no values, so the grid is empty"),
        ({"rho": "fast"}, {}, "'rho' needs real numbers, not 'fast'"),
        ({"rho": ["1", "2"]}, {}, "'rho' needs real numbers"),
        ({"rho": 1 + 2j}, {}, "'rho' needs real numbers"),
        ({"rho": [1.0, [2.0, 3.0]]}, {}, "'rho' needs real numbers"),
        ({"rho": None}, {}, "'rho' needs"),
        ([1.0, 2.0], {}, r"parameters needs a mapping of names to values, such as \{'sigma': 1.0}"),
    ],
)
def test_an_unusable_grid_is_refused(parameters, initial_values, message):
    with pytest.raises(ck.InputError, match=message):
        ck.solve(LORENZ, parameters, initial_values, **GOOD)


def test_a_zip_of_unequal_lengths_names_them():
    with pytest.raises(ck.InputError, match=r"one length, not rho: 3, x: 2"):
        ck.solve(LORENZ, {"rho": [1, 2, 3]}, {"x": [1, 2]}, grid="zip", **GOOD)


def test_an_impossible_product_is_refused():
    many = np.linspace(0, 1, 2**14)
    with pytest.raises(ck.InputError, match=r"rho: 16,384 x sigma: 16,384.*4.4e\+12 runs"):
        ck.solve(LORENZ, {"rho": many, "sigma": many}, {"x": many}, **GOOD)


def test_results_beyond_the_machine_are_refused():
    many = np.linspace(0, 1, 2**18)
    with pytest.raises(ck.InputError, match=r"take .* GiB, but this machine has .* GiB"):
        ck.solve(LORENZ, {"rho": many, "sigma": many[: 2**14]}, save_every=1e-3, **GOOD)


def test_words_and_options_are_checked():
    with pytest.raises(ck.InputError, match="grid must be one of 'product', 'zip', not 'cross'"):
        ck.solve(LORENZ, grid="cross", **GOOD)
    with pytest.raises(TypeError, match=r"no option 'rtoll'. Did you mean 'rtol'"):
        ck.solve(LORENZ, rtoll=1e-3, **GOOD)
    with pytest.raises(TypeError, match="needs t_span"):
        ck.solve(LORENZ)
    for threads in (0, -1, 1.5, "all"):
        with pytest.raises(ck.InputError, match="threads"):
            ck.solve(LORENZ, threads=threads, **GOOD)


def test_importing_and_refusing_load_numpy_alone():
    script = """
import sys
import cubie_kernels as ck
decay = ck.System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0})
try:
    ck.solve(decay, {"k": [1.0, float("nan")]}, t_span=(0, 1))
except ck.InputError:
    heavy = {"numba", "llvmlite", "xarray", "pandas", "scipy", "sympy", "dask", "distributed"}
    print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_columns_are_checked():
    solver = ck.Solver(LORENZ, swept=["rho", "x"], **GOOD)
    rho, x = Column(np.arange(3.0)), Column(np.ones(3))
    with pytest.raises(ck.InputError, match="columns lacks 'x'"):
        solver.run({"rho": rho}, 3)
    with pytest.raises(ck.InputError, match="columns names 'sigma', which is no swept"):
        solver.run({"rho": rho, "x": x, "sigma": rho}, 3)
    with pytest.raises(ck.InputError, match="runs must be 1 to"):
        solver.run({"rho": rho, "x": x}, 0)
    single = ck.Solver(LORENZ, swept=["rho"], precision="float32", **GOOD)
    with pytest.raises(ck.InputError, match=r"'rho' reaches 1e\+300, but float32 ends at 3.4e"):
        single.run({"rho": Column(np.array([1e300]))}, 1)


@pytest.mark.parametrize(
    ("values", "stride", "message"),
    [
        (np.zeros((2, 2)), 1, r"not the shape \(2, 2\)"),
        (np.zeros(0), 1, "at least one value"),
        (3.0, 1, "one dimension"),
        ([1.0, np.nan], 1, "number 1 is nan"),
        (["a"], 1, "needs numbers"),
        ([1.0], 0, "stride of 1 or more, not 0"),
    ],
)
def test_a_column_is_checked(values, stride, message):
    with pytest.raises(ck.InputError, match=message):
        Column(values, stride)
