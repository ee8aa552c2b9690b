"""Orders to the processes that a test starts to die or wait where it says."""

import json
import os
import sys
import time
from pathlib import Path

__all__ = ["orders", "wait_for"]


def orders(**given):
    """Return the variables of the environment that give orders; see saboteur/sitecustomize.py."""
    folder = Path(__file__).parent / "saboteur"
    return {
        "PYTHONPATH": os.pathsep.join(map(str, [folder, *sys.path])),
        "CUBIE_SABOTAGE": json.dumps(given),
    }


def wait_for(condition, seconds=60):
    """Return what a function returns, once that is something."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
    return found
