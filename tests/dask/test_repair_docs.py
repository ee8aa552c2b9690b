"""What docs/repair.md says is so."""

import re
from pathlib import Path

from cli_sweeps import cubie_dask, write
from killed_retry import FEW_STEPS, failing_sweep

from cubie_dask import open_sweep, retry_failed
from cubie_dask.repairs.retrying import RetryOptions
from cubie_kernels.status import Status

TEXT = (Path(__file__).parents[2] / "docs" / "repair.md").read_text(encoding="utf-8")

SWEEP = """
[model]
equations = "dx = -k*x"
states = { x = 1.0 }
parameters = { k = 1.0 }
[grid.values]
k = [0.5, 1.0, 50.0]
[time]
t_span = [0, 5]
[solver]
max_steps = 40
[store]
path = "a.zarr"
"""


def test_a_retry_may_change_what_the_page_lists():
    (listed,) = re.findall(r"a retry may change (.*?)\. ", TEXT.replace("\n", " "))
    assert set(re.findall(r"`(\w+)`", listed)) == set(RetryOptions.__annotations__)


def test_the_history_is_read_as_the_page_says(tmp_path):
    store = tmp_path / "a.zarr"
    failing_sweep().run(store, progress="none")
    first = open_sweep(store).status.load()
    retry_failed(store, max_steps=10_000, progress="none")
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (code,) = [block for block in blocks if "cubie_rounds" in block]
    names = {"open_sweep": lambda name: open_sweep(store)}
    exec(code.replace("rho=14.0, sigma=10.0", "rho=30.0, sigma=9.0"), names)
    assert (names["first"].values == first.values).all()
    assert names["settings"][0]["max_steps"] == FEW_STEPS
    assert names["settings"][1]["max_steps"] == 10_000


def test_the_commands_do_what_the_page_says(tmp_path):
    file = write(tmp_path, SWEEP)
    assert cubie_dask("run", file, "--quiet").returncode == 1
    store = tmp_path / "a.zarr"
    refused = cubie_dask("retry-failed", store, "--max-steps", "40")
    assert refused.returncode == 2
    assert "Nothing is changed" in refused.stderr
    told = cubie_dask(
        *("retry-failed", store, "--status", "STEP_BUDGET,NONFINITE"),
        *("--max-steps", "1000", "--atol", "x=1e-8", "--quiet"),
    )
    assert told.returncode == 0, told.stderr
    write(tmp_path, "k,other\n51,1\n60,2\n", "more.csv")
    wrong = cubie_dask("extend", store, "--axis", "k=1:51:3")
    assert wrong.returncode == 2
    assert "has 1 already" in wrong.stderr
    longer = cubie_dask("extend", store, "--axis", f'k={{file = "{tmp_path}/more.csv"}}')
    assert longer.returncode == 0, longer.stderr
    assert f"cubie-dask resume {store}" in longer.stdout
    resumed = cubie_dask("resume", store)
    assert resumed.returncode == 1, resumed.stderr
    found = open_sweep(store).load()
    assert found.k.values.tolist() == [0.5, 1, 50, 51, 60]
    assert (found.status == Status.SUCCESS).values.tolist() == [True] * 3 + [False] * 2
    again = cubie_dask("retry-failed", store, "--max-steps", "1000", "--atol", "x=1e-8")
    assert again.returncode == 0
    assert "Retried: 2 success" in again.stdout
