"""Sweeps in this process, with the real kernels."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from sweep_models import LORENZ, assert_same_files, assert_same_results, lorenz_sweep

from cubie_dask import (
    ChangedSweepError,
    Grid,
    StorageFullError,
    Sweep,
    SweepInterrupted,
    open_sweep,
    sweep_report,
    verify_sweep,
)
from cubie_dask.progress.events import ChunkFinished, SweepEnded, SweepStarted
from cubie_dask.stores.store import open_store
from cubie_kernels import InputError, Status, System, solve

VAN_DER_POL = System.from_equations(
    "dx = v\ndv = mu*(1 - x*x)*v - x",
    states={"x": 2.0, "v": 0.0},
    parameters={"mu": 1.0},
    name="van der pol",
)


def test_product_sweep_equals_solve(tmp_path):
    sweep = lorenz_sweep(100)
    report = sweep.run(tmp_path / "a.zarr", progress="none")
    solution = solve(
        LORENZ,
        parameters={name: sweep.grid.axes[name] for name in ("rho", "sigma")},
        initial_values={"y": sweep.grid.axes["y"]},
        t_span=(0.0, 1.0),
        save_every=0.25,
        rtol=1e-6,
        atol=1e-8,
    )
    assert report.complete
    assert report.statuses == {Status.SUCCESS: 7 * 11 * 13}
    assert report.plan.chunks > 7
    got = report.dataset()
    assert got["x"].dims == ("time", "rho", "sigma", "y_0")
    assert_same_results(got, solution.to_xarray())


def test_a_finished_store_holds_nothing_half_written(tmp_path):
    # A scheduler may do a dead worker's task again without telling that it died.
    store = tmp_path / "a.zarr"

    def die(event):
        if isinstance(event, ChunkFinished):
            (store / f"x/{event.record.chunk}.0123.partial").write_bytes(b"cut off")

    assert lorenz_sweep(500).run(store, progress=die).complete
    assert verify_sweep(store).leftovers == ()


@pytest.mark.parametrize("method", ["rodas4", "auto"])
def test_iterations_of_implicit_methods_are_stored(tmp_path, method):
    grid = Grid.product(mu=[0.5, 1.0, 300.0])
    options = {"t_span": (0.0, 2.0), "save_every": 0.5, "method": method}
    report = Sweep(VAN_DER_POL, grid, chunk_runs=2, **options).run(tmp_path / "a.zarr")
    assert report.statuses == {Status.SUCCESS: 3}
    got = report.dataset().load()
    solution = solve(VAN_DER_POL, {"mu": [0.5, 1.0, 300.0]}, **options)
    assert_same_results(got, solution.to_xarray())
    assert got["linear_iterations"].dims == ("mu",)
    assert got["newton_iterations"].dtype == np.int32
    assert ("stiff" in got) == (method == "auto")
    if method == "auto":
        assert got["stiff"].values.tolist() == [0, 0, 1]
    for chunk in open_store(tmp_path / "a.zarr").records():
        assert chunk.bytes == chunk.runs * report.plan.run_bytes


@pytest.mark.parametrize(
    "grid",
    [
        Grid.zip(rho=np.linspace(0, 21, 333), x=np.linspace(-1, 1, 333)),
        Grid.sample(333, rho=(0, 21), x=("log", 0.1, 1.0), kind="latin-hypercube", seed=9),
    ],
    ids=["zip", "sample"],
)
def test_runs_equal_solve(tmp_path, grid):
    sweep = lorenz_sweep(100, grid, save_every=None)
    got = sweep.run(tmp_path / "a.zarr", progress="none").dataset().load()
    assert got["x"].dims == ("run",)
    solution = solve(
        LORENZ,
        parameters={"rho": got["rho"].values},
        initial_values={"x": got["x_0"].values},
        grid="zip",
        t_span=(0.0, 1.0),
        rtol=1e-6,
        atol=1e-8,
    )
    assert_same_results(got, solution.to_xarray())


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_results_do_not_depend_on_chunks_or_threads(tmp_path, precision):
    options = {"precision": precision, "rtol": 1e-5, "atol": 1e-6}
    whole = lorenz_sweep(1001, **options).run(tmp_path / "whole", progress="none", threads=2)
    assert whole.plan.chunks == 1
    for chunk_runs in (143, 25):
        store = tmp_path / str(chunk_runs)
        part = lorenz_sweep(chunk_runs, **options).run(store, progress="none", threads=1)
        assert part.plan.chunks >= 1001 / chunk_runs
        assert_same_results(part.dataset(), whole.dataset())


def test_a_second_run_computes_nothing(tmp_path):
    store = tmp_path / "a.zarr"
    lorenz_sweep(100).run(store, progress="none")
    before = {path: path.stat().st_mtime_ns for path in Path(store).rglob("*") if path.is_file()}
    events = []
    # Another chunk size is no other sweep: the store's own is kept.
    report = lorenz_sweep(50).run(store, progress=events.append)
    after = {path: path.stat().st_mtime_ns for path in Path(store).rglob("*") if path.is_file()}
    assert before == after
    assert [type(event) for event in events] == [SweepStarted, SweepEnded]
    assert events[0].runs_before == 1001
    assert report.complete


@pytest.mark.parametrize(
    ("change", "fields", "words"),
    [
        ({"rtol": 1e-7}, ("rtol",), "was .1e-06, 1e-06, 1e-06., now .1e-07"),
        ({"method": "dopri5"}, ("method",), "was 'tsit5', now 'dopri5'"),
        ({"save_every": 0.5}, ("times",), "times"),
        ({"t_span": (0.0, 2.0)}, ("dt_max", "dt_min", "t_span", "times"), "t_span"),
        ({"precision": "float32"}, ("precision",), "float32"),
        ({"saved": ["x"]}, ("saved_observables", "saved_states"), "saved_states"),
        ({"fixed": {"beta": 2.0}}, ("fixed",), "beta was 2.66.*, now 2.0"),
        ({"controller": "pid"}, ("controller",), "name was 'pi', now 'pid'"),
        (
            {"grid": Grid.product(rho=np.linspace(1, 22, 7), sigma=[9.0], y=[1.0])},
            ("grid.rho", "grid.sigma", "grid.y"),
            r"7 values 1.0…21.0, .* now '7 values 1.0…22.0",
        ),
    ],
)
def test_another_sweep_is_refused_naming_the_field(tmp_path, change, fields, words):
    store = tmp_path / "a.zarr"
    options = {"rtol": 1e-6, "atol": 1e-6}
    lorenz_sweep(**options).run(store, progress="none")
    with pytest.raises(ChangedSweepError, match=words) as caught:
        lorenz_sweep(**options | change).run(store, progress="none")
    assert tuple(sorted(caught.value.fields)) == fields
    assert "Give a new store" in str(caught.value)


def test_another_model_is_refused(tmp_path):
    def decay(text):
        return System.from_equations(text, states={"x": 1.0}, parameters={"k": 1.0})

    grid = Grid.product(k=[1.0, 2.0])
    Sweep(decay("dx = -k*x"), grid, t_span=(0, 1)).run(tmp_path / "a.zarr", progress="none")
    with pytest.raises(ChangedSweepError, match=r"text was 'dx = -k\*x', now 'dx = -2\*k\*x'"):
        Sweep(decay("dx = -2*k*x"), grid, t_span=(0, 1)).run(tmp_path / "a.zarr", progress="none")


def test_failed_runs_are_counted_and_leave_others_alone(tmp_path):
    blow_up = System.from_equations("dx = k*x**2", states={"x": 1.0}, parameters={"k": 1.0})
    sweep = Sweep(
        blow_up, Grid.product(k=[0.1, 2.0, 0.5, 3.0]), t_span=(0, 1), save_every=0.1, chunk_runs=2
    )
    report = sweep.run(tmp_path / "a.zarr", progress="none")
    assert report.complete
    assert report.statuses[Status.SUCCESS] == 2
    assert sum(report.statuses.values()) == 4
    got = report.dataset().load()
    np.testing.assert_array_equal(got["status"] == Status.SUCCESS, [True, False, True, False])
    assert got["x"].isel(k=[0, 2]).notnull().all()
    assert got["x"].isel(k=1, time=-1).isnull()
    assert float(got["final_time"][1]) == pytest.approx(0.5, abs=1e-3)


def test_records_hold_checksums_of_what_is_stored(tmp_path):
    lorenz_sweep(100).run(tmp_path / "a.zarr", progress="none")
    store = open_store(tmp_path / "a.zarr")
    names = ["x", "y", "z", "energy", "accepted_steps", "rejected_steps", "final_time", "status"]
    for record in store.records():
        block, checksum, size = store.recipe.plan.block(record.chunk), 0, 0
        for name in names:
            array = store.arrays[name]
            data = array[(Ellipsis, *block.slices)]
            checksum = zlib.crc32(np.ascontiguousarray(data).data, checksum)
            size += data.nbytes
        assert (record.crc32, record.bytes) == (checksum, size)
        assert record.steps > 0


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    lorenz_sweep(50).run(undisturbed, progress="none")
    seen = []

    def interrupt(event):
        seen.append(event)
        if isinstance(event, ChunkFinished) and len(seen) == 5:
            raise KeyboardInterrupt

    store = tmp_path / "a.zarr"
    with pytest.raises(SweepInterrupted, match="Run the same sweep on the same store"):
        lorenz_sweep(50).run(store, progress=interrupt)
    part = sweep_report(store)
    assert 4 <= part.chunks < part.plan.chunks
    status = open_sweep(store)["status"]
    assert int((status == Status.SUCCESS).sum()) == 1001 - part.statuses[Status.NOT_RUN]
    events = []
    lorenz_sweep(50).run(store, progress=events.append)
    again = [event.record.chunk for event in events if isinstance(event, ChunkFinished)]
    assert len(again) == part.plan.chunks - part.chunks
    assert_same_files(store, undisturbed)


def test_an_unwritable_array_is_an_error_that_says_so(tmp_path):
    sweep = lorenz_sweep(100)
    sweep.run(tmp_path / "a.zarr", progress="none")
    for record in (tmp_path / "a.zarr" / "status" / "ledger").iterdir():
        record.unlink()
    chunks = tmp_path / "a.zarr" / "y" / "c"
    chunks.rename(chunks.with_name("kept"))
    chunks.write_text("in the way")
    with pytest.raises(Exception, match="failed 3 times") as caught:
        sweep.run(tmp_path / "a.zarr", progress="none")
    assert type(caught.value).__name__ == "ChunkError"
    assert not isinstance(caught.value, StorageFullError)
    chunks.unlink()
    assert sweep.run(tmp_path / "a.zarr", progress="none").complete


def test_progress_lines_go_to_a_log_without_carriage_returns(tmp_path, capsys):
    lorenz_sweep(100).run(tmp_path / "a.zarr")
    out, err = capsys.readouterr()
    assert out == ""
    assert "\r" not in err
    assert "\x1b" not in err
    lines = err.splitlines()
    assert len(lines) == 2
    assert "1,001 runs in" in lines[0]
    assert "1,001 of 1,001 runs (100.0%)" in lines[1]
    assert "complete after" in lines[1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lorenz_sweep(grid=Grid.product(roh=[1.0])), "Did you mean 'rho'"),
        (lambda: lorenz_sweep(grid=[1.0, 2.0]), "Grid.product"),
        (lambda: lorenz_sweep(metod="rk4"), "Did you mean 'method'"),
        (lambda: lorenz_sweep(swept=("rho",)), "no option 'swept'"),
        (lambda: Sweep(LORENZ, Grid.product(rho=[1.0])), "t_span"),
        (lambda: lorenz_sweep(fixed={"rho": 1.0}), "both swept and fixed"),
        (lambda: lorenz_sweep(chunk_runs=0), "chunk_runs must be"),
        (lambda: lorenz_sweep(saved=["w"]), "saved"),
        (
            lambda: lorenz_sweep(
                grid=Grid.product(rho=[1e300]), precision="float32", rtol=1e-5, atol=1e-5
            ),
            "float32 ends at",
        ),
    ],
)
def test_wrong_sweeps_are_refused_when_made(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_wrong_arguments_of_run(tmp_path):
    with pytest.raises(InputError, match="progress must be"):
        lorenz_sweep().run(tmp_path / "a.zarr", progress="loud")
    with pytest.raises(Exception, match=r"client must be a distributed\.Client"):
        lorenz_sweep().run(tmp_path / "a.zarr", client="tcp://127.0.0.1:8786")
    assert not (tmp_path / "a.zarr").exists()


def test_a_sweep_is_frozen():
    sweep = lorenz_sweep()
    with pytest.raises(AttributeError):
        sweep.chunk_runs = 3
