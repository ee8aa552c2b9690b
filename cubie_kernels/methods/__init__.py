"""Integration methods as data: tableaus, their list, and the look-up by name."""

from cubie_kernels.methods.catalog import Method as Method
from cubie_kernels.methods.catalog import MethodInfo as MethodInfo
from cubie_kernels.methods.catalog import MethodTable as MethodTable
from cubie_kernels.methods.catalog import get_method as get_method
from cubie_kernels.methods.catalog import methods as methods
from cubie_kernels.methods.rosenbrock import RosenbrockTableau as RosenbrockTableau
from cubie_kernels.methods.tableau import DenseOutput as DenseOutput
from cubie_kernels.methods.tableau import Tableau as Tableau
