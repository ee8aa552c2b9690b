"""The rounds in which failed runs of a sweep were computed again, as a store tells of them.

The arrays ``first_status`` and ``round`` are made when the first round begins. Of a run that no
round took, both are 0; of another one, the first is how it ended in the sweep itself, and the
second is the last round that took it. The settings of each round are in the attribute
``cubie_rounds``, in their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from cubie_dask.recipe import solver_of
from cubie_dask.stores.layout import codec
from cubie_dask.stores.storage import Storage
from cubie_dask.stores.store import SweepStore, change_attributes, open_store, read_attributes
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.labels import run_records
from cubie_kernels.solver import Solver
from cubie_kernels.status import Status
from cubie_kernels.version import __version__

__all__ = ["Round", "begin_round", "changed_settings", "chosen_statuses", "read_rounds"]

_ATTRIBUTE = "cubie_rounds"
_NOT_FAILED = (Status.NOT_RUN, Status.SUCCESS)
# What all results in a store have in common.
_SHARED = (
    "model",
    "model_hash",
    "t_span",
    "times",
    "precision",
    "target",
    "swept",
    "fixed",
    "saved_states",
    "saved_observables",
)


@dataclass(frozen=True)
class Round:
    """A round.

    Attributes
    ----------
    number : int
        1 for the first one.
    statuses : tuple of str
        Names of the statuses of the runs that it takes.
    settings : dict
        How these are integrated: of what `Solver.settings` returns, all that a round may change.
    began : str
        When, in UTC.
    version : str
        Version of this package.
    """

    number: int
    statuses: tuple[str, ...]
    settings: dict[str, Any]
    began: str
    version: str

    @property
    def codes(self) -> list[int]:
        """The statuses as numbers."""
        return [int(Status[name]) for name in self.statuses]

    def solver(self, store: SweepStore) -> Solver:
        """Return what integrates the runs."""
        settings = _plain(store.recipe.solver)
        return solver_of({key: settings[key] for key in _SHARED} | self.settings)


def read_rounds(store: SweepStore) -> tuple[Round, ...]:
    """Return the rounds that began on a store, in their order."""
    found: list[Any] = json.loads(read_attributes(store.storage).get(_ATTRIBUTE, "[]"))
    return tuple(replace(Round(**one), statuses=tuple(one["statuses"])) for one in found)


def chosen_statuses(given: object) -> tuple[str, ...]:
    """Return the names of the statuses that are to be retried, in the order of their numbers.

    Parameters
    ----------
    given : None, str, Status or iterable of these
        None for all that say of a run that it failed.

    Raises
    ------
    InputError
        For a name that is no status, or a status of runs that didn't fail.
    """
    failed = [status for status in Status if status not in _NOT_FAILED]
    if given is None:
        return tuple(status.name for status in failed)
    many: Iterable[Any] = given if isinstance(given, Iterable) else [given]
    asked = [given] if isinstance(given, str) else list(many)
    legal = ", ".join(status.name for status in failed)
    chosen: set[Status] = set()
    for one in asked:
        name = one.name if isinstance(one, Status) else str(one).strip().upper().replace("-", "_")
        if name not in Status.__members__:
            raise InputError(
                f"status has {one!r}, which is none.{nearest(name, Status.__members__)} Legal: "
                f"{legal}."
            )
        if Status[name] in _NOT_FAILED:
            raise InputError(
                f"Runs with the status {name} can't be retried: no success is ever replaced, and "
                f"what is not computed yet, Sweep.run computes. Legal: {legal}."
            )
        chosen.add(Status[name])
    if not chosen:
        raise InputError(f"status is empty: give one or more of {legal}, or nothing for all.")
    return tuple(status.name for status in sorted(chosen))


def changed_settings(
    store: SweepStore, changes: Mapping[str, Any], statuses: tuple[str, ...]
) -> dict[str, Any]:
    """Return the settings of a round.

    Parameters
    ----------
    store : SweepStore
        The sweep.
    changes : mapping of str to object
        Options of `Solver` that are to be others than the sweep's.
    statuses : tuple of str
        What the round takes.

    Raises
    ------
    InputError
        For options that aren't usable, or if nothing changes and runs would end as before.
    """
    plain = _plain(store.recipe.solver)
    settings = _plain(solver_of(plain, changes))
    if settings == plain and set(statuses) - {Status.WORKER_LOST.name}:
        raise InputError(
            "Nothing is changed, so the runs would end as they did: give another method (such as "
            "method='radau-iia-5'), tolerances, max_steps or dt_min. With the same settings only "
            "runs whose worker was lost can be retried (status='WORKER_LOST')."
        )
    return {key: value for key, value in settings.items() if key not in _SHARED}


def begin_round(
    store: SweepStore, statuses: tuple[str, ...], settings: dict[str, Any]
) -> tuple[SweepStore, Round]:
    """Begin a round, or go on with the last one if it is the same.

    Returns
    -------
    store, round : SweepStore, Round
        The store has the arrays of the history.
    """
    rounds = read_rounds(store)
    if rounds and (rounds[-1].statuses, rounds[-1].settings) == (statuses, settings):
        return store, rounds[-1]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = Round(len(rounds) + 1, statuses, settings, now, __version__)
    told = json.dumps([asdict(one) for one in (*rounds, made)])
    with store.storage.changing(f"round {made.number} of retries begins") as storage:
        _add_arrays(store, storage)
        change_attributes(storage, {_ATTRIBUTE: told})
    return open_store(store.storage), made


def _add_arrays(store: SweepStore, storage: Storage) -> None:
    import zarr

    status = next(one for one in run_records("explicit") if one.name == "status")
    flags = {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in status.attributes.items()
    }
    plan, names = store.recipe.plan, store.history
    told: dict[str, tuple[str, dict[str, Any]]] = {
        names["first_status"]: ("uint8", flags | {"long_name": "how a retried run ended at first"}),
        names["round"]: ("int16", {"long_name": "last round of retries that took the run"}),
    }
    group = zarr.open_group(storage.zarr(), mode="r+", zarr_format=3)
    for name, (dtype, attributes) in told.items():
        if name not in store.arrays:
            group.create_array(
                name,
                shape=plan.shape,
                chunks=plan.chunk,
                dtype=dtype,
                fill_value=0,
                dimension_names=plan.dims,
                attributes=attributes,
                **codec(),
            )


def _plain(solver: Solver) -> dict[str, Any]:
    return json.loads(json.dumps(solver.settings()))
