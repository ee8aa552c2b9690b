"""The page on matrix-free solvers says what the code does."""

import re
from pathlib import Path

from cubie_kernels.build.krylov_source import PRECONDITIONERS
from cubie_kernels.kernels import factories
from cubie_kernels.kernels.linear_solver import CORRECTION_TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "linear-solvers.md").read_text(encoding="utf-8")


def rows(head: str) -> list[str]:
    """Return the first cells of the table whose first heading begins with ``head``."""
    table = PAGE.partition(f"\n| {head}")[2].partition("\n\n")[0]
    return [line.split("|")[1].strip(" `") for line in table.splitlines()[2:]]


def test_the_examples_print_what_the_page_shows(capsys):
    names: dict = {}
    shown = None
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE, re.DOTALL)
    assert [kind for kind, _ in blocks].count("text") == 4
    for kind, body in blocks:
        if kind == "python":
            exec(compile(body, "docs/linear-solvers.md", "exec"), names)
            shown = capsys.readouterr().out
        else:
            assert shown == body


def test_tables_list_what_there_is():
    assert sorted(rows("factory in")) == sorted(factories.__all__)
    assert rows("`correction_type`") == list(CORRECTION_TYPES)
    assert rows("preconditioner |") == list(PRECONDITIONERS)
