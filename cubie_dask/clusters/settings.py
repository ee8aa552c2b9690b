"""What Dask is told for clusters that are started here, as settings and as variables of a shell."""

from __future__ import annotations

__all__ = ["SETTINGS", "exports"]

# One task for each thread of a worker: a worker that dies takes no others with it. The scheduler
# tells of each death, in place of beginning the task again by itself: all attempts are counted.
# Each process would look at its own threads 100 times a second, for a page of the dashboard, at
# its memory and its event loop 10 and 50 times, and at the machine twice, which takes a tenth of a
# core from two workers.
SETTINGS: dict[str, float | bool | str] = {
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.admin.tick.interval": "2s",
    "distributed.admin.system-monitor.interval": "2s",
}


def exports() -> str:
    """Return lines of a shell that give the settings to processes of Dask."""
    return "\n".join(
        f"export DASK_{name.upper().replace('.', '__').replace('-', '_')}={value}"
        for name, value in SETTINGS.items()
    )
