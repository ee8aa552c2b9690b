"""A block of 32 threads: the queue of runs, the shared arena, and the private names we rely on."""

import pytest

pytest.importorskip("numba_cuda", reason="the extra cubie[cuda]")

import cuda_on_cpu
from cuda_cases import LORENZ, assert_equal_bits, columns, cuda_config, entry_arrays, solver

from cubie_kernels.run.execute import execute
from cubie_kernels.status import Status

RUNS = 200
THREADS = 32


def test_threads_share_the_queue_and_keep_their_memory_apart():
    # A run takes some milliseconds, so that the threads interrupt each other in the middle of runs.
    made = solver(LORENZ, method="rk4", dt=5e-5, adaptive=False)
    batch = made.batch(columns(LORENZ, RUNS), RUNS)
    config = cuda_config(made, "shared")
    alone = execute(cuda_on_cpu.EmulatedBlock(config).kernel, batch, threads=1)
    block = cuda_on_cpu.EmulatedBlock(config, THREADS)
    arrays, together = entry_arrays(block.kernel, batch)
    block.call(*(array.ctypes.data for array in arrays))
    # Each run is handed out once, and each thread is told once that there is none left.
    assert block.taken == RUNS + THREADS
    assert set(together.status) == {Status.SUCCESS}
    assert_equal_bits(together, alone)


def test_cuda_canary():
    """Fails when numba-cuda changes the private names that the emulation uses."""
    texts, entry = cuda_on_cpu.device_ir(cuda_config(solver(LORENZ, dt=0.1, adaptive=False)))
    kernel = texts[0]
    assert 'target triple = "nvptx64-nvidia-cuda"' in kernel
    assert f'@"{entry}"(' in kernel
    registers = {line.split("sreg.")[1].split('"')[0] for line in kernel.splitlines()
                 if line.startswith("declare") and "sreg." in line}  # fmt: skip
    assert registers <= {"tid.x", "ntid.x"}
    assert "asm " not in kernel
