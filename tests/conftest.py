"""One cache of compiled kernels for a whole test run, its worker processes included."""

import os
import signal
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts background jobs with SIGINT ignored, and their children inherit that; the tests
    # that interrupt a process need it as it is at a terminal.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "CUBIE_CACHE_DIR" in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="cubie-tests-", ignore_cleanup_errors=True)
    os.environ["CUBIE_CACHE_DIR"] = folder.name
    config.add_cleanup(folder.cleanup)
    config.add_cleanup(lambda: os.environ.pop("CUBIE_CACHE_DIR"))
