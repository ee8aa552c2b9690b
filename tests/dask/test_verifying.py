"""Damage of every kind is found, named by its chunk, and gone after the chunk is done again."""

import json
import shutil
import zlib

import numpy as np
import pytest
from cli_sweeps import cubie_dask
from sweep_models import assert_same_files, lorenz_sweep
from zarr.errors import ZarrUserWarning

from cubie_dask import (
    Grid,
    StoreError,
    open_sweep,
    repair_sweep,
    sweep_report,
    verify_sweep,
)
from cubie_dask.repairs.extending import extend_sweep
from cubie_dask.repairs.retrying import retry_failed
from cubie_dask.stores.rounding import rounded
from cubie_dask.stores.store import open_store
from cubie_kernels.errors import InputError

CHUNK = 5


def a_sweep():
    return lorenz_sweep(60)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    store = tmp_path_factory.mktemp("made") / "a.zarr"
    a_sweep().run(store, progress="none")
    return store


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


def file_of(store, name, chunk=CHUNK):
    """Return the file of a chunk of a variable."""
    array = open_store(store).arrays[name]
    plan = open_store(store).recipe.plan
    ahead = array.ndim - len(plan.dims)
    place = [
        start // c for start, c in zip(plan.block(chunk).start, array.chunks[ahead:], strict=True)
    ]
    return store.joinpath(name, "c", *"0" * ahead, *map(str, place))


def record_of(store, chunk=CHUNK):
    ledger = open_store(store).ledger
    return store / ledger.name(chunk)


def truncate(store):
    path = file_of(store, "y")
    path.write_bytes(path.read_bytes()[:-7])
    return "y can't be read|checksum"


def flip_a_bit(store):
    path = file_of(store, "energy")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    return "energy can't be read|checksum is"


def empty(store):
    file_of(store, "x").write_bytes(b"")
    return "missing or empty: 1, x/c/"


def delete(store):
    file_of(store, "status").unlink()
    return "missing or empty: 1, status/c/"


def swap(store):
    first, second = file_of(store, "z"), file_of(store, "z", CHUNK + 1)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    return "checksum is"


def other_values(store):
    array = open_store(store).arrays["status"]
    block = open_store(store).recipe.plan.block(CHUNK)
    values = array[block.slices]
    values[..., 0] = 4
    array[block.slices] = values
    return "runs ended SUCCESS .*, and the record says SUCCESS"


def cut_record(store):
    path = record_of(store)
    path.write_bytes(path.read_bytes()[:50])
    return "is damaged"


def change_record(store):
    path = record_of(store)
    path.write_text(path.read_text().replace('"attempt":1', '"attempt":2'))
    return "is damaged"


def forge_record(store):
    # Its own checksum is right, and it says other steps.
    path = record_of(store)
    text = path.read_text().rpartition(',"check":')[0]
    data = json.loads(text + "}")
    data["steps"] += 1
    text = json.dumps(data)[:-1]
    path.write_text(f'{text},"check":{zlib.crc32(text.encode())}}}')
    return "steps, and the record says"


def another_record(store):
    shutil.copy(record_of(store, CHUNK + 1), record_of(store))
    return "and the record says"


DAMAGES = [
    truncate,
    flip_a_bit,
    empty,
    delete,
    swap,
    other_values,
    cut_record,
    change_record,
    forge_record,
    another_record,
]


def test_a_clean_store_passes(made):
    found = verify_sweep(made)
    assert found.whole
    assert found.checked == found.finished == found.chunks == lorenz_sweep(60).plan().chunks
    assert found.damages == found.leftovers == found.damaged_chunks == ()
    assert found.bytes == sum(open_sweep(made)[n].nbytes for n in open_sweep(made).data_vars)
    assert str(found).endswith("Nothing is damaged.")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_repaired(store, made, damage):
    words = damage(store)
    found = verify_sweep(store)
    assert not found.whole
    expected = (CHUNK, CHUNK + 1) if damage is swap else (CHUNK,)
    assert found.damaged_chunks == expected
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(str(found))
    assert f"verify {store} --repair" in str(found)
    assert verify_sweep(store, [0, 1]).whole
    assert verify_sweep(store, [CHUNK]).damaged_chunks == (CHUNK,)
    assert repair_sweep(store, found) == len(expected)
    assert verify_sweep(store).whole
    a_sweep().run(store, progress="none")
    assert verify_sweep(store).finished == found.chunks
    assert_same_files(store, made)


@pytest.mark.parametrize(
    "grid",
    [
        Grid.zip(rho=np.linspace(0, 21, 90), x=np.linspace(-1, 1, 90)),
        Grid.sample(90, rho=(0, 21), x=("log", 0.1, 1.0)),
    ],
    ids=["zip", "sample"],
)
@pytest.mark.parametrize("saves", [None, 0.5])
def test_other_grids(tmp_path, grid, saves):
    lorenz_sweep(16, grid, save_every=saves, method="rodas4").run(tmp_path, progress="none")
    assert verify_sweep(tmp_path).whole
    label = "rho"
    array = open_store(tmp_path).arrays[label]
    array[20] = array[21]
    found = verify_sweep(tmp_path)
    if grid.kind == "sample":
        assert found.damaged_chunks == (1,)
    else:
        assert "the values of rho are" in str(found)
        assert "run the sweep into a new store" in str(found)
        assert found.damaged_chunks == ()
    assert not found.whole


def test_what_is_not_finished_is_no_damage(store):
    ledger = open_store(store).ledger
    ledger.delete(3)
    file_of(store, "x", 3).unlink()
    found = verify_sweep(store)
    assert found.whole
    assert found.checked == found.finished == found.chunks - 1


def test_stores_that_were_retried_and_extended(tmp_path):
    grid = Grid.product(rho=np.linspace(1, 21, 7), sigma=np.linspace(8, 12, 11))
    lorenz_sweep(10, grid, max_steps=45, keepbits=12).run(tmp_path, progress="none")
    assert 0 < sweep_report(tmp_path).runs_failed < 77
    assert retry_failed(tmp_path, max_steps=10**5, progress="none").runs_failed == 0
    assert verify_sweep(tmp_path).whole
    extend_sweep(tmp_path, rho=[22.0, 23.0])
    found = verify_sweep(tmp_path)
    assert found.whole
    assert found.finished < found.chunks
    values = open_sweep(tmp_path)["x"].values
    values = values[np.isfinite(values)]
    np.testing.assert_array_equal(rounded(values, 12), values)
    array = open_store(tmp_path).arrays["x"]
    array[-1, 0, 0] = 3.0
    assert verify_sweep(tmp_path).damaged_chunks == (0,)


def test_leftovers_are_listed(store):
    names = ["x/c/0/0/0/1.0123.partial", "status/ledger/notes.txt"]
    for name in names:
        (store / name).write_bytes(b"x")
    found = verify_sweep(store)
    assert found.whole
    assert list(found.leftovers) == names
    assert "Files that nothing needs: 2" in str(found)


def test_what_is_no_store_of_a_sweep(tmp_path, store):
    with pytest.raises(StoreError, match="does not exist"):
        verify_sweep(tmp_path / "nowhere")
    with pytest.raises(InputError, match="chunks must be"):
        verify_sweep(store, [10**6])
    (store / "energy" / "zarr.json").unlink()
    with pytest.warns(ZarrUserWarning, match="energy is not recognized"):
        found = verify_sweep(store)
    assert not found.whole
    assert "energy/zarr.json is missing" in str(found)
    root = store / "zarr.json"
    data = json.loads(root.read_text())
    data["attributes"]["cubie_grid"] = "{"
    root.write_text(json.dumps(data))
    shutil.rmtree(store / "energy")
    with pytest.raises(StoreError, match=r"can't be read .* is damaged"):
        verify_sweep(store)


def test_the_command(store):
    ended = cubie_dask("verify", store)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Nothing is damaged." in ended.stdout
    truncate(store)
    ended = cubie_dask("verify", store)
    assert ended.returncode == 65
    assert f"chunk {CHUNK}: " in ended.stdout
    ended = cubie_dask("verify", store, "--json", "--repair")
    assert ended.returncode == 75
    told = json.loads(ended.stdout)
    assert told["damaged_chunks"] == [CHUNK]
    assert (told["whole"], told["repaired"]) == (False, 1)
    assert cubie_dask("verify", store).returncode == 0
