"""Printing to a reader that may leave."""

from __future__ import annotations

import os
import sys

__all__ = ["say"]


def say(text: object) -> None:
    """Print, and go on silently once the reader has left, as ``head`` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python's own flush at the exit must not complain again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
