"""Sweeps in an object store: a real server, asked over HTTP by every process that takes part."""

import json
import pickle
import signal
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from cli_sweeps import cubie_dask
from processes import dask_workers, in_python
from races import made_by
from s3_server import SECRET, s3_server
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import (
    StoreBusyError,
    StoreError,
    open_sweep,
    repair_sweep,
    sweep_report,
    to_netcdf,
    verify_sweep,
)
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.stores.storage import open_storage
from cubie_dask.stores.store import open_store

CHUNK_RUNS = 143

CHILD = """
import sys
from sweep_models import lorenz_sweep

def tell(event):
    print(type(event).__name__, flush=True)

lorenz_sweep({chunk_runs}).run(sys.argv[1], progress=tell)
"""


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patched, s3_server(patched) as url:
        yield url


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    path = tmp_path_factory.mktemp("local") / "a.zarr"
    lorenz_sweep(CHUNK_RUNS).run(path, progress="none")
    return open_sweep(path).load()


@pytest.fixture(scope="module")
def finished(bucket):
    url = f"{bucket}/finished.zarr"
    assert lorenz_sweep(CHUNK_RUNS).run(url, progress="none").complete
    return url


def test_small_files(bucket):
    storage = open_storage(f"{bucket}/small")
    assert storage.vacant()
    assert not storage.exists()
    storage.write("status/a.json", b"old")
    storage.write("status/a.json", b"new")
    storage.write("status/ledger/0-1.json", b"12345")
    assert not storage.vacant()
    assert storage.names("status") == ["a.json"]
    assert storage.names("nowhere") == []
    assert storage.sizes("status") == {"status/a.json": 3, "status/ledger/0-1.json": 5}
    assert list(storage.read_all(["status/b", "status/a.json"])) == [("status/a.json", b"new")]
    assert 0 <= storage.age("status/a.json") < 30
    storage.delete("status/a.json")
    storage.delete("status/a.json")
    for ask in (storage.read, storage.age):
        with pytest.raises(FileNotFoundError):
            ask("status/a.json")


def test_one_of_many_makes_an_object(bucket):
    storage = open_storage(f"{bucket}/locks")
    assert len(made_by(storage, "lock", 6)) == 1


def test_the_bits_are_those_of_a_folder(finished, local, tmp_path):
    assert_same_results(open_sweep(finished).load(), local)
    assert verify_sweep(finished).whole
    report = sweep_report(finished)
    assert (report.store, report.complete) == (finished, True)
    assert "creating.json" not in open_storage(finished).names("")
    events = []
    lorenz_sweep(CHUNK_RUNS).run(finished, progress=events.append)
    assert not [event for event in events if isinstance(event, ChunkFinished)]
    assert to_netcdf(finished, tmp_path / "a.nc").stat().st_size > 10_000
    with pytest.raises(StoreError, match="does not exist"):
        open_sweep(f"{finished}-not")


def test_damaged_objects_are_found_and_done_again(bucket, local):
    url = f"{bucket}/damaged.zarr"
    lorenz_sweep(CHUNK_RUNS).run(url, progress="none")
    storage = open_storage(url)
    whole = storage.read("y/c/0/1/0/0")
    storage.write("y/c/0/1/0/0", whole[:-9])
    storage.delete("energy/c/0/3/0/0")
    ledger = open_store(url).ledger
    storage.write(ledger.name(5), storage.read(ledger.name(5)).replace(b"SUCCESS", b"STALLED"))
    found = verify_sweep(url)
    assert found.damaged_chunks == (1, 3, 5)
    repair_sweep(url, found)
    lorenz_sweep(CHUNK_RUNS).run(url, progress="none")
    assert verify_sweep(url).whole
    assert_same_results(open_sweep(url).load(), local)


@pytest.mark.slow
def test_the_command(finished):
    ended = cubie_dask("verify", finished, "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["store"] == finished
    ended = cubie_dask("status", f"{finished}/nothing")
    assert ended.returncode == 2
    assert "does not exist" in ended.stderr


def test_a_server_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    ended = cubie_dask("status", "s3://bucket/a.zarr")
    assert ended.returncode == 2, ended
    assert "s3://bucket/a.zarr can't be used" in ended.stderr
    assert "AWS_ENDPOINT_URL" in ended.stderr


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_store_behind_a_web_server_is_read(tmp_path, local):
    lorenz_sweep(CHUNK_RUNS).run(tmp_path / "a.zarr", progress="none")
    handler = partial(Silent, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a.zarr"
        assert_same_results(open_sweep(url).load(), local)
        assert sweep_report(url).complete
        assert verify_sweep(url).whole
        (tmp_path / "a.zarr" / "x" / "c" / "0" / "0" / "0" / "0").unlink()
        assert verify_sweep(url).damaged_chunks == (0,)
        server.shutdown()


def tasks_of(dask_scheduler):
    """Return what is sent to workers, as bytes."""
    return [pickle.dumps(task.run_spec) for task in dask_scheduler.tasks.values()]


@pytest.mark.slow
def test_killed_then_resumed_on_a_cluster(bucket, local):
    url = f"{bucket}/killed.zarr"
    child = in_python(CHILD.format(chunk_runs=CHUNK_RUNS), url)
    for _ in range(3):
        assert child.stdout.readline().strip() in ("SweepStarted", "ChunkFinished")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    before = sweep_report(url)
    assert 0 < before.chunks < before.plan.chunks
    assert verify_sweep(url).whole

    events, sent = [], []
    with dask_workers() as client:

        def tell(event):
            events.append(event)
            if isinstance(event, ChunkFinished):
                sent.extend(client.run_on_scheduler(tasks_of))

        report = lorenz_sweep(CHUNK_RUNS).run(url, client, progress=tell)
        mean = open_sweep(url)["x"].mean().compute()
    assert report.complete
    done = [event for event in events if isinstance(event, ChunkFinished)]
    assert len(done) == before.plan.chunks - before.chunks
    assert mean == local["x"].mean()
    assert_same_results(open_sweep(url).load(), local)
    assert verify_sweep(url).whole
    assert any(url.encode() in task for task in sent)
    assert not any(SECRET.encode() in task for task in sent)


def test_no_secrets_are_kept_or_sent(finished, monkeypatch):
    storage = open_storage(finished)
    names = list(storage.sizes(""))
    assert len(names) > 60
    assert not [name for name, data in storage.read_all(names) if SECRET.encode() in data]
    # As from a configuration file of fsspec, which becomes part of each file system.
    monkeypatch.setitem(fsspec.config.conf, "s3", {"key": "someone", "secret": SECRET})
    for dataset in (open_sweep(finished), open_sweep(finished, chunks=None)):
        pickled = pickle.dumps(dataset)
        assert finished.encode() in pickled
        assert SECRET.encode() not in pickled
        assert pickle.loads(pickled)["x"].mean().compute() > 0
        assert SECRET not in str(dataset.attrs) + repr(dataset)


def test_a_maker_that_was_killed_is_taken_over(bucket, monkeypatch):
    url = f"{bucket}/torn.zarr"
    storage = open_storage(url)

    def die():
        with storage.making():
            storage.write("x/zarr.json", b"{")
            raise KeyError

    with pytest.raises(KeyError):
        die()
    with pytest.raises(StoreBusyError, match="is being made by"):
        storage.vacant()
    time.sleep(1.1)
    monkeypatch.setattr("cubie_dask.stores.remote._STALE_SECONDS", 0.5)
    assert lorenz_sweep(400).run(url, progress="none").complete
