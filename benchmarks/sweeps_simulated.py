"""Plans and drives a sweep whose tasks end at once; prints what it took as JSON.

The number of chunks is the one argument. It is run in a process of its own, for its memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import deque
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from sweeps_workload import LORENZ  # noqa: E402

from cubie_dask import Grid, Sweep  # noqa: E402
from cubie_dask.execution.execute import drive  # noqa: E402
from cubie_dask.execution.policy import Attempt, Task  # noqa: E402
from cubie_dask.stores.ledger import Record  # noqa: E402

WINDOW = 12
RUNS = 1000


class AtOnce:
    """An executor whose tasks end as soon as they are asked for."""

    def __init__(self) -> None:
        self.flying: deque[Task] = deque()

    def slots(self) -> int:
        return WINDOW

    def ahead(self) -> int:
        return 2

    def submit(self, task: Task) -> None:
        self.flying.append(task)

    def wait(self) -> list[Attempt]:
        ended = [Attempt(task, record=_record(task)) for task in self.flying]
        self.flying.clear()
        return ended

    def drop(self) -> int:
        return 0

    def close(self) -> None:
        self.flying.clear()


def _record(task: Task) -> Record:
    success = {"SUCCESS": RUNS}
    return Record(task.chunk, RUNS, success, 1, 0.0, 0.0, 1, 1, task.attempt, "a:1", "", "")


def _peak_megabytes() -> float:
    """The most memory that this process had; what `getrusage` tells may be its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [one for one in status.read_text().splitlines() if one.startswith("VmHWM")]
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    chunks = int(sys.argv[1])
    start = time.perf_counter()
    grid = Grid.sample(RUNS * chunks, rho=(0.0, 21.0), sigma=(8.0, 12.0))
    sweep = Sweep(LORENZ, grid, t_span=(0.0, 1.0), chunk_runs=RUNS)
    plan = sweep.plan(workers=1000, memory="8 GB", run_seconds=1e-6)
    text = str(plan)
    done = set(range(0, plan.chunks, 2))
    todo = [chunk for chunk in range(plan.chunks) if chunk not in done]
    assert plan.chunks == chunks
    assert text
    planning = time.perf_counter() - start
    seen = 0

    def tell(event: object) -> None:
        nonlocal seen
        seen += 1

    start = time.perf_counter()
    drive(AtOnce(), todo, tell, "nowhere")
    driving = time.perf_counter() - start
    assert seen >= len(todo)
    found = {"planning_seconds": planning, "driving_seconds": driving}
    found["peak_megabytes"] = _peak_megabytes()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
