"""Which direct solver is chosen for a matrix, and what the reason says."""

import re

import numpy as np
import pytest
from direct_cases import band, dense

from cubie_kernels.errors import InputError
from cubie_kernels.model.direct_choice import MOST_STRAIGHT, choose_direct
from cubie_kernels.model.sparse_lu import lu_pair_source, lu_source


def ring(n):
    """Return the pattern of unknowns in a ring."""
    return [(i, k % n) for i in range(n) for k in (i - 1, i, i + 1)]


def scattered(n, each):
    """Return a random pattern."""
    rng = np.random.default_rng(n)
    return sorted({(int(i), int(k)) for i, k in rng.integers(0, n, (each * n, 2))})


@pytest.mark.parametrize(
    ("n", "pattern", "kind"),
    [
        (1, [], "lu"),
        (8, dense(8), "lu"),
        (200, band(200, 1, 1), "lu"),
        (1000, band(1000, 1, 1), "banded"),
        (400, ring(400), "banded"),
        (40, dense(40), "banded"),
        (300, dense(300), "none"),
        (100, scattered(100, 4), "indexed"),
        (500, scattered(500, 4), "none"),
    ],
)
def test_choices(n, pattern, kind):
    choice = choose_direct(n, pattern)
    assert choice.kind == kind
    assert choice.reason.startswith("its factors")
    assert ("band" in choice.reason) == (kind == "banded" or len(pattern) == n * n > MOST_STRAIGHT)


def test_a_reason_tells_the_operations():
    n = 60
    codes = [write(n, band(n, 1, 1)) for write in (lu_source, lu_pair_source)]
    counts = [code.operations + code.solve_operations for code in codes]
    for pair, operations in ((False, counts[0]), (True, sum(counts))):
        choice = choose_direct(n, band(n, 1, 1), pair=pair)
        assert choice.kind == "lu"
        assert int(re.findall(r"[\d,]+", choice.reason)[0].replace(",", "")) == operations
        assert f"{MOST_STRAIGHT:,}" in choice.reason


def test_a_pair_takes_more_than_the_matrix_alone():
    n = 150
    assert choose_direct(n, band(n, 1, 1)).kind == "lu"
    assert choose_direct(n, band(n, 1, 1), pair=True).kind == "banded"
    assert choose_direct(n // 2, band(n // 2, 1, 1), pair=True).kind == "lu"


def test_the_band_is_that_of_rows_matched_to_columns():
    # Equation i has the derivative of unknown i + 1.
    n = 700
    mass = {(i, (i + 1) % n): 1.0 for i in range(n)}
    pattern = [(i, k % n) for i in range(n) for k in (i, i + 1, i + 2)]
    choice = choose_direct(n, pattern, mass)
    assert choice.kind == "banded"
    assert "band of 2 + 1 + 2" in choice.reason


def test_singular_matrices_are_refused():
    with pytest.raises(InputError, match="singular whatever its values"):
        choose_direct(2, [(0, 0)], {})
