"""Stiff models and algebraic equations from a sweep file."""

import numpy as np
import pytest

from cubie_dask import open_sweep
from cubie_dask.cli import main

FILE = """
[model]
equations = '''
dx = -k*x + 1e4*y*z
dy = k*x - 1e4*y*z - 3e7*y*y
{last}
'''
states = {{ x = 1.0, y = 0.0, z = 0.0 }}
parameters = {{ k = 0.04 }}
{more}

[grid.values]
k = [0.02, 0.04, 0.08]

[time]
t_span = [0, 100]

[solver]
method = "{method}"
rtol = 1e-6
{options}
"""


@pytest.mark.parametrize(
    ("last", "more", "method", "options"),
    [
        ("dz = 3e7*y*y", "", "auto", ""),
        ("dz = 3e7*y*y", "", "rodas4", 'linear_solver = "gmres"\npreconditioner = "jacobi"'),
        ("dz = x + y + z - 1", "mass = { z = 0.0 }", "rodas5p", ""),
        ("0 = x + y + z - 1", "", "auto", ""),
    ],
)
def test_a_stiff_sweep_file_runs(tmp_path, monkeypatch, last, more, method, options):
    monkeypatch.chdir(tmp_path)
    text = FILE.format(last=last, more=more, method=method, options=options)
    (tmp_path / "kinetics.toml").write_text(text, encoding="utf-8")
    assert main(["run", "kinetics.toml", "--store", "out.zarr"]) == 0
    data = open_sweep("out.zarr").load()
    # Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.10, at k = 0.04.
    total = data.x + data.y + data.z
    np.testing.assert_allclose(total, 1.0, atol=1e-9)
    assert (data.status == 1).all()
    assert float(data.x.sel(k=0.04)) == pytest.approx(0.6172348, rel=1e-4)
    if last.startswith("dz = 3e7") and method == "auto":
        assert (data.stiff == 1).all()
    if options:
        assert "gmres" in data.attrs["cubie_solver"]


def test_a_mass_of_an_unknown_state_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = FILE.format(last="dz = 3e7*y*y", more="mass = { zz = 0.0 }", method="auto", options="")
    (tmp_path / "kinetics.toml").write_text(text, encoding="utf-8")
    assert main(["run", "kinetics.toml", "--store", "out.zarr"]) == 2
    assert "zz" in capsys.readouterr().err
