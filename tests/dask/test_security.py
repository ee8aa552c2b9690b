"""Sweep files and stores are data: nothing in them is executed or written elsewhere."""

import ast
import io
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_sweeps import LORENZ, write
from sweep_models import lorenz_sweep

import cubie_dask
import cubie_kernels
from cubie_dask import open_sweep, sweep_report
from cubie_dask.cli import main
from cubie_kernels.errors import CubieError

EVIL = [
    "__import__('os').system('touch pwned')",
    "().__class__.__base__.__subclasses__()",
    "x.__class__",
    "(lambda: 1)()",
    "[y for y in (1, 2)]",
    "eval('1')",
    "open('pwned', 'w')",
    "9**9**9**9",
    'f"{x}"',
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to be in, where what is executed would leave a file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    store = tmp_path_factory.mktemp("finished") / "a.zarr"
    lorenz_sweep(200).run(store, progress="none")
    return store


def command(*arguments):
    """Return the exit code of the command, in this process."""
    return main([str(argument) for argument in arguments])


def tampered(store, change):
    """Change the attributes of a store in place."""
    meta = json.loads((store / "zarr.json").read_text())
    change(meta["attributes"])
    (store / "zarr.json").write_text(json.dumps(meta))


def change_model(attributes, change):
    settings = json.loads(attributes["cubie_solver"])
    change(settings["model"])
    attributes["cubie_solver"] = json.dumps(settings)


@pytest.mark.parametrize("text", EVIL)
def test_the_text_of_a_model_is_parsed_never_executed(here, text, capsys):
    file = write(here, LORENZ.replace("sigma*(y - x)", text))
    before = set(here.iterdir())
    assert command("run", file) == 2
    assert "[model]" in capsys.readouterr().err
    assert set(here.iterdir()) == before


@pytest.mark.parametrize("text", EVIL)
def test_so_is_the_text_that_a_store_holds(here, finished, text):
    store = shutil.copytree(finished, here / "a.zarr")
    shutil.rmtree(store / "status" / "ledger")

    def change(model):
        model["text"] = model["text"].replace("sigma*(y - x)", text)
        assert text in model["text"]

    tampered(store, lambda attributes: change_model(attributes, change))
    before = set(here.rglob("*"))
    with pytest.raises(CubieError):
        sweep_report(store)
    with pytest.raises(CubieError, match="text"):
        lorenz_sweep(200).run(store, progress="none")
    assert command("status", store) == 2
    assert set(here.rglob("*")) == before


@pytest.mark.parametrize("name", ["../../pwned", "/tmp/pwned", "a/b", "..", "", "a b", "x\0y"])
def test_no_name_of_a_model_is_a_path(here, finished, name):
    store = shutil.copytree(finished, here / "a.zarr")

    def change(model):
        model["states"][0][0] = name
        model["text"] = model["text"].replace("dx =", f"d{name} =")

    tampered(store, lambda attributes: change_model(attributes, change))
    with pytest.raises(CubieError):
        sweep_report(store)
    quoted = json.dumps(name)
    text = LORENZ.replace("states = { x = 1.0,", f"states = {{ {quoted} = 1.0,")
    assert command("run", write(here, text)) == 2
    assert {path.name for path in here.iterdir()} == {"a.zarr", "sweep.toml"}


@pytest.mark.parametrize("path", ["other", "../outside/other", "./deep/../other", "absolute"])
def test_a_sweep_writes_into_its_store_alone(here, path, capsys):
    """What is there already is left alone, and nothing is beside the store."""
    (here / "work").mkdir()
    (here / "outside" / "other").mkdir(parents=True)
    precious = here / "outside" / "other" / "precious.txt"
    precious.write_text("mine")
    (here / "work" / "other").symlink_to(here / "outside" / "other")
    if path == "absolute":
        path = str(here / "outside" / "other")
    text = LORENZ.replace('path = "results/lorenz.zarr"', f"path = {json.dumps(path)}")
    before = {p: p.read_bytes() for p in here.rglob("*") if p.is_file()}
    file = write(here / "work", text)
    assert command("run", file) == 2
    assert "something else" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in here.rglob("*") if p.is_file()} == before | {
        file: file.read_bytes()
    }
    # A free place gets the store, and nothing else is made.
    free = write(here / "work", LORENZ.replace("results/lorenz.zarr", "free.zarr"), "free.toml")
    assert command("run", free, "--quiet") == 0
    made = {p.relative_to(here).parts[:2] for p in here.rglob("*") if p.is_file()}
    assert made == {
        ("outside", "other"),
        ("work", "sweep.toml"),
        ("work", "free.toml"),
        ("work", "free.zarr"),
    }


class Bomb:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_pickles_are_not_read(here):
    np.save(here / "rho.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    text = LORENZ.replace("{ start = 0.0, stop = 21.0, count = 22 }", '{ file = "rho.npy" }')
    assert command("run", write(here, text)) == 2
    assert not (here / "pwned").exists()
    # The bomb is a real one.
    pickle.loads(pickle.dumps(Bomb()))
    assert (here / "pwned").exists()


def test_no_file_of_a_store_is_a_pickle(finished):
    checked = 0
    for path in finished.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            # How pickles of protocols 2 to 5 begin and end.
            assert not (data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05"), path
            assert b"cloudpickle" not in data
            checked += 1
    assert checked > 20
    with open_sweep(finished) as dataset:
        assert all(variable.dtype != object for variable in dataset.variables.values())


def test_records_and_progress_that_are_not_json(here, finished):
    store = shutil.copytree(finished, here / "a.zarr")
    data = io.BytesIO()
    pickle.dump(Bomb(), data)
    record = next((store / "status" / "ledger").iterdir())
    (store / "status" / "progress.json").write_bytes(data.getvalue())
    assert command("status", store) == 0
    record.write_bytes(data.getvalue())
    assert command("status", store) == 2
    assert not (here / "pwned").exists()


def test_the_source_has_no_way_to_execute_data():
    """No eval, no pickle, no shell; NumPy's files are read without pickles."""
    forbidden = {"eval", "os.system", "os.popen", "sympify", "parse_expr", "pd.read_pickle"}
    needs_plain = {"np.load", "np.save", "np.savez", "np.lib.format.read_array"}
    found, checked = [], 0
    for package in (cubie_dask, cubie_kernels):
        assert package.__file__ is not None
        for path in Path(package.__file__).parent.rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            checked += 1
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = [alias.name for alias in node.names]
                    names.append(getattr(node, "module", None) or "")
                    pickles = {"pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib"}
                    if {name.split(".")[0] for name in names} & pickles:
                        found.append(f"{path.name}:{node.lineno} imports {names}")
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                plain = called not in needs_plain or words.get("allow_pickle") == "False"
                if called in forbidden or words.get("shell") == "True" or not plain:
                    found.append(f"{path.name}:{node.lineno} {called}")
    assert not found
    assert checked > 100
