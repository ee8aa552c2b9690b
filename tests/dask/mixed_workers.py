"""A sweep on workers for GPUs that are not there, beside one on another machine that has none.

Run as a process of its own; it prints what it saw as one JSON object. The other machine is this one
under another name, of which only its worker knows.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager

from distributed import get_worker
from processes import small_mounts
from sweep_models import lorenz_sweep

from cubie_dask import cuda_cluster
from cubie_dask.execution.launching import launched
from cubie_dask.progress.events import ChunkFinished

OTHER = "cpu-node"
_RENAMED = f'hostname {OTHER} && exec "$@"'


@contextmanager
def cpu_worker(address):
    """Start a worker that joins a scheduler from the other machine."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    quiet = ["--no-dashboard", "--host", "127.0.0.1", "--name", "cpu", "--no-nanny"]
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    child = subprocess.Popen(
        [*small_mounts(), "--uts", "bash", "-c", _RENAMED, "bash", *command, *quiet],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        child.terminate()
        child.wait(30)


def look(dask_worker):
    """Return what a worker is: its name, machine, process, cores and device."""
    cores = sorted(os.sched_getaffinity(0))
    device = os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(dask_worker.name), (socket.gethostname(), os.getpid(), cores, device)


def used(url, run_id, task, threads):
    """Return the threads that a task in this worker computes with."""
    return str(get_worker().name), threads


def main(store):
    """Run a sweep on both kinds, and tell."""
    with cuda_cluster([0, 1]) as client, cpu_worker(client.scheduler.address):
        client.wait_for_workers(3, timeout=60)
        events = []
        report = lorenz_sweep(10).run(store, client, progress=events.append)
        tasks = [
            client.submit(launched, used, "", "", None, 99, workers=[worker], pure=False)
            for worker in client.nthreads()
        ]
        seen = {
            "complete": report.complete,
            "workers": dict(client.run(look).values()),
            "threads": dict(task.result(timeout=30) for task in tasks),
            "records": [
                (event.record.worker, event.record.device)
                for event in events
                if isinstance(event, ChunkFinished)
            ],
        }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
