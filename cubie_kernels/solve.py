"""From a model and its grid of inputs to a labelled solution, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Unpack

from numpy.typing import ArrayLike

from cubie_kernels.run_grid import run_grid
from cubie_kernels.solution import Solution
from cubie_kernels.solver import Solver
from cubie_kernels.solver_checks import check_system
from cubie_kernels.solver_options import SolverOptions, check_options

if TYPE_CHECKING:
    from cubie_kernels.model.system import System

__all__ = ["solve"]


def solve(
    system: System,
    parameters: Mapping[str, ArrayLike] | None = None,
    initial_values: Mapping[str, ArrayLike] | None = None,
    *,
    grid: str = "product",
    threads: int | None = None,
    **options: Unpack[SolverOptions],
) -> Solution:
    """Integrate a model over a grid of parameters and initial values.

    Parameters
    ----------
    system : System
        The model.
    parameters, initial_values : mapping of str to float or array_like of shape (k,), optional
        A number holds for all runs in place of the model's default; an array is swept.
    grid : {"product", "zip"}
        ``"product"``: all combinations, one dimension for each swept quantity, parameters first,
        each in the order given; the last is the fastest. ``"zip"``: arrays of one length; run i
        has the value i of each, and the one dimension is ``run``.
    threads : int, optional
        Default: one for each core that this process may use. It doesn't change the results.
    **options
        Those of :class:`~cubie_kernels.Solver`, of which ``t_span=(start, end)`` is needed:

        ``save_at`` or ``save_every``
            Times to save at; with neither, the end state alone.
        ``method="tsit5"``
            Listed by :func:`cubie_kernels.methods`.
        ``rtol=1e-6``, ``atol=1e-9``
            Tolerances, for all states or for each.
        ``adaptive=True``, ``dt``, ``dt_min``, ``dt_max``, ``max_steps=100_000``, ``controller``
            Steps; ``dt=…, adaptive=False`` asks for fixed ones.
        ``precision="float64"``, ``target="auto"``
            What to compute in and on.
        ``saved``
            Names of the states and observables to keep; default all.

    Returns
    -------
    Solution
        Values, coordinates, status and step counts of all runs. A run that fails (see its status)
        neither raises nor touches the others.

    Raises
    ------
    InputError
        For anything that can't be used, before anything compiles.

    Examples
    --------
    >>> import numpy as np
    >>> from cubie_kernels import System, solve
    >>> decay = System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0})
    >>> solution = solve(decay, {"k": np.linspace(0, 2, 5)}, t_span=(0, 1))
    >>> solution["x"].round(4)
    array([1.    , 0.6065, 0.3679, 0.2231, 0.1353])
    """
    check_system(system)
    check_options("solve()", options, ("grid", "threads"))
    runs = run_grid(system, parameters, initial_values, grid)
    solver = Solver(system, swept=tuple(runs.axes), fixed=runs.fixed, **options)
    outcome = solver.run(runs.columns(), runs.runs, threads)
    return Solution.from_outcome(solver, runs, outcome)
