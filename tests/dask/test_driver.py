"""Two drivers on one store: the second is refused, takes another share, or follows a dead one."""

import json
import os
import signal
import socket
import threading
import time
from itertools import combinations
from pathlib import Path

import pytest
from processes import in_python
from sweep_models import assert_same_files, lorenz_sweep

from cubie_dask import StoreBusyError, SweepInterrupted, sweep_report
from cubie_dask.execution.driver import check_share, driving
from cubie_dask.execution.stopping import Stopping
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.stores.storage import open_storage
from cubie_kernels.errors import InputError

CHILD = """
import sys
from sweep_models import lorenz_sweep
from cubie_dask import StoreBusyError

def tell(event):
    print(type(event).__name__, flush=True)

try:
    lorenz_sweep(13).run(sys.argv[1], progress=tell, share=eval(sys.argv[2]))
except StoreBusyError as error:
    print(error)
    sys.exit(75)
"""


def start(store, share=(0, 1)):
    return in_python(CHILD, store, repr(share))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    lorenz_sweep(13).run(store, progress="none")
    return store


def held(folder, share=(0, 1), stopping=None):
    return driving(open_storage(folder), "drivers", share, stopping or Stopping())


def entries(folder):
    return sorted((Path(folder) / "drivers").glob("*.json"))


def test_a_second_driver_is_refused_until_the_first_is_dead(tmp_path, undisturbed):
    store = tmp_path / "a.zarr"
    first = start(store)
    for _ in range(3):
        first.stdout.readline()
    os.kill(first.pid, signal.SIGSTOP)
    with pytest.raises(StoreBusyError) as refused:
        lorenz_sweep(13).run(store, progress="none")
    said = str(refused.value)
    assert f"computed by process {first.pid} on {socket.gethostname()} since 20" in said
    assert "wait for it or end it" in said
    second = start(store)
    out, _ = second.communicate(timeout=60)
    assert (second.returncode, "ChunkFinished" in out) == (75, False)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    # Of this machine, and its process is gone: no need to wait a minute.
    assert lorenz_sweep(13).run(store, progress="none").complete
    assert not entries(store / "status")
    assert_same_files(store, undisturbed)


def test_shares_work_side_by_side(tmp_path, undisturbed):
    store = tmp_path / "a.zarr"
    # Neither finds a store, and one of them makes it.
    children = [start(store, (k, 2)) for k in range(2)]
    for child in children:
        out, _ = child.communicate(timeout=120)
        assert child.returncode == 0, out
        assert "SweepEnded" in out
    report = sweep_report(store)
    assert report.complete
    assert len(report.workers) == 2
    assert_same_files(store, undisturbed)


def test_a_share_does_its_chunks_and_no_others(tmp_path):
    events = []
    report = lorenz_sweep(13).run(tmp_path / "a.zarr", progress=events.append, share=(1, 3))
    done = [event.record.chunk for event in events if isinstance(event, ChunkFinished)]
    assert sorted(done) == list(range(1, report.plan.chunks, 3))
    assert events[-1].complete
    assert not report.complete


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ((0, 1), (0, 1), False),
        ((0, 1), (3, 4), False),
        ((0, 2), (1, 2), True),
        ((0, 2), (1, 4), True),
        ((0, 2), (2, 4), False),
        ((0, 2), (0, 3), False),
        ((1, 4), (3, 6), False),
        ((0, 4), (3, 6), True),
    ],
)
def test_shares_that_have_chunks_in_common(tmp_path, first, second, together):
    common = set(range(first[0], 100, first[1])) & set(range(second[0], 100, second[1]))
    assert bool(common) is not together
    with held(tmp_path, first):
        if together:
            with held(tmp_path, second):
                assert len(entries(tmp_path)) == 2
        else:
            with pytest.raises(StoreBusyError), held(tmp_path, second):
                pass
    assert not entries(tmp_path)


def write_entry(folder, age=0.0, **changes):
    """Leave the file of a driver of another machine."""
    entry = {"host": "elsewhere", "pid": 1, "share": [0, 1], "began": "then", "claimed": True}
    path = folder / "drivers" / f"{changes.pop('name', 'f' * 32)}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(entry | changes))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_driver_elsewhere_is_dead_after_a_minute(tmp_path):
    alive = write_entry(tmp_path, age=50)
    with pytest.raises(StoreBusyError, match=r"process 1 on elsewhere since then, .* 50 s ago"):
        held(tmp_path).__enter__()
    assert entries(tmp_path) == [alive]
    write_entry(tmp_path, age=70)
    with held(tmp_path):
        assert not alive.exists()


def test_clocks_that_differ_do_not_matter(tmp_path, monkeypatch):
    # This machine's clock is an hour behind that of the storage, or ahead: nothing reads it.
    alive = write_entry(tmp_path)
    real = time.time
    for skew in (-3600, 3600):
        monkeypatch.setattr(time, "time", lambda skew=skew: real() + skew)
        with pytest.raises(StoreBusyError):
            held(tmp_path).__enter__()
    assert alive.exists()
    # Its clock was an hour ahead when it wrote: it is taken for alive, never for dead.
    write_entry(tmp_path, age=-3600)
    with pytest.raises(StoreBusyError, match=" 0 s ago"):
        held(tmp_path).__enter__()


def test_of_two_that_begin_at_once_one_goes_on(tmp_path):
    # One that has not claimed anything yet, with a name that comes first: this one withdraws.
    write_entry(tmp_path, name="0" * 32, claimed=False)
    with pytest.raises(StoreBusyError):
        held(tmp_path).__enter__()
    entries(tmp_path)[0].unlink()
    # With a name that comes last: this one waits until the other withdraws.
    other = write_entry(tmp_path, name="~", claimed=False)
    threading.Timer(0.5, other.unlink).start()
    began = time.monotonic()
    with held(tmp_path):
        assert time.monotonic() - began > 0.4


def test_many_that_begin_at_once(tmp_path):
    inside, spans, refused = threading.Lock(), [], []

    def run():
        try:
            with held(tmp_path):
                began = time.monotonic()
                time.sleep(0.05)
                with inside:
                    spans.append((began, time.monotonic()))
        except StoreBusyError:
            refused.append(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spans
    assert len(spans) + len(refused) == 8
    for (_, end), (begin, _) in combinations(sorted(spans), 2):
        assert end <= begin
    assert not entries(tmp_path)


def test_one_that_was_asleep_stops_when_another_took_over(tmp_path, monkeypatch):
    monkeypatch.setattr("cubie_dask.execution.driver._HEARTBEAT_SECONDS", 0.05)
    stopping = Stopping()
    with held(tmp_path, stopping=stopping):
        (entry,) = entries(tmp_path)
        before = entry.stat().st_mtime_ns
        until = time.monotonic() + 10
        while entry.stat().st_mtime_ns == before:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert stopping.reason() is None
        # As another does that finds the file too old. One that is just rewritten comes back.
        while not stopping.reason():
            entry.unlink(missing_ok=True)
            assert time.monotonic() < until
            time.sleep(0.02)
    assert stopping.reason() == "another driver took the store over"


def test_a_store_that_is_taken_over_ends_the_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr("cubie_dask.execution.driver._HEARTBEAT_SECONDS", 0.01)
    store = tmp_path / "a.zarr"

    def steal(event):
        if isinstance(event, ChunkFinished):
            for entry in entries(store / "status"):
                entry.unlink(missing_ok=True)
            time.sleep(0.03)

    with pytest.raises(SweepInterrupted, match="another driver took the store over"):
        lorenz_sweep(13).run(store, progress=steal)


@pytest.mark.parametrize("given", [(1, 1), (-1, 2), (0, 0), (0,), 3, (0.0, 1), (True, 2), "ab"])
def test_shares_that_are_none(given):
    with pytest.raises(InputError, match=r"share must be two whole numbers"):
        check_share(given)
