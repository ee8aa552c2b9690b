"""Stores as netCDF and Parquet files hold what the stores hold."""

import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cli_sweeps import cubie_dask
from pyarrow import parquet
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import Grid, StoreError, open_sweep
from cubie_dask.analysis.export import to_netcdf, to_parquet
from cubie_dask.progress.events import ChunkFinished
from cubie_kernels import InputError

GRIDS = {
    "product": Grid.product(rho=np.linspace(0, 21, 20), x=np.linspace(-1, 1, 10)),
    "zip": Grid.zip(rho=np.linspace(0, 21, 200), x=np.linspace(-1, 1, 200)),
    "sample": Grid.sample(200, rho=(0, 21), x=("log", 0.1, 1.0)),
}
WRITERS = {"netcdf": to_netcdf, "parquet": to_parquet}


@pytest.fixture(scope="module", params=[*GRIDS, "ends", "unfinished"])
def store(request, tmp_path_factory):
    """Return a store of each kind of grid, one of end states, and one that isn't finished."""
    path = tmp_path_factory.mktemp("stores") / "a.zarr"
    saves = {"save_every": None} if request.param == "ends" else {}
    sweep = lorenz_sweep(33, GRIDS.get(request.param, GRIDS["product"]), **saves)

    def stop(event):
        if isinstance(event, ChunkFinished):
            raise KeyboardInterrupt

    if request.param == "unfinished":
        with pytest.raises(KeyboardInterrupt):
            sweep.run(path, progress=stop)
        assert 0 < (open_sweep(path).status == 0).sum() < 200
    else:
        sweep.run(path, progress="none")
    return path


def test_netcdf_holds_the_store(store, tmp_path):
    path = to_netcdf(store, tmp_path / "a.nc")
    assert [file.name for file in tmp_path.iterdir()] == ["a.nc"]
    stored = open_sweep(store)
    with xr.open_dataset(path, engine="h5netcdf") as held:
        assert_same_results(held.compute(), stored.compute())
        for name, array in stored.variables.items():
            assert set(held[name].attrs) == set(array.attrs)
            for key, value in array.attrs.items():
                assert np.array_equal(held[name].attrs[key], value)
        assert held.status.attrs["flag_values"].dtype == np.uint8
        assert set(stored.attrs) - set(held.attrs) == {"cubie_format"}
        assert held.attrs["model"] == stored.attrs["model"]
        chunks = held.x.encoding["chunksizes"]
        assert chunks == tuple(lengths[0] for lengths in stored.x.chunks)


def test_parquet_holds_the_store(store, tmp_path):
    path = to_parquet(store, tmp_path / "a.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
    stored = open_sweep(store).compute()
    dims = [dim for dim in stored.dims if dim != "time"]
    times = ["time"] if "time" in stored.dims else []
    rows = pd.read_parquet(path).sort_values(["run", *times], kind="stable")
    assert list(rows.columns[:3]) == ["run", "rho", "x_0"]
    assert set(rows.columns) == {"run", *stored.variables} - ({"run"} & set(stored.variables))
    for name in rows.columns[1:]:
        array = xr.broadcast(stored[name], stored.status, stored.x)[0].transpose(*dims, *times)
        if name == "status":
            words = stored.status.attrs["flag_meanings"].upper().split()
            assert rows[name].tolist() == [words[code] for code in array.values.ravel()]
        else:
            assert rows[name].dtype == stored[name].dtype
            assert rows[name].values.tobytes() == array.values.ravel().tobytes(), name
    file = parquet.ParquetFile(path)
    assert file.num_row_groups == open_sweep(store).x.data.npartitions
    assert file.schema_arrow.metadata[b"model_name"] == b"lorenz"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_is_whole_or_not_there(tmp_path, kind):
    lorenz_sweep(33, GRIDS["zip"]).run(tmp_path / "a.zarr", progress="none")
    write, path = WRITERS[kind], tmp_path / "out" / "a.file"
    with pytest.raises(InputError, match="no folder"):
        write(tmp_path / "a.zarr", path)
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(InputError, match=r"a\.file exists"):
        write(tmp_path / "a.zarr", path)
    chunk = tmp_path / "a.zarr" / "z" / "c" / "0" / "3"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:20])
    with pytest.raises(Exception, match=r"(?i)blosc|decompress|buffer|size"):
        write(tmp_path / "a.zarr", path, overwrite=True)
    assert path.read_text() == "mine"
    assert [file.name for file in path.parent.iterdir()] == ["a.file"]
    chunk.write_bytes(whole)
    write(tmp_path / "a.zarr", path, overwrite=True)
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("kind", "package"), [("netcdf", "h5netcdf"), ("netcdf", "h5py"), ("parquet", "pyarrow")]
)
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, kind, package):
    # As Python itself marks modules that must not be found.
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs {package}: install cubie\[export\]"):
        WRITERS[kind](tmp_path / "a.zarr", tmp_path / "a")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_path_without_a_store_is_refused(tmp_path, write):
    with pytest.raises(StoreError, match="does not exist"):
        write(tmp_path / "a.zarr", tmp_path / "a")


def test_models_whose_settings_are_long_fit_into_attributes(tmp_path):
    sweep = lorenz_sweep(33, GRIDS["zip"], save_every=None, save_at=np.linspace(0, 1, 9001))
    sweep.run(tmp_path / "a.zarr", progress="none")
    to_netcdf(tmp_path / "a.zarr", tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as held:
        text = open_sweep(tmp_path / "a.zarr").attrs["cubie_solver"]
        assert len(text) > 70_000
        assert held.attrs["cubie_solver"] == text


def test_the_command(tmp_path):
    sweep = lorenz_sweep(33, GRIDS["product"])
    sweep.run(tmp_path / "a.zarr", progress="none")
    done = cubie_dask("export", "a.zarr", "a.nc", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Complete sweep of lorenz" in done.stdout
    size = (tmp_path / "a.nc").stat().st_size
    assert done.stdout.endswith(f"a.nc: {size:,} bytes of netcdf\n")
    done = cubie_dask("export", "a.zarr", "a.table", "--format", "parquet", cwd=tmp_path)
    assert done.returncode == 0
    assert len(pd.read_parquet(tmp_path / "a.table")) == 1000
    wrong = cubie_dask("export", "a.zarr", "a.parkett", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Did you mean '.parquet'?" in wrong.stderr
    again = cubie_dask("export", "a.zarr", "a.nc", cwd=tmp_path)
    assert again.returncode == 2
    assert "a.nc exists" in again.stderr
    assert cubie_dask("export", "a.zarr", "a.nc", "--overwrite", cwd=tmp_path).returncode == 0
    assert cubie_dask("export", "b.zarr", "b.nc", cwd=tmp_path).returncode == 2
