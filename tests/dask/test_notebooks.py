"""The notebooks and what stands beside them: they run, and are shipped with their outputs."""

import base64
import io
import sys
from pathlib import Path

import matplotlib.image
import nbformat
import numpy as np
import pytest
import xarray as xr

from cubie_dask import Grid, Sweep
from cubie_dask.cli.sweep_file import read_sweep_file
from cubie_kernels import solve

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SWEEPS = NOTEBOOKS / "sweeps"


@pytest.fixture
def beside(monkeypatch):
    """Let the scripts of the notebooks be imported."""
    monkeypatch.syspath_prepend(str(NOTEBOOKS))
    yield
    for name in ("spike_counts", "execute"):
        sys.modules.pop(name, None)


def pictures(notebook):
    """Return all pictures among the outputs as arrays."""
    return [
        matplotlib.image.imread(io.BytesIO(base64.b64decode(output["data"]["image/png"])))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


@pytest.mark.parametrize("name", ["first_sweep", "spike_counts", "stiff_failure"])
def test_notebooks_are_shipped_with_outputs_and_pictures(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert kinds <= {"stream", "display_data", "execute_result"}
    streams = {o.name for c in code for o in c.outputs if o.output_type == "stream"}
    assert streams == {"stdout"}
    found = pictures(notebook)
    assert len(found) >= 3
    for pixels in found:
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20
    assert path.stat().st_size < 500_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first_sweep", "spike_counts", "stiff_failure"])
def test_notebooks_run_and_show_the_same_pictures(name, beside):
    from execute import execute

    path = NOTEBOOKS / f"{name}.ipynb"
    shipped, again = nbformat.read(path, as_version=4), execute(path)
    for old, new in zip(shipped.cells, again.cells, strict=True):
        assert old.source == new.source
        assert old.get("outputs", []) == [] or new.outputs
    assert len(pictures(again)) == len(pictures(shipped))


@pytest.mark.parametrize(
    ("name", "runs", "shape"),
    [("lorenz", 1_000_000, (1000, 1000)), ("hodgkin_huxley", 100_000, (400, 250))],
)
def test_sweep_files_say_what_they_promise(name, runs, shape):
    file = read_sweep_file(SWEEPS / f"{name}.toml")
    assert file.sweep.grid.runs == runs
    assert file.sweep.grid.shape == shape
    assert file.store == str(SWEEPS / f"{name}.zarr")


def test_the_lorenz_file_makes_the_attractors(tmp_path):
    solver = read_sweep_file(SWEEPS / "lorenz.toml").sweep.solver
    sweep = Sweep(
        solver.system,
        Grid.product(rho=np.linspace(2, 10, 5), sigma=[9.0, 10.0, 11.0]),
        t_span=solver.t_span,
        rtol=solver.rtol,
        atol=solver.atol,
    )
    ends = sweep.run(tmp_path / "a.zarr", progress="none").dataset()
    # Up to rho = 10 all runs from here settle in the fixed point of positive x.
    np.testing.assert_allclose(ends.z, (ends.rho - 1).broadcast_like(ends.z), atol=1e-3)
    np.testing.assert_allclose(ends.x**2, 8 / 3 * (ends.rho - 1) + 0 * ends.x, atol=1e-2)
    assert bool((ends.x > 0).all())


def hodgkin_huxley(t, y, current):
    """Return the derivative as the paper's tables give the rates; V must avoid -55 and -40."""
    v, m, h, n = y
    a_m, b_m = 0.1 * (v + 40) / (1 - np.exp(-(v + 40) / 10)), 4 * np.exp(-(v + 65) / 18)
    a_h, b_h = 0.07 * np.exp(-(v + 65) / 20), 1 / (1 + np.exp(-(v + 35) / 10))
    a_n, b_n = 0.01 * (v + 55) / (1 - np.exp(-(v + 55) / 10)), 0.125 * np.exp(-(v + 65) / 80)
    ionic = 120 * m**3 * h * (v - 50) + 36 * n**4 * (v + 77) + 0.3 * (v + 54.387)
    return [
        current - ionic,
        a_m * (1 - m) - b_m * m,
        a_h * (1 - h) - b_h * h,
        a_n * (1 - n) - b_n * n,
    ]


def test_the_axon_of_the_sweep_is_hodgkin_and_huxleys():
    from scipy.integrate import solve_ivp

    system = read_sweep_file(SWEEPS / "hodgkin_huxley.toml").sweep.solver.system
    times = np.linspace(0, 50, 101)
    currents = [3.0, 10.0, 40.0]
    ours = solve(
        system, {"current": currents}, t_span=(0, 50), save_at=times, rtol=1e-10, atol=1e-10
    )
    for i, current in enumerate(currents):
        theirs = solve_ivp(
            hodgkin_huxley,
            (0, 50),
            system.state_defaults,
            "DOP853",
            times,
            args=(current,),
            rtol=1e-11,
            atol=1e-11,
        )
        np.testing.assert_allclose(ours["V"][:, i], theirs.y[0], atol=1e-4)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_axon_has_no_hole_at_its_removable_singularities(precision):
    system = read_sweep_file(SWEEPS / "hodgkin_huxley.toml").sweep.solver.system
    offsets = np.array([-1e-2, -1.01e-3, -0.99e-3, -1e-5, -1e-12, 0, 1e-12, 1e-5, 1e-3, 1e-2])
    for hole in (-40.0, -55.0):
        rates = solve(
            system,
            initial_values={"V": hole + offsets},
            t_span=(0, 1e-3),
            precision=precision,
            rtol=1e-5,
            atol=1e-6,
        )
        assert rates.ok.all()
        for name in ("m", "n"):
            straight = np.polynomial.Polynomial.fit(offsets, rates[name].astype(float), 1)
            np.testing.assert_allclose(rates[name], straight(offsets), atol=2e-7)


def test_spikes_are_counted_chunk_by_chunk(beside):
    from spike_counts import draw, spike_counts

    time = np.linspace(0, 10, 2001)
    frequencies = np.array([0.0, 0.5, 1.0, 3.0, 7.5])
    traces = -np.cos(2 * np.pi * frequencies[:, None] * time) * 30
    potential = xr.DataArray(
        np.stack([traces, traces - 29, traces - 31], axis=-1),
        {"current": frequencies, "time": time, "g_na": [1.0, 2.0, 3.0]},
        ("current", "time", "g_na"),
    )
    expected = np.outer([0, 5, 10, 30, 75], [1, 1, 0])
    counted = spike_counts(potential.chunk(current=2, g_na=1))
    assert counted.chunks is not None
    assert counted.dims == ("current", "g_na")
    assert np.array_equal(counted, expected)
    potential[:, 1000] = np.nan
    potential[:, 1001:] = -60
    assert int(spike_counts(potential).sel(current=1.0, g_na=1.0)) == 5
    (mesh,) = draw(counted, 10).axes[0].collections
    assert np.array_equal(np.reshape(mesh.get_array(), (3, 5)), expected.T)
