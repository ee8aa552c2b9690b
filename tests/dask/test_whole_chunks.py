"""Chunks that are written without zarr are the files that zarr writes."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec

from cubie_dask.stores.whole_chunks import packing_of


def files(folder):
    """Return the content of all chunks, by name."""
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in found if p.name != "zarr.json"}


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=4),
    dtype=st.sampled_from(["uint8", "int32", "float32", "float64"]),
    shuffle=st.sampled_from(["shuffle", "bitshuffle"]),
    cname=st.sampled_from(["lz4", "zstd"]),
    seed=st.integers(0, 99),
)
def test_files_are_those_of_zarr(tmp_path_factory, lengths, dtype, shuffle, cname, seed):
    shape, chunks = (tuple(numbers) for numbers in zip(*lengths, strict=True))
    values = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    folder = tmp_path_factory.mktemp("stores")
    arrays = {
        name: zarr.create_group(folder / name).create_array(
            "a",
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=7,
            compressors=BloscCodec(cname=cname, clevel=1, shuffle=shuffle),
            config={"write_empty_chunks": True},
        )
        for name in ("zarr", "ours")
    }
    arrays["zarr"][...] = values
    packing = packing_of(arrays["ours"], folder / "ours")
    # In boxes of two chunks along each dimension.
    for place in np.ndindex(*(-(-n // (2 * c)) for n, c in lengths)):
        start = tuple(2 * k * c for k, c in zip(place, chunks, strict=True))
        box = tuple(slice(a, a + 2 * c) for a, c in zip(start, chunks, strict=True))
        packing.write(start, values[box])
    np.testing.assert_array_equal(arrays["ours"][...], values)
    assert files(folder / "ours") == files(folder / "zarr")


def test_arrays_of_other_kinds_are_left_to_zarr(tmp_path):
    group = zarr.create_group(tmp_path)
    blosc = {"compressors": BloscCodec(cname="lz4", clevel=1, shuffle="shuffle")}
    given = {"shape": (8,), "chunks": (2,), "dtype": "float64"}
    assert packing_of(group.create_array("plain", **given, **blosc), tmp_path) is not None
    sharded = group.create_array("sharded", **given, **blosc, shards=(4,))
    assert packing_of(sharded, tmp_path) is None
    assert packing_of(group.create_array("zstd", **given), tmp_path) is None
    assert packing_of(group.create_array("raw", **given, compressors=None), tmp_path) is None


def test_a_failed_write_leaves_nothing(tmp_path):
    group = zarr.create_group(tmp_path)
    array = group.create_array(
        "a", shape=(4,), chunks=(4,), dtype="float64", compressors=BloscCodec(cname="lz4")
    )
    # A folder where the chunk should be.
    (tmp_path / "a" / "c" / "0").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        packing_of(array, tmp_path).write((0,), np.ones(4))
    assert [path.name for path in (tmp_path / "a" / "c").iterdir()] == ["0"]
