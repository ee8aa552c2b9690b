"""The benchmark of sweeps runs, and finds right results wherever it looks for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sweeps.py"


def run(*options):
    """Run the benchmark, and return what it printed."""
    command = [sys.executable, str(SCRIPT), *options]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=280)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("names", ["lorenz,write", "tasks,plan,resume,kills"])
def test_quick_sections_run(tmp_path, names):
    printed = run("--quick", "--only", names, "--folder", str(tmp_path))
    for name in names.split(","):
        assert f"({name}: " in printed
    assert not list(tmp_path.iterdir())


def test_an_unknown_section_is_told():
    command = [sys.executable, str(SCRIPT), "--only", "lorens"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "no section lorens; there are lorenz, write, tasks" in ended.stderr
