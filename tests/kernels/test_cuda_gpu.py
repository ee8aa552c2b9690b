"""A launch on a GPU: the cubin of the client, loaded and run with cuda.core alone."""

import pytest

pytest.importorskip("numba_cuda", reason="the extra cubie[cuda]")

from cuda_cases import FORCED, columns, cuda_config, entry_arrays, solver
from numba import cuda

from cubie_kernels.build.builder import Kernel
from cubie_kernels.build.cuda import compile_cuda
from cubie_kernels.status import Status

pytestmark = pytest.mark.gpu

RUNS, BLOCK, BLOCKS = 10_000, 64, 8


@pytest.mark.parametrize("placement", ["local", "shared"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_launch_gives_the_results_of_the_reference(precision, placement):
    import numpy as np
    from cuda.core import Device, LaunchConfig, ObjectCode, launch

    device = Device()
    device.set_current()
    tolerances = {"rtol": 1e-5, "atol": 1e-6} if precision == "float32" else {}
    made = solver(FORCED, precision=precision, save_every=0.5, **tolerances)
    inputs = columns(FORCED, RUNS)
    code = compile_cuda(cuda_config(made, placement), tuple(device.compute_capability))
    arrays, outcome = entry_arrays(
        Kernel(code.config, code.text, 1, 0, lambda *_: None), made.batch(inputs, RUNS)
    )
    on_device = [cuda.to_device(array) for array in arrays]
    cuda.synchronize()
    stream = device.create_stream()
    grid = LaunchConfig(grid=BLOCKS, block=BLOCK, shmem_size=code.shared_bytes * BLOCK)
    kernel = ObjectCode.from_cubin(code.cubin).get_kernel(code.entry)
    pointers = [array.device_ctypes_pointer.value for array in on_device]
    launch(stream, grid, kernel, *pointers)
    stream.sync()
    for array, held in zip(arrays, on_device, strict=True):
        held.copy_to_host(array)
    assert set(outcome.status) == {Status.SUCCESS}
    expected = made.run(inputs, RUNS)
    near = 1e-3 if precision == "float32" else 1e-4
    np.testing.assert_array_equal(outcome.final_time, expected.final_time)
    np.testing.assert_allclose(outcome.final_state, expected.final_state, rtol=near, atol=near)
    np.testing.assert_allclose(outcome.states, expected.states, rtol=near, atol=near)
