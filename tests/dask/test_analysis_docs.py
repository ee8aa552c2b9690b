"""The page on analysis says what is true."""

import contextlib
import io
import re
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pytest
import xarray as xr

from cubie_dask.analysis.accumulators import Quantiles

PAGE = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.pyplot.switch_backend("agg")
    yield
    matplotlib.pyplot.close("all")


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, printed = {}, None
    for kind, body in re.findall(r"```(python|text)\n(.*?)```", PAGE, re.DOTALL):
        if kind == "text":
            assert printed == body
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(body, "docs/analysis.md", "exec"), names)
        printed = out.getvalue()
    dataset, stats = names["ds"], names["stats"]
    assert dataset.x.data.npartitions == 501
    assert dict(names["line"].sizes) == {"time": 51, "sigma": 41}
    assert set(names["peaks"].data_vars) == {
        *("status_count", "peak_count", "peak_mean", "peak_variance", "peak_quantile")
    }
    stored = xr.open_dataset("lorenz.nc", engine="h5netcdf")
    with stored:
        mean = stored.x.mean("sigma").transpose(*stats.x_mean.dims)
        np.testing.assert_allclose(stats.x_mean, mean, rtol=1e-9, atol=1e-9)
    assert Path("lorenz.parquet").stat().st_size > 10**6


def test_the_sketch_is_as_large_as_the_page_says():
    values = np.logspace(0, 10, 200_000, endpoint=False)[np.newaxis]
    bins, _ = Quantiles(error=0.01).begin(values, np.ones_like(values, bool))
    assert "at most 213 for each factor of 10" in PAGE
    assert 2000 < len(bins) <= 2130
