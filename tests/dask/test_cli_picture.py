"""Pictures of sweeps: one for each kind of grid, and of what is in them."""

import matplotlib.image
import numpy as np
import pytest
from cli_sweeps import EXPLODING, LORENZ, cubie_dask, write
from matplotlib.figure import Figure
from sweep_models import lorenz_sweep

from cubie_dask import Grid
from cubie_dask.cli.picture import chosen, draw, scale_of
from cubie_dask.recipe import Recipe


def report_of(tmp_path, **options):
    sweep = lorenz_sweep(**options)
    report = sweep.run(tmp_path / "a.zarr", progress="none")
    return report, Recipe(sweep.solver, sweep.grid, sweep.plan())


def panel_of(report, recipe, name):
    drawer, note = chosen(recipe, report, report.dataset())
    panel = Figure().subplots()
    drawer(panel, name)
    return panel, note


def test_two_parameters_make_an_image(tmp_path):
    grid = Grid.product(rho=np.linspace(1, 21, 7), sigma=np.geomspace(0.1, 10, 5))
    report, recipe = report_of(tmp_path, grid=grid)
    panel, note = panel_of(report, recipe, "x")
    assert note == "35 runs at t = 1"
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("rho", "sigma")
    assert (panel.get_xscale(), panel.get_yscale()) == ("linear", "log")
    (mesh,) = panel.collections
    expected = report.dataset().x.isel(time=-1).values.T
    assert np.array_equal(np.reshape(mesh.get_array(), (5, 7)), expected)


def test_of_three_parameters_the_last_stays_in_the_middle(tmp_path):
    grid = Grid.product(rho=[1.0, 2.0, 3.0], sigma=[4.0, 5.0, 6.0, 7.0], y=[0.0, 0.5, 1.0])
    report, recipe = report_of(tmp_path, grid=grid)
    panel, note = panel_of(report, recipe, "z")
    assert note == "36 runs at t = 1, y_0 = 0.5"
    (mesh,) = panel.collections
    expected = report.dataset().z.isel(time=-1).sel(y_0=0.5).values.T
    assert np.array_equal(np.reshape(mesh.get_array(), (4, 3)), expected)


def test_one_parameter_makes_a_curve(tmp_path):
    grid = Grid.product(rho=np.linspace(1, 21, 31))
    report, recipe = report_of(tmp_path, grid=grid, save_every=None)
    panel, note = panel_of(report, recipe, "x")
    (curve,) = panel.lines
    assert np.array_equal(curve.get_ydata(), report.dataset().x.values)
    assert np.array_equal(curve.get_xdata(), np.linspace(1, 21, 31))
    assert note == "31 runs at t = 1"


def test_samples_make_dots(tmp_path):
    report, recipe = report_of(tmp_path, grid=Grid.sample(50, rho=(1, 20), sigma=(8, 12)))
    panel, _ = panel_of(report, recipe, "energy")
    (dots,) = panel.collections
    dataset = report.dataset()
    places = np.stack([dataset.rho, dataset.sigma], axis=1)
    assert np.array_equal(dots.get_offsets(), places)
    assert np.array_equal(dots.get_array(), dataset.energy.isel(time=-1))


def test_large_samples_are_thinned(tmp_path):
    grid = Grid.sample(50_000, rho=(1, 20), kind="uniform")
    report, recipe = report_of(tmp_path, grid=grid, save_every=None)
    panel, note = panel_of(report, recipe, "x")
    (dots,) = panel.lines
    assert len(dots.get_xdata()) == 16_667
    assert note == "50,000 runs at t = 1, one in 3 shown"


def test_few_runs_with_saves_make_traces(tmp_path):
    grid = Grid.product(rho=[10.0, 20.0], sigma=[9.0, 10.0, 11.0])
    report, recipe = report_of(tmp_path, grid=grid, save_every=0.1)
    panel, note = panel_of(report, recipe, "x")
    assert (len(panel.lines), note) == (6, "6 runs")
    assert panel.get_xlabel() == "time"
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels[1] == "rho = 10, sigma = 10"
    expected = report.dataset().x.sel(rho=10, sigma=10)
    assert np.array_equal(panel.lines[1].get_ydata(), expected)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.linspace(0, 1, 9), "linear"),
        (np.linspace(0.1, 10, 9), "linear"),
        (np.geomspace(0.1, 10, 9), "log"),
        (np.geomspace(10, 0.1, 9), "log"),
        (np.random.default_rng(1).uniform(1, 100, 500), "linear"),
        (np.exp(np.random.default_rng(1).uniform(0, 5, 500)), "log"),
        (np.array([1.0, 100.0]), "linear"),
    ],
)
def test_scale(values, scale):
    assert scale_of(values) == scale


def test_failed_runs_are_left_out(tmp_path):
    file = write(tmp_path, EXPLODING)
    assert cubie_dask("run", file, "--quiet").returncode == 1
    from cubie_dask import sweep_report
    from cubie_dask.stores.store import open_store

    report = sweep_report(tmp_path / "exploding.zarr")
    panel, _ = panel_of(report, open_store(report.store).recipe, "x")
    (curve,) = panel.lines
    assert np.isfinite(curve.get_ydata()).tolist() == [True] * 8 + [False] * 8


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot_writes_a_file_of_the_asked_kind(tmp_path, suffix):
    file, picture = write(tmp_path, LORENZ), tmp_path / f"lorenz.{suffix}"
    ended = cubie_dask("run", file, "--plot", picture)
    assert ended.returncode == 0, ended.stderr
    assert f"Picture: {picture}" in ended.stdout
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert picture.read_bytes().startswith(start)
    if suffix == "png":
        pixels = matplotlib.image.imread(picture)
        assert min(pixels.shape[:2]) > 400
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100


def test_all_panels_are_in_the_picture(tmp_path):
    report, _ = report_of(tmp_path)
    draw(report, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for name in ("x", "y", "z", "energy"):
        assert f"<!-- {name} -->" in text
