"""What docs/cli.md says is so."""

import re
from pathlib import Path

import pytest
from cli_sweeps import cubie_dask, write

from cubie_dask.cli.exits import Exit
from cubie_dask.cli.sweep_file import read_sweep_file
from cubie_kernels.errors import InputError

CLUSTER = {
    *("--threads", "--scheduler-file", "--address", "--workers", "--tls", "--insecure"),
    *("--max-time", "--quiet"),
}
TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_example_is_a_sweep(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    file = read_sweep_file(write(tmp_path, example))
    assert file.sweep.grid.runs == 3000
    assert file.sweep.solver.saved_observables == ("energy",)


@pytest.mark.parametrize("table", ["model", "grid", "time", "solver", "outputs", "store"])
def test_the_keys_of_each_table_are_those_that_are_legal(tmp_path, table):
    rows = re.search(rf"\n\| `\[{table}\]`(.*\n(?:\| +\|.*\n)*)", TEXT)
    assert rows is not None
    told = set()
    for row in rows[1].splitlines():
        told |= set(re.findall(r"`(\w+)`", row.lstrip("| ").split(" | ")[0]))
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    if table == "grid":
        example = example.replace('kind = "product"', 'kind = "sample"')
    wrong = re.sub(rf"^\[{table}\]\n", f"[{table}]\nqqq = 1\n", example, flags=re.MULTILINE)
    with pytest.raises(InputError, match="unknown key 'qqq'") as refused:
        read_sweep_file(write(tmp_path, wrong))
    legal = re.search(r"Legal: (.*)\.$", str(refused.value))
    assert legal is not None
    assert told == set(legal[1].split(", "))


def test_the_exit_codes_are_those_of_the_help():
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", TEXT, re.MULTILINE)
    assert rows == [(str(int(code)), code.meaning) for code in Exit]


@pytest.mark.parametrize(
    "command",
    [
        *("run", "resume", "plan", "status", "verify", "retry-failed", "extend", "export"),
        *("slurm", "tls"),
    ],
)
def test_the_options_are_those_of_the_help(command):
    section = re.search(rf"\n## `cubie-dask {command} .*?(?=\n## )", TEXT, re.DOTALL)
    assert section is not None
    told = set(re.findall(r"`(--[a-z-]+)", section[0]))
    options = _options(command)
    # What these have of run is told with run.
    shared = {"plan": {"--store"}, "resume": _options("run") - {"--store"}, "retry-failed": CLUSTER}
    assert told == options - shared.get(command, set())


def _options(command):
    return set(re.findall(r"^  (--[a-z-]+)", cubie_dask(command, "--help").stdout, re.MULTILINE))
