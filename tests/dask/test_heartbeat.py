"""What a driver tells of its pass while it runs."""

import json
import os
import socket

import pytest
from sweep_models import lorenz_sweep

from cubie_dask.progress.events import ChunkFailed, ChunkFinished, SweepEnded, SweepStarted
from cubie_dask.progress.heartbeat import StoreProgress, read_heartbeats
from cubie_dask.stores.ledger import Record
from cubie_dask.stores.storage import LocalStorage, open_storage


def finished(chunk, worker="n1:7", statuses=None):
    statuses = statuses or {"SUCCESS": 10}
    numbers = dict.fromkeys(("steps", "compute_seconds", "write_seconds", "bytes", "crc32"), 1)
    return ChunkFinished(
        Record(
            chunk=chunk,
            runs=10,
            statuses=statuses,
            attempt=1,
            worker=worker,
            finished=f"2030-01-01T00:00:{chunk % 60:02}+00:00",
            version="0",
            **numbers,
        )
    )


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told(tmp_path, clock):
    return StoreProgress(open_storage(tmp_path), "status", interval=3.0, clock=clock)


def read(tmp_path):
    return json.loads((tmp_path / "status" / "progress.json").read_text())


def test_it_tells_of_a_pass(tmp_path, clock, told):
    told(SweepStarted("s", 1000, 100, 200, 20))
    first = read(tmp_path)
    assert (first["state"], first["runs"], first["chunks"]) == ("running", 1000, 100)
    assert (first["runs_finished"], first["chunks_finished"]) == (200, 20)
    assert (first["host"], first["pid"]) == (socket.gethostname(), os.getpid())
    assert first["runs_per_second"] == 0
    clock.now += 1
    told(finished(20))
    assert read(tmp_path) == first, "written before the interval is over"
    clock.now += 3
    told(finished(21, "n2:8", {"SUCCESS": 7, "MAX_STEPS": 3}))
    second = read(tmp_path)
    assert (second["runs_finished"], second["chunks_finished"]) == (220, 22)
    assert second["statuses"] == {"SUCCESS": 17, "MAX_STEPS": 3}
    # Ten runs in the three seconds since the first chunk.
    assert second["runs_per_second"] == 3.333
    assert list(second["workers"]) == ["n1:7", "n2:8"]
    assert second["workers"]["n2:8"] == {
        "chunks": 1,
        "runs": 10,
        "seen": "2030-01-01T00:00:21+00:00",
    }
    told(SweepEnded(False, 4.0))
    assert read(tmp_path)["state"] == "stopped"
    told(SweepEnded(True, 4.0))
    assert read(tmp_path)["state"] == "complete"
    assert [path.name for path in (tmp_path / "status").iterdir()] == ["progress.json"]


def test_the_rate_is_that_of_the_last_two_minutes(tmp_path, clock, told):
    told(SweepStarted("s", 10**6, 10**5, 0, 0))
    for chunk in range(100):
        clock.now += 10
        told(finished(chunk))
    assert read(tmp_path)["runs_per_second"] == 1.0
    for chunk in range(100, 200):
        clock.now += 5
        told(finished(chunk))
    assert read(tmp_path)["runs_per_second"] == 2.0


def test_retries_and_few_of_many_workers(tmp_path, clock, told):
    told(SweepStarted("s", 10**6, 10**5, 0, 0))
    for chunk in range(1000):
        told(finished(chunk, f"n:{chunk}"))
    told(finished(1000, "n:999"))
    failed = ChunkFailed.__dataclass_fields__
    given = {"chunk": 1, "attempt": 1, "error": "e", "retried": True, "follows": ""}
    told(ChunkFailed(**{name: given[name] for name in failed}))
    clock.now += 3
    told(finished(1001, "n:900"))
    now = read(tmp_path)
    assert now["retried"] == 1
    assert len(now["workers"]) == 256
    assert list(now["workers"])[-2:] == ["n:999", "n:900"]
    assert now["workers"]["n:900"]["chunks"] == 2


def test_drivers_with_shares_have_files_of_their_own(tmp_path, clock):
    storage = open_storage(tmp_path)
    for k in range(3):
        StoreProgress(storage, "status", (k, 3), clock=clock)(SweepStarted("s", 90, 9, 0, 0))
    (tmp_path / "status" / "progress-7-of-8.json").write_text('{"state": 1')
    (tmp_path / "status" / "progress-6-of-8.json").write_text('{"state": "running", "share": 3}')
    found = read_heartbeats(storage, "status")
    assert sorted(heartbeat.share for heartbeat, _ in found) == [(0, 3), (1, 3), (2, 3)]
    assert all(0 <= age < 60 for _, age in found)
    os.utime(tmp_path / "status" / "progress-0-of-3.json", (1, 1))
    (oldest, age) = read_heartbeats(storage, "status")[-1]
    assert oldest.share == (0, 3)
    assert age > 10**8


def test_a_disk_that_takes_nothing_stops_no_sweep(tmp_path, clock, caplog):
    class Full(LocalStorage):
        def write(self, name, data):
            raise OSError(28, "No space left on device")

    told = StoreProgress(Full(tmp_path), "status", clock=clock)
    told(SweepStarted("s", 90, 9, 0, 0))
    told(SweepEnded(True, 1.0))
    assert "No progress written" in caplog.text


def test_a_sweep_leaves_its_progress(tmp_path):
    report = lorenz_sweep(200).run(tmp_path / "a", progress="none")
    ((heartbeat, age),) = read_heartbeats(open_storage(tmp_path / "a"), "status")
    assert heartbeat.state == "complete"
    assert heartbeat.runs_finished == heartbeat.runs == report.plan.runs
    assert heartbeat.chunks_finished == report.plan.chunks
    assert sum(worker["chunks"] for worker in heartbeat.workers.values()) == report.plan.chunks
    assert heartbeat.pid == os.getpid()
    assert age < 600
