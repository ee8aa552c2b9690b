"""The page on sweeps says what is true."""

import re
from pathlib import Path

import pytest
from sweep_models import lorenz_sweep

from cubie_dask import ChangedSweepError, Sweep

PAGE = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")


def test_the_first_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    names = {}
    exec(compile(code.replace("1000)", "20)"), "docs/sweeps.md", "exec"), names)
    dataset = names["ds"]
    assert dict(dataset["x"].sizes) == {"time": 11, "rho": 20, "sigma": 20}
    assert "400  success" in capsys.readouterr().out
    # As the page says, of the same sweep with another tolerance.
    system, grid = names["sweep"].solver.system, names["sweep"].grid
    other = Sweep(system, grid, t_span=(0, 1), save_every=0.1, rtol=1e-9, atol=1e-8)
    with pytest.raises(ChangedSweepError) as caught:
        other.run("lorenz.zarr")
    shown = re.search(r"ChangedSweepError: (.*?)```", PAGE, re.DOTALL).group(1).strip()
    assert str(caught.value).replace(f"{tmp_path}/", "") == shown


def test_events_and_names_on_the_page_exist():
    import cubie_dask
    from cubie_dask.progress import events as progress

    for name in ("SweepStarted", "ChunkFinished", "ChunkFailed", "SweepEnded"):
        assert f"`{name}`" in PAGE
        assert hasattr(progress, name)
    for name in ("StorageFullError", "ChunkError", "SweepInterrupted", "sweep_report"):
        assert f"`{name}" in PAGE
        assert hasattr(cubie_dask, name)
    assert "16,384" in PAGE
    assert lorenz_sweep().plan().chunks == 1
