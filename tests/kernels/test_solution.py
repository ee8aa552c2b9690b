"""Labels, tables and words of a solution, made from arrays as a kernel writes them."""

import json
import pickle

import numpy as np
import pytest

import cubie_kernels as ck
from cubie_kernels.run.batch import Column, Outcome
from cubie_kernels.run_grid import run_grid

MODEL = ck.System.from_equations(
    "dx = v\ndv = -k*x - c*v\nenergy = 0.5*(k*x*x + v*v)",
    states={"x": 1.0, "v": 0.0},
    parameters={"k": 4.0, "c": 0.5},
    observables=["energy"],
    name="oscillator",
)


def written(n, m, runs, saves=None, bad=None, dtype=np.float64, kind="explicit"):
    """Make arrays whose entries say where they are: 1000*row + 100*save + run."""
    run = np.arange(runs, dtype=dtype)
    rows = 1000 * np.arange(n + m, dtype=dtype)
    ends = rows[:, None] + 50 + run
    traces = None
    if saves is not None:
        traces = rows[:, None, None] + 100 * np.arange(saves, dtype=dtype)[:, None] + run
    status = np.full(runs, ck.Status.SUCCESS, np.uint8)
    for at, value in (bad or {}).items():
        status[at] = value
    return Outcome(
        final_state=ends[:n],
        final_observables=ends[n:],
        final_time=np.full(runs, 2.0),
        states=None if traces is None else traces[:n],
        observables=None if traces is None else traces[n:],
        status=status,
        accepted=np.arange(runs, dtype=np.int32) + 10,
        rejected=np.zeros(runs, np.int32),
        newton_iterations=None if kind == "explicit" else 3 * np.arange(runs, dtype=np.int32),
        linear_iterations=None if kind == "explicit" else np.zeros(runs, np.int32),
        stiff=np.arange(runs, dtype=np.uint8) % 2 if kind == "auto" else None,
    )


def solution(parameters=None, initial=None, grid="product", system=MODEL, bad=None, **options):
    runs = run_grid(system, parameters, initial, grid)
    solver = ck.Solver(
        system, swept=tuple(runs.axes), fixed=runs.fixed, **({"t_span": (0.0, 2.0)} | options)
    )
    saves = None if solver.times is None else len(solver.times)
    outcome = written(
        len(solver.saved_states),
        len(solver.saved_observables),
        runs.runs,
        saves,
        bad,
        kind=solver.kind,
    )
    return ck.Solution.from_outcome(solver, runs, outcome), outcome


@pytest.mark.parametrize("lengths", [(3,), (2, 3), (4, 1, 3)])
def test_columns_of_a_product_are_its_meshgrid(lengths):
    names = ["c", "k", "x"][: len(lengths)]
    axes = {
        name: np.random.default_rng(1).random(n) for name, n in zip(names, lengths, strict=True)
    }
    given = {name: axes[name] for name in names if name != "x"}
    grid = run_grid(MODEL, given, {"x": axes["x"]} if "x" in axes else None)
    assert grid.shape == lengths
    mesh = np.meshgrid(*axes.values(), indexing="ij")
    for (name, column), whole in zip(grid.columns().items(), mesh, strict=True):
        assert np.array_equal(column.block(0, grid.runs), whole.ravel()), name
        assert np.array_equal(column.block(2, grid.runs - 1), whole.ravel()[2:-1]), name
        assert column.values is axes[name]


def test_a_zip_has_one_dimension():
    k, x = [1, 2, 3], np.array([4.0, 5.0, 6.0])
    grid = run_grid(MODEL, {"k": k, "c": 0.1}, {"x": x}, "zip")
    assert (grid.dims, grid.shape, grid.runs) == (("run",), (3,), 3)
    assert grid.fixed == {"c": 0.1}
    assert grid.inputs_of(1) == {"k": 2.0, "x_0": 5.0}


def test_what_is_like_an_array_is_swept():
    pandas, xarray = pytest.importorskip("pandas"), pytest.importorskip("xarray")
    given = {"k": pandas.Series([1, 2, 3]), "c": xarray.DataArray([0.5, 1.0], dims="any")}
    grid = run_grid(MODEL, given, {"x": range(4), "v": np.float32(2)})
    assert grid.shape == (3, 2, 4)
    assert grid.fixed == {"v": 2.0}


def test_nothing_swept_is_one_run():
    one, _ = solution()
    assert one["x"].shape == ()
    assert float(one["v"]) == 1050.0
    assert run_grid(MODEL, None, None, "zip").shape == (1,)
    assert "1 run, succeeded" in repr(one)
    assert dict(one.to_xarray().sizes) == {}
    assert one.to_pandas().shape == (1, 7)


def test_a_product_is_labelled_without_copies():
    found, outcome = solution({"c": [0.1, 0.2, 0.3]}, {"x": [1.0, 2.0]})
    data = found.to_xarray()
    assert data["x"].dims == ("c", "x_0")
    assert data["x"].sel(c=0.2, x_0=2.0) == 50 + 3
    assert data["energy"].sel(c=0.3, x_0=1.0) == 2050 + 4
    assert np.shares_memory(data["x"].values, outcome.final_state)
    assert np.shares_memory(found["energy"], outcome.final_observables)
    assert data["accepted_steps"].dims == data["status"].dims == ("c", "x_0")
    assert data["x_0"].attrs["long_name"] == "initial value of x"
    assert set(data.data_vars) == {
        *("x", "v", "energy", "status", "accepted_steps", "rejected_steps", "final_time")
    }


def test_saves_put_time_first():
    found, outcome = solution({"c": [0.1, 0.2, 0.3], "k": [1, 2]}, save_every=0.5)
    data = found.to_xarray()
    assert data["x"].dims == ("time", "c", "k")
    assert data["time"].values.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert data["v"].sel(time=1.5, c=0.3, k=1) == 1000 + 300 + 4
    assert np.shares_memory(data["v"].values, outcome.states)
    assert found.final["v"][2, 0] == 1054
    assert data["final_time"].dims == ("c", "k")


def test_a_zip_is_labelled_by_run():
    data = solution({"k": [1, 2, 3]}, {"x": [7, 8, 9]}, "zip", save_at=[0.5])[0].to_xarray()
    assert data["x"].dims == ("time", "run")
    assert data["k"].dims == data["x_0"].dims == ("run",)
    assert data["x_0"].values.tolist() == [7.0, 8.0, 9.0]


@pytest.mark.parametrize("method", ["rodas4", "auto"])
def test_iterations_of_an_implicit_method_are_told(method):
    found, outcome = solution({"c": [0.1, 0.2]}, {"x": [1, 2, 3]}, method=method)
    data, table = found.to_xarray(), found.to_pandas()
    assert np.shares_memory(data["newton_iterations"].values, outcome.newton_iterations)
    assert data["newton_iterations"].sel(c=0.2, x_0=2.0) == 12
    assert (
        data["linear_iterations"].attrs["long_name"] == "number of iterations of the linear solver"
    )
    assert table["newton_iterations"].tolist() == [0, 3, 6, 9, 12, 15]
    assert found.linear_iterations.shape == (2, 3)
    text = str(found.summary())
    assert "Newton iterations per run: 0 to 15, 7.5 on average" in text
    assert "linear iterations" not in text
    stiff = ["stiff"] if method == "auto" else []
    assert set(data.data_vars) - {"x", "v", "energy", "final_time", "status"} == {
        *("accepted_steps", "rejected_steps", "newton_iterations", "linear_iterations", *stiff)
    }
    assert ("integrated by the implicit method: 3" in text) == bool(stiff)
    counted = sum(array.dtype.itemsize for array in data.data_vars.values())
    assert found.solver.output_bytes(6) == 6 * counted


def test_explicit_methods_count_no_iterations():
    found, _ = solution({"c": [0.1, 0.2]})
    assert (found.newton_iterations, found.linear_iterations, found.stiff) == (None, None, None)
    assert "iterations" not in str(found.summary())


def test_only_what_is_kept_is_there():
    found, _ = solution({"k": [1, 2]}, saved=["energy", "v"])
    assert set(found.arrays) == {"v", "energy"}
    assert found["energy"][1] == 1051
    with pytest.raises(ck.InputError, match=r"no 'enrgy'. Did you mean 'energy'.*k, v, energy"):
        found["enrgy"]


def test_coordinates_by_name():
    found, _ = solution({"k": [1, 2]}, {"x": [3, 4]}, save_at=[0.5, 1])
    assert found["k"].tolist() == [1.0, 2.0]
    assert found["x_0"].tolist() == [3.0, 4.0]
    assert found["time"].tolist() == [0.5, 1.0]


def test_status_decodes_by_cf_flags_and_survives_a_store(tmp_path):
    xarray = pytest.importorskip("xarray")
    bad = {1: ck.Status.NONFINITE, 2: ck.Status.NOT_RUN}
    data = solution({"k": [1, 2, 3, 4]}, bad=bad, atol=[1e-9, 1e-8])[0].to_xarray()
    data.to_zarr(tmp_path / "store.zarr", consolidated=False)
    back = xarray.open_zarr(tmp_path / "store.zarr", consolidated=False).load()
    xarray.testing.assert_equal(back, data)
    attributes = back["status"].attrs
    meanings = dict(
        zip(attributes["flag_values"], attributes["flag_meanings"].split(), strict=True)
    )
    assert [meanings[int(value)] for value in back["status"]] == [
        *("success", "nonfinite", "not_run", "success")
    ]
    assert back.attrs["model"] == MODEL.text
    assert back.attrs["model_hash"] == MODEL.content_hash
    assert back.attrs["atol"] == [1e-9, 1e-8]
    assert back.attrs["rtol"] == 1e-6
    assert json.loads(back.attrs["fixed_values"]) == {"c": 0.5, "x": 1.0, "v": 0.0}
    assert back.attrs["source"] == f"cubie_kernels {ck.__version__}"


def test_a_model_keeps_its_own_names():
    system = ck.System.from_equations(
        "dtime = 1\ndstatus = -x_0*status\nrun = time",
        states={"time": 0.0, "status": 1.0},
        parameters={"x_0": 1.0, "status_0": 3.0},
        observables=["run"],
    )
    found, _ = solution({"x_0": [1, 2]}, {"status": [5, 6, 7]}, system=system, save_at=[1, 2])
    data = found.to_xarray()
    assert data["time"].dims == data["status"].dims == ("time_", "x_0", "status_0_")
    assert data["status_"].attrs["flag_meanings"].startswith("not_run")
    assert found["time_"].tolist() == [1.0, 2.0]
    zipped, _ = solution({"x_0": [1, 2]}, None, "zip", system=system)
    assert zipped.to_xarray()["run"].dims == ("run_",)


def test_a_table_of_end_states():
    bad = {3: ck.Status.STEP_BUDGET}
    table = solution({"c": [0.1, 0.2]}, {"x": [1, 2, 3]}, bad=bad)[0].to_pandas()
    assert table.index.name == "run"
    assert list(table.columns) == [
        *("c", "x_0", "x", "v", "energy", "status", "accepted_steps", "rejected_steps"),
        "final_time",
    ]
    row = table.loc[3]
    assert (row["c"], row["x_0"], row["v"], row["status"]) == (0.2, 1.0, 1053.0, "STEP_BUDGET")
    assert table["status"].value_counts()["SUCCESS"] == 5
    assert table.groupby("c")["x"].mean().tolist() == [51.0, 54.0]


def test_a_table_of_traces_has_a_row_for_each_run_and_time():
    table = solution({"k": [1, 2, 3]}, save_at=[0.5, 1.0])[0].to_pandas()
    assert len(table) == 6
    assert table["run"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["time"].tolist() == [0.5, 1.0] * 3
    assert table["k"].tolist() == [1, 1, 2, 2, 3, 3]
    assert table["v"].tolist() == [1000, 1100, 1001, 1101, 1002, 1102]
    assert table["accepted_steps"].tolist() == [10, 10, 11, 11, 12, 12]


def test_a_table_agrees_with_the_dataset():
    found, _ = solution({"k": [1, 2, 3], "c": [4, 5]}, save_at=[0.5, 1.0, 2.0])
    data, table = found.to_xarray(), found.to_pandas()
    series = table.set_index(["time", "k", "c"])["energy"]
    for time, k, c in [(0.5, 2, 5), (2.0, 3, 4)]:
        assert series.loc[(time, k, c)] == data["energy"].sel(time=time, k=k, c=c)


def test_summary_counts_and_advises():
    bad = {4: ck.Status.NONFINITE, 5: ck.Status.NONFINITE, 2: ck.Status.STEP_BUDGET}
    found, _ = solution({"c": [0.1, 0.2]}, {"x": [1, 2, 3]}, bad=bad)
    summary = found.summary()
    assert summary.counts == {
        ck.Status.SUCCESS: 3,
        ck.Status.NONFINITE: 2,
        ck.Status.STEP_BUDGET: 1,
    }
    text = str(summary)
    assert "6 runs of 'oscillator'" in text
    assert ck.Status.NONFINITE.sentence in text
    assert "The first is run 4 (c = 0.2, x_0 = 2): it got to t = 2." in text
    assert " ".join(text.split()).count(ck.Status.STEP_BUDGET.remedy) == 1
    assert "accepted steps per run: 10 to 15, 12.5 on average" in text
    assert found.ok.tolist() == [[True, True, False], [True, False, False]]


def test_repr_tells_what_there_is():
    bad = {4: ck.Status.NONFINITE}
    text = repr(solution({"c": np.linspace(0, 1, 11)}, {"x": [1, 2]}, bad=bad, save_every=1)[0])
    assert text.splitlines() == [
        "<Solution of 'oscillator': 22 runs, 21 succeeded, 1 NONFINITE>",
        "  dimensions   (time: 3, c: 11, x_0: 2)",
        "  time         0 1 2",
        "  c            0 0.1 … 1",
        "  x_0          1 2",
        "  values       x, v, energy",
        "  solved by    tsit5, rtol = 1e-06, atol = 1e-09, t = 0 … 2, 3 saves, float64 on cpu",
        "  see also     .to_xarray(), .to_pandas(), .summary()",
    ]


def test_a_solution_pickles():
    found, _ = solution({"k": [1, 2]}, save_at=[1.0])
    copy = pickle.loads(pickle.dumps(found))
    assert np.array_equal(copy["x"], found["x"])
    assert repr(copy) == repr(found)


def test_a_column_repeats():
    column = Column(np.array([1.0, 2.0, 3.0]), stride=2)
    assert column.block(0, 8).tolist() == [1, 1, 2, 2, 3, 3, 1, 1]
    assert column.block(5, 7).tolist() == [3, 1]
    whole = Column(np.array([1, 2, 3]))
    assert whole.values.dtype == np.float64
    assert whole.block(1, 3).tolist() == [2.0, 3.0]
