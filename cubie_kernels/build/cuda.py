"""Compiling a kernel module for an NVIDIA GPU. No GPU and no driver is needed for it.

Numba's CUDA compiler makes LTO-IR, and NVIDIA's linker makes the machine code (a cubin) and tells
what it uses. Both come with the extra ``cubie[cuda]``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cubie_kernels.build.config import PRECISION_BITS, KernelConfig
from cubie_kernels.build.keys import KernelKey, versions
from cubie_kernels.build.loading import load_module
from cubie_kernels.build.module import Module, kernel_module, module_text
from cubie_kernels.build.store import Entry, KernelStore
from cubie_kernels.errors import BuildError, PrecisionError, TargetError
from cubie_kernels.lane.abi import ENTRY
from cubie_kernels.lane.typed import typed_constants

__all__ = ["CudaCode", "Resources", "compile_cuda", "cuda_ptx", "cuda_source"]

OLDEST = (7, 5)
_PRECISIONS = {32: "float32", 64: "float64"}
_PACKAGES = ("cuda-core", "numba-cuda", "nvidia-nvjitlink", "nvidia-nvvm")
_ERRORS = ("numba.core.errors", "numba.cuda.core.errors")
_LOCK = threading.RLock()


@dataclass(frozen=True)
class Resources:
    """What a thread uses, as the linker reports it.

    Attributes
    ----------
    registers : int
        32-bit registers.
    stack : int
        Bytes of local memory.
    spill_stores, spill_loads : int
        Bytes written to and read from local memory for want of registers.
    """

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int


@dataclass(frozen=True)
class CudaCode:
    """A kernel compiled for GPUs of one compute capability.

    Attributes
    ----------
    config : KernelConfig
        What it was made from.
    capability : tuple of int
        Compute capability, such as ``(9, 0)``.
    text : str
        Its module.
    cubin : bytes
        The machine code.
    entry : str
        The symbol of its entry. It takes 18 arguments of 8 bytes: device addresses of the arrays
        in the order of `cubie_kernels.lane.abi.ENTRY`; the last, the arena, is not used.
    shared_bytes : int
        Dynamic shared memory that a launch has to give for each thread of a block.
    resources : Resources
        What a thread uses.
    """

    config: KernelConfig
    capability: tuple[int, int]
    text: str
    cubin: bytes
    entry: str
    shared_bytes: int
    resources: Resources


def cuda_source(config: KernelConfig) -> tuple[str, Module]:
    """Return the text of a kernel's module for CUDA, and what it is made of.

    Raises
    ------
    PrecisionError
        If the precision is not float32 or float64.
    """
    bits = PRECISION_BITS[config.precision]
    if bits not in _PRECISIONS:
        raise PrecisionError(
            f"The cuda target does not compute in {config.precision}; "
            f"use {' or '.join(_PRECISIONS.values())}."
        )
    module = kernel_module(config)
    head = [
        "from math import nan",
        "",
        "from cubie_kernels.lane.cuda import lanes",
        "from cubie_kernels.lane.cuda_math import namespace",
        "",
        f"globals().update(lanes({bits}, {module.shared}, {module.arena - module.shared}))",
        "globals().update(namespace())",
    ]
    body = module.body
    if bits == 32:
        head[1:1] = ["", "from numpy import float32"]
        body = typed_constants(body, "float32")
    return module_text(config, "\n".join(head), body), module


def entry_signature(bits: int) -> Any:
    """Return the type of a kernel's entry, as Numba's CUDA compiler has it."""
    types = _module("numba.cuda.types")
    kinds: dict[str, Any] = {
        "real": types.float64 if bits == 64 else types.float32,
        "float64": types.float64,
        "int64": types.int64,
        "int32": types.int32,
        "uint8": types.uint8,
    }
    return types.void(*[types.CPointer(kinds[kind]) for kind in ENTRY])


@contextlib.contextmanager
def capability(cc: tuple[int, int]) -> Iterator[None]:
    """Let numba-cuda compile device functions for ``cc``, whatever GPU there is or isn't.

    A device function that is called and not inlined is compiled for the current device, although
    the kernel names a compute capability; the public interface has no way to say otherwise.
    """
    dispatcher = _module("numba.cuda.dispatcher")
    device = SimpleNamespace(compute_capability=cc, id=0)
    with _LOCK:
        own = dispatcher.get_current_device
        dispatcher.get_current_device = lambda: device
        try:
            yield
        finally:
            dispatcher.get_current_device = own


def _check(config: KernelConfig, cc: tuple[int, int]) -> None:
    if config.target != "cuda":
        raise TargetError(f"compile_cuda() takes target='cuda', not {config.target!r}.")
    if tuple(cc) < OLDEST:
        raise TargetError(
            f"GPUs of compute capability {cc[0]}.{cc[1]} are not supported; "
            f"the oldest is {OLDEST[0]}.{OLDEST[1]}."
        )
    missing = [name for name in ("numba_cuda", "cuda.core") if not _installed(name)]
    if missing:
        raise TargetError(
            f"The cuda target needs {' and '.join(missing)}, which is not installed. "
            "Install the extra: pip install 'cubie[cuda]'."
        )


def _module(name: str) -> Any:
    """Import a module of the extra, which type checkers and most machines do without."""
    return importlib.import_module(name)


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@lru_cache(maxsize=32)
def compile_cuda(config: KernelConfig, cc: tuple[int, int] = (9, 0)) -> CudaCode:
    """Compile a kernel for one compute capability, or read it from the disk cache.

    Parameters
    ----------
    config : KernelConfig
        The kernel, with ``target="cuda"``.
    cc : tuple of int
        Compute capability of the GPU: ``(8, 0)`` for an A100, ``(9, 0)`` for an H100.

    Returns
    -------
    CudaCode
        The machine code, and what it uses.

    Raises
    ------
    TargetError
        If the extra ``cubie[cuda]`` is not installed, or the compute capability is too old.
    PrecisionError
        If the precision is not float32 or float64.
    BuildError
        If the kernel does not compile.
    """
    _check(config, cc)
    text, module = cuda_source(config)
    bits = PRECISION_BITS[config.precision]
    key = KernelKey(
        text=text,
        target="cuda",
        bits=bits,
        width=1,
        options=("lto",),
        triple="nvptx64-nvidia-cuda",
        cpu=f"sm_{cc[0]}{cc[1]}",
        features="",
        versions=versions(*_PACKAGES),
    )
    store = KernelStore()
    stored = store.load(key.digest)
    if stored is None:
        path = store.save_module(key.digest, text)
        cubin, facts = _link(_compile(path, bits, cc, "ltoir"), key.cpu)
        stored = Entry(cubin, facts)
        store.save(key.digest, stored)
    entry = stored.facts["entry"]
    figures = {name: stored.facts[name] for name in Resources.__dataclass_fields__}
    shared_bytes = module.shared * bits // 8
    return CudaCode(config, cc, text, stored.code, entry, shared_bytes, Resources(**figures))


def cuda_ptx(config: KernelConfig, cc: tuple[int, int] = (9, 0)) -> str:
    """Return a kernel as PTX, to be read; what runs is the cubin of `compile_cuda`.

    Raises
    ------
    TargetError, PrecisionError, BuildError
        As `compile_cuda`.
    """
    _check(config, cc)
    text, _ = cuda_source(config)
    digest = hashlib.sha256(text.encode()).hexdigest()[:40]
    path = KernelStore().save_module(digest, text)
    return _compile(path, PRECISION_BITS[config.precision], cc, "ptx")


def _compile(path: Path, bits: int, cc: tuple[int, int], output: str) -> Any:
    """Compile the entry of the module in ``path`` to ``"ltoir"`` or ``"ptx"``."""
    cuda = _module("numba.cuda")
    faults = tuple(
        _module(f"{name}.errors").NumbaError for name in ("numba.core", "numba.cuda.core")
    )
    try:
        kernel = load_module(path, path.stem)
        with capability(cc):
            code, _ = cuda.compile(
                kernel.integrate,
                entry_signature(bits),
                device=False,
                abi="numba",
                cc=cc,
                output=output,
            )
    except faults as fault:
        raise BuildError(f"The kernel module {path} does not compile: {fault}") from fault
    return code


def _link(code: bytes, arch: str) -> tuple[bytes, dict[str, Any]]:
    """Make a cubin; return it with the name of its entry and what a thread uses."""
    core = _module("cuda.core")
    options = core.LinkerOptions(arch=arch, link_time_optimization=True, ptxas_options=["-v"])
    linker = core.Linker(core.ObjectCode.from_ltoir(code), options=options)
    cubin = bytes(linker.link("cubin").code)
    log = linker.get_info_log()
    entry = re.search(r"entry function '(\S+)'", log)
    registers = re.search(r"Used (\d+) registers", log)
    memory = re.search(
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log
    )
    if not (entry and registers and memory):
        raise BuildError(f"The linker's report has an unknown form:\n{log}")
    resources = Resources(int(registers[1]), *map(int, memory.groups()))
    return cubin, {"entry": entry[1], **asdict(resources)}
