"""Stopping in order: the time limit, and signals in processes of their own."""

import os
import signal
import subprocess
import threading
import time

import pytest
from processes import in_python
from sweep_models import assert_same_files, lorenz_sweep

from cubie_dask import SweepInterrupted, sweep_report
from cubie_dask.execution.stopping import Stopping, check_max_time, heeding_signals, seconds_in
from cubie_dask.progress.events import ChunkFinished, SweepStopping
from cubie_kernels.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("55m", 3300), ("23h", 82800), ("1d12h", 129600)],
)
def test_times(text, seconds):
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0h", "-3", "3 h", "h", "1h30", "3x", "1:30", "inf"])
def test_times_that_are_none(text):
    with pytest.raises(InputError, match=r"is no time: write seconds"):
        seconds_in(text)


@pytest.mark.parametrize("given", [0, -1.0, True, "55m", float("nan"), float("inf")])
def test_limits_that_are_none(given):
    with pytest.raises(InputError, match=r"max_time must be a number of seconds above 0"):
        check_max_time(given)


def test_chunks_are_taken_while_they_can_end_in_time():
    now = [0.0]
    stopping = Stopping(100.0, clock=lambda: now[0])
    assert stopping.reason() is None
    now[0] = 60.0
    stopping.note(20.0)
    stopping.note(10.0)
    # The slowest one seen, and a fifth more.
    assert stopping.reason(ahead=1) is None
    now[0] = 75.9
    assert stopping.reason(ahead=1) is None
    now[0] = 76.1
    assert stopping.reason(ahead=1) == "max_time=100 s"
    now[0] = 0.0
    assert stopping.reason(ahead=1) == "max_time=100 s"


def test_a_worker_with_two_chunks_needs_twice_the_time():
    now = [0.0]
    stopping = Stopping(100.0, clock=lambda: now[0])
    stopping.note(20.0)
    now[0] = 51.9
    assert stopping.reason(ahead=2) is None
    now[0] = 52.1
    assert stopping.reason(ahead=2) == "max_time=100 s"


def test_the_first_reason_counts():
    stopping = Stopping()
    stopping.ask("SIGTERM")
    stopping.ask("Ctrl-C")
    assert stopping.reason() == "SIGTERM"


def test_without_a_limit_nothing_stops():
    stopping = Stopping()
    stopping.note(1e9)
    assert stopping.reason(ahead=2) is None


def test_a_sweep_ends_before_its_time_is_over(tmp_path):
    sweep, events = lorenz_sweep(13), []
    sweep.solver.build()

    def slow(event):
        events.append(event)
        if isinstance(event, ChunkFinished):
            time.sleep(0.05)

    with pytest.raises(SweepInterrupted, match=r"Stopped \(max_time=2 s\) with .* chunks finished"):
        sweep.run(tmp_path / "a.zarr", progress=slow, max_time=2.0)
    stopped = [event for event in events if isinstance(event, SweepStopping)]
    assert [event.reason for event in stopped] == ["max_time=2 s"]
    assert 0 < sweep_report(tmp_path / "a.zarr").chunks < sweep.plan().chunks
    assert sweep.run(tmp_path / "a.zarr", progress="none", max_time=3600).complete
    sweep.run(tmp_path / "b.zarr", progress="none")
    assert_same_files(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with heeding_signals(Stopping()):
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_signals_are_for_the_main_thread(tmp_path):
    seen = []

    def run():
        with heeding_signals(Stopping()):
            seen.append(signal.getsignal(signal.SIGTERM))
        seen.append(lorenz_sweep(100).run(tmp_path / "a.zarr", progress="none").complete)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before, True]


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopping = Stopping()
        with heeding_signals(stopping):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.reason() == "SIGTERM"
    finally:
        signal.signal(signal.SIGINT, before)


def test_two_signals_stop_at_once_and_a_doubled_one_does_not():
    stopping, reached = Stopping(), []

    def interrupted():
        with heeding_signals(stopping):
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(stopping.reason())
            # As a wrapper sends it that hands on what the terminal sent to both.
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.6)
            reached.append("still here")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
            reached.append("too far")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached == ["Ctrl-C", "still here"]


CHILD = """
import sys, time
from sweep_models import lorenz_sweep

def tell(event):
    print(type(event).__name__, flush=True)
    time.sleep(float(sys.argv[2]))

try:
    # A chunk of hours: 10^8 steps, each of 7 stages.
    steps = {"dt": 1e-9, "adaptive": False, "max_steps": 10**9} if sys.argv[3] == "long" else {}
    sweep = lorenz_sweep(13, **steps)
    # While it compiles two signals are one.
    sweep.solver.build()
    sweep.run(sys.argv[1], progress=tell)
except KeyboardInterrupt as stop:
    print(stop)
    sys.exit(75)
"""


def start(store, pause=0.0, kind="short"):
    return in_python(CHILD, store, pause, kind, stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_finishes_the_chunks_in_hand(tmp_path, number):
    child = start(tmp_path / "a.zarr", 0.01)
    for _ in range(4):
        child.stdout.readline()
    child.send_signal(number)
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 75, errors
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert f"{name}: the chunks in hand are finished; once more stops now." in errors
    assert "Traceback" not in errors
    *events, said = out.splitlines()
    assert said.startswith(f"Stopped ({name}) with ")
    assert "Run the same sweep on the same store to do the rest." in said
    # Told of first, then finished: none of them is computed for nothing.
    assert "SweepStopping" in events
    assert events[-1] == "SweepEnded"
    report = sweep_report(tmp_path / "a.zarr")
    assert f" {report.chunks} of {report.plan.chunks} chunks finished" in said
    assert not list((tmp_path / "a.zarr").rglob("*.partial"))


def test_the_second_ctrl_c_stops_a_chunk_of_hours(tmp_path):
    child = start(tmp_path / "a.zarr", kind="long")
    child.stdout.readline()
    time.sleep(1.0)
    child.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 75, errors
    assert "Stopped (at once) with 0 of 77 chunks finished" in out
