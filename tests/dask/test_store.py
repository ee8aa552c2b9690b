"""The store before and beside the runs: template, recipe, refusals, ledger."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from sweep_models import LORENZ, lorenz_sweep

from cubie_dask import Grid, StoreError, Sweep, open_sweep, sweep_report
from cubie_dask.recipe import Recipe
from cubie_dask.stores.ledger import Ledger, Record
from cubie_dask.stores.storage import open_storage
from cubie_dask.stores.store import create_store, open_store
from cubie_kernels import Status, System

GRIDS = {
    "product": Grid.product(rho=np.linspace(0, 21, 6), x=[1.0, 2.0]),
    "zip": Grid.zip(rho=np.linspace(0, 21, 6), x=np.linspace(-1, 1, 6)),
    "sample": Grid.sample(100, rho=("log", 1.0, 21.0), x=(-1, 1), seed=4),
}


def template(path, sweep):
    recipe = Recipe(sweep.solver, sweep.grid, sweep.plan())
    create_store(path, recipe)
    return recipe


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("saves", [None, 0.25])
def test_nothing_has_run_in_a_new_store(tmp_path, kind, saves):
    sweep = lorenz_sweep(grid=GRIDS[kind], save_every=saves)
    template(tmp_path / "a.zarr", sweep)
    dataset = open_sweep(tmp_path / "a.zarr").load()
    dims = ("rho", "x_0") if kind == "product" else ("run",)
    assert dataset["x"].dims == (("time",) if saves else ()) + dims
    assert np.isnan(dataset["energy"]).all()
    assert (dataset["status"] == Status.NOT_RUN).all()
    assert dataset["status"].dtype == np.uint8
    assert dataset["status"].attrs["flag_values"] == [int(status) for status in Status]
    assert dataset["status"].attrs["flag_meanings"].split()[0] == "not_run"
    assert set(dataset.coords) == {"rho", "x_0"} | ({"time"} if saves else set())
    if kind != "sample":
        np.testing.assert_array_equal(dataset["rho"], np.linspace(0, 21, 6))
    report = sweep_report(tmp_path / "a.zarr")
    assert report.statuses == {Status.NOT_RUN: sweep.grid.runs}
    assert not report.complete
    assert "not_run" in str(report)


def test_provenance_is_in_the_attributes_and_fits_netcdf(tmp_path):
    template(tmp_path / "a.zarr", lorenz_sweep())
    attributes = xr.open_zarr(tmp_path / "a.zarr", consolidated=False).attrs
    assert attributes["model"] == LORENZ.text
    assert attributes["model_hash"] == LORENZ.content_hash
    assert (attributes["method"], attributes["rtol"]) == ("tsit5", 1e-6)
    assert {"numpy", "zarr", "cubie"} <= json.loads(attributes["versions"]).keys()
    assert attributes["created"].endswith("+00:00")
    assert all(isinstance(value, str | int | float | list) for value in attributes.values())


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"save_every": None, "method": "dopri5", "controller": "h211b", "saved": ["energy", "y"]},
        {"adaptive": False, "dt": 0.01, "method": "rk4", "precision": "float32"},
        {"atol": {"x": 1e-8, "y": 1e-9, "z": 1e-7}, "dt_max": 0.1, "fixed": {"sigma": 9.0}},
        {"method": "rodas4", "linear_solver": "gmres", "preconditioner": "jacobi"},
        {"method": "radau-iia-5", "controller": "pid"},
        {"method": "kvaerno5", "newton": "damped"},
        {"method": "auto"},
        {"method": "auto", "controller": "i", "linear_solver": "banded"},
    ],
)
def test_a_worker_reads_the_same_recipe(tmp_path, kind, options):
    options = {"rtol": 1e-5} | options
    recipe = template(tmp_path / "a.zarr", lorenz_sweep(20, GRIDS[kind], **options))
    read = open_store(tmp_path / "a.zarr").recipe
    assert read.solver.settings() == recipe.solver.settings()
    assert read.plan == recipe.plan
    assert read.grid == recipe.grid
    for chunk in range(read.plan.chunks):
        block = read.plan.block(chunk)
        for name, column in recipe.grid.columns(block).items():
            twin = read.grid.columns(block)[name]
            assert twin.stride == column.stride
            np.testing.assert_array_equal(twin.values, column.values)


def test_names_of_the_model_come_first(tmp_path):
    system = System.from_equations(
        "dtime = -run*time\ndstatus = 0.0",
        states={"time": 1.0, "status": 2.0},
        parameters={"run": 1.0},
    )
    sweep = Sweep(system, Grid.zip(run=[1.0, 2.0]), t_span=(0, 1), save_every=0.5)
    template(tmp_path / "a.zarr", sweep)
    dataset = open_sweep(tmp_path / "a.zarr")
    assert dataset["time"].dims == ("time_", "run_")
    assert dataset["status_"].dtype == np.uint8
    assert dataset["run"].dims == ("run_",)
    assert sweep_report(tmp_path / "a.zarr").chunks == 0


def test_what_is_not_a_store_is_refused(tmp_path):
    sweep = lorenz_sweep()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    zarr.create_group(str(tmp_path / "other.zarr"))
    for name, words in (
        ("papers", "holds something else"),
        ("other.zarr", "no sweep made it"),
        ("file", "is not a zarr v3 store"),
    ):
        with pytest.raises(StoreError, match=words):
            sweep.run(tmp_path / name, progress="none")
        with pytest.raises(StoreError, match=words):
            open_sweep(tmp_path / name)
    assert (tmp_path / "papers" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(StoreError, match="does not exist"):
        open_sweep(tmp_path / "nowhere")


def test_a_store_of_a_later_format_is_refused(tmp_path):
    template(tmp_path / "a.zarr", lorenz_sweep())
    root = tmp_path / "a.zarr" / "zarr.json"
    data = json.loads(root.read_text())
    data["attributes"]["cubie_format"] = 99
    root.write_text(json.dumps(data))
    with pytest.raises(StoreError, match="format 99, and this version knows 2"):
        open_store(tmp_path / "a.zarr")


def test_creation_leaves_nothing_half_made(tmp_path):
    template(tmp_path / "a.zarr", lorenz_sweep())
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    with pytest.raises(StoreError, match="made by another process"):
        template(tmp_path / "a.zarr", lorenz_sweep())
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def some_record(chunk):
    return Record(chunk, 10, {"SUCCESS": 10}, 50, 0.5, 0.1, 800, 123, 1, "here:1", "now", "0.1")


def test_ledger_round_trip(tmp_path):
    assert Ledger(open_storage(tmp_path / "nowhere"), "ledger", (5,)).finished() == set()
    ledger = Ledger(open_storage(tmp_path), "ledger", (2, 3, 4))
    for chunk in (3, 11, 0, 23):
        ledger.write(some_record(chunk))
    folder = tmp_path / "ledger"
    assert sorted(path.name for path in folder.iterdir()) == [
        "0-0-0.json",
        "0-0-3.json",
        "0-2-3.json",
        "1-2-3.json",
    ]
    for name in ("4.json", "0-0-2.json.abc.partial", "notes.txt", "0-9-0.json", "0--1-2.json"):
        (folder / name).write_text("{")
    assert ledger.finished() == {0, 3, 11, 23}
    assert ledger.records() == [some_record(chunk) for chunk in (0, 3, 11, 23)]
    # A longer first dimension keeps the names.
    assert Ledger(open_storage(tmp_path), "ledger", (9, 3, 4)).finished() == {0, 3, 11, 23}
    ledger.delete(11)
    ledger.delete(11)
    assert ledger.finished() == {0, 3, 23}


@pytest.mark.parametrize(
    "damage", [lambda t: t[:40], lambda t: t.replace(b"50", b"51"), lambda t: b""]
)
def test_a_damaged_record_is_told(tmp_path, damage):
    ledger = Ledger(open_storage(tmp_path), "ledger", (20,))
    for chunk in (3, 4):
        ledger.write(some_record(chunk))
    path = tmp_path / "ledger" / "3.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=r"3\.json of .* is damaged"):
        ledger.records()
    assert [chunk for chunk, found in ledger.read([3, 4]) if isinstance(found, Record)] == [4]


def test_records_are_small(tmp_path):
    Ledger(open_storage(tmp_path), "ledger", (10**7,)).write(some_record(10**6))
    assert (tmp_path / "ledger" / "1000000.json").stat().st_size < 400


def test_leftovers_are_swept(tmp_path):
    template(tmp_path / "a.zarr", lorenz_sweep())
    folder = tmp_path / "a.zarr" / "x" / "c" / "0"
    folder.mkdir(parents=True)
    (folder / "1.0123.partial").write_bytes(b"half")
    (folder / "2").write_bytes(b"whole")
    before = len(list(Path(tmp_path).rglob("*")))
    assert open_storage(tmp_path / "a.zarr").sweep() == 1
    assert (folder / "2").exists()
    assert len(list(Path(tmp_path).rglob("*"))) == before - 1
