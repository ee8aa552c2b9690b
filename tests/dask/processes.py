"""Other processes that tests start: scripts, Dask's workers, and such with a small disk."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["SEES_TESTS", "dask_workers", "in_python", "small_mounts"]

SEES_TESTS = {"PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parent, *sys.path]))}
"""The variables with which a process of Python imports what these tests do."""


def in_python(code, *arguments, **options):
    """Start a script in a process of its own, whose output is read."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | SEES_TESTS,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@contextmanager
def dask_workers(count=2, threads=1):
    """Give a client of worker processes that Dask starts by itself."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def small_mounts():
    """Return the command under which others may mount small disks; skip the test if none may."""
    unshared = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        allowed = subprocess.run([*unshared, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this machine lets nobody mount a small file system")
    return unshared
