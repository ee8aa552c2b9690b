"""An interrupt ends a long solve at once."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kernel_interrupted.py")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a single child")
@pytest.mark.parametrize(
    ("steps", "target"), [("adaptive", "cpu"), ("fixed", "cpu"), ("fixed", "numpy")]
)
def test_interrupt(steps, target):
    with subprocess.Popen(
        [sys.executable, PROGRAM, steps, target], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.5)
            start = time.perf_counter()
            child.send_signal(signal.SIGINT)
            rest, _ = child.communicate(timeout=20)
        finally:
            child.kill()
    assert rest == "interrupted\n"
    assert child.returncode == 0
    assert time.perf_counter() - start < 5
