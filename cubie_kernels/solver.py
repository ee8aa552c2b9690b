"""The recipe of a computation: model, method, tolerances, times; checked, then run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cubie_kernels import checks
from cubie_kernels.checks import Tolerance
from cubie_kernels.errors import InputError
from cubie_kernels.kernels.controllers import Controller
from cubie_kernels.labels import run_records
from cubie_kernels.run.batch import Batch, Column, Outcome
from cubie_kernels.solver_checks import (
    check_range,
    check_system,
    checked_inputs,
    checked_outputs,
    checked_precision,
    checked_steps,
    checked_target,
    checked_tolerances,
)
from cubie_kernels.solver_method import MethodChoice, MethodOptions, chosen_methods
from cubie_kernels.solver_start import (
    adjusted_states,
    consistent_batch,
    given_values,
    mark_inconsistent,
)

if TYPE_CHECKING:
    from cubie_kernels.build.config import KernelConfig
    from cubie_kernels.build.krylov_source import KrylovConfig
    from cubie_kernels.model.system import System

__all__ = ["Solver"]

_SETTINGS = (
    "t_span",
    "adaptive",
    "dt",
    "dt_min",
    "dt_max",
    "max_steps",
    "precision",
    "target",
    "swept",
    "fixed",
    "saved_states",
    "saved_observables",
)


class Solver:
    """How to integrate a model over any number of runs; a frozen value, checked when made.

    Making one compiles nothing. :meth:`build` compiles, or loads what was compiled before;
    :meth:`run` integrates.

    Parameters
    ----------
    system : System
        The model.
    t_span : (float, float)
        Start and end in the model's unit of time, the start before the end. The end is met exactly.
    save_at : array_like of shape (T,), optional
        Increasing times within ``t_span`` at which to save, by dense output: steps aren't cut.
    save_every : float, optional
        Distance between saves, from the start on; the end is the last one if the distance
        divides the span. With neither: the end state alone.
    method : str, default "tsit5"
        A name that :func:`cubie_kernels.methods` lists, or ``"auto"``: each run begins with an
        explicit method; one that turns out stiff is integrated anew with an implicit method.
    rtol, atol : float, sequence of n floats, or mapping of state names to floats
        A step is accepted when the root mean square of ``error / (atol + rtol * |state|)`` over
        the states is at most 1. An ``rtol`` is 0 or at least 8 roundings of the precision.
    dt : float, optional
        The step if ``adaptive=False``; else the first step (default: after Hairer, Nørsett and
        Wanner, from the model and the tolerances).
    adaptive : bool, default True
        Whether the error estimate steers the step.
    dt_min, dt_max : float, optional
        Limits of an adaptive step. Default: 16 roundings of the time, and the whole span.
    max_steps : int, default 100_000
        Attempted steps after which a run ends with ``Status.STEP_BUDGET``.
    controller : str or Controller, optional
        Step-size controller: ``"i"``, ``"pi"``, ``"pid"``, ``"gustafsson"``, ``"h211b"``, …
        Default: the one of the method's family, as in
        :data:`~cubie_kernels.solver_method.DEFAULT_CONTROLLERS`.
    linear_solver : str or KrylovConfig, default "auto"
        How an implicit method solves its linear systems: factorised (``"lu"``, ``"banded"``,
        ``"indexed"``) or matrix-free (``"gmres"``, ``"bicgstab"``, ``"minimal_residual"``,
        ``"steepest_descent"``); by default what suits the model, see ``choices``.
    preconditioner : {"ilu", "jacobi", "neumann", "none"}, optional
        Of the matrix-free ones among these; default ``"ilu"``.
    newton : {"simplified", "damped"}, default "simplified"
        How a diagonally implicit method iterates; ``"damped"`` takes a matrix-free linear solver.
    precision : {"float64", "float32", "float16"}
        Of the state; time is always float64. float16 needs ``target="numpy"``.
    target : {"auto", "cpu", "numpy"}
        Compiled for the processor's vector units, or plain NumPy for reference and debugging.
    swept : sequence of str
        Parameters and states whose value varies from run to run.
    fixed : mapping of str to float, optional
        Values of other parameters and initial values of other states, in place of the defaults.
    saved : sequence of str, optional
        States and observables to keep. Default: all.

    Attributes
    ----------
    times : ndarray of shape (T,), or None
        The times of the saves, float64.
    saved_states, saved_observables : tuple of str
        What is kept.
    fixed : dict of str to float
        Parameters and initial values that all runs share, the defaults included.
    swept : tuple of str
        The swept parameters and then the swept states, each in the model's order.
    choices : tuple of MethodChoice
        The method with its controller and its linear solver, and why that; with
        ``method="auto"`` the explicit method and the one for stiff runs.

    Raises
    ------
    InputError
        For anything that can't be used: says what was given, what is legal, and what to do.
    PrecisionError
        For a precision that the target can't compute in.
    TargetError
        For a target that isn't available.
    """

    system: System
    t_span: tuple[float, float]
    times: NDArray[np.float64] | None
    method: str
    rtol: NDArray[np.float64]
    atol: NDArray[np.float64]
    dt: float | None
    adaptive: bool
    dt_min: float
    dt_max: float
    max_steps: int
    choices: tuple[MethodChoice, ...]
    precision: str
    target: str
    swept: tuple[str, ...]
    fixed: dict[str, float]
    saved_states: tuple[str, ...]
    saved_observables: tuple[str, ...]

    def __init__(
        self,
        system: System,
        *,
        t_span: tuple[float, float],
        save_at: ArrayLike | None = None,
        save_every: float | None = None,
        method: str = "tsit5",
        rtol: Tolerance = 1e-6,
        atol: Tolerance = 1e-9,
        dt: float | None = None,
        adaptive: bool = True,
        dt_min: float | None = None,
        dt_max: float | None = None,
        max_steps: int = 100_000,
        controller: str | Controller | None = None,
        linear_solver: str | KrylovConfig = "auto",
        preconditioner: str | None = None,
        newton: str = "simplified",
        precision: str = "float64",
        target: str = "auto",
        swept: Sequence[str] = (),
        fixed: Mapping[str, float] | None = None,
        saved: Sequence[str] | None = None,
    ) -> None:
        check_system(system)
        t_span = checks.time_span(t_span)
        target = checked_target(target)
        precision = checked_precision(precision, target)
        adaptive = checks.switch("adaptive", adaptive)
        set_once = self.__dict__.update
        set_once(system=system, t_span=t_span, target=target, precision=precision)
        set_once(times=checks.save_times(t_span, save_at, save_every))
        set_once(adaptive=adaptive)
        held = precision if adaptive else "float64"  # fixed steps hold to no tolerance
        set_once(**checked_tolerances(rtol, atol, system.states, held))
        set_once(max_steps=checks.count("max_steps", max_steps, 2**31 - 1))
        set_once(**checked_steps(t_span, dt, dt_min, dt_max, adaptive, self.max_steps))
        least = float(self.rtol.min())
        asked = MethodOptions(
            method=method,
            adaptive=adaptive,
            controller=controller,
            linear_solver=linear_solver,
            preconditioner=preconditioner,
            newton=newton,
            rtol=least,
            precision=precision,
        )
        set_once(choices=chosen_methods(system, asked))
        one = self.choices[0].tableau.name
        set_once(method=one if len(self.choices) == 1 else "auto")
        set_once(**checked_inputs(system, swept, fixed, precision))
        set_once(**checked_outputs(system, saved))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A Solver is frozen; make a new one to change {name!r}.")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = [f"<Solver of {self.system.name!r}: {self.describe()}>"]
        lines.append(f"  swept  {', '.join(self.swept) or 'nothing'}")
        lines.append(f"  saved  {', '.join((*self.saved_states, *self.saved_observables))}")
        return "\n".join(lines)

    @property
    def kind(self) -> str:
        """``"explicit"``, ``"implicit"`` or ``"auto"``: what is recorded of each run."""
        if self.method == "auto":
            return "auto"
        return "implicit" if self.choices[0].tableau.implicit else "explicit"

    def describe(self) -> str:
        """Return method, steps, times and precision in one line."""
        t0, t1 = self.t_span
        if self.adaptive:
            steps = f"rtol = {_spread(self.rtol)}, atol = {_spread(self.atol)}"
        else:
            steps = f"dt = {self.dt:g}"
        saves = "end state" if self.times is None else f"{len(self.times):,} saves"
        methods = " or ".join(choice.tableau.name for choice in self.choices)
        return (
            f"{methods}{self.choices[-1].solvers}, {steps}, t = {t0:g} … {t1:g}, {saves}, "
            f"{self.precision} on {self.target}"
        )

    def settings(self) -> dict[str, Any]:
        """Return all that identifies the computation, as values that JSON can hold.

        Two solvers with equal settings give the same bits for the same runs on one machine.
        """
        plain = {name: getattr(self, name) for name in _SETTINGS}
        arrays = {name: getattr(self, name) for name in ("rtol", "atol", "times")}
        return {
            "model": self.system.to_dict(),
            "model_hash": self.system.content_hash,
            **{
                key: list(value) if isinstance(value, tuple) else value
                for key, value in plain.items()
            },
            **{key: None if value is None else value.tolist() for key, value in arrays.items()},
            **self.choices[0].settings(),
            **({"stiff": self.choices[1].settings()} if len(self.choices) > 1 else {}),
            "method": self.method,
        }

    def config(self, choice: int = 0) -> KernelConfig:
        """Return what the text of a kernel depends on: that of ``choices[choice]``."""
        from cubie_kernels.build.config import KernelConfig

        system, chosen = self.system, self.choices[choice]
        given = {*self.swept, *adjusted_states(system)}
        observables = system.observables
        return KernelConfig(
            system=system,
            method=chosen.tableau.name,
            precision=self.precision,
            target=self.target,
            adaptive=self.adaptive,
            controller=chosen.controller,
            linear_solver="lu" if chosen.linear is None else chosen.linear.solver,
            newton=chosen.newton,
            detect_stiffness=choice + 1 < len(self.choices),
            swept_parameters=tuple(name for name in system.parameters if name in given),
            swept_states=tuple(name for name in system.states if name in given),
            saves=self.times is not None,
            saved_states=tuple(system.states.index(name) for name in self.saved_states),
            saved_observables=tuple(observables.index(name) for name in self.saved_observables),
        )

    def build(self, choice: int = 0) -> Any:
        """Compile the kernel of ``choices[choice]``, or load it from the disk cache; returns it.

        Raises
        ------
        BuildError
            If the kernel can't be compiled.
        """
        from cubie_kernels.build import build_kernel

        return build_kernel(self.config(choice))

    def run(self, columns: Mapping[str, Column], runs: int, threads: int | None = None) -> Outcome:
        """Integrate a batch of runs.

        The bits of a run depend on its own inputs alone: not on the other runs, their order or
        number, or the threads.

        Parameters
        ----------
        columns : mapping of str to Column
            One for each name in ``swept``.
        runs : int
            Number of runs.
        threads : int, optional
            Default: one for each core that this process may use.

        Raises
        ------
        InputError
            If a column is missing or unknown, a value doesn't fit the precision, or the results
            don't fit the machine's memory; before anything compiles.
        """
        batch = self.batch(columns, runs)
        if threads is not None:
            threads = checks.count("threads", threads, 4096)
        self._check_memory(batch.runs)
        kernel = self.build()
        batch, failed = consistent_batch(self.system, batch, columns, self.fixed, self.precision)
        if self.method == "auto":
            from cubie_kernels.run.auto import execute_auto

            outcome = execute_auto(kernel, lambda: self.build(1), batch, threads)
        else:
            from cubie_kernels.run.execute import execute

            outcome = execute(kernel, batch, threads)
        start = given_values(self.saved_states, failed, columns, self.fixed)
        mark_inconsistent(outcome, failed, batch.t0, start)
        return outcome

    def batch(self, columns: Mapping[str, Column], runs: int) -> Batch:
        """Return the numbers of a kernel call over ``runs`` runs."""
        system = self.system
        checks.known("columns", columns, "swept parameter or state", self.swept)
        for name in self.swept:
            if name not in columns:
                raise InputError(f"columns lacks {name!r}; it needs one for each of {self.swept}.")
            check_range(name, columns[name].values, self.precision)
        return Batch(
            runs=checks.count("runs", runs, 2**40),
            parameters=tuple(columns[name] for name in self.swept if name in system.parameters),
            initial=tuple(columns[name] for name in self.swept if name in system.states),
            fixed_parameters=self._values(system.parameters),
            fixed_initial=self._values(system.states),
            t0=self.t_span[0],
            t1=self.t_span[1],
            save_at=self.times,
            dt=self.dt,
            dt_min=self.dt_min,
            dt_max=self.dt_max,
            max_steps=self.max_steps,
            rtol=self.rtol,
            atol=self.atol,
        )

    def _values(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        return np.array([self.fixed.get(name, 0.0) for name in names], np.float64)

    def output_bytes(self, runs: int) -> int:
        """Return the size of the results of ``runs`` runs."""
        kept = len(self.saved_states) + len(self.saved_observables)
        rows = 1 + (0 if self.times is None else len(self.times))
        beside = sum(np.dtype(record.dtype).itemsize for record in run_records(self.kind))
        return runs * (kept * rows * np.dtype(self.precision).itemsize + beside)

    def _check_memory(self, runs: int) -> None:
        needed, there = self.output_bytes(runs), _physical_memory()
        if there and needed > there:
            raise InputError(
                f"The results of {runs:,} runs take {needed / 2**30:,.1f} GiB, but this machine "
                f"has {there / 2**30:,.1f} GiB: save fewer times or quantities (saved=[…]), leave "
                "out the saves for the end state alone, or sweep into a store with "
                "cubie_dask.Sweep, which holds one piece at a time."
            )


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def _spread(values: NDArray[np.float64]) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g} … {high:g}"
