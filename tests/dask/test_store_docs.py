"""What docs/store.md says is so, of a store that a sweep has made."""

import json
import re
from pathlib import Path

import pytest
from sweep_models import LORENZ, lorenz_sweep

from cubie_dask import Grid
from cubie_dask.stores.ledger import Record
from cubie_dask.stores.store import open_store
from cubie_kernels import Status

TEXT = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("docs") / "lorenz.zarr"
    grid = Grid.product(rho=[7.0, 14.0, 21.0], sigma=[9.0, 10.0])
    lorenz_sweep(2, grid, method="rodas4", keepbits=12).run(path, progress="none")
    return path


@pytest.mark.parametrize("section", ["Opening it without this package", "Verifying"])
def test_the_examples_run(store, section, monkeypatch, capsys):
    monkeypatch.chdir(store.parent)
    block = re.search(rf"## {section}\n.*?```python\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    known = {}
    exec(block[1].replace("[5, 77]", "[1, 2]"), known)
    shown = capsys.readouterr().out
    if "ds" in known:
        assert LORENZ.text in shown
        assert int(Status.SUCCESS) == 1
    else:
        assert "Nothing is damaged." in shown


def test_all_that_lies_in_a_store_is_told_of(store):
    told = set(re.findall(r"`(\w+)/`", TEXT))
    there = {path.name for path in store.iterdir() if path.is_dir()}
    assert there - told == {"sigma", "y", "z"}
    names = {path.name for path in (store / "status").iterdir()} - {"c", "zarr.json"}
    for name in names:
        assert name == "ledger" or f"status/{name}/" in TEXT or name.startswith("progress")
    assert (store / open_store(store).ledger.name(2)).name == "2-0.json"


def test_all_attributes_and_fields_of_records_are_told_of(store):
    attributes = json.loads((store / "zarr.json").read_text())["attributes"]
    rows = re.search(r"\n\| attribute \| \|\n(.*?)\n\n", TEXT, re.DOTALL)
    assert rows is not None
    told = set(re.findall(r"`(\w+)`", rows[1]))
    # The last two are of stores that were retried or extended.
    assert told <= attributes.keys() | {"run", "cubie_rounds", "cubie_extensions"}
    assert {name for name in attributes if name.startswith("cubie_")} <= told
    record = (store / open_store(store).ledger.name(2)).read_text()
    for name in json.loads(record).keys() - {"round"}:
        assert f"`{name}`" in TEXT
    assert json.loads(record).keys() - {"check"} == set(Record.__annotations__) - {"chunk"}
