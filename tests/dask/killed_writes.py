"""Does something to copies of a store in processes that are killed at each of their writes in turn.

``python killed_writes.py MODULE STORE FOLDER STEP``: the module has ``act(store)``, what is killed
and then repeated, and ``check(store)``, for what it left. Copies end up in the folder, named by the
number of the write that was not made any more: ``1.zarr``, ``2.zarr`` … All is done in forks of one
process that has imported everything and has no threads.
"""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from processes import SEES_TESTS
from zarr.storage import LocalStore

from cubie_dask.stores.storage import LocalStorage


def killed_at_writes(module, template, folder, step):
    """Do all of this in another process, and return the stores in their order."""
    ended = subprocess.run(
        [sys.executable, __file__, *map(str, (module, template, folder, step))],
        env=os.environ | SEES_TESTS,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return sorted(folder.glob("*.zarr"))


def main(module, template, folder, step):
    """Kill, check and repeat until there are no more writes."""
    given = importlib.import_module(module)
    given.prepare()
    number = int(step)
    while _killed_at(number, given, shutil.copytree(template, Path(folder, f"{number}.zarr"))):
        number += int(step)
    print(number)


def _killed_at(number, given, store):
    """Kill one process at a write and repeat what it did; return whether there was such a write."""
    code = _forked(lambda: (_arm(number), given.act(store)))
    if code == 0:
        return False
    assert code == -signal.SIGKILL, code
    assert _forked(lambda: given.check(store)) == 0, number
    assert _forked(lambda: given.act(store)) == 0, number
    return True


def _arm(last):
    """Let this process die before a certain write."""
    count = 0

    def tick():
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def ticking(plain):
        def changed(*arguments, **options):
            tick()
            return plain(*arguments, **options)

        return changed

    for owner, names in (
        (LocalStorage, ("write", "create", "delete")),
        (LocalStore, ("set", "delete", "delete_dir")),
    ):
        for name in names:
            setattr(owner, name, ticking(getattr(owner, name)))


def _forked(function):
    child = os.fork()
    if not child:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
