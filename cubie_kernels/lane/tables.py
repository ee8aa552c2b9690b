"""Tables of numbers that are part of a kernel's code, read by functions.

They are constants of the compiled code whatever their size. Arrays of the module would not be: on
CUDA they go into constant memory, which ends at 64 KiB for all together, and on the CPU a large one
is known by its address in the process that compiled.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

__all__ = ["reader"]

_number = itertools.count()


def reader(values: Sequence[float], target: str) -> Callable[[Any], Any]:
    """Return a function ``read(i)`` of the lane language that returns ``values[i]``.

    Parameters
    ----------
    values : sequence of int or float
        Whole numbers of at most 32 bits, or reals.
    target : {'numpy', 'cpu', 'cuda'}
        What the function is for.

    Returns
    -------
    callable
        Takes a whole number that is the same in all lanes; returns a whole number of 64 bits, or a
        real of 64 bits that ``uniform`` converts to the precision of the state.
    """
    whole = all(isinstance(value, int) for value in values)
    if target == "numpy":
        return list(values).__getitem__
    if target == "cpu":
        from numba.core import types
        from numba.extending import intrinsic

        return _reader(list(values), whole, types, intrinsic, 0)
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    return _reader(list(values), whole, types, intrinsic, 1)


def _reader(values, whole, types, intrinsic, space):
    element = ir.IntType(32) if whole else ir.DoubleType()
    kind = ir.ArrayType(element, max(len(values), 1))
    name = f"cubie_table_{next(_number)}"
    result = types.int64 if whole else types.float64

    def table(module):
        found = module.globals.get(name)
        if found is None:
            found = ir.GlobalVariable(module, kind, name, addrspace=space)
            found.initializer = ir.Constant(kind, values or [0])
            found.linkage, found.global_constant = "internal", True
        return found

    @intrinsic
    def read(typing, i):
        def emit(context, builder, sig, args):
            place = builder.gep(table(builder.module), [ir.Constant(ir.IntType(32), 0), args[0]])
            value = builder.load(place)
            return builder.sext(value, ir.IntType(64)) if whole else value

        return result(types.int64), emit

    return read
