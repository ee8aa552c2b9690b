"""Run the code of the CUDA target on the CPU, as a check of it on machines without a GPU.

The LLVM IR that numba-cuda would hand to NVIDIA's compiler is compiled for this machine instead:
the same text, typing, lowering, calling convention and addresses; only the last step differs. A
thread of the GPU is a call of the kernel, by one host thread each when a block has several.

What it does not see: the optimiser of NVIDIA's compiler, fused multiply-adds, the last bits of
libdevice, divergence, limits of resources.

This is the one place that uses private names of numba-cuda: ``_compile_pyfunc_with_fixup``,
``llvm_strs`` and ``_entry_name``. `test_cuda_canary` tells when they change.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import tempfile
import threading
from pathlib import Path

import llvmlite.binding as llvm
from numba.cuda import compiler

from cubie_kernels.build.builder import Kernel
from cubie_kernels.build.config import PRECISION_BITS, KernelConfig
from cubie_kernels.build.cuda import capability, cuda_source, entry_signature
from cubie_kernels.build.loading import load_module
from cubie_kernels.lane.abi import ENTRY, Control
from cubie_kernels.lane.symbols import load_symbols

CAPABILITY = (9, 0)
_ARENA = "cubie_shared_arena"
_number = itertools.count()
_thread = threading.local()


@ctypes.CFUNCTYPE(ctypes.c_int32)
def _thread_index():
    return _thread.index


def device_ir(config: KernelConfig) -> tuple[list[str], str]:
    """Return the IR of a kernel as NVIDIA's compiler would get it, and the name of its entry."""
    text, _ = cuda_source(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"emulated_{next(_number)}.py"
        path.write_text(text)
        kernel = load_module(path, path.stem)
    with capability(CAPABILITY):
        library, _ = compiler._compile_pyfunc_with_fixup(
            kernel.integrate,
            entry_signature(PRECISION_BITS[config.precision]),
            device=False,
            abi="numba",
            cc=CAPABILITY,
        )
    return list(library.llvm_strs), library._entry_name


def _poison_allocations(text: str) -> str:
    """Fill private buffers with NaN, so that reading one before it is written shows."""

    def poisoned(found: re.Match) -> str:
        name, kind, count = found.groups()
        raw = f'%"poison.{next(_number)}"'
        size = int(count) * (8 if kind == "double" else 4)
        return (
            f"{found[0]}\n  {raw} = bitcast {kind}* {name} to i8*\n"
            f"  call void @llvm.memset.p0i8.i64(i8* {raw}, i8 -1, i64 {size}, i1 false)"
        )

    text = re.sub(r"(%\S+) = alloca (double|float), i32 (\d+)(?:, align \d+)?", poisoned, text)
    return text + "\ndeclare void @llvm.memset.p0i8.i64(i8*, i8, i64, i1)\n"


class EmulatedBlock:
    """A kernel of the CUDA target on the CPU: one block of threads.

    Parameters
    ----------
    config : KernelConfig
        The kernel, with ``target="cuda"``.
    threads : int
        Threads of the block, each a host thread when there are several.

    Attributes
    ----------
    kernel : Kernel
        What `cubie_kernels.run.execute.execute` takes.
    taken : int
        What the shared counter of runs stood at after the last call.
    """

    def __init__(self, config: KernelConfig, threads: int = 1) -> None:
        self.threads = threads
        self.taken = 0
        text, module = cuda_source(config)
        self._shared_bytes = module.shared * PRECISION_BITS[config.precision] // 8 * threads
        self._shared = (ctypes.c_byte * (self._shared_bytes + 64))()
        self._shared_at = -(-ctypes.addressof(self._shared) // 64) * 64
        symbol = f"{_ARENA}_{next(_number)}"
        llvm.add_symbol(symbol, self._shared_at)
        parts, entry = device_ir(config)
        self._engine = self._compile([self._port(part, symbol) for part in parts], entry)
        address = self._engine.get_function_address(entry)
        self._entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(ENTRY))(address)
        self.kernel = Kernel(config, text, 1, 0, self.call)

    def _port(self, text: str, arena: str) -> str:
        """Say it for this machine: memory without address spaces, libm for libdevice."""
        if "asm " in text:
            raise NotImplementedError("Inline assembly is not emulated.")
        text = re.sub(r"target (triple|datalayout) = .*", "", text)
        text = re.sub(r" addrspace\(3\)", "", text)
        text = re.sub(r'^@"llvm.used".*$|^!nvvm.*$', "", text, flags=re.M)
        text = text.replace(_ARENA, arena)
        text = re.sub(r"\b__nv_(\w+)", r"\1", text)
        text = re.sub(r"\bllvm\.nvvm\.read\.ptx\.sreg\.", "register.", text)
        return _poison_allocations(text)

    def _registers(self) -> str:
        tid = "ret i32 0"
        if self.threads > 1:
            llvm.add_symbol("thread_index", ctypes.cast(_thread_index, ctypes.c_void_p).value)
            tid = "%i = call i32 @thread_index()\n ret i32 %i"
        return (
            f'declare i32 @thread_index()\ndefine i32 @"register.tid.x"() {{ {tid}\n }}\n'
            f'define i32 @"register.ntid.x"() {{ ret i32 {self.threads}\n }}\n'
        )

    def _compile(self, texts: list[str], entry: str) -> llvm.ExecutionEngine:
        load_symbols()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            opt=3, codemodel="jitdefault", jit=True
        )
        head = (
            f'target triple = "{llvm.get_process_triple()}"\n'
            f'target datalayout = "{machine.target_data}"\n'
        )
        main = llvm.parse_assembly(head + texts[0])
        for text in (*texts[1:], self._registers()):
            main.link_in(llvm.parse_assembly(head + text))
        for function in main.functions:
            if not function.is_declaration and function.name != entry:
                function.linkage = "internal"
        builder = llvm.create_pass_builder(
            machine, llvm.create_pipeline_tuning_options(speed_level=2)
        )
        builder.getModulePassManager().run(main, builder)
        unknown = [f.name for f in main.functions if f.is_declaration and "nvvm" in f.name]
        if unknown:
            raise NotImplementedError(f"Not emulated: {', '.join(unknown)}.")
        engine = llvm.create_mcjit_compiler(main, machine)
        engine.finalize_object()
        return engine

    def call(self, *addresses: int) -> None:
        """Launch the block and wait for it. Shared memory holds NaN at first."""
        ctypes.memset(self._shared_at, 0xFF, self._shared_bytes)
        ready = threading.Barrier(self.threads)

        def work(index: int) -> None:
            _thread.index = index
            ready.wait()
            self._entry(*addresses)

        if self.threads == 1:
            work(0)
        else:
            workers = [threading.Thread(target=work, args=(i,)) for i in range(self.threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        self.taken = ctypes.c_int64.from_address(addresses[0] + 8 * Control.NEXT).value
