"""dask-cuda's LocalCUDACluster as it is, on a machine that seems to have three GPUs."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cli_sweeps import environment
from processes import small_mounts
from sweep_models import assert_same_files, lorenz_sweep

from cubie_dask import ClusterError, cuda_cluster

HERE = Path(__file__).parent
HAS_DASK_CUDA = importlib.util.find_spec("dask_cuda") is not None


@pytest.fixture
def three_gpus(tmp_path):
    if not HAS_DASK_CUDA:
        pytest.skip(
            "DASK-CUDA IS NOT TESTED: it is not installed; pip install 'cubie[cuda-cluster]'"
        )
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("DASK-CUDA IS NOT TESTED: the stand-in for NVML needs a C compiler")
    library = tmp_path / "nvml" / "libnvidia-ml.so.1"
    library.parent.mkdir()
    made = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library)]
    subprocess.run([*made, str(HERE / "fake_nvml.c")], check=True)
    places = [str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    return environment() | {
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, places)),
        "CUBIE_FAKE_GPUS": "3",
        # A switch of dask-cuda's own tests: devices are not asked for their kind of memory.
        "DASK_CUDA_TEST_SINGLE_GPU": "1",
    }


@pytest.mark.slow
def test_a_worker_for_each_gpu(tmp_path, three_gpus):
    three_gpus.pop("CUDA_VISIBLE_DEVICES", None)
    ended = subprocess.run(
        [sys.executable, str(HERE / "gpu_workers.py"), str(tmp_path / "spread")],
        env=three_gpus | {"PYTHONPATH": f"{HERE}{os.pathsep}{three_gpus['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert {name: gpus for name, (_, gpus) in seen["before"].items()} == {
        "0": "0,1,2",
        "1": "1,2,0",
        "2": "2,0,1",
    }
    # The one that was killed is another process now, of the same device; the others are the same.
    assert seen["after"]["1"][1] == "1,2,0"
    assert seen["after"]["1"][0] != seen["before"]["1"][0]
    assert all(seen["after"][name] == seen["before"][name] for name in "02")
    assert seen["complete"]
    assert seen["workers"] >= 2
    assert seen["beyond"] == []
    assert seen["chosen"] == {"2": "2,0", "0": "0,2"}
    lorenz_sweep(20).run(tmp_path / "alone", progress="none")
    assert_same_files(tmp_path / "spread", tmp_path / "alone")


@pytest.mark.slow
def test_gpus_and_a_machine_without_share_a_sweep(tmp_path, three_gpus):
    three_gpus.pop("CUDA_VISIBLE_DEVICES", None)
    small_mounts()
    ended = subprocess.run(
        [sys.executable, str(HERE / "mixed_workers.py"), str(tmp_path / "mixed")],
        env=three_gpus | {"PYTHONPATH": f"{HERE}{os.pathsep}{three_gpus['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert seen["complete"]
    workers = seen["workers"]
    here = socket.gethostname()
    assert {name: (host, gpu) for name, (host, _, _, gpu) in workers.items()} == {
        "0": (here, "0,1"),
        "1": (here, "1,0"),
        "cpu": ("cpu-node", None),
    }
    # Two tasks share the cores of this machine, and one has those of the other for itself.
    for name, (host, _, cores, _) in workers.items():
        beside = [c for h, _, c, _ in workers.values() if h == host and set(c) & set(cores)]
        assert seen["threads"][name] == max(1, len(cores) // len(beside)), name
    # All three did some of it, and each record says which, and what computed it there.
    by = {f"{host}:{pid}" for host, pid, _, _ in workers.values()}
    assert {worker for worker, _ in seen["records"]} == by
    assert all(device.startswith("cpu ") for _, device in seen["records"])
    lorenz_sweep(10).run(tmp_path / "alone", progress="none")
    assert_same_files(tmp_path / "mixed", tmp_path / "alone")


def test_without_a_gpu_or_dask_cuda_it_says_what_to_do():
    if HAS_DASK_CUDA and shutil.which("nvidia-smi") is not None:
        pytest.skip("this machine may have a GPU")
    hint = "nvidia-smi" if HAS_DASK_CUDA else "pip install 'cubie.cuda-cluster.'"
    with pytest.raises(ClusterError, match=hint), cuda_cluster():
        pass
