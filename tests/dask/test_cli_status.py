"""How a sweep stands, told from outside by the command."""

import json
import os
import signal
import subprocess
import time

import pytest
from cli_sweeps import EXPLODING, LORENZ, command, environment, write

from cubie_dask.cli import main
from cubie_dask.progress.watching import Watcher

SLOW = LORENZ.replace("count = 22", "count = 200").replace("chunk_runs = 12", "chunk_runs = 2")


def status(capsys, *arguments):
    """Return the exit code of the command and what it prints, in this process."""
    code = main(["status", *map(str, arguments)])
    return code, capsys.readouterr().out


def told(capsys, store):
    code, out = status(capsys, store, "--json")
    report = json.loads(out)
    assert code == (0 if report["complete"] else 75)
    assert report["runs_finished"] + report["runs_remaining"] == report["runs"]
    assert report["chunks_finished"] + report["chunks_remaining"] == report["chunks"]
    assert sum(worker["runs"] for worker in report["workers"]) == report["runs_finished"]
    return report


@pytest.fixture
def child(tmp_path):
    """A sweep of 400 chunks that runs, of which some are finished."""
    process = subprocess.Popen(
        command("run", write(tmp_path, SLOW), "--quiet"), env=environment(), text=True
    )
    ledger = tmp_path / "results" / "lorenz.zarr" / "status" / "ledger"
    until = time.monotonic() + 120
    while not ledger.exists() or len(list(ledger.glob("*.json"))) < 5:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    yield process
    process.kill()
    process.wait()


def test_a_driver_that_runs_that_dies_that_stops(tmp_path, child, capsys):
    store = tmp_path / "results" / "lorenz.zarr"
    os.kill(child.pid, signal.SIGSTOP)
    running = told(capsys, store)
    assert running["state"] == "running"
    (driver,) = running["drivers"]
    assert driver["pid"] == child.pid
    assert driver["share"] == [0, 1]
    words = f"running, driven by process {child.pid} on {driver['host']}"
    assert words in status(capsys, store)[1]
    child.kill()
    child.wait()
    silent = told(capsys, store)
    assert (silent["state"], silent["drivers"]) == ("silent", [])
    assert "ended without a word" in status(capsys, store)[1]
    again = subprocess.Popen(
        command("run", tmp_path / "sweep.toml"),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert again.stderr is not None
    for line in again.stderr:
        if "done before" in line:
            break
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=60)
    stopped = told(capsys, store)
    assert stopped["chunks_finished"] >= silent["chunks_finished"]
    if again.returncode == 75:
        assert stopped["state"] == "stopped"
        assert "run it again to do the rest" in status(capsys, store)[1]


def test_watching_a_sweep_to_its_end(tmp_path, child):
    store = tmp_path / "results" / "lorenz.zarr"
    os.kill(child.pid, signal.SIGSTOP)
    looks = [
        subprocess.Popen(
            command("status", store, "--watch", "--every", 1, *more),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for more in ([], ["--json"])
    ]
    for look in looks:
        assert look.stdout is not None
        assert look.stdout.readline()
    os.kill(child.pid, signal.SIGCONT)
    (lines, errors), (objects, more_errors) = (look.communicate(timeout=120) for look in looks)
    assert (errors, more_errors) == (b"", b"")
    assert [look.returncode for look in looks] == [0, 0]
    assert b"\r" not in lines
    assert b"\x1b" not in lines
    assert lines.endswith(b"600 of 600 runs (100.0%); complete\n"), lines
    assert [json.loads(line)["state"] for line in objects.splitlines()][-1] == "complete"
    assert child.wait(60) == 0


def test_enough_seen(tmp_path, child):
    os.kill(child.pid, signal.SIGSTOP)
    look = subprocess.Popen(
        command("status", tmp_path / "results" / "lorenz.zarr", "--watch"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert look.stdout is not None
    assert b"running" in look.stdout.readline()
    look.send_signal(signal.SIGINT)
    assert look.communicate(timeout=60) == (b"", b"")
    assert look.returncode == 75


def test_failed_runs_are_counted(tmp_path, capsys):
    assert main(["run", str(write(tmp_path, EXPLODING)), "--quiet"]) == 1
    standing = Watcher(tmp_path / "exploding.zarr").look()
    assert standing.report.runs_failed == 8
    assert standing.report.runs_finished == 16
    assert standing.state == "complete"
    code, out = status(capsys, tmp_path / "exploding.zarr", "--watch")
    assert code == 1
    assert "16 of 16 runs (100.0%), 8 runs failed; complete" in out


def test_chunks_that_are_taken_back(tmp_path):
    assert main(["run", str(write(tmp_path, LORENZ)), "--quiet"]) == 0
    store = tmp_path / "results" / "lorenz.zarr"
    watcher = Watcher(store)
    assert watcher.look().report.complete
    ledger = store / "status" / "ledger"
    records = sorted(ledger.iterdir())
    records[0].unlink()
    (store / "status" / "progress.json").unlink()
    standing = watcher.look()
    assert standing.report.chunks == len(records) - 1
    assert standing.state == "idle"
    assert standing.rate is None
