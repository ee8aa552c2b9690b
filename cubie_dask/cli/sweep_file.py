"""From a TOML file to a sweep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cubie_dask.cli.tables import Table, read_toml
from cubie_dask.cli.values import read_ends, read_values
from cubie_dask.grids.grid import Grid
from cubie_dask.grids.sampling import SAMPLERS
from cubie_dask.stores.storage import is_url
from cubie_dask.sweep import Sweep
from cubie_kernels.checks import choice
from cubie_kernels.errors import CubieError, InputError
from cubie_kernels.model.system import System
from cubie_kernels.solver_options import SolverOptions

__all__ = ["SweepFile", "read_sweep_file"]

_TABLES = ("model", "grid", "time", "solver", "outputs", "store")
_TIME = ("t_span", "save_at", "save_every")
_SOLVER = tuple(key for key in SolverOptions.__annotations__ if key not in (*_TIME, "saved"))
_KIND_KEYS = {
    "product": ("kind", "values"),
    "zip": ("kind", "values"),
    "sample": ("kind", "values", "runs", "sampler", "seed"),
}
_HOMES = (
    dict.fromkeys(_TIME, "time")
    | dict.fromkeys(_SOLVER, "solver")
    | {"saved": "outputs", "swept": "grid.values", "chunk_runs": "store", "keepbits": "store"}
)


@dataclass(frozen=True)
class SweepFile:
    """What a TOML file describes.

    Attributes
    ----------
    path : Path
        The file.
    sweep : Sweep
        The sweep.
    store : str or None
        Path or URL where its results go, if the file says so.
    """

    path: Path
    sweep: Sweep
    store: str | None


def read_sweep_file(path: str | os.PathLike[str]) -> SweepFile:
    """Read a sweep from a TOML file; ``docs/cli.md`` lists its tables and keys.

    Parameters
    ----------
    path : path
        The file. Relative paths in it start from its folder.

    Raises
    ------
    InputError
        For anything that can't be used, naming the file, the table, the key, and what is legal.
    """
    path = Path(path)
    try:
        return _sweep_file(path, read_toml(path))
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault


def _sweep_file(path: Path, file: Table) -> SweepFile:
    file.check_keys(_TABLES, needed=("model", "grid", "time"))
    store = file.table("store")
    store.check_keys(("path", "chunk_runs", "keepbits"))
    target = store.get("path", str)
    if target is not None and ("\0" in target or not target.strip()):
        raise InputError(f"[store] path must be the name of a folder or a URL, not {target!r}.")
    with _placed("model"):
        system = _system(file.table("model"), path)
    with _placed("grid.values"):
        grid = _grid(file.table("grid"), path.parent)
    options = _options(file, path.parent)
    with _placed(None):
        whole = {key: store.get(key, int) for key in ("chunk_runs", "keepbits")}
        sweep = Sweep(system, grid, **whole, **options)
    if target is not None and not is_url(target):
        target = str(path.parent / target)
    return SweepFile(path, sweep, target)


def _system(model: Table, path: Path) -> System:
    declared = ("states", "parameters", "constants")
    model.check_keys(
        ("name", "equations", "equations_file", *declared, "mass", "observables"),
        needed=("states",),
    )
    if ("equations" in model.content) == ("equations_file" in model.content):
        raise InputError("[model] needs either equations or equations_file.")
    text = model.get("equations", str)
    if text is None:
        source = path.parent / model.get("equations_file", str)
        try:
            text = source.read_text(encoding="utf-8")
        except (OSError, ValueError) as fault:
            raise InputError(f"[model] equations_file can't be read: {fault}.") from fault
    return System.from_equations(
        text,
        **{key: _numbers(model.table(key)) for key in declared},
        mass=_numbers(model.table("mass")) or None,
        observables=_names(model, "observables") or (),
        name=model.get("name", str, default=path.stem),
    )


def _grid(table: Table, folder: Path) -> Grid:
    kind = choice("[grid] kind", table.get("kind", str, default="product"), tuple(_KIND_KEYS))
    legal = _KIND_KEYS[kind]
    foreign = [key for key in _KIND_KEYS["sample"] if key in table.content and key not in legal]
    if foreign:
        raise InputError(f'[grid] {foreign[0]} is for kind = "sample", not for "{kind}".')
    table.check_keys(legal, needed=("values", "runs") if kind == "sample" else ("values",))
    values = table.table("values")
    if kind == "sample":
        return Grid.sample(
            table.get("runs", int),
            {key: read_ends(values, key) for key in values.content},
            kind=choice(
                "[grid] sampler", table.get("sampler", str, default="sobol"), tuple(SAMPLERS)
            ),
            seed=table.get("seed", int, default=0),
        )
    made = Grid.product if kind == "product" else Grid.zip
    return made({key: read_values(values, key, folder) for key in values.content})


def _options(file: Table, folder: Path) -> dict[str, Any]:
    time, solver, outputs = file.table("time"), file.table("solver"), file.table("outputs")
    time.check_keys(_TIME, needed=("t_span",))
    solver.check_keys(_SOLVER)
    outputs.check_keys(("saved",))
    options: dict[str, Any] = {"t_span": time.get("t_span", list)}
    if "save_at" in time.content:
        options["save_at"] = read_values(time, "save_at", folder)
    options["save_every"] = time.get("save_every", float)
    for key in (
        "method",
        "controller",
        "linear_solver",
        "preconditioner",
        "newton",
        "precision",
        "target",
    ):
        options[key] = solver.get(key, str)
    for key in ("dt", "dt_min", "dt_max"):
        options[key] = solver.get(key, float)
    for key in ("rtol", "atol"):
        options[key] = solver.get(key, float, list, dict)
    options["max_steps"] = solver.get("max_steps", int)
    options["adaptive"] = solver.get("adaptive", bool)
    options["saved"] = _names(outputs, "saved")
    return {key: value for key, value in options.items() if value is not None}


def _numbers(table: Table) -> dict[str, float]:
    return {key: table.get(key, float) for key in table.content}


def _names(table: Table, key: str) -> list[str] | None:
    names = table.get(key, list)
    for name in names or ():
        if not isinstance(name, str):
            raise InputError(f"[{table.name}] {key} must be a list of names, not {names!r}.")
    return names


@contextmanager
def _placed(table: str | None) -> Iterator[None]:
    """Say which table an error is about; without one, find it by the option that is named."""
    try:
        yield
    except CubieError as fault:
        message = str(fault)
        if message.startswith("["):
            raise InputError(message) from fault
        if table is None:
            words = re.findall(r"\w+", message.lower())
            table = next((_HOMES[word] for word in words if word in _HOMES), None)
        raise InputError(f"[{table}] {message}" if table else message) from fault
