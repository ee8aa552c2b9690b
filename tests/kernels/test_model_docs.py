"""The page on models says what the code does."""

import re
from pathlib import Path

import pytest

from cubie_kernels.errors import EquationError
from cubie_kernels.model import System
from cubie_kernels.model.functions import FUNCTIONS, SPECIAL

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_page_lists_every_function_as_the_table_has_it():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", PAGE, re.MULTILINE)
    wanted = [(f.name, str(len(f.takes)), f.text) for f in FUNCTIONS.values()]
    count = {"abs": "1", "min": "2 or more", "max": "2 or more", "Piecewise": "pairs"}
    wanted += [(name, count[name], text) for name, text in SPECIAL.items()]
    assert rows == wanted


def test_the_examples_print_what_the_page_shows(capsys):
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE, re.DOTALL)
    assert [kind for kind, _ in blocks].count("text") >= 6
    namespace: dict = {}
    shown = None
    for kind, body in blocks:
        if kind == "text":
            assert shown is not None
            assert shown.strip() == body.strip()
            shown = None
            continue
        assert shown is None or shown == ""
        try:
            exec(body, namespace)
            shown = capsys.readouterr().out
        except EquationError as fault:
            shown = str(fault)


def test_reserved_names_of_the_page_are_reserved():
    for name in ("t", "dt", "pi", "lambda", "exp", "_x"):
        with pytest.raises(EquationError, match="reserved"):
            System.from_equations("dx = -x", states={"x": 1.0}, parameters={name: 1.0})
    assert System.from_equations("dx = -e*x", states={"x": 1.0}, parameters={"e": 2.0}).parameters
