"""Dask's profiler and the threads of kernels, which must not meet in Python 3.11.

Its ``sys._current_frames`` may collect garbage while it holds a lock that each thread needs to
begin and to end, and the process waits for ever (https://github.com/python/cpython/issues/106883,
https://github.com/dask/distributed/issues/8616). Clusters that cubie starts without a dashboard
have no profiler; others have one that looks 100 times a second.
"""

from __future__ import annotations

import sys
import threading

__all__ = ["stop_profiler"]

_PATIENCE_SECONDS = 5.0


def stop_profiler() -> None:
    """Stop the profiler of the worker whose task calls this, in Python 3.11; else do nothing.

    Called before a kernel begins threads. It returns once the profiler has stopped, or after 5 s
    in which the worker's event loop had no time for it.
    """
    if sys.version_info >= (3, 12) or "distributed" not in sys.modules:
        return
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return  # This is no worker.
    profiler = worker.periodic_callbacks.get("profile")
    if profiler is None or not profiler.is_running():
        return
    stopped = threading.Event()

    def stop() -> None:
        profiler.stop()
        stopped.set()

    worker.loop.add_callback(stop)
    stopped.wait(_PATIENCE_SECONDS)
