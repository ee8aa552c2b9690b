"""The page on clusters says what is true."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from cli_sweeps import cubie_dask

import cubie_dask as package

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["run", "slurm", "tls", "status"])
def test_commands_have_the_options_of_the_page(command):
    lines = re.findall(rf"cubie-dask {command} ([^`\n]*)", PAGE)
    assert lines
    told = {option for line in lines for option in re.findall(r"--[a-z-]+", line)}
    known = set(re.findall(r"--[a-z-]+", cubie_dask(command, "--help").stdout))
    assert told <= known


def test_calls_have_the_arguments_of_the_page():
    calls = 0
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                assert all(hasattr(package, alias.name) for alias in node.names)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                words = {word.arg: None for word in node.keywords if word.arg}
                inspect.signature(getattr(package, node.func.id)).bind(*node.args, **words)
                calls += 1
    assert calls == 3


def test_extras_and_files_of_the_page_exist():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"'cubie\[([\w-]+)\]'", PAGE):
        assert f"\n{extra} = [" in project
    for path in re.findall(r"`?((?:tests|\.ci)/[\w/.]+)`?", PAGE):
        assert (ROOT / path).exists(), path
