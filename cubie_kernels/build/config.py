"""Everything that decides the text of a kernel."""

from __future__ import annotations

from dataclasses import dataclass

from cubie_kernels.build.krylov_source import KrylovConfig
from cubie_kernels.errors import InputError, TargetError
from cubie_kernels.kernels.controllers import Controller
from cubie_kernels.model import System

__all__ = ["PRECISION_BITS", "KernelConfig"]

PRECISION_BITS = {"float16": 16, "float32": 32, "float64": 64}


@dataclass(frozen=True)
class KernelConfig:
    """The configuration of one kernel; a kernel is a pure function of it.

    Numbers that may differ between calls (time span, tolerances, parameter values, save times)
    are not part of it.

    Parameters
    ----------
    system : System
        The model.
    method : str
        Canonical name of the method.
    precision : {"float64", "float32", "float16"}
        Precision of the state. Time always has 64 bits.
    target : {"cpu", "numpy", "cuda"}
        What the kernel is compiled for.
    adaptive : bool
        Whether the error estimate sets the step.
    controller : Controller
        The step-size controller of an adaptive kernel.
    swept_parameters, swept_states : tuple of str
        Parameters and states whose (initial) value differs between runs.
    saves : bool
        Whether the solution is saved at given times besides the end.
    saved_states, saved_observables : tuple of int
        Which components are kept, by position.
    placement : {"auto", "local", "shared"}
        Where scratch buffers live.
    width : int, optional
        Lanes of a real on the CPU, a power of two; by default as measured best.
    detect_stiffness : bool
        Whether an explicit method ends runs that it finds stiff.
    linear_solver : {"lu", "banded", "indexed"} or KrylovConfig
        How the linear systems of an implicit method are solved.
    newton : {"simplified", "damped"}
        How the stages of a diagonally implicit method are solved for; the second goes with a
        matrix-free linear solver.
    maths : {"auto", "inline", "libmvec", "portable"}
        How elementary functions are computed on the CPU.
    records : bool
        Whether the kernel tells a `cubie_kernels.run.record.Recorder` what it does inside.

    Raises
    ------
    TargetError
        If it should record on another target than "numpy".
    InputError
        For a `width` that isn't a power of two.
    """

    system: System
    method: str
    precision: str
    target: str
    adaptive: bool
    controller: Controller
    swept_parameters: tuple[str, ...]
    swept_states: tuple[str, ...]
    saves: bool
    saved_states: tuple[int, ...]
    saved_observables: tuple[int, ...]
    placement: str = "auto"
    width: int | None = None
    maths: str = "auto"
    detect_stiffness: bool = False
    linear_solver: str | KrylovConfig = "lu"
    newton: str = "simplified"
    records: bool = False

    def __post_init__(self) -> None:
        if self.records and self.target != "numpy":
            raise TargetError(
                f"Kernels for the target {self.target!r} can't record what they do inside: "
                "use target='numpy'."
            )
        if self.width is not None and (self.width < 1 or self.width & (self.width - 1)):
            raise InputError(f"width must be a power of two such as 8, not {self.width!r}.")
