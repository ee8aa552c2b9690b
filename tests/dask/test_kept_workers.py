"""Workers that are killed just before or after a task: the cluster and the sweep go on."""

import os
import signal
import threading
from pathlib import Path

import psutil
from sabotage import wait_for
from sweep_models import assert_same_files, lorenz_sweep

from cubie_dask import local_cluster
from cubie_dask.execution.dask_executor import DaskExecutor
from cubie_dask.execution.execute import drive
from cubie_dask.progress.events import ChunkFailed, ChunkFinished
from cubie_dask.stores.ledger import Record


def started():
    """Return the processes that this one has started for workers."""
    children = psutil.Process().children()
    return {one.pid for one in children if "spawn_main" in " ".join(one.cmdline())}


def alive(cluster):
    """Return the processes of the workers that are ready."""
    names = {worker.name for worker in list(cluster.scheduler.workers.values())}
    return {nanny.pid for name, nanny in list(cluster.workers.items()) if name in names}


def test_a_worker_that_is_killed_while_the_cluster_starts():
    dead = []

    def kill():
        dead.append(wait_for(lambda: started() - before).pop())
        os.kill(dead[0], signal.SIGKILL)

    before = started()
    killer = threading.Thread(target=kill)
    killer.start()
    with local_cluster(2) as client:
        killer.join()
        there = set(client.run(os.getpid).values())
        assert len(there) == 2
        assert there.isdisjoint(dead)


def test_workers_that_die_again_before_they_are_ready_and_lost_nannies(tmp_path):
    sweep = lorenz_sweep(20)
    dead = []
    with local_cluster(2) as client:
        cluster = client.cluster

        def kill(event):
            if not isinstance(event, ChunkFinished) or dead:
                return
            first, second = cluster.workers.values()
            dead.append(first.pid)
            os.kill(dead[-1], signal.SIGKILL)
            # What follows is another process, which has told nobody of itself yet.
            dead.append(wait_for(lambda: first.pid not in (None, dead[0]) and first.pid))
            os.kill(dead[-1], signal.SIGKILL)
            # Dask gives up a worker by closing its nanny.
            dead.append(second.pid)
            cluster.sync(second.close, timeout=1)

        report = sweep.run(tmp_path / "a", client, progress=kill)
        assert len(dead) == 3
        wait_for(lambda: len(alive(cluster)) == 2)
        assert alive(cluster).isdisjoint(dead)
        assert set(client.run(os.getpid).values()) == alive(cluster)
    assert report.complete
    sweep.run(tmp_path / "b", progress="none")
    assert_same_files(tmp_path / "a", tmp_path / "b")


def test_a_result_that_is_lost_with_its_worker_before_it_is_fetched(tmp_path):
    events = []
    with local_cluster(1) as client:
        executor = DaskExecutor(client, str(tmp_path), "lost", work=die_with_the_result)
        drive(executor, [0], events.append, str(tmp_path))
    failed, finished = events
    assert isinstance(failed, ChunkFailed)
    assert isinstance(finished, ChunkFinished)
    assert (failed.attempt, finished.record.attempt) == (1, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"lost", "killed"}


class Unsendable(Record):
    """A record that kills the process that would send it."""

    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)


def die_with_the_result(url, run_id, task, threads):
    """Do a task whose result is lost at first, and whose worker dies when it is done again."""
    lost, killed = Path(url, "lost"), Path(url, "killed")
    kind = Record if lost.exists() else Unsendable
    if kind is Record and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    lost.touch()
    return kind(task.chunk, 1, {"SUCCESS": 1}, 1, 0.1, 0.1, 8, 1, task.attempt, "here:1", "now", "")
