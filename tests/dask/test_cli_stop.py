"""The command stopped in the middle, and given again."""

import json
import os
import signal
import subprocess
import time

import pytest
from cli_sweeps import LORENZ, command, cubie_dask, environment, write
from processes import small_mounts
from sweep_models import assert_same_files

SLOW = LORENZ.replace("count = 22", "count = 600").replace("chunk_runs = 12", "chunk_runs = 6")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert cubie_dask("run", write(folder, SLOW), "--quiet").returncode == 0
    return folder / "results" / "lorenz.zarr"


def stopped(file, how, *arguments):
    """Start a sweep, stop it by a signal to its group once some chunks are finished."""
    child = subprocess.Popen(
        command("run", file, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    ledger = file.parent / "results" / "lorenz.zarr" / "status" / "ledger"
    before = len(list(ledger.glob("*.json"))) if ledger.exists() else 0
    until = time.monotonic() + 120
    while not ledger.exists() or len(list(ledger.glob("*.json"))) < before + 5:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    os.killpg(child.pid, how)
    out, errors = child.communicate(timeout=120)
    return subprocess.CompletedProcess(child.args, child.returncode, out, errors)


def check_stopped(ended, store):
    assert ended.returncode == 75, ended
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "Run the same sweep on the same store to do the rest." in ended.stderr
    assert ended.stdout == ""
    said = cubie_dask("status", store, "--json")
    assert said.returncode == 75
    report = json.loads(said.stdout)
    assert report["complete"] is False
    assert 0 < report["chunks_finished"] < report["chunks"] == 300
    assert sum(report["statuses"].values()) == report["runs"]
    assert report["statuses"]["not_run"] == 6 * (300 - report["chunks_finished"])
    return report["chunks_finished"]


def test_ctrl_c_then_sigterm_then_resumed_to_the_same_bits(tmp_path, undisturbed):
    file = write(tmp_path, SLOW)
    store = tmp_path / "results" / "lorenz.zarr"
    first = check_stopped(stopped(file, signal.SIGINT), store)
    assert "Incomplete sweep of lorenz" in cubie_dask("status", store).stdout
    assert f"with {first} of 300 chunks finished" in cubie_dask("plan", file).stdout
    second = check_stopped(stopped(file, signal.SIGTERM), store)
    assert second > first
    ended = cubie_dask("run", file)
    assert ended.returncode == 0, ended.stderr
    assert f"{second} done before" in ended.stderr
    assert "Nothing to do" in cubie_dask("run", file).stdout
    assert_same_files(store, undisturbed)


@pytest.mark.slow
def test_ctrl_c_with_workers(tmp_path, undisturbed):
    file = write(tmp_path, SLOW)
    store = tmp_path / "results" / "lorenz.zarr"
    check_stopped(stopped(file, signal.SIGINT, "--workers", "2"), store)
    assert cubie_dask("run", file, "--quiet").returncode == 0
    assert_same_files(store, undisturbed)


FULL = """
set -e
mount -t tmpfs -o size=1m tmpfs "$2"
set +e
"$1" -m cubie_dask.cli run "$3" --store "$2/a.zarr" --quiet
echo "run $?"
"$1" -m cubie_dask.cli status "$2/a.zarr" > /dev/null
echo "status $?"
"""


def test_a_full_disk(tmp_path):
    (tmp_path / "full").mkdir()
    file = write(tmp_path, SLOW)
    ended = subprocess.run(
        [*small_mounts(), "bash", "-c", FULL, "bash", command()[0], tmp_path / "full", file],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "run 75\nstatus 75\n", ended
    assert "make room and run the same sweep" in ended.stderr
    assert "Traceback" not in ended.stderr
