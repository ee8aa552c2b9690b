"""Sweeps on a real cluster of processes on this machine."""

import os
import signal
import sys
import threading
import time
from itertools import chain, repeat

import numpy as np
import pytest
from distributed import Client, LocalCluster
from processes import dask_workers
from sweep_models import assert_same_files, lorenz_sweep

from cubie_dask import ChangedSweepError, ClusterError, Grid, Sweep, local_cluster
from cubie_dask.execution.dask_executor import DaskExecutor, check_client
from cubie_dask.execution.execute import drive
from cubie_dask.execution.launching import KernelThreads, launched, shared_cores
from cubie_dask.planning import plan_to_run
from cubie_dask.progress.events import ChunkFinished
from cubie_dask.stores.ledger import Record
from cubie_kernels import System


@pytest.fixture(scope="module")
def client():
    with dask_workers() as client:
        yield client


@pytest.mark.parametrize(
    "grid",
    [
        None,
        Grid.zip(rho=np.linspace(0, 21, 1000), x=np.linspace(-1, 1, 1000)),
        Grid.sample(1000, rho=(0, 21), x=("log", 0.1, 1.0)),
    ],
    ids=["product", "zip", "sample"],
)
def test_a_cluster_gives_the_bits_of_one_process(tmp_path, client, grid):
    sweep = lorenz_sweep(80, grid)
    alone = sweep.run(tmp_path / "alone", progress="none")
    events = []
    spread = sweep.run(tmp_path / "spread", client, progress=events.append)
    assert_same_files(tmp_path / "alone", tmp_path / "spread")
    assert spread.statuses == alone.statuses
    assert len(spread.workers) == 2
    assert os.getpid() not in {int(worker.split(":")[1]) for worker in spread.workers}
    done = [event.record.chunk for event in events if isinstance(event, ChunkFinished)]
    assert sorted(done) == list(range(spread.plan.chunks))


def test_the_rest_of_a_sweep_can_be_done_elsewhere(tmp_path, client):
    sweep = lorenz_sweep(40)

    def stop(event):
        if isinstance(event, ChunkFinished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.run(tmp_path / "a", client, progress=stop)
    events = []
    sweep.run(tmp_path / "a", progress=events.append)
    assert 0 < len(events) - 2 < sweep.plan().chunks
    sweep.run(tmp_path / "b", progress="none")
    assert_same_files(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ChangedSweepError, match="rtol"):
        lorenz_sweep(40, rtol=1e-5).run(tmp_path / "a", client, progress="none")


def test_costly_chunks_are_begun_first_where_workers_have_few(tmp_path, client):
    # From 300 to 60,000 steps a run, two seconds in all.
    model = System.from_equations(
        "dx = v\ndv = -k*k*x", states={"x": 1.0, "v": 0.0}, parameters={"k": 1.0}
    )
    grid = Grid.product(k=np.linspace(1.0, 300.0, 12_000))
    sweep = Sweep(model, grid, t_span=(0, 10), rtol=1e-9, atol=1e-9)
    plan, order = plan_to_run(sweep, tmp_path / "a", client, None)
    last = plan.chunks - 1
    assert sorted(order) == list(range(plan.chunks))
    assert order[0] > 0.7 * last
    assert order[-1] < 0.3 * last
    events = []
    report = sweep.run(tmp_path / "a", client, progress=events.append)
    assert report.complete
    done = [event.record.chunk for event in events if isinstance(event, ChunkFinished)]
    assert sorted(done) == list(range(report.plan.chunks))
    # Two workers: of chunks begun together either may end first.
    half = report.plan.chunks // 2
    assert np.mean(done[:half]) > np.mean(done[half:])


def test_a_killed_worker_loses_nothing(tmp_path, client):
    sweep = lorenz_sweep(10)
    victims = []

    def kill(event):
        if isinstance(event, ChunkFinished) and not victims:
            victims.append(int(event.record.worker.split(":")[1]))
            os.kill(victims[0], signal.SIGKILL)

    report = sweep.run(tmp_path / "a", client, progress=kill)
    assert report.complete
    assert victims
    sweep.run(tmp_path / "b", progress="none")
    assert_same_files(tmp_path / "a", tmp_path / "b")


def test_nothing_stays_on_the_cluster(tmp_path, client):
    lorenz_sweep(40).run(tmp_path / "a", client, progress="none")
    deadline = time.monotonic() + 10
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        assert time.monotonic() < deadline, "tasks are held"
        time.sleep(0.1)


def test_clients_that_cannot_be_used():
    with pytest.raises(ClusterError, match=r"must be a distributed\.Client"):
        check_client("tcp://127.0.0.1:8786")
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        client = Client(cluster)
        client.close()
        with pytest.raises(ClusterError, match="client is closed"):
            check_client(client)


@pytest.mark.parametrize(
    ("cores", "nthreads", "expected"),
    [
        # Two workers share all eight cores of a machine, with one task each.
        ({"a": ("m", range(8)), "b": ("m", range(8))}, {"a": 1, "b": 1}, {"a": 4, "b": 4}),
        # Each is bound to its own half.
        ({"a": ("m", range(4)), "b": ("m", range(4, 8))}, {"a": 1, "b": 1}, {"a": 4, "b": 4}),
        # One beside a GPU with two cores of its own, and one on the others.
        ({"a": ("m", range(2)), "b": ("m", range(2, 8))}, {"a": 1, "b": 1}, {"a": 2, "b": 6}),
        # Two machines.
        ({"a": ("m", range(8)), "b": ("n", range(8))}, {"a": 1, "b": 1}, {"a": 8, "b": 8}),
        ({"a": ("m", range(16)), "b": ("n", range(4))}, {"a": 1, "b": 1}, {"a": 16, "b": 4}),
        # Eight tasks at once fill eight cores.
        ({"a": ("m", range(8))}, {"a": 8}, {"a": 1}),
        # More tasks than cores.
        ({"a": ("m", range(2))}, {"a": 5}, {"a": 1}),
        ({}, {}, {}),
    ],
)
def test_kernel_threads_do_not_exceed_the_cores(cores, nthreads, expected):
    cores = {address: (host, list(mine)) for address, (host, mine) in cores.items()}
    assert shared_cores(cores, nthreads) == expected


def test_each_worker_launches_kernels_in_its_own_way(tmp_path):
    sweep = lorenz_sweep(20)
    cores = len(os.sched_getaffinity(0))
    with local_cluster(1) as client:
        (first,) = client.nthreads()
        sweep.run(tmp_path / "a", client, progress="none", threads=7)
        assert launches(client) == {first: 7}
        threads = KernelThreads(client)
        threads.follow(client.nthreads())
        assert launches(client) == {first: cores}
        # Another one joins, and they share.
        client.cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
        threads.follow(client.nthreads())
        assert set(launches(client).values()) == {max(1, cores // 2)}
        # The threads of tasks are those of the worker they come to, and results the same.
        client.run(tell, {first: 3})
        (second,) = set(client.nthreads()) - {first}
        assert launches(client) == {first: 3, second: max(1, cores // 2)}
        sweep.run(tmp_path / "b", client, progress="none")
    assert_same_files(tmp_path / "a", tmp_path / "b")


def launches(client):
    """Return with how many threads a task computes in each worker."""
    asked = {
        worker: client.submit(launched, took, "", "", None, 99, workers=[worker], pure=False)
        for worker in client.nthreads()
    }
    return {worker: future.result(timeout=30) for worker, future in asked.items()}


def took(url, run_id, task, threads):
    """Do no task."""
    return threads


def test_short_chunks_make_few_tasks(tmp_path):
    with local_cluster(1) as client:
        # 5 s after the first one was taken, 0.45 s for each task costs least.
        executor = DaskExecutor(
            client,
            str(tmp_path),
            "short",
            work=took_50_ms,
            clock=chain([0.0, 0.0, 0.0], repeat(5.0)).__next__,
        )
        drive(executor, range(200), lambda event: None, str(tmp_path))
        tasks = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.n_tasks)
    # That is eight chunks; how long one takes isn't known of the first three. Some may be sent
    # with what there is, so that the worker doesn't wait.
    assert 3 + 25 <= tasks <= 3 + 27


def took_50_ms(url, run_id, task, threads):
    """Say that a chunk is done."""
    return Record(task.chunk, 1, {"SUCCESS": 1}, 1, 0.05, 0.0, 8, 1, task.attempt, "here:1", "", "")


@pytest.mark.parametrize("lazily", [False, True])
def test_dasks_profiler_does_not_run_beside_kernels_where_it_can_hang(tmp_path, lazily):
    sweep = lorenz_sweep(80)
    with dask_workers(1) as client:
        assert client.run(profiles) == dict.fromkeys(client.nthreads(), True)
        if lazily:
            client.compute(sweep.dataset()["z"].isel(time=-1).max()).result()
        else:
            sweep.run(tmp_path / "a.zarr", client, progress="none")
        expected = sys.version_info >= (3, 12)
        assert client.run(profiles) == dict.fromkeys(client.nthreads(), expected)


async def profiles(dask_worker):
    """Tell whether a worker looks at its threads all the time."""
    return dask_worker.periodic_callbacks["profile"].is_running()


async def tell(threads, dask_worker):
    """Give a worker a number that no cores ask for."""
    if dask_worker.address in threads:
        dask_worker.plugins["cubie-kernel-threads"].threads = threads[dask_worker.address]


def test_no_threads_are_left_behind(tmp_path):
    before = {thread.name for thread in threading.enumerate()}
    lorenz_sweep(100).run(tmp_path / "a", progress="none")
    assert not {t.name for t in threading.enumerate() if t.name.startswith("cubie")} - before
