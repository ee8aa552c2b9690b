"""Whatever is in a sweep file, reading it gives a sweep or an error that names the file."""

import datetime
import json
import random
import tomllib

import numpy as np
import pytest
from cli_sweeps import EXPLODING, LORENZ, write

from cubie_dask.cli.sweep_file import read_sweep_file
from cubie_kernels.errors import InputError

JUNK = (
    True,
    0,
    -1,
    2**63 - 1,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "log",
    "∂x\n\x00",
    [],
    [[]],
    [1, "x"],
    [1, [2, 3]],
    {},
    {"x": {}},
    {"start": 0, "stop": 1, "count": 3},
    {"file": "sweep.toml"},
    {"file": ".npy"},
    {"file": "\x00/\x00.csv"},
    datetime.date(1952, 8, 28),
)


def toml(value):
    """Return a value as TOML, tables within one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str | bool):
        return json.dumps(value)
    return value.isoformat() if isinstance(value, datetime.date) else repr(value)


def places(table):
    """Return every (table, key) within a table."""
    found = []
    for key, value in table.items():
        found.append((table, key))
        if isinstance(value, dict):
            found += places(value)
    return found


def read_or_refuse(path):
    """Return whether a file was read; the only other way out is an error that names it."""
    refused = None
    try:
        read_sweep_file(path)
    except InputError as error:
        refused = error
    assert refused is None or str(refused).startswith(f"{path}: ")
    return refused is None


FROM_FILE = EXPLODING.replace('equations = "dx = k*x**2"', 'equations_file = "model.txt"')


@pytest.mark.parametrize("text", [LORENZ, FROM_FILE], ids=["lorenz", "from a file"])
def test_values_of_other_kinds(tmp_path, text):
    (tmp_path / "model.txt").write_text("dx = k*x**2")
    read = []
    for index in range(len(places(tomllib.loads(text)))):
        for junk in JUNK:
            content = tomllib.loads(text)
            table, key = places(content)[index]
            table[key] = junk
            lines = "".join(f"{key} = {toml(value)}\n" for key, value in content.items())
            assert tomllib.loads(lines).keys() == content.keys()
            read.append(read_or_refuse(write(tmp_path, lines)))
    assert 0 < sum(read) < len(read) / 2


def test_keys_that_are_gone_moved_or_misspelt(tmp_path):
    chance = random.Random(1952)
    read = []
    for _ in range(150):
        content = tomllib.loads(LORENZ)
        table, key = chance.choice(places(content))
        value = table.pop(key)
        other, _ = chance.choice([*places(content), (content, "")])
        name = chance.choice([key, key + "s", key[1:], key.upper(), "start", "file"])
        other[name] = value
        lines = "".join(f"{key} = {toml(value)}\n" for key, value in content.items())
        read.append(read_or_refuse(write(tmp_path, lines)))
    assert 0 < sum(read) < 100


def test_texts_that_are_cut_and_stirred(tmp_path):
    chance = random.Random(6)
    refused = 0
    for _ in range(200):
        letters = list(LORENZ)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(letters))
            letters[at : at + chance.randint(0, 3)] = chance.choice(['"', "[", "=", "\n", "0", "é"])
        refused += not read_or_refuse(write(tmp_path, "".join(letters)))
    assert refused > 100


def test_bytes(tmp_path):
    chance = random.Random(3)
    for size in (0, 1, 10, 1000):
        path = tmp_path / "sweep.toml"
        path.write_bytes(chance.randbytes(size))
        assert not read_or_refuse(path)
    assert not read_or_refuse(write(tmp_path, "x = " + "[" * 100_000))


def test_csv_and_npy_files_of_junk(tmp_path):
    chance = random.Random(9)
    for suffix in ("csv", "npy"):
        text = EXPLODING.replace(
            "{ start = 0.125, stop = 2.0, count = 16 }", f'{{ file = "k.{suffix}" }}'
        )
        file = write(tmp_path, text)
        for start in (b"", b"k\n", b"k,l\n1,2\n3", b"\x93NUMPY\x01\x00", b"PK\x03\x04"):
            (tmp_path / f"k.{suffix}").write_bytes(start + chance.randbytes(50))
            assert not read_or_refuse(file)
    np.save(tmp_path / "whole.npy", np.arange(4.0))
    whole = (tmp_path / "whole.npy").read_bytes()
    for at in range(128):
        broken = bytearray(whole)
        broken[at] = chance.choice([0, 48, 57, 255, *b"()'<O"])
        (tmp_path / "k.npy").write_bytes(broken)
        read_or_refuse(file)
    (tmp_path / "k.csv").write_text("k\n1\n2\n")
    assert read_or_refuse(write(tmp_path, text.replace(".npy", ".csv")))
