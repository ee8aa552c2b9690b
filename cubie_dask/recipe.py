"""What a sweep is made of, as it lies in the store and as it is compared on a resume."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from cubie_dask.errors import ChangedSweepError
from cubie_dask.grids.grid import Grid, ProductGrid, SampleGrid, ZipGrid
from cubie_dask.grids.values import LongValues, survey
from cubie_dask.plans.plan import Plan
from cubie_kernels.kernels.controllers import Controller
from cubie_kernels.labels import result_names, run_labels
from cubie_kernels.model.system import System
from cubie_kernels.solution_export import provenance
from cubie_kernels.solver import Solver
from cubie_kernels.version import __version__

__all__ = ["Recipe", "solver_of"]

_LONG_AXIS = 1 << 20


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a sweep is made of.

    Attributes
    ----------
    solver : Solver
        How each run is integrated.
    grid : Grid
        The runs.
    plan : Plan
        How they are cut into chunks.
    keepbits : int or None
        To how many bits of the mantissa states and observables are rounded.
    """

    solver: Solver
    grid: Grid
    plan: Plan
    keepbits: int | None = None

    @cached_property
    def labels(self) -> dict[str, str]:
        """The label of each swept quantity in the store."""
        return run_labels(self.solver.system, self.grid.names)

    @cached_property
    def names(self) -> dict[str, str]:
        """Names of the dimensions and arrays beside the model's own, by what they hold."""
        return result_names(self.solver.system)

    @property
    def long_names(self) -> dict[str, str]:
        """What each swept quantity is, in words."""
        system = self.solver.system
        return {
            name: f"parameter {name}" if name in system.parameters else f"initial value of {name}"
            for name in self.grid.names
        }

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """All that makes this sweep another one, field by field, as values that JSON holds."""
        settings = json.loads(json.dumps(self.solver.settings()))
        return _fields(settings, self.grid.identity(), self.keepbits)

    def check_same(self, attributes: dict[str, Any], where: str) -> None:
        """Refuse to go on with a store whose sweep is not this one.

        Raises
        ------
        ChangedSweepError
            Naming every field that differs, with both values.
        """
        grid = json.loads(attributes["cubie_grid"])
        stored = _fields(
            json.loads(attributes["cubie_solver"]), grid["identity"], attributes.get("keepbits")
        )
        given = self.fingerprint
        changed = [k for k in {**stored, **given} if stored.get(k) != given.get(k)]
        if "model" in changed and "model_hash" in changed:
            changed.remove("model_hash")
        if not changed:
            return
        lines = [f"  {k}: {_difference(stored.get(k), given.get(k))}" for k in changed]
        raise ChangedSweepError(
            f"The store {where} holds another sweep. What differs:\n"
            + "\n".join(lines)
            + f"\n{self._way_on(changed, stored, where)}",
            tuple(changed),
        )

    def _way_on(self, changed: list[str], stored: dict[str, Any], where: str) -> str:
        """Return what to do about changed fields."""
        grid = self.grid
        named = {field.removeprefix("grid."): stored.get(field) for field in changed}
        longer = all(field.startswith("grid.") for field in changed) and all(
            _goes_on(grid, name, str(text)) for name, text in named.items()
        )
        if longer:
            names = ", ".join(named)
            options = " ".join(f"--axis {name}=…" for name in named)
            return (
                f"The store has the first values of {names}: cubie-dask extend {where} {options}, "
                "or extend_sweep, adds the others; then run this again."
            )
        return "Give a new store, or undo the change to finish the sweep in this one."

    def to_attributes(self) -> dict[str, Any]:
        """Return the store's attributes: the recipe as JSON texts, and what people look for."""
        rounding = {} if self.keepbits is None else {"keepbits": self.keepbits}
        return (
            provenance(self.solver)
            | rounding
            | {
                "title": f"Parameter sweep of {self.solver.system.name}",
                "source": f"cubie_dask {__version__}",
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "versions": _versions(),
                "cubie_solver": json.dumps(self.solver.settings()),
                "cubie_grid": json.dumps(self.grid.to_dict() | {"identity": self.grid.identity()}),
                "cubie_plan": json.dumps(self.plan.to_dict()),
            }
        )

    @staticmethod
    def from_attributes(attributes: dict[str, Any], arrays: dict[str, Any]) -> Recipe:
        """Return the recipe of a store; the grid's values stay in the arrays until needed."""
        solver = solver_of(json.loads(attributes["cubie_solver"]))
        grid = _grid(json.loads(attributes["cubie_grid"]), solver.system, arrays)
        plan = Plan.from_dict(json.loads(attributes["cubie_plan"]))
        return Recipe(solver, grid, plan, attributes.get("keepbits"))


def _fields(
    settings: dict[str, Any], identity: dict[str, str], keepbits: int | None
) -> dict[str, Any]:
    described = settings | {f"grid.{name}": value for name, value in identity.items()}
    return described if keepbits is None else described | {"keepbits": keepbits}


def _goes_on(grid: Grid, name: str, stored: str) -> bool:
    """Tell whether a store has the first values of a quantity, or fewer points of a sample."""
    if isinstance(grid, SampleGrid):
        return name == "n" and grid.method != "latin-hypercube" and int(stored) < grid.n
    if name not in grid.names:
        return False
    # A product or a zip.
    quantities: dict[str, Any] = (
        grid.axes if isinstance(grid, ProductGrid) else vars(grid)["values"]
    )
    values = quantities[name]
    length = int(stored.partition(" ")[0])
    return length < values.shape[0] and survey(name, values[:length]).identity == stored


@cache
def _versions() -> str:
    packages = ("numpy", "numba", "llvmlite", "scipy", "xarray", "zarr", "dask", "distributed")
    found = {"cubie": __version__, "python": platform.python_version()}
    return json.dumps(found | {name: version(name) for name in packages})


def solver_of(settings: dict[str, Any], changes: Mapping[str, Any] | None = None) -> Solver:
    """Return the solver of some settings.

    Parameters
    ----------
    settings : dict
        What `Solver.settings` returned, as values that JSON holds.
    changes : mapping of str to object, optional
        Options of `Solver` in place of those settings. With another method, its own controller
        and linear solver are taken unless they are given too.

    Raises
    ------
    InputError
        If a change can't be used.
    """
    changes = dict(changes or {})
    options = {k: settings[k] for k in ("t_span", "method", "rtol", "atol", "dt", "max_steps")}
    options |= {k: settings[k] for k in ("adaptive", "precision", "target", "swept", "fixed")}
    if settings["adaptive"] and changes.get("adaptive", True):
        options |= {k: settings[k] for k in ("dt_min", "dt_max")}
    if changes.get("method", settings["method"]) == settings["method"]:
        options |= _method_options(settings)
    return Solver(
        System.from_dict(settings["model"]),
        save_at=settings["times"],
        saved=settings["saved_states"] + settings["saved_observables"],
        **(options | changes),
    )


def _method_options(settings: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    # With method="auto" there are two methods; what isn't alike for both are their defaults.
    chosen = [settings, settings["stiff"]] if "stiff" in settings else [settings]
    controllers = {_controller(choice["controller"]) for choice in chosen}
    if len(controllers) == 1:
        options["controller"] = controllers.pop()
    if "linear_solver" in chosen[-1]:
        options["linear_solver"] = _linear_solver(chosen[-1]["linear_solver"])
    if "newton" in chosen[-1]:
        options["newton"] = chosen[-1]["newton"]
    return options


def _controller(given: dict[str, Any]) -> Controller:
    beta: Any = tuple(given["beta"])
    return Controller(**{**given, "beta": beta})


def _linear_solver(given: str | dict[str, Any]) -> Any:
    if isinstance(given, str):
        return given
    from cubie_kernels.build.krylov_source import KrylovConfig
    from cubie_kernels.kernels.linear_solver import LinearMethod

    method: dict[str, Any] = given["method"]
    return KrylovConfig(LinearMethod(**method), given["preconditioner"], given["order"])


def _grid(given: dict[str, Any], system: System, arrays: dict[str, Any]) -> Grid:
    if given["kind"] == "sample":
        ranges = tuple((name, scale, low, high) for name, scale, low, high in given["ranges"])
        return SampleGrid(given["n"], given["method"], given["seed"], ranges)
    stored = {name: arrays[label] for name, label in run_labels(system, given["names"]).items()}
    if given["kind"] == "zip":
        return ZipGrid(stored)
    # Workers read of a long axis what their chunks need.
    return ProductGrid(
        {
            name: LongValues(values) if values.shape[0] > _LONG_AXIS else np.asarray(values[:])
            for name, values in stored.items()
        }
    )


def _difference(stored: Any, given: Any) -> str:
    if isinstance(stored, dict) and isinstance(given, dict):
        keys = [k for k in {**stored, **given} if stored.get(k) != given.get(k)]
        return "; ".join(f"{k} {_difference(stored.get(k), given.get(k))}" for k in keys)
    texts = [text if len(text) <= 200 else text[:200] + "…" for text in (repr(stored), repr(given))]
    return f"was {texts[0]}, now {texts[1]}"
