"""One cache of compiled kernels for a whole test run, its worker processes included."""

import os
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if "CUBIE_CACHE_DIR" in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="cubie-tests-", ignore_cleanup_errors=True)
    os.environ["CUBIE_CACHE_DIR"] = folder.name
    config.add_cleanup(folder.cleanup)
    config.add_cleanup(lambda: os.environ.pop("CUBIE_CACHE_DIR"))
