"""Files that are written under another name, so that they are whole when they get their own.

Names are strings here: a short chunk is many small files, and for each of them a ``Path`` costs as
much as the system's call.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress

__all__ = ["PARTIAL", "create_file", "replace_file"]

PARTIAL = ".partial"
"""How the names of files end that are not whole yet."""


def replace_file(path: str, data: bytes, *, to_disk: bool = True) -> None:
    """Write a file, in place of one that may be there, which readers see whole until then.

    Parameters
    ----------
    path : str
        The file, whose folder is made if need be.
    data : bytes
        What comes into it.
    to_disk : bool, default True
        Whether to wait until it is on the disk.
    """
    part = _part(path, data, to_disk)
    try:
        os.replace(part, path)
    except BaseException:
        _forget(part)
        raise


def create_file(path: str, data: bytes) -> bool:
    """Write a file and wait until it is on the disk, unless there is one; return whether it did.

    Parameters
    ----------
    path : str
        The file, whose folder is made if need be.
    data : bytes
        What comes into it.
    """
    part = _part(path, data, to_disk=True)
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        _forget(part)
    return True


def _part(path: str, data: bytes, to_disk: bool) -> str:
    """Write a file beside another and return its name; one that isn't whole is deleted."""
    part = f"{path}.{uuid.uuid4().hex}{PARTIAL}"
    try:
        try:
            _write(part, data, to_disk)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write(part, data, to_disk)
    except BaseException:
        _forget(part)
        raise
    return part


def _write(part: str, data: bytes, to_disk: bool) -> None:
    with open(part, "xb", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        if to_disk:
            os.fsync(file.fileno())


def _forget(part: str) -> None:
    with suppress(OSError):
        os.unlink(part)
