"""A sweep that is killed and then resumed, to the same bits."""

import signal
import time

import pytest
from processes import in_python
from sweep_models import assert_same_files, assert_same_results, lorenz_sweep

from cubie_dask import open_sweep, sweep_report
from cubie_dask.progress.events import ChunkFinished, SweepEnded
from cubie_dask.stores.store import open_store

CHUNK_RUNS = 13

CHILD = """
import sys
from sweep_models import lorenz_sweep

def tell(event):
    print(type(event).__name__, flush=True)

lorenz_sweep({chunk_runs}).run(sys.argv[1], progress=tell)
"""


def start_child(store):
    return in_python(CHILD.format(chunk_runs=CHUNK_RUNS), store)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    lorenz_sweep(CHUNK_RUNS).run(store, progress="none")
    return store


def test_kill_9_then_resume_gives_the_same_store(tmp_path, undisturbed):
    store = tmp_path / "a.zarr"
    counts = []
    # Killed twice: the second pass is itself one that resumes.
    for chunks, delay in ((7, 0.0), (12, 0.004)):
        child = start_child(store)
        for _ in range(chunks):
            assert child.stdout.readline().strip() in ("SweepStarted", "ChunkFinished")
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        report = sweep_report(store)
        assert 0 < report.chunks < report.plan.chunks
        counts.append(report.chunks)
    assert counts[1] > counts[0]
    partly = store / "x" / "c" / "0" / "0" / "0" / "0.0123.partial"
    partly.parent.mkdir(parents=True, exist_ok=True)
    partly.write_bytes(b"cut off")

    events = []
    report = lorenz_sweep(CHUNK_RUNS).run(store, progress=events.append)
    assert report.complete
    again = [event.record.chunk for event in events if isinstance(event, ChunkFinished)]
    assert len(again) == report.plan.chunks - counts[1]
    assert len(report.workers) == 3
    assert not list(store.rglob("*.partial"))
    assert_same_files(store, undisturbed)
    assert_same_results(open_sweep(store), open_sweep(undisturbed))


def test_sigint_to_the_process_stops_it_cleanly(tmp_path, undisturbed):
    store = tmp_path / "a.zarr"
    child = start_child(store)
    for _ in range(5):
        child.stdout.readline()
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert child.returncode != 0
    assert "SweepEnded" in out
    assert not list(store.rglob("*.partial"))
    report = sweep_report(store)
    assert report.chunks >= 4
    lorenz_sweep(CHUNK_RUNS).run(store, progress="none")
    assert_same_files(store, undisturbed)


def test_a_chunk_without_a_record_is_computed_again(tmp_path, undisturbed):
    store = tmp_path / "a.zarr"
    lorenz_sweep(CHUNK_RUNS).run(store, progress="none")
    # As if killed between data and record, with the data half of another time.
    block = sweep_report(store).plan.block(5)
    open_store(store).ledger.delete(5)
    data = (
        store
        / "y"
        / "c"
        / "0"
        / "/".join(
            str(s // c) for s, c in zip(block.start, sweep_report(store).plan.chunk, strict=True)
        )
    )
    data.write_bytes(b"cut off")
    events = []
    lorenz_sweep(CHUNK_RUNS).run(store, progress=events.append)
    assert [e.record.chunk for e in events if isinstance(e, ChunkFinished)] == [5]
    assert isinstance(events[-1], SweepEnded)
    assert_same_files(store, undisturbed)
