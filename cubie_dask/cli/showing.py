"""The commands that compute nothing: ``plan`` and ``status``."""

from __future__ import annotations

import json
from pathlib import Path

from cubie_dask.cli.exits import Exit, exit_of
from cubie_dask.cli.output import say
from cubie_dask.cli.sweep_file import SweepFile, read_sweep_file
from cubie_dask.recipe import Recipe
from cubie_dask.report import Report, sweep_report
from cubie_dask.storage import open_storage
from cubie_dask.store import read_attributes
from cubie_kernels.errors import InputError

__all__ = ["plan", "status", "store_of"]

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


def plan(path: Path, store: str | None) -> Exit:
    """Print what a sweep would compute, write and cost."""
    file = read_sweep_file(path)
    solver, grid = file.sweep.solver, file.sweep.grid
    swept = (f"{name} {low:g} … {high:g}" for name, (low, high) in grid.limits().items())
    say(f"model    {solver.system.name}: {', '.join(solver.system.states)}")
    say(f"grid     {grid.kind} of {', '.join(swept)}")
    say(f"solver   {solver.describe()}")
    say(f"times    {_times(file)}")
    say(file.sweep.plan())
    found = store or file.store
    say(f"path     {'none yet: say --store PATH' if found is None else _progress(file, found)}")
    return Exit.COMPLETE


def status(store: str, as_json: bool) -> Exit:
    """Print how far the sweep in a store is, as text or as one JSON object."""
    report = sweep_report(store)
    say(json.dumps(_as_dict(report)) if as_json else report)
    return exit_of(report)


def _times(file: SweepFile) -> str:
    times = file.sweep.solver.times
    if times is None:
        return f"the end, {file.sweep.solver.t_span[1]:g}"
    listed = [f"{time:g}" for time in times]
    if len(listed) > _SHOWN_TIMES + 1:
        listed = [*listed[: _SHOWN_TIMES - 1], "…", listed[-1]]
    return f"{' '.join(listed)}: {len(times):,} saves"


def _progress(file: SweepFile, store: str) -> str:
    storage = open_storage(store)
    if not storage.exists():
        return f"{store}, which is not there yet"
    sweep = file.sweep
    recipe = Recipe(sweep.solver, sweep.grid, sweep.plan(), sweep.keepbits)
    recipe.check_same(read_attributes(storage), store)
    report = sweep_report(storage)
    return f"{store}, with {report.chunks:,} of {report.plan.chunks:,} chunks finished"


def _as_dict(report: Report) -> dict[str, object]:
    return {
        "store": report.store,
        "model": report.name,
        "complete": report.complete,
        "runs": report.plan.runs,
        "chunks": report.plan.chunks,
        "chunks_finished": report.chunks,
        "statuses": {status.name.lower(): n for status, n in sorted(report.statuses.items())},
        "steps": report.steps,
        "compute_seconds": report.compute_seconds,
        "write_seconds": report.write_seconds,
        "workers": list(report.workers),
        "last_chunk_finished": report.last,
    }
