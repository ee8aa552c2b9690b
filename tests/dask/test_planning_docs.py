"""The page on planning says what is true."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from cubie_dask import CapacityError

PAGE = (Path(__file__).parents[2] / "docs" / "planning.md").read_text(encoding="utf-8")


def test_the_examples_print_what_the_page_shows():
    first, second = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    table, error = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    names, out = {}, io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(first, "docs/planning.md", "exec"), names)
    assert out.getvalue() == table
    with pytest.raises(CapacityError) as caught:
        exec(compile(second, "docs/planning.md", "exec"), names)
    assert f"CapacityError: {caught.value}" == " ".join(error.split())
