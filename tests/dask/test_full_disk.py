"""Disks that are too small, or get full at any place; then room is made and all goes on."""

import pytest
from cli_sweeps import LORENZ, write
from small_disk import on_small_disk
from sweep_models import lorenz_sweep

from cubie_dask import CapacityError
from cubie_dask.execution.room import check_room, runs_in
from cubie_dask.recipe import Recipe
from cubie_dask.stores.storage import LocalStorage

# 3.3 MB, which compress to 2.8 MB, in 28 chunks.
OPTIONS = "50, save_every=0.01"


def traces():
    """Return the sweep of these options."""
    return lorenz_sweep(50, save_every=0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    traces().run(path, progress="none")
    return path


COMPARED = f"""
def check_whole(store):
    whole = lorenz_sweep({OPTIONS}).run(store, progress="none")
    assert whole.complete
    assert verify_sweep(store).whole
    assert not list(DISK.rglob("*.partial"))
    assert_same_results(open_sweep(store).load(), open_sweep(UNDISTURBED).load())
"""

HEAD = f"""
import os, shutil
from sweep_models import assert_same_results, lorenz_sweep
from cubie_dask import CapacityError, StorageFullError, local_cluster, open_sweep, sweep_report
from cubie_dask import verify_sweep
from cubie_dask.progress.events import ChunkFailed, ChunkFinished

def sweep_into(store, *client, progress="none"):
    return lorenz_sweep({OPTIONS}).run(store, *client, progress=progress)
"""


def scripted(undisturbed, text, folder, options):
    head = f"UNDISTURBED = {str(undisturbed)!r}\n"
    return on_small_disk(head + HEAD + COMPARED + text, folder, options)


REFUSED = """
store = DISK / "a.zarr"
try:
    sweep_into(store)
except CapacityError as error:
    assert "3.25 MB before compression" in str(error), error
    assert "has 1.05 MB free" in str(error), error
    assert "save 39 times instead of 101" in str(error), error
else:
    raise AssertionError("it was begun")
assert not store.exists()
# Enough for some of it: the sweep begins, warns, and stops.
resize(DISK, "2m")
events = []
try:
    sweep_into(store, progress=events.append)
except StorageFullError as error:
    assert "make room and run the same sweep" in str(error), error
else:
    raise AssertionError("the disk did not fill up")
part = sweep_report(store)
assert 0 < part.chunks < part.plan.chunks
assert sum(isinstance(event, ChunkFinished) for event in events) <= part.chunks
assert not list(store.rglob("*.partial"))
# Nothing is free now: what is finished stays, and the store says so at once.
for _ in range(2):
    try:
        sweep_into(store)
    except CapacityError as error:
        assert "Make room there, and give the same command again" in str(error), error
    else:
        raise AssertionError("it was begun")
assert sweep_report(store) == part
resize(DISK, "16m")
check_whole(store)
"""


def test_a_sweep_that_does_not_fit_is_not_begun_and_one_that_may_stops(tmp_path, undisturbed):
    ended = scripted(undisturbed, REFUSED, tmp_path / "disk", "size=1m")
    assert "that is enough if they compress to 64 %" in ended.stderr


RECORDS = """
store = DISK / "a.zarr"
stop = []

def one(event):
    if isinstance(event, ChunkFinished):
        raise KeyboardInterrupt

try:
    sweep_into(store, progress=one)
except KeyboardInterrupt:
    pass
# Room for eight records; all else has room.
ledger = store / "status" / "ledger"
before = list(ledger.iterdir())
kept = DISK / "kept"
shutil.copytree(ledger, kept)
mount(ledger, "size=32k")
shutil.copytree(kept, ledger, dirs_exist_ok=True)
try:
    sweep_into(store)
except StorageFullError as error:
    assert "All finished chunks are kept" in str(error), error
else:
    raise AssertionError("the disk did not fill up")
assert len(before) <= sweep_report(store).chunks <= 8
assert not list(store.rglob("*.partial"))
assert verify_sweep(store).whole
# No room for the sign of life of the next driver.
resize(ledger, "1m")
mount(store / "status" / "drivers", "size=4k,nr_inodes=1")
try:
    sweep_into(store)
except StorageFullError as error:
    assert "make room and give the same command again" in str(error), error
else:
    raise AssertionError("it was begun")
subprocess.run(["umount", str(store / "status" / "drivers")], check=True)
check_whole(store)
"""


def test_records_and_signs_of_life_that_have_no_room(tmp_path, undisturbed):
    scripted(undisturbed, RECORDS, tmp_path / "disk", "size=16m")


REPAIRS = """
from killed_extension import RHO, small_sweep
from killed_retry import failing_sweep
from cubie_dask import extend_sweep, retry_failed, resume_sweep

def retry():
    return retry_failed(failed, max_steps=10_000, progress="none")

def extend():
    return extend_sweep(short, rho=RHO[5:])

failed, short = DISK / "failed.zarr", DISK / "short.zarr"
failing_sweep().run(failed, progress="none")
small_sweep(5, 3).run(short, progress="none")
ballast = DISK / "ballast"
for work in (retry, extend):
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    try:
        work()
    except StorageFullError as error:
        assert "All finished chunks are kept" in str(error), error
    else:
        raise AssertionError("the disk was not full")
    ballast.unlink()
    work()
assert sweep_report(failed).runs_failed == 0
assert resume_sweep(short, progress="none").complete
assert verify_sweep(failed).whole
assert verify_sweep(short).whole
"""


def test_repairs_on_a_full_disk(tmp_path, undisturbed):
    scripted(undisturbed, REPAIRS, tmp_path / "disk", "size=2m")


WORKERS = """
store = DISK / "a.zarr"
with local_cluster(2) as client:
    before = client.run(os.getpid)
    failed = []

    def note(event):
        if isinstance(event, ChunkFailed):
            failed.append(event)

    try:
        sweep_into(store, client, progress=note)
    except StorageFullError as error:
        assert "make room and run the same sweep" in str(error), error
    else:
        raise AssertionError("the disk did not fill up")
    assert [event.follows for event in failed] == ["the sweep stops"]
    # The same processes: none was restarted.
    assert client.run(os.getpid) == before
    part = sweep_report(store)
    assert 0 < part.chunks < part.plan.chunks
    assert verify_sweep(store).whole
    resize(DISK, "16m")
    assert sweep_into(store, client).complete
    assert client.run(os.getpid) == before
check_whole(store)
"""


def test_workers_of_a_cluster_on_a_full_disk(tmp_path, undisturbed):
    scripted(undisturbed, WORKERS, tmp_path / "disk", "size=2m")


COMMAND = """
file, store = sys.argv[0].replace("disk.py", "sweep.toml"), DISK / "a.zarr"

def run(*more):
    command = [sys.executable, "-m", "cubie_dask.cli", "run", file, "--store", str(store)]
    ended = subprocess.run([*command, "--quiet", *more], capture_output=True, text=True)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended

ended = run("--workers", "2")
assert ended.returncode == 75, ended
assert "No room left" in ended.stderr
done = sweep_report(store).chunks
ended = run()
assert ended.returncode == 2, ended
assert "Make room there" in ended.stderr
assert sweep_report(store).chunks == done
resize(DISK, "32m")
ended = run()
assert ended.returncode == 0, ended
assert verify_sweep(store).whole
"""


@pytest.mark.slow
def test_the_command_with_workers_on_a_full_disk(tmp_path, undisturbed):
    dense = LORENZ.replace("save_every = 0.5", "save_every = 0.0005").replace("= 12\n", "= 6\n")
    write(tmp_path, dense)
    scripted(undisturbed, COMMAND, tmp_path / "disk", "size=1300k")


ICECHUNK = """
store = f"icechunk://{DISK}/a"
try:
    sweep_into(store)
except StorageFullError as error:
    assert "All finished chunks are kept" in str(error), error
else:
    raise AssertionError("the disk did not fill up")
resize(DISK, "16m")
check_whole(store)
"""


def test_a_full_disk_below_icechunk(tmp_path, undisturbed):
    pytest.importorskip("icechunk")
    scripted(undisturbed, ICECHUNK, tmp_path / "disk", "size=2m")


class Small(LocalStorage):
    """A folder that knows of little room."""

    room = 100_000

    def free(self):
        return self.room


def test_only_what_is_missing_needs_room(tmp_path, caplog):
    sweep = traces()
    plan = sweep.plan()
    recipe, storage = Recipe(sweep.solver, sweep.grid, plan), Small(tmp_path)
    whole = range(plan.chunks)
    assert runs_in(plan, whole) == runs_in(plan, set(whole)) == plan.runs
    check_room(storage, recipe, [0], is_new=False)
    assert runs_in(plan, [0]) * plan.run_bytes > storage.room
    assert "that is enough if they compress to" in caplog.text
    caplog.clear()
    storage.room = runs_in(plan, [0]) * plan.run_bytes
    check_room(storage, recipe, [0], is_new=False)
    check_room(storage, recipe, [], is_new=False)
    assert not caplog.text
    with pytest.raises(CapacityError, match="Make room there, and give the same command again"):
        check_room(storage, recipe, whole, is_new=False)


def test_rounded_results_need_less(tmp_path):
    storage = Small(tmp_path)
    storage.room = 400_000
    chunks = range(28)
    for keepbits in (None, 4):
        sweep = lorenz_sweep(50, save_every=0.01, keepbits=keepbits)
        recipe = Recipe(sweep.solver, sweep.grid, sweep.plan(), keepbits)
        if keepbits is None:
            with pytest.raises(CapacityError, match=r"or round with keepbits="):
                check_room(storage, recipe, chunks, is_new=True)
        else:
            check_room(storage, recipe, chunks, is_new=True)
