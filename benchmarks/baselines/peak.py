"""Peak rate of double-precision FMAs of this machine, measured through LLVM.

The function is written as LLVM IR: `CHAINS` independent recurrences ``a = a*x + y`` on SIMD
registers, more than latency times pipes on any core sold today, all in registers. Nothing can
be removed: the recurrences carry no fast-math flag, so LLVM may not reassociate or close them;
x, y and the trip count are arguments, unknown when it compiles; the chains and the lanes start
from different values, so none is a copy of another; and the sum of all is returned. Two checks
at run time keep that honest: the machine code must hold one vector FMA for each chain of the
loop, and the value returned must be the closed form of the recurrence.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from collections.abc import Callable
from functools import cache, partial

import numpy as np

__all__ = ["CHAINS", "fma_peak", "native_widths", "peak_kernels"]

CHAINS = 12
UNROLL = 4


def _ir(width: int) -> str:
    vector = f"<{width} x double>"
    starts = [
        ", ".join(f"double {1.0 + chain * 0.01 + lane * 0.1!r}" for lane in range(width))
        for chain in range(CHAINS)
    ]
    lines = [
        f"declare {vector} @llvm.fma.v{width}f64({vector}, {vector}, {vector})",
        "define double @peak(i64 %trips, double %x, double %y) #0 {",
        "entry:",
    ]
    for name in "xy":
        lines.append(f"  %{name}0 = insertelement {vector} poison, double %{name}, i32 0")
        lines.append(
            f"  %{name}v = shufflevector {vector} %{name}0, {vector} poison, "
            f"<{width} x i32> zeroinitializer"
        )
    lines += ["  br label %loop", "loop:", "  %k = phi i64 [0, %entry], [%k1, %loop]"]
    for i, start in enumerate(starts):
        lines.append(f"  %a{i}_0 = phi {vector} [<{start}>, %entry], [%a{i}_{UNROLL}, %loop]")
    for u in range(UNROLL):
        for i in range(CHAINS):
            lines.append(
                f"  %a{i}_{u + 1} = call {vector} @llvm.fma.v{width}f64"
                f"({vector} %a{i}_{u}, {vector} %xv, {vector} %yv)"
            )
    lines += [
        "  %k1 = add i64 %k, 1",
        "  %more = icmp ult i64 %k1, %trips",
        "  br i1 %more, label %loop, label %done",
        "done:",
    ]
    total = f"%a0_{UNROLL}"
    for i in range(1, CHAINS):
        lines.append(f"  %s{i} = fadd {vector} {total}, %a{i}_{UNROLL}")
        total = f"%s{i}"
    scalar = "0.0"
    for lane in range(width):
        lines.append(f"  %e{lane} = extractelement {vector} {total}, i32 {lane}")
        lines.append(f"  %r{lane} = fadd double {scalar}, %e{lane}")
        scalar = f"%r{lane}"
    lines += [f"  ret double {scalar}", "}"]
    bits = width * 64
    lines.append(
        f'attributes #0 = {{ nounwind "prefer-vector-width"="{bits}"'
        f' "min-legal-vector-width"="{bits}" }}'
    )
    return "\n".join(lines)


def _expected(trips: int, width: int, x: float, y: float) -> float:
    start = 1.0 + 0.01 * np.arange(CHAINS)[:, None] + 0.1 * np.arange(width)[None, :]
    power = x ** (trips * UNROLL)
    return float((power * start + y * (1.0 - power) / (1.0 - x)).sum())


class _Kernel:
    """The compiled loop for one vector width; keeps its engine alive."""

    def __init__(self, width: int):
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = llvm.Target.from_default_triple()
        machine = target.create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=3,
        )
        module = llvm.parse_assembly(_ir(width))
        module.verify()
        assembly = machine.emit_assembly(module)
        self.width = width
        self._check_code(assembly)
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        signature = ctypes.CFUNCTYPE(
            ctypes.c_double, ctypes.c_int64, ctypes.c_double, ctypes.c_double
        )
        self._call = signature(self._engine.get_function_address("peak"))
        self._check_value()

    def _check_code(self, assembly: str) -> None:
        found = len(re.findall(r"\bvfn?madd\d+pd\b|\bfmla\b", assembly))
        if found < CHAINS * UNROLL:
            raise RuntimeError(
                f"the FMA loop of width {self.width} holds {found} vector FMAs, "
                f"{CHAINS * UNROLL} were written: the measurement would be wrong"
            )

    def _check_value(self) -> None:
        x, y = 0.999999, 1e-6
        got, want = self._call(1000, x, y), _expected(1000, self.width, x, y)
        if abs(got - want) > 1e-9 * abs(want):
            raise RuntimeError(f"the FMA loop returned {got!r}, its closed form is {want!r}")

    def flops(self, trips: int) -> float:
        return 2.0 * trips * UNROLL * CHAINS * self.width

    def run(self, trips: int) -> float:
        return self._call(trips, 0.999999, 1e-6)


@cache
def _kernel(width: int) -> _Kernel:
    return _Kernel(width)


def native_widths() -> tuple[int, ...]:
    """Vector widths in doubles worth measuring on this CPU."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return (4, 8)
    return (4,) if features.get("avx") else (2,)


def peak_kernels(threads: int, trips: int = 3_000_000) -> dict[int, tuple[Callable, float]]:
    """For each native width a call that loads all threads, and the flops of one call."""
    kernels = {width: _kernel(width) for width in native_widths()}
    return {
        width: (partial(_on_all_cores, kernel, threads, trips), threads * kernel.flops(trips))
        for width, kernel in kernels.items()
    }


def _on_all_cores(kernel: _Kernel, threads: int, trips: int) -> None:
    """Run the loop once per thread, each thread on its own core where the system allows it."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []

    def work(index: int) -> None:
        if cores:
            os.sched_setaffinity(threading.get_native_id(), {cores[index % len(cores)]})
        kernel.run(trips)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def fma_peak(threads: int, rounds: int = 10) -> float:
    """Best rate over widths and rounds, flop/s."""
    best = 0.0
    for call, flops in peak_kernels(threads).values():
        for _ in range(rounds):
            start = time.perf_counter()
            call()
            best = max(best, flops / (time.perf_counter() - start))
    return best
