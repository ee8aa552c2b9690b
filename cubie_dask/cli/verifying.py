"""The command ``verify``: every chunk held against its record."""

from __future__ import annotations

import json
import sys
import time

from cubie_dask.cli.exits import Exit
from cubie_dask.cli.output import say
from cubie_dask.stores.verifying import Verification, repair_sweep, verify_sweep

__all__ = ["verify"]

_SECONDS = 30.0


def verify(store: str, as_json: bool, repair: bool) -> Exit:
    """Print what is damaged, and take away the records of damaged chunks if that is asked for."""
    told = time.monotonic()

    def tell(done: int, chunks: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _SECONDS:
            told = time.monotonic()
            sys.stderr.write(f"{done:,} of {chunks:,} chunks checked\n")

    found = verify_sweep(store, tell=tell)
    repaired = repair_sweep(store, found) if repair else 0
    if as_json:
        say(json.dumps(_as_dict(found) | {"repaired": repaired}))
    else:
        say(found)
        if repaired:
            say(f"The records of {repaired:,} chunks were taken away: the next run computes them.")
    if len(found.damages) == 0:
        return Exit.COMPLETE
    is_left = any(damage.chunk is None for damage in found.damages)
    return Exit.STOPPED if repaired and not is_left else Exit.DAMAGED


def _as_dict(found: Verification) -> dict[str, object]:
    return {
        "store": found.store,
        "whole": found.whole,
        "chunks": found.chunks,
        "chunks_finished": found.finished,
        "chunks_checked": found.checked,
        "bytes": found.bytes,
        "damaged_chunks": list(found.damaged_chunks),
        "damages": [{"chunk": damage.chunk, "what": damage.what} for damage in found.damages],
        "leftovers": list(found.leftovers),
        "chunks_retrying": list(found.retrying),
    }
