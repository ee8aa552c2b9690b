"""Batches of ordinary differential equations, integrated fast on any machine.

>>> import numpy as np
>>> import cubie_kernels as ck
>>> decay = ck.System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0})
>>> ck.solve(decay, {"k": np.linspace(0, 2, 5)}, t_span=(0, 1))["x"].round(4)
array([1.    , 0.6065, 0.3679, 0.2231, 0.1353])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cubie_kernels.errors import BuildError as BuildError
from cubie_kernels.errors import CubieError as CubieError
from cubie_kernels.errors import EquationError as EquationError
from cubie_kernels.errors import InputError as InputError
from cubie_kernels.errors import PrecisionError as PrecisionError
from cubie_kernels.errors import RegistryError as RegistryError
from cubie_kernels.errors import TableauError as TableauError
from cubie_kernels.errors import TargetError as TargetError
from cubie_kernels.methods import methods as methods
from cubie_kernels.model.system import System as System
from cubie_kernels.record import record as record
from cubie_kernels.solution import Solution as Solution
from cubie_kernels.solve import solve as solve
from cubie_kernels.solver import Solver as Solver
from cubie_kernels.status import Status as Status
from cubie_kernels.version import __version__ as __version__

if TYPE_CHECKING:
    from cubie_kernels.build.krylov_source import KrylovConfig as KrylovConfig
    from cubie_kernels.kernels.linear_solver import LinearMethod as LinearMethod

# Few need these, and they take time to import.
_LATE = {
    "KrylovConfig": "cubie_kernels.build.krylov_source",
    "LinearMethod": "cubie_kernels.kernels.linear_solver",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATE])
