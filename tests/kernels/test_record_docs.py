"""The page on instrumented runs says what they do."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
from record_cases import KRYLOV, steps_of

from cubie_kernels.run.record import Recorder

PAGE = (Path(__file__).parents[2] / "docs" / "instrumented-runs.md").read_text(encoding="utf-8")


def first_cells(head: str) -> list[str]:
    """Return the first cells of the table whose first heading is ``head``."""
    table = PAGE.partition(f"\n| {head} |")[2].partition("\n\n")[0]
    return [line.split("|")[1] for line in table.splitlines()[2:]]


def test_the_examples_print_what_the_page_shows(capsys):
    names: dict = {}
    shown = None
    compared = 0
    for kind, body in re.findall(r"```(python|text)\n(.*?)```", PAGE, re.DOTALL):
        if kind == "python":
            exec(compile(body, "docs/instrumented-runs.md", "exec"), names)
            shown = capsys.readouterr().out
        elif shown:
            assert shown == body
            shown, compared = None, compared + 1
    assert compared == 2
    assert 0 <= float(names["share"]) < 1
    assert names["per_stage"].sizes == {"stage": 7}
    assert float(names["slowest"].max()) < 1
    assert int(names["products"].sum()) > 0


@pytest.mark.parametrize("method", ["tsit5", "rodas4", "kvaerno3", "radau-iia-3"])
def test_all_that_is_recorded_is_listed(method):
    listed = {name for cell in first_cells("variable") for name in re.findall(r"`(\w+)`", cell)}
    options = {} if method == "tsit5" else KRYLOV
    steps = steps_of(method, options)
    assert set(map(str, steps.data_vars)) <= listed
    if method == "kvaerno3":
        assert listed - set(steps.data_vars) == {"stage_increment", "newton_length"}


def test_what_source_calls_is_listed():
    listed = [re.findall(r"`(\w+)\(", cell)[0] for cell in first_cells("call")]
    assert listed == list(Recorder(1).calls())


def test_the_example_of_the_docstring():
    found = doctest.testmod(importlib.import_module("cubie_kernels.record"))
    assert found.attempted
    assert not found.failed
