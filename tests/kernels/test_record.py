"""Instrumented kernels: what they tell is what the steps did, and telling it changes nothing."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from kernel_problems import assert_same_bits, integrate
from record_cases import CASES, IDS, KRYLOV, MU, VAN_DER_POL, instrumented, steps_of, told

import cubie_kernels
from cubie_kernels import Solver, methods
from cubie_kernels.build.module import kernel_module
from cubie_kernels.methods import get_method
from cubie_kernels.run import execute as execution
from cubie_kernels.run.record import Recorder


# --------------------------------------------------------------- recording changes nothing
@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_not_a_bit_of_the_results_is_changed(method, options):
    solver = Solver(
        VAN_DER_POL,
        t_span=(0, 0.5),
        swept=["mu"],
        method=method,
        target="numpy",
        save_every=0.1,
        **options,
    )
    plain = integrate(solver, {"mu": MU})
    assert_same_bits(plain, instrumented(solver, {"mu": MU}, Recorder(2)))
    steps = steps_of(method, options)
    np.testing.assert_array_equal(steps.status, plain.status)
    np.testing.assert_array_equal(steps.final_time, plain.final_time)
    np.testing.assert_array_equal((steps.accepted == 1).sum("attempt"), plain.accepted)
    np.testing.assert_array_equal((steps.accepted == 0).sum("attempt"), plain.rejected)
    for run in range(len(MU)):
        last = np.flatnonzero(steps.accepted[run] == 1)[-1]
        np.testing.assert_array_equal(steps.new_state[run, last], plain.final_state[:, run])


@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_the_text_of_kernels_that_do_not_record_has_nothing_of_it(method, options):
    solver = Solver(VAN_DER_POL, t_span=(0, 0.5), method=method, target="numpy", **options)
    plain = kernel_module(solver.config()).body
    telling = kernel_module(replace(solver.config(), records=True)).body
    assert "record" not in plain
    assert "record_attempt(" in telling
    assert ast.unparse(_Silenced().visit(ast.parse(telling))) == ast.unparse(ast.parse(plain))


class _Silenced(ast.NodeTransformer):
    """Removes the statements that record."""

    def visit_Expr(self, node):
        match node.value:
            case ast.Call(func=ast.Name(id=name)) if name in Recorder(1).calls():
                return None
        return node


def test_every_method_tells_of_its_stages_and_iterations():
    for method in methods():
        steps = {} if method.embedded_order else {"adaptive": False, "dt": 0.1}
        config = Solver(
            VAN_DER_POL, t_span=(0, 1), method=method.name, target="numpy", **steps
        ).config()
        told_of = set(
            re.findall(r"record\w*\('(\w+)'", kernel_module(replace(config, records=True)).body)
        )
        wanted = {"stage_state", "stage_derivative"}
        if method.family != "erk":
            wanted |= {"linear_code", "linear_iterations"}
        if method.family in ("dirk", "firk"):
            wanted |= {"newton_delta_norm", "newton_rate", "newton_residual_norm"}
        assert told_of >= wanted, method.name


def test_source_of_kernels_records_on_condition_only():
    found = 0
    for path in (Path(cubie_kernels.__file__).parent / "kernels").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {
            node
            for branch in ast.walk(tree)
            if isinstance(branch, ast.If)
            and ast.unparse(branch.test).split(" and ")[0] == "RECORDS"
            for statement in branch.body
            for node in ast.walk(statement)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in Recorder(1).calls():
                assert node in guarded, f"{path.name}:{node.lineno}"
                found += 1
    assert found > 20


# ------------------------------------------------------------------- it tells what steps do
@pytest.mark.parametrize("method", ["tsit5", "rk4", "rodas5p", "radau-iia-5", "gauss-legendre-4"])
def test_steps_follow_each_other(method):
    options = {"adaptive": False, "dt": 0.004} if method == "rk4" else {}
    steps = steps_of(method, options)
    for run in range(len(MU)):
        own = steps.isel(run=run, attempt=slice(int((steps.accepted[run] >= 0).sum())))
        good = own.accepted.values == 1
        time = np.where(good, own.time + own.step_size, own.time)
        np.testing.assert_allclose(own.time[1:], time[:-1], rtol=1e-14)
        assert time[-1] == pytest.approx(0.5)
        state = np.where(good[:, None], own.new_state, own.start_state)
        np.testing.assert_array_equal(own.start_state[1:], state[:-1])
        assert (own.trouble == 0).all()
        if method != "rk4":
            np.testing.assert_array_equal(own.error_norm.values <= 1, good)
    assert ("error_norm" in steps) == (method != "rk4")


def across(matrix, values):
    """Return a matrix times the stages."""
    product = xr.DataArray(np.array(matrix), dims=("row", "stage")) * values
    return product.sum("stage", skipna=False).rename(row="stage")


@pytest.mark.parametrize("method", ["tsit5", "vern7"])
def test_stages_of_explicit_methods(method):
    steps, tableau = steps_of(method, {}), get_method(method)
    h, y = steps.step_size, steps.start_state
    k = steps.stage_derivative
    assert steps.sizes["stage"] == tableau.stages + (not tableau.fsal)
    for s, (row, node) in enumerate(zip(tableau.a, tableau.c, strict=True)):
        stage = y + h * sum((row[j] * k.isel(stage=j) for j in range(s)), xr.zeros_like(y))
        xr.testing.assert_allclose(steps.stage_state.isel(stage=s), stage, rtol=1e-10)
        check_derivative(steps, s, node)
    new = y + h * sum(b * k.isel(stage=j) for j, b in enumerate(tableau.b))
    xr.testing.assert_allclose(steps.new_state, new, rtol=1e-10)


def check_derivative(steps, s, node):
    """Check that the derivative of a stage is the model's at its state."""
    time = (steps.time + node * steps.step_size).values
    state = steps.stage_state.isel(stage=s).transpose("state", ...).values
    mu = np.broadcast_to(steps.mu.values[:, None], time.shape)
    wanted = VAN_DER_POL.numpy_rhs()(time, state, mu[None])
    found = steps.stage_derivative.isel(stage=s).transpose("state", ...).values
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("method", ["rodas5p", "grk4t", "ros3p"])
def test_stages_of_rosenbrock_methods(method):
    steps, tableau = steps_of(method, {}), get_method(method)
    h, y, u = steps.step_size, steps.start_state, steps.stage_increment
    mu = steps.mu.values[:, None]
    time, state = steps.time.values, y.transpose("state", ...).values
    jacobian = VAN_DER_POL.numpy_jacobian()(time, state, np.broadcast_to(mu, time.shape)[None])
    jacobian = xr.DataArray(jacobian, dims=("row", "state", "run", "attempt"))
    slope = xr.concat([0 * h, 0.1 * np.cos(steps.time)], "state").transpose(..., "state")
    for s in range(tableau.stages):
        rows = [(tableau.a[s][j], tableau.c[s][j], u.isel(stage=j)) for j in range(s)]
        stage = y + sum((a * term for a, _, term in rows), xr.zeros_like(y))
        xr.testing.assert_allclose(steps.stage_state.isel(stage=s), stage, rtol=1e-9, atol=1e-12)
        check_derivative(steps, s, tableau.alpha_sums[s])
        own = u.isel(stage=s)
        product = (jacobian * own).sum("state", skipna=False).rename(row="state")
        lhs = own / (h * tableau.diagonal) - product
        rhs = steps.stage_derivative.isel(stage=s) + tableau.gamma_sums[s] * h * slope
        terms = [own / h, rhs, *(c / h * term for _, c, term in rows)]
        rhs = sum(terms[2:], rhs)
        size = sum(float(abs(term).max()) for term in terms)
        np.testing.assert_allclose((lhs - rhs).transpose(*y.dims), 0 * y.values, atol=1e-9 * size)
    assert (steps.linear_code.where(steps.accepted >= 0, 0) == 0).all()


@pytest.mark.parametrize("method", ["radau-iia-5", "gauss-legendre-4"])
def test_stages_of_fully_implicit_methods(method):
    steps, tableau = steps_of(method, {}), get_method(method)
    for s, node in enumerate(tableau.c):
        check_derivative(steps, s, node)
    # What the equations lack at these states, in the unknowns that Newton's method works in.
    inverse, h = np.linalg.inv(tableau.a), steps.step_size
    lack = across(np.eye(tableau.stages), h * steps.stage_derivative)
    lack = lack - across(inverse, steps.stage_state - steps.start_state)
    lack = across(tableau.transform.t_inverse, lack) / (1e-9 + 1e-6 * abs(steps.start_state))
    last = steps.newton_residual_norm.isel(iteration=(steps.newton_iterations - 1).clip(0))
    known = (last > 1e-3).values
    found = np.sqrt((lack * lack).mean(["stage", "state"], skipna=False))
    assert known.sum() > len(known) / 2
    np.testing.assert_allclose(found.values[known], last.values[known], rtol=1e-3)
    # Changes shrink as the rate says, and the last one decides.
    both = steps.newton_delta_norm.notnull().sum("iteration") >= 2
    rate = steps.newton_delta_norm.isel(iteration=1) / steps.newton_delta_norm.isel(iteration=0)
    xr.testing.assert_allclose(rate.where(both), steps.newton_rate.isel(iteration=1).where(both))
    assert (steps.newton_residual_norm.notnull() == steps.newton_delta_norm.notnull()).all()


@pytest.mark.parametrize("method", ["kvaerno5", "sdirk4"])
def test_stages_of_diagonally_implicit_methods(method):
    steps, tableau = steps_of(method, {}), get_method(method)
    explicit = tableau.a[0][0] == 0
    if explicit:
        xr.testing.assert_equal(steps.stage_state.isel(stage=0, drop=True), steps.start_state)
    # The last change leads from where a stage was computed to where its derivative holds.
    end = steps.start_state + steps.step_size * across(tableau.a, steps.stage_derivative)
    change = (end - steps.stage_state) / (1e-9 + 1e-6 * abs(steps.start_state))
    last = steps.newton_delta_norm.isel(iteration=(steps.newton_iterations - 1).clip(0))
    known = (last > 1e-3).values
    assert known.sum() > len(known) / 2
    found = np.sqrt((change * change).mean("state", skipna=False)).transpose(*last.dims)
    np.testing.assert_allclose(found.values[known], last.values[known], rtol=1e-3)
    assert (steps.newton_iterations.sel(stage=slice(int(explicit), None)) > 0).any("attempt").all()


def over_attempts(counts):
    """Return the counts of the runs."""
    return counts.sum([dim for dim in counts.dims if dim != "run"])


def test_counts_of_iterations():
    """Those of the steps add up to those of the run; residuals end where the solver did."""
    for method, options in CASES:
        if get_method(method).family not in ("dirk", "firk") and "linear_solver" not in options:
            continue
        solver = Solver(
            VAN_DER_POL, t_span=(0, 0.5), swept=["mu"], method=method, target="numpy", **options
        )
        plain = integrate(solver, {"mu": MU})
        steps = steps_of(method, options)
        linear = over_attempts(steps.linear_iterations)
        if "error_linear_iterations" in steps:
            linear = linear + over_attempts(steps.error_linear_iterations)
        np.testing.assert_array_equal(linear, plain.linear_iterations)
        if "newton_iterations" in steps:
            newton = over_attempts(steps.newton_iterations)
            np.testing.assert_array_equal(newton, plain.newton_iterations)
            updates = told(steps.newton_delta_norm).sum("iteration")
            assert (updates == steps.newton_iterations).all()
        assert ("linear_residual" in steps) == ("linear_solver" in options)
        if "linear_residual" in steps:
            rests = steps.linear_residual
            if "system" not in rests.dims:
                rests = rests.expand_dims("system")
            assert (
                rests.notnull().sum(["system", "linear_iteration"]) == steps.linear_iterations
            ).all()
            ends = rests.min("linear_iteration")
            assert float(ends.max()) <= 1 + 1e-12


@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_a_run_is_told_of_alike_alone_and_in_company(method, options):
    together = steps_of(method, options)
    for run in (0, 2):
        alone = steps_of(method, options, MU[run : run + 1])
        part = together.isel(run=[run])
        own = part.isel({dim: slice(size) for dim, size in alone.sizes.items() if dim != "run"})
        xr.testing.assert_identical(own, alone)
        for name in alone.data_vars:
            if alone[name].ndim > 1:
                assert told(part[name]).sum() == told(alone[name]).sum(), name


def test_lanes_that_take_further_runs(monkeypatch):
    solver = Solver(
        VAN_DER_POL, t_span=(0, 0.2), swept=["mu"], method="radau-iia-3", target="numpy", **KRYLOV
    )
    found = []
    for lanes in (4, 2, 1):
        monkeypatch.setattr(execution, "_NUMPY_LANES", lanes)
        recorder = Recorder(2)
        instrumented(solver, {"mu": MU}, recorder)
        found.append(recorder.arrays(4, np.empty(0, int)))
    for other in found[1:]:
        for name, (dims, values) in found[0].items():
            assert other[name].dims == dims
            np.testing.assert_array_equal(other[name].values, values)
