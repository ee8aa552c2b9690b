"""The C libraries that compiled kernels call into.

A kernel that is read from the disk cache refers to these functions by name, so the process that
loads it has to make them known to LLVM first.
"""

from __future__ import annotations

import functools
import os
import platform
import sys

__all__ = ["has_symbol", "host_features", "load_symbols"]

_LIBRARIES = {"linux": ("libm.so.6", "libmvec.so.1"), "darwin": ("libSystem.B.dylib",)}


@functools.cache
def load_symbols() -> tuple[str, ...]:
    """Make the functions of the C mathematical libraries known to LLVM.

    Returns
    -------
    tuple of str
        The libraries that this machine has. ``libmvec.so.1`` (vector functions of glibc) is
        optional; where the C library is found otherwise (musl, Windows) the tuple is empty, and
        the process itself provides the scalar functions.
    """
    import llvmlite.binding as llvm

    found = []
    for library in _LIBRARIES.get(sys.platform, ()):
        try:
            llvm.load_library_permanently(library)
        except RuntimeError:
            continue
        found.append(library)
    return tuple(found)


def has_symbol(name: str) -> bool:
    """Tell whether compiled code can call the function ``name``."""
    import llvmlite.binding as llvm

    load_symbols()
    return bool(llvm.address_of_symbol(name))


@functools.cache
def host_features() -> frozenset[str]:
    """Return the instruction sets that kernels are compiled for, such as ``fma``, ``avx512f``.

    Follows ``NUMBA_CPU_FEATURES`` where that is set, as Numba does.
    """
    import llvmlite.binding as llvm

    chosen = os.environ.get("NUMBA_CPU_FEATURES")
    if chosen is not None:
        return frozenset(item[1:] for item in chosen.split(",") if item.startswith("+"))
    try:
        found = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot ask this operating system
        return frozenset({"neon"} if platform.machine() in ("aarch64", "arm64") else ())
    return frozenset(name for name, there in found.items() if there)
