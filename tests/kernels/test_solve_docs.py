"""The page on solving runs as it stands, and its table of statuses is that of the code."""

import re
from pathlib import Path

from cubie_kernels import Status

PAGE = (Path(__file__).parents[2] / "docs" / "solving.md").read_text(encoding="utf-8")


def test_the_code_runs(capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(block, "solving.md", "exec"), names)
    printed = capsys.readouterr().out
    shown = re.search(r"```text\n(.*?)```", PAGE, re.S)
    assert shown is not None
    assert printed.startswith(shown.group(1))
    assert names["traces"]["x"].shape == (101, 3)
    assert names["found"].ok.tolist() == [True, False, False]
    assert names["outcome"].final_state.shape == (3, 600)
    assert "The first is run 1 (x_0 = 2): it got to t = 0.5" in printed


def test_the_statuses_are_all_told():
    for status in Status:
        row = f"| `{status.name}` | {int(status)} | {status.sentence} | {status.remedy} |"
        assert row in PAGE
