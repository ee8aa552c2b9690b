"""Compiling a kernel module for this machine's CPU, and loading the machine code.

A compiled kernel is one object file with one entry, which takes plain pointers. Loading it needs
neither Numba nor the module's text.
"""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from cubie_kernels.build.loading import load_module
from cubie_kernels.errors import BuildError
from cubie_kernels.lane.abi import ENTRY

__all__ = ["OPTIONS", "CpuCode", "compile_object", "default_width", "host", "load_object"]

# Floating-point freedom of the compiler: nothing that hides a NaN or reorders a sum.
OPTIONS = ("contract", "arcp", "nsz")
# States up to which so many registers at once are fastest (benchmarks/register_width.py).
_FOUR_REGISTER_STATES = 3
_TWO_REGISTER_STATES = 24
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Host:
    """What the machine code depends on."""

    triple: str
    cpu: str
    features: str

    @property
    def vector_bytes(self) -> int:
        """Size of the largest vector register."""
        if "+avx512f" in self.features.split(","):
            return 64
        return 32 if "+avx2" in self.features.split(",") else 16


def host() -> Host:
    """Return the CPU that kernels are compiled for; follows Numba's variables that name another."""
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    cpu = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    return Host(llvm.get_process_triple(), cpu, features)


def default_width(bits: int, states: int, implicit: bool) -> int:
    """Return the lanes of a real of ``bits`` bits.

    Two registers, whose work overlaps; one where two would crowd each other out of the cache.
    Four for the small systems of an implicit method: solving them is a chain of operations that
    wait for each other.
    """
    if implicit and states <= _FOUR_REGISTER_STATES:
        registers = 4
    else:
        registers = 2 if states <= _TWO_REGISTER_STATES else 1
    return registers * host().vector_bytes * 8 // bits


class CpuCode:
    """A loaded kernel.

    Attributes
    ----------
    call : callable
        The entry; takes the addresses of its arrays and releases the interpreter lock.
    """

    def __init__(self, engine: Any, address: int, arguments: int) -> None:
        self._engine = engine  # owns the machine code
        # Numba's calling convention: place of the result, place of an exception, arguments.
        self._entry = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * (arguments + 2))(address)

    def call(self, *addresses: int) -> None:
        """Run the kernel."""
        result, fault = ctypes.c_void_p(), ctypes.c_void_p()
        code = self._entry(ctypes.addressof(result), ctypes.addressof(fault), *addresses)
        if code != 0:
            raise BuildError(f"The kernel returned the code {code}, which it never should.")


def _signature(bits: int, width: int) -> tuple[Any, ...]:
    """Return the types of the entry's arguments."""
    from numba.core import types

    from cubie_kernels.lane.cpu_types import Array, Real

    real = Real(bits, width)
    kinds: dict[str, Any] = {
        "real": real.scalar,
        "float64": types.float64,
        "int64": types.int64,
        "int32": types.int32,
        "uint8": types.uint8,
    }
    # The arena is used by whole registers.
    return (*[types.CPointer(kinds[kind]) for kind in ENTRY[:-1]], Array(real))


def compile_object(path: Path, name: str, bits: int, width: int) -> tuple[bytes, str]:
    """Compile the entry of the kernel module in ``path``.

    Returns
    -------
    bytes, str
        The object file, and the symbol of its entry.

    Raises
    ------
    BuildError
        If Numba refuses the module; the path of the module is in the message.
    """
    from numba.core import compiler, registry, types
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.cpu_options import FastMathOptions
    from numba.core.errors import NumbaError

    target: Any = registry.cpu_target
    # Numba declares these as descriptors, which a type checker cannot see through.
    flags: Any = compiler.Flags()
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.fastmath = FastMathOptions(set(OPTIONS))
    try:
        module = load_module(path, name)
        compiled = compiler.compile_extra(
            target.typing_context,
            target.target_context,
            module.integrate,
            _signature(bits, width),
            types.void,
            flags,
            {},
        )
    except NumbaError as fault:
        raise BuildError(f"The kernel module {path} does not compile: {fault}") from fault
    library: Any = compiled.library
    with global_compiler_lock:
        library.finalize()
        machine = target.target_context.codegen()._tm
        return machine.emit_object(library._final_module), compiled.fndesc.llvm_func_name


def load_object(code: bytes, symbol: str, arguments: int) -> CpuCode:
    """Load an object file made by `compile_object` into this process."""
    with _LOCK:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            opt=3, codemodel="jitdefault", jit=True
        )
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        address = engine.get_function_address(symbol)
    if not address:
        raise BuildError(f"The kernel's entry {symbol!r} is not in its object file.")
    return CpuCode(engine, address, arguments)
