"""Errors that say that a disk is full, whoever raises them."""

from __future__ import annotations

import errno

__all__ = ["is_full"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Tell whether an error says that a disk has no room left, or a user no more of it."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    # Icechunk has errors of one type and the system's in words.
    is_icechunk = type(error).__name__ == "IcechunkError"
    return is_icechunk and any(f"(os error {number})" in str(error) for number in _FULL)
