"""Rounding to fewer bits: the nearest such number, halves to even, and nothing else changed."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sweep_models import assert_same_results, lorenz_sweep

from cubie_dask import ChangedSweepError, open_sweep
from cubie_dask.stores.rounding import rounded
from cubie_kernels.errors import InputError

FLOATS = {np.float32: (st.floats(width=32), 23), np.float64: (st.floats(), 52)}


def neighbours(value, drop):
    """Return the numbers below and above in size whose mantissas end in `drop` zeros."""
    kind = np.uint32 if value.dtype == np.float32 else np.uint64
    low = value.view(kind) >> kind(drop) << kind(drop)
    return low.view(value.dtype), (low + kind(1 << drop)).view(value.dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_the_nearest_number_is_taken(dtype, data):
    strategy, mantissa = FLOATS[dtype]
    value, keepbits = dtype(data.draw(strategy)), data.draw(st.integers(1, mantissa))
    found = rounded(np.array([value]), keepbits)[0]
    assert found.dtype == dtype
    if not np.isfinite(value):
        assert found.tobytes() == value.tobytes()
        return
    below, above = neighbours(value, mantissa - keepbits)
    assert np.isfinite(found)
    assert np.signbit(found) == np.signbit(value)
    if not np.isfinite(above):
        assert found == below
        return
    distances = [abs(Fraction(float(end)) - Fraction(float(value))) for end in (below, above)]
    if distances[0] != distances[1]:
        assert found == (below, above)[int(np.argmin(distances))]
    else:
        # Halves: the one whose last kept bit is 0.
        bits = int(found.view(np.uint32 if dtype == np.float32 else np.uint64))
        assert not bits >> (mantissa - keepbits) & 1


@given(st.lists(st.floats(width=32), max_size=20), st.integers(1, 23))
@example([1.0 + 2**-12, 1.0 + 3 * 2**-12, np.nan, -np.inf, -0.0, float(np.finfo("f4").max)], 11)
def test_arrays_are_as_their_numbers_and_rounding_twice_is_once(values, keepbits):
    array = np.array(values, np.float32)
    found = rounded(array, keepbits)
    assert found.shape == array.shape
    each = [rounded(array[i : i + 1], keepbits).tobytes() for i in range(len(array))]
    assert found.tobytes() == b"".join(each)
    assert rounded(found, keepbits).tobytes() == found.tobytes()


def test_a_rounded_store(tmp_path):
    whole, sweep = lorenz_sweep(300), lorenz_sweep(300, keepbits=9)
    whole.run(tmp_path / "whole", progress="none")
    sweep.run(tmp_path / "small", progress="none")
    exact, found = open_sweep(tmp_path / "whole").load(), open_sweep(tmp_path / "small").load()
    assert found.attrs["keepbits"] == found["x"].attrs["keepbits"] == 9
    assert "keepbits" not in exact.attrs
    for name in ("x", "y", "z", "energy"):
        np.testing.assert_array_equal(found[name], rounded(exact[name].values, 9))
        np.testing.assert_allclose(found[name], exact[name], rtol=2**-10)
        assert (found[name].values != exact[name].values).any()
    for name in ("status", "accepted_steps", "final_time"):
        np.testing.assert_array_equal(found[name], exact[name])
    sizes = [
        sum(path.stat().st_size for path in (tmp_path / store / "x").rglob("*") if path.is_file())
        for store in ("small", "whole")
    ]
    assert sizes[0] < 0.5 * sizes[1]
    # What is computed on the way is what a store would give.
    assert_same_results(sweep.dataset().load(), found)
    with pytest.raises(ChangedSweepError, match="keepbits: was 9, now None") as told:
        whole.run(tmp_path / "small", progress="none")
    assert told.value.fields == ("keepbits",)


@pytest.mark.parametrize(
    ("keepbits", "precision"), [(0, "float64"), (24, "float32"), (2.5, "float64")]
)
def test_bits_that_are_not_there(keepbits, precision):
    with pytest.raises(InputError, match=rf"keepbits .*{precision} has a mantissa of"):
        lorenz_sweep(keepbits=keepbits, precision=precision)
