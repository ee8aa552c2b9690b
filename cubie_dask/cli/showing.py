"""The command ``plan``: what a sweep would cost."""

from __future__ import annotations

from pathlib import Path

from cubie_dask.cli.exits import Exit
from cubie_dask.cli.output import say
from cubie_dask.cli.sweep_file import SweepFile, read_sweep_file
from cubie_dask.recipe import Recipe
from cubie_dask.report import sweep_report
from cubie_dask.storage import open_storage
from cubie_dask.store import read_attributes
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
