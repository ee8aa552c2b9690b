"""Files that are written under another name, so that they are whole when they get their own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PARTIAL", "part_of"]

PARTIAL = ".partial"
"""How the names of files end that are not whole yet."""


@contextmanager
def part_of(path: Path, data: bytes, *, to_disk: bool = True) -> Iterator[Path]:
    """Give a file beside another that holds the data, to be renamed; else it is deleted at the end.

    Parameters
    ----------
    path : Path
        The other file, whose folder is made if need be.
    data : bytes
        What comes into it.
    to_disk : bool, default True
        Whether to wait until it is on the disk.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        try:
            file = part.open("xb")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = part.open("xb")
        with file:
            file.write(data)
            if to_disk:
                file.flush()
                os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)
