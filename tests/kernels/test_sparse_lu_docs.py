"""The page on derivatives and factors shows what the code prints."""

import re
from pathlib import Path

import numpy as np
from direct_cases import Matrix, dense, made

PAGE = (Path(__file__).parents[2] / "docs" / "derivatives.md").read_text(encoding="utf-8")


def test_the_examples_print_what_the_page_shows(capsys):
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "text"] * 3
    namespace: dict = {}
    for (_, code), (_, shown) in zip(blocks[::2], blocks[1::2], strict=True):
        exec(code, namespace)
        assert capsys.readouterr().out.strip() == shown.strip()


def test_the_limits_are_those_of_the_page():
    wide, narrow = re.findall(r"`eps\*\*\(2/3\)`: (\S+) in double precision, (\S+) in", PAGE)[0]
    for shown, kind in ((wide, np.float64), (narrow, np.float32)):
        np.testing.assert_allclose(float(shown), np.finfo(kind).eps ** (2 / 3), rtol=0.2)
    for rows, has in ((100, True), (101, False)):
        assert bool(made(Matrix(rows, ()), "lu", 64).sizes["lin_dense"]) == has
        assert bool(made(Matrix(rows // 2 + rows % 2, ()), "lu", 64).sizes["pair_dense"]) == has
    assert made(Matrix(2, dense(2)), "lu", 64).sizes["lin_factors"] == 4
