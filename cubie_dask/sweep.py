"""A sweep: a model over a grid of runs, computed piece by piece into a labelled store."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, Unpack

from cubie_dask.execution.passes import PassOptions, run_pass
from cubie_dask.grids.grid import Grid
from cubie_dask.planning import chunks_of, estimated_plan, plan_to_run
from cubie_dask.plans.pilot import run_pilot
from cubie_dask.plans.plan import Plan
from cubie_dask.progress.events import Progress, listener_for
from cubie_dask.progress.report import Report, report_of
from cubie_dask.recipe import Recipe
from cubie_dask.stores.rounding import check_keepbits
from cubie_dask.stores.storage import Storage, StorePath
from cubie_kernels.checks import count
from cubie_kernels.errors import InputError, nearest
from cubie_kernels.solver import Solver
from cubie_kernels.solver_checks import check_range
from cubie_kernels.solver_options import SolverOptions

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

    from cubie_kernels.model.system import System

__all__ = ["Sweep", "SweepOptions"]


class _Fixed(TypedDict, total=False):
    fixed: Mapping[str, float] | None


class SweepOptions(SolverOptions, _Fixed, total=False):
    """The options of `Sweep` that say how to integrate."""


@dataclass(frozen=True, init=False)
class Sweep:
    """A model, the runs to make of it, and how to integrate them; frozen and checked when made.

    Parameters
    ----------
    system : System
        The model.
    grid : Grid
        The runs. Its names are parameters and, for initial values, states of the model.
    chunk_runs : int, optional
        Largest number of runs that are computed and written at a time. By default `plan` decides,
        after how large the results are and how long runs take. It has no effect on results, nor on
        a store that exists already.
    keepbits : int, optional
        Round states and observables to this many bits of the mantissa before they are written, so
        that the store is smaller: 12 keep three to four digits. Default: all 52, or 23 of float32.
    **options
        Those of :class:`~cubie_kernels.Solver` but ``swept``: ``t_span`` (needed), ``save_at`` or
        ``save_every``, ``method``, ``rtol``, ``atol``, ``fixed`` (values that all runs share),
        ``saved`` (names of the states and observables to keep), ``precision`` …

    Attributes
    ----------
    solver : Solver
        How each run is integrated.
    grid : Grid
        The runs.
    chunk_runs, keepbits : int or None
        As given.

    Raises
    ------
    InputError
        For anything that can't be used, such as a name that the model doesn't have.

    Examples
    --------
    >>> sweep = Sweep(lorenz, Grid.product(rho=np.linspace(0, 21, 1000), sigma=[9, 10, 11]),
    ...               t_span=(0, 1), save_every=0.1)                            # doctest: +SKIP
    >>> sweep.run("lorenz.zarr").dataset()                                      # doctest: +SKIP
    """

    solver: Solver
    grid: Grid
    chunk_runs: int | None
    keepbits: int | None

    def __init__(
        self,
        system: System,
        grid: Grid,
        *,
        chunk_runs: int | None = None,
        keepbits: int | None = None,
        **options: Unpack[SweepOptions],
    ) -> None:
        if not isinstance(grid, Grid):
            raise InputError(
                f"grid must be a Grid, not {type(grid).__name__}: make one with Grid.product, "
                "Grid.zip or Grid.sample."
            )
        legal = set(SolverOptions.__annotations__) | {"fixed"}
        for name in options:
            if name not in legal:
                raise InputError(
                    f"Sweep has no option {name!r}.{nearest(name, legal)} It has: chunk_runs, "
                    f"keepbits, {', '.join(sorted(legal))}."
                )
        if "t_span" not in options:
            raise InputError("Sweep needs t_span=(start, end).")
        solver = Solver(system, swept=grid.names, **options)
        for name, ends in grid.limits().items():
            check_range(name, ends, solver.precision)
        object.__setattr__(self, "solver", solver)
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "chunk_runs", chunk_runs)
        object.__setattr__(self, "keepbits", check_keepbits(keepbits, solver.precision))
        chunks_of(solver, grid, chunk_runs)

    def plan(
        self,
        *,
        workers: int | None = None,
        memory: int | str | None = None,
        run_seconds: float | None = None,
        store: StorePath | Storage | None = None,
        pilot: bool = False,
    ) -> Plan:
        """Return how the sweep is cut into chunks and what it costs.

        Nothing is computed, written or looked at, but for what `store` and `pilot` ask for.

        Parameters
        ----------
        workers : int, optional
            Number of worker processes. Default: this process, on all its cores.
        memory : int or str, optional
            Bytes that each worker may use, or a text such as ``"8 GB"``.
        run_seconds : float, optional
            Seconds that one worker takes for a run.
        store : path or str, optional
            The store: one that is there keeps the chunks it was made with, and the disk of a
            local one must have room.
        pilot : bool, default False
            Whether to time a small sample of the runs, as :meth:`pilot` does.

        Returns
        -------
        Plan
            Prints as a table. ``plan.estimate`` has memory and time.

        Raises
        ------
        CapacityError
            If there is too little memory or disk, a run is too large for a zarr chunk, or there
            are too many chunks: with the numbers, and what to change.
        InputError
            For an argument that isn't usable.
        """
        return estimated_plan(
            self,
            workers=workers,
            memory=memory,
            run_seconds=run_seconds,
            store=store,
            pilot=pilot,
        )

    def pilot(self, *, threads: int | None = None) -> float:
        """Return how many seconds a run takes, timed on a small sample spread over the grid.

        Parameters
        ----------
        threads : int, optional
            Threads of the kernel. Default: one for each core that this process may use.
        """
        return run_pilot(self.solver, self.grid, threads).run_seconds

    def run(
        self,
        store: StorePath | Storage,
        client: Client | None = None,
        *,
        progress: Progress = "auto",
        threads: int | None = None,
        max_time: float | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> Report:
        """Compute what the store lacks.

        The first Ctrl-C or SIGTERM lets the chunks in hand be finished, the second stops at once.

        Parameters
        ----------
        store : path or str
            Folder or URL of the store. One that doesn't exist is made; one that holds this sweep is
            completed, whatever ended the earlier pass. On a cluster it must be the same folder for
            all workers. How to reach a URL, workers take from their own environment.
        client : distributed.Client, optional
            The cluster to compute on; by default this process, on all its cores.
        progress : {"auto", "bar", "lines", "none"}, bool or callable
            A bar on a terminal and a line each 30 seconds elsewhere; or a function of one event.
        threads : int, optional
            Threads of the kernel in each task. Default: all cores, shared among the tasks that run
            at once. It has no effect on results.
        max_time : float, optional
            Seconds after which the call should be over: no chunk is begun that would take longer,
            as far as those before it tell.
        share : tuple of int, default (0, 1)
            ``(k, n)`` does only the chunks whose number leaves k when divided by n, so that n
            processes without a cluster can work on one store.

        Returns
        -------
        Report
            How the runs ended; prints as a summary. ``report.dataset()`` opens the results.

        Raises
        ------
        StoreError
            If the path holds something else; ChangedSweepError, naming the fields, if it is
            another sweep; StoreBusyError if another process computes some of the same chunks.
        CapacityError
            If the disk surely has too little room for what is missing, before anything is begun.
        StorageFullError
            If the disk gets full.
        ChunkError
            At the end, if a chunk failed three times; at once, if three chunks did.
        ClusterError
            If the client isn't usable, or the cluster went away.
        SweepInterrupted
            On Ctrl-C, SIGTERM or `max_time`, a ``KeyboardInterrupt``. In all these cases each
            finished chunk is kept, and another ``run`` with the same store goes on from there.
        InputError
            For any argument that isn't usable.
        """
        listener = listener_for(progress)
        options = PassOptions(threads, max_time, share)
        plan, order = plan_to_run(self, store, client, threads)
        recipe = Recipe(self.solver, self.grid, plan, self.keepbits)
        options = replace(options, order=order)
        return report_of(run_pass(recipe, store, client, listener, options))

    def dataset(self, chunk_runs: int | None = None, *, threads: int | None = None) -> xr.Dataset:
        """Return the results as a labelled dataset that integrates what a computation touches.

        Nothing is computed or written yet. ``sweep.dataset().sel(rho=28, method="nearest")`` costs
        one chunk, or a few, once it is computed. Variables that are computed together share the
        integration of their chunks; those computed one after the other do not, unless the dataset
        was ``persist``-ed.

        Parameters
        ----------
        chunk_runs : int, optional
            Largest number of runs that are integrated at a time, in place of the sweep's own.
        threads : int, optional
            Threads of a kernel. Default: all cores of this process; in a worker of a cluster as
            many as it has threads. One kernel runs at a time in a process. It has no effect on
            results.

        Returns
        -------
        xarray.Dataset
            With the variables, coordinates and attributes of :func:`open_sweep`'s, as Dask arrays.

        Raises
        ------
        InputError
            For a `chunk_runs` or `threads` that isn't a whole number of 1 or more.
        """
        from cubie_dask.analysis.lazy import lazy_dataset

        sweep = copy(self)
        if chunk_runs is not None:
            object.__setattr__(sweep, "chunk_runs", chunk_runs)
        if threads is not None:
            threads = count("threads", threads, 4096)
        recipe = Recipe(sweep.solver, sweep.grid, sweep.plan(), sweep.keepbits)
        return lazy_dataset(recipe, threads)
