"""Files of a store in a folder and at a URL: whole or not there, made once, of a certain age."""

import os
import pickle
import subprocess
import sys
import textwrap
import time
import uuid

import pytest
import zarr
from races import made_by

from cubie_dask import StoreError
from cubie_dask.stores.remote import RemoteStorage
from cubie_dask.stores.storage import LocalStorage, open_storage


def die_while_making(storage):
    with storage.making() as store:
        zarr.create_group(store).create_array("old", shape=(3,), dtype="f8")
        raise KeyError


@pytest.fixture(params=["folder", "memory"])
def storage(request, tmp_path):
    if request.param == "folder":
        return open_storage(tmp_path / "a.zarr")
    return open_storage(f"memory://{uuid.uuid4().hex}/a.zarr")


def test_small_files(storage):
    assert storage.names("status/ledger") == []
    storage.write("status/ledger/0.json", b"old")
    storage.write("status/ledger/0.json", b"new")
    storage.write("status/other.json", b"12345")
    assert storage.read("status/ledger/0.json") == b"new"
    assert storage.names("status") == ["other.json"]
    storage.write("long", bytes(200_000) + b"end")
    assert list(storage.read_all(["long"])) == [("long", bytes(200_000) + b"end")]
    assert storage.names("status/ledger") == ["0.json"]
    assert storage.sizes("status") == {"status/ledger/0.json": 3, "status/other.json": 5}
    wanted = ["status/other.json", "status/ledger/7.json", "status/ledger/0.json"]
    assert list(storage.read_all(wanted)) == [
        ("status/other.json", b"12345"),
        ("status/ledger/0.json", b"new"),
    ]
    storage.delete("status/other.json")
    storage.delete("status/other.json")
    assert storage.names("status") == []
    for ask in (storage.read, storage.age):
        with pytest.raises(FileNotFoundError):
            ask("status/other.json")


def test_one_of_many_makes_a_file(storage):
    storage.write("beside", b"")
    made = made_by(storage, "lock")
    if isinstance(storage, LocalStorage):
        # A store in memory is for one thread alone.
        assert len(made) == 1
    assert not storage.create("lock", b"late")
    assert storage.sweep() == 0


def test_a_store_is_made_as_a_whole(storage):
    assert storage.vacant()
    assert not storage.exists()
    with storage.making() as store:
        zarr.create_group(store, attributes={"cubie_format": 0})
    assert storage.exists()
    assert not storage.vacant()
    assert storage.names("") == ["zarr.json"]
    again = pickle.loads(pickle.dumps(storage.zarr(read_only=True)))
    assert zarr.open_group(again, mode="r").attrs["cubie_format"] == 0


def test_what_failed_to_be_made_is_not_there(storage):
    with pytest.raises(KeyError):
        die_while_making(storage)
    if isinstance(storage, LocalStorage):
        assert storage.vacant()
        assert list(storage.path.parent.iterdir()) == []
    else:
        # A process that was killed leaves the same, and may still be at work.
        with pytest.raises(StoreError, match=r"being made by .* taken over after 60 s"):
            storage.vacant()


def test_what_dead_makers_left_beside_is_cleared(tmp_path):
    names = [".a.zarr.0123.partial", ".a.zarr.4567.partial", ".b.zarr.0123.partial"]
    for name, age in zip(names, (4000, 10, 4000), strict=True):
        (tmp_path / name / "x").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with open_storage(tmp_path / "a.zarr").making() as store:
        zarr.create_group(store)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names[1:], "a.zarr"]


def test_what_a_dead_maker_left_is_taken_over(monkeypatch):
    storage = open_storage(f"memory://{uuid.uuid4().hex}/a.zarr")
    with pytest.raises(KeyError):
        die_while_making(storage)
    monkeypatch.setattr("cubie_dask.stores.remote._STALE_SECONDS", 0.0)
    assert storage.vacant()
    with storage.making() as store:
        zarr.create_group(store, attributes={"cubie_format": 0})
    assert list(storage.sizes("")) == ["zarr.json"]


def test_ages_are_by_the_clock_of_the_storage(storage):
    storage.write("status/a", b"")
    assert 0 <= storage.age("status/a") < 2
    time.sleep(0.2)
    assert 0.19 < storage.age("status/a") < 3
    assert storage.names("status") == ["a"]


def test_a_file_of_another_clock(tmp_path):
    storage = open_storage(tmp_path)
    storage.write("a", b"")
    for told, expected in ((time.time() - 500, 500), (time.time() + 500, 0)):
        os.utime(tmp_path / "a", (told, told))
        assert storage.age("a") == pytest.approx(expected, abs=5)


def test_leftovers_of_some_age_are_swept(tmp_path):
    storage = open_storage(tmp_path)
    for name, age in (("x/0.1.partial", 1000), ("x/0.2.partial", 0), ("x/0", 1000)):
        storage.write(name.removesuffix(".partial"), b"")
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert storage.sweep(older_than=600) == 1
    assert storage.sweep() == 1
    assert (tmp_path / "x" / "0").exists()


def test_what_another_process_writes_meanwhile_is_passed_over(tmp_path):
    storage = open_storage(tmp_path)
    code = f"""
        from cubie_dask.stores.storage import open_storage
        storage = open_storage({str(tmp_path)!r})
        print("ready", flush=True)
        while True:
            for number in range(50):
                storage.write(f"{{number}}.json", b"0")
                storage.delete(f"{{number}}.json")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE
    ) as writer:
        try:
            assert writer.stdout.readline() == b"ready\n"
            for _ in range(3000):
                assert storage.sweep(older_than=600) == 0
                assert set(storage.sizes("").values()) <= {0, 1}
        finally:
            writer.kill()


def test_a_failed_write_keeps_the_old_file(tmp_path):
    storage = open_storage(tmp_path)
    storage.write("a.json", b"old")
    with pytest.raises(TypeError):
        storage.write("a.json", "text")
    assert storage.read("a.json") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_paths_and_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_storage("a.zarr").url == str(tmp_path / "a.zarr")
    assert open_storage(f"file://{tmp_path}/a.zarr").url == str(tmp_path / "a.zarr")
    remote = open_storage("memory://somewhere/a.zarr/")
    assert isinstance(remote, RemoteStorage)
    assert remote.url == "memory://somewhere/a.zarr"
    assert open_storage(remote) is remote


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://key:topsecret@bucket/a.zarr", "password or options in it"),
        ("s3://bucket/a.zarr?secret=topsecret", "password or options in it"),
        ("nosuch://bucket/a.zarr", "Protocol not known: nosuch"),
    ],
)
def test_urls_that_are_refused(url, words):
    with pytest.raises(StoreError, match=words) as told:
        open_storage(url)
    assert "topsecret" not in str(told.value)
