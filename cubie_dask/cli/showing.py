"""The command ``plan``: what a sweep would cost."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from cubie_dask.cli.exits import Exit
from cubie_dask.cli.output import say
from cubie_dask.cli.sweep_file import SweepFile, read_sweep_file
from cubie_dask.plans.plan import Plan
from cubie_dask.progress.report import sweep_report
from cubie_dask.stores.storage import open_storage
from cubie_kernels.errors import InputError

__all__ = ["plan", "store_of"]

_SHOWN_TIMES = 3


def store_of(file: SweepFile, store: str | None) -> str:
    """Return where the results go: what the command says, else what the file says.

    Raises
    ------
    InputError
        If neither does.
    """
    found = store or file.store
    if found is None:
        raise InputError(
            f"{file.path}: [store] lacks the key 'path': add path = \"results.zarr\", or say "
            "--store PATH."
        )
    return found


def plan(given: argparse.Namespace) -> Exit:
    """Print what a sweep would compute, write and cost, as text or as one JSON object.

    Parameters
    ----------
    given : argparse.Namespace
        The arguments of the command.
    """
    file = read_sweep_file(given.file)
    store = given.store or file.store
    made = file.sweep.plan(
        workers=given.workers,
        memory=given.memory,
        run_seconds=given.run_seconds,
        store=store,
        pilot=given.pilot,
    )
    if given.json:
        say(json.dumps(_as_dict(file, store, made)))
        return Exit.COMPLETE
    solver, grid = file.sweep.solver, file.sweep.grid
    swept = (f"{name} {low:g} … {high:g}" for name, (low, high) in grid.limits().items())
    say(f"model    {solver.system.name}: {', '.join(solver.system.states)}")
    say(f"grid     {grid.kind} of {', '.join(swept)}")
    say(f"solver   {solver.describe()}")
    say(f"times    {_times(file)}")
    say(made)
    say(f"path     {'none yet: say --store PATH' if store is None else _progress(store)}")
    return Exit.COMPLETE


def _times(file: SweepFile) -> str:
    times = file.sweep.solver.times
    if times is None:
        return f"the end, {file.sweep.solver.t_span[1]:g}"
    listed = [f"{time:g}" for time in times]
    if len(listed) > _SHOWN_TIMES + 1:
        listed = [*listed[: _SHOWN_TIMES - 1], "…", listed[-1]]
    return f"{' '.join(listed)}: {len(times):,} saves"


def _progress(store: str) -> str:
    if not open_storage(store).exists():
        return f"{store}, which is not there yet"
    report = sweep_report(store)
    return f"{store}, with {report.chunks:,} of {report.plan.chunks:,} chunks finished"


def _as_dict(file: SweepFile, store: str | None, made: Plan) -> dict[str, object]:
    assert made.estimate is not None
    return {
        "store": store,
        "model": file.sweep.solver.system.name,
        "runs": made.runs,
        "shape": dict(zip(made.dims, made.shape, strict=True)),
        "chunks": made.chunks,
        "chunk": dict(zip(made.dims, made.chunk, strict=True)),
        "chunk_runs": made.chunk_runs,
        "chunk_bytes": made.chunk_runs * made.run_bytes,
        "zarr_chunk": dict(zip(made.dims, made.zarr_chunk, strict=True)),
        "zarr_chunk_bytes": made.zarr_chunk_bytes,
        "sharded": made.sharded,
        "files": made.files,
        "bytes": made.runs * made.run_bytes,
        **asdict(made.estimate),
    }
