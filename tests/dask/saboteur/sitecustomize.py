"""Makes processes die, or wait to be killed, in the middle of a chunk, where a test wants it.

Python runs this at the start of each process that has this folder in its PYTHONPATH, so workers of
any cluster can be got at. CUBIE_SABOTAGE holds JSON:

poison : list of runs, by their indices, that kill the process that asks for their values
phase : where to wait: "compute", "write" (between two arrays) or "record" (all data is written)
folder : where the first process that gets there leaves its id, in a file named as the phase; it
    waits until there is a file "go"
notes : a file that gets the start of each box whose values are asked for
"""

import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time

_ORDERS = json.loads(os.environ.get("CUBIE_SABOTAGE", "{}"))
_TARGETS = {"cubie_dask.grids.grid", "cubie_dask.stores.store", "cubie_dask.stores.ledger"}


def wait(phase):
    """Let the first process that is in the phase wait there."""
    if _ORDERS.get("phase") != phase:
        return
    try:
        mark = os.open(os.path.join(_ORDERS["folder"], phase), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.write(mark, f"{os.getpid()}\n".encode())
    os.close(mark)
    while not os.path.exists(os.path.join(_ORDERS["folder"], "go")):
        time.sleep(0.01)


def _alter_grid(module):
    plain = module.ProductGrid.columns

    def columns(self, block):
        if "notes" in _ORDERS:
            with open(_ORDERS["notes"], "ab", buffering=0) as file:
                file.write(f"{list(block.start)}\n".encode())
        for run in _ORDERS.get("poison", ()):
            if all(part.start <= i < part.stop for part, i in zip(block.slices, run, strict=True)):
                os.kill(os.getpid(), signal.SIGSEGV)
        wait("compute")
        return plain(self, block)

    module.ProductGrid.columns = columns


def _alter_store(module):
    plain = module.SweepStore._parts

    def parts(self, columns, outcome):
        for number, part in enumerate(plain(self, columns, outcome)):
            if number == 2:
                wait("write")
            yield part

    module.SweepStore._parts = parts


def _alter_ledger(module):
    plain = module.Ledger.write

    def write(self, record):
        wait("record")
        plain(self, record)

    module.Ledger.write = write


class _Altering(importlib.abc.MetaPathFinder):
    """Finds the modules to alter as all others would, and alters them once they are loaded."""

    def find_spec(self, name, path, target=None):
        if name not in _TARGETS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        alter = globals()[f"_alter_{name.rpartition('.')[2]}"]
        plain = spec.loader.exec_module

        def load(module):
            plain(module)
            alter(module)

        spec.loader.exec_module = load
        return spec


if _ORDERS:
    sys.meta_path.insert(0, _Altering())
