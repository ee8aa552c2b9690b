"""Values of a swept quantity as a TOML file gives them: a list, a range, or a file."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np

from cubie_dask.cli.tables import Table
from cubie_kernels.checks import choice, count, number, numbers
from cubie_kernels.errors import InputError, nearest

__all__ = ["read_ends", "read_values"]

_MOST_VALUES = 2**24
_SPACINGS = ("linear", "log")
_LEGAL = (
    "Give a list of numbers, a range {start = 0, stop = 1, count = 11} (with spacing = "
    '"log" if need be), or a file {file = "values.csv"} or {file = "values.npy"}.'
)


def read_values(parent: Table, key: str, folder: Path) -> np.ndarray:
    """Return values given as a list, a range or a file.

    Parameters
    ----------
    parent : Table
        The table that holds them.
    key : str
        Their key; in a CSV file also the column, unless another is named.
    folder : Path
        Where relative file names start.

    Returns
    -------
    numpy.ndarray
        Shape (k,), float64.

    Raises
    ------
    InputError
        Naming the table and the key.
    """
    given = parent.content[key]
    if isinstance(given, list):
        return numbers(f"[{parent.name}] {key}", given)
    if not isinstance(given, dict):
        raise InputError(f"[{parent.name}] {key} can't be {given!r}. {_LEGAL}")
    table = parent.table(key)
    if "file" in given:
        table.check_keys(("file", "column"))
        return _from_file(table, folder / table.get("file", str), key)
    table.check_keys(("start", "stop", "count", "spacing", "file", "column"))
    start, stop, spacing = _range(table, ("start", "stop", "count", "spacing"))
    if "count" not in given:
        raise InputError(f"[{table.name}] lacks the key 'count'. {_LEGAL}")
    points = count(f"[{table.name}] count", table.get("count", int), _MOST_VALUES)
    if points < 2:
        raise InputError(f"[{table.name}] count must be 2 or more; for one value write [{start}].")
    made = np.linspace if spacing == "linear" else np.geomspace
    return made(start, stop, points)


def read_ends(parent: Table, key: str) -> tuple[Any, ...]:
    """Return the range of a sampled quantity as ``Grid.sample`` takes it.

    Raises
    ------
    InputError
        Naming the table and the key.
    """
    if not isinstance(parent.content[key], dict):
        raise InputError(
            f"[{parent.name}] {key} of a sample must be a range {{start = 0, stop = 1}}, with "
            f'spacing = "log" if need be, not {parent.content[key]!r}.'
        )
    start, stop, spacing = _range(parent.table(key), ("start", "stop", "spacing"))
    return (start, stop) if spacing == "linear" else ("log", start, stop)


def _range(table: Table, legal: tuple[str, ...]) -> tuple[float, float, str]:
    table.check_keys(legal, needed=("start", "stop"))
    start, stop = (
        number(f"[{table.name}] {key}", table.get(key, float)) for key in ("start", "stop")
    )
    spacing = choice(
        f"[{table.name}] spacing", table.get("spacing", str, default="linear"), _SPACINGS
    )
    if start == stop or not math.isfinite(stop - start):
        raise InputError(f"[{table.name}] can't go from {start!r} to {stop!r}.")
    if spacing == "log" and min(start, stop) <= 0:
        raise InputError(
            f'[{table.name}] has spacing = "log", which needs start and stop above 0, not '
            f"{start!r} and {stop!r}."
        )
    return start, stop, spacing


def _from_file(table: Table, path: Path, key: str) -> np.ndarray:
    readers = {".csv": _from_csv, ".npy": _from_npy}
    suffix = path.suffix.lower()
    if suffix not in readers or "\0" in str(path):
        raise InputError(f"[{table.name}] file = {path.name!r} must end in .csv or .npy.")
    if suffix == ".npy" and "column" in table.content:
        raise InputError(f"[{table.name}] column is for .csv files: a .npy file holds one array.")
    try:
        values = readers[suffix](path, table.get("column", str, default=key))
    except OSError as fault:
        raise InputError(
            f"[{table.name}] file = {str(path)!r} can't be read: {fault.strerror or fault}."
        ) from fault
    except InputError as fault:
        raise InputError(f"[{table.name}] {path.name}: {fault}") from fault
    if values.ndim != 1:
        raise InputError(
            f"[{table.name}] {path.name} must hold 1-D values; its shape is {values.shape}."
        )
    return values


def _from_npy(path: Path, column: str) -> np.ndarray:
    del column
    try:
        with path.open("rb") as file:
            found = np.lib.format.read_array(file, allow_pickle=False)
    except OSError:
        raise
    except Exception as fault:
        # A damaged header is met with errors of many kinds.
        raise InputError(f"It is no file of numbers that numpy.save wrote ({fault}).") from fault
    return numbers("It", found)


def _from_csv(path: Path, column: str) -> np.ndarray:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            if column not in header:
                raise InputError(
                    f"It has no column {column!r}.{nearest(column, header)} Its first line names: "
                    f'{", ".join(header) or "nothing"}. To take another, add column = "…".'
                )
            at = header.index(column)
            return np.array([_cell(row, at, rows.line_num) for row in rows if row], np.float64)
    except (UnicodeDecodeError, csv.Error) as fault:
        raise InputError(f"It is not a CSV file in UTF-8 ({fault}).") from fault


def _cell(row: list[str], at: int, line: int) -> float:
    try:
        value = float(row[at])
    except (ValueError, IndexError):
        cell = repr(row[at]) if at < len(row) else "missing"
        raise InputError(f"Line {line}: the number is {cell}.") from None
    if not math.isfinite(value):
        raise InputError(f"Line {line}: numbers must be finite, not {row[at]!r}.")
    return value
