"""Run the code that the CUDA target makes of a module's text on the CPU; see `cuda_on_cpu`."""

from __future__ import annotations

import ctypes
import itertools
from pathlib import Path

import llvmlite.binding as llvm
from cuda_on_cpu import _ARENA, CAPABILITY, EmulatedBlock
from numba.cuda import compiler

from cubie_kernels.build.cuda import capability, entry_signature
from cubie_kernels.build.loading import load_module
from cubie_kernels.lane.abi import ENTRY

_number = itertools.count()


class EmulatedText(EmulatedBlock):
    """A module of the CUDA target on the CPU: one thread.

    Parameters
    ----------
    path : Path
        The module.
    bits, shared : int
        Size of a real; reals in shared memory.
    """

    def __init__(self, path: Path, bits: int, shared: int) -> None:
        self.threads, self.taken = 1, 0
        self._shared_bytes = shared * bits // 8
        self._shared = (ctypes.c_byte * (self._shared_bytes + 64))()
        self._shared_at = -(-ctypes.addressof(self._shared) // 64) * 64
        symbol = f"{_ARENA}_text_{next(_number)}"
        llvm.add_symbol(symbol, self._shared_at)
        kernel = load_module(path, path.stem)
        with capability(CAPABILITY):
            library, _ = compiler._compile_pyfunc_with_fixup(
                kernel.integrate, entry_signature(bits), device=False, abi="numba", cc=CAPABILITY
            )
        entry = library._entry_name
        self._engine = self._compile(
            [self._port(part, symbol) for part in library.llvm_strs], entry
        )
        address = self._engine.get_function_address(entry)
        self._entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(ENTRY))(address)
