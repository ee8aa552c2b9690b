"""A sweep on a worker for each of three GPUs that are not there; run as a process of its own.

It prints what it saw as one JSON object.
"""

import json
import os
import signal
import sys
import time

from sockets import beyond_loopback, listening
from sweep_models import lorenz_sweep

from cubie_dask import cuda_cluster
from cubie_dask.progress.events import ChunkFinished


def devices(client):
    """Return the process and the GPU of each worker, by its name."""
    seen = client.run(
        lambda dask_worker: (dask_worker.name, os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"])
    )
    return {str(name): (pid, visible) for name, pid, visible in seen.values()}


def main(store):
    """Run a sweep, kill a worker in the middle, and tell."""
    with cuda_cluster() as client:
        client.wait_for_workers(3, timeout=60)
        before = devices(client)
        victim = before["1"][0]

        def kill(event):
            if isinstance(event, ChunkFinished) and killed[0] is None:
                killed[0] = victim
                os.kill(victim, signal.SIGKILL)

        killed = [None]
        report = lorenz_sweep(20).run(store, client, progress=kill)
        until = time.monotonic() + 60
        after = devices(client)
        while after.get("1", before["1"]) == before["1"] or len(after) < 3:
            assert time.monotonic() < until, after
            time.sleep(0.2)
            after = devices(client)
        seen = {
            "before": before,
            "after": after,
            "complete": report.complete,
            "workers": len(report.workers),
            "beyond": sorted(beyond_loopback(listening(os.getpid()))),
        }
    with cuda_cluster([2, 0]) as client:
        client.wait_for_workers(2, timeout=60)
        seen["chosen"] = {name: visible for name, (_, visible) in devices(client).items()}
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
