"""The command line: ``cubie-dask run``, ``plan`` and ``status``."""

from cubie_dask.cli.app import main as main
