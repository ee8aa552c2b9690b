"""Clusters to run sweeps on: started here, on loopback only, or found by their address.

>>> from cubie_dask import local_cluster
>>> with local_cluster(4) as client:                                            # doctest: +SKIP
...     sweep.run("lorenz.zarr", client)
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask import config

from cubie_dask.clusters.encryption import write_tls_files
from cubie_dask.clusters.settings import SETTINGS
from cubie_dask.errors import ClusterError
from cubie_kernels.checks import count
from cubie_kernels.errors import InputError

if TYPE_CHECKING:
    from distributed import Client, Security

__all__ = ["connect", "cuda_cluster", "local_cluster", "slurm_cluster"]

_PATIENCE_SECONDS = 30
_START_SECONDS = 60
_KEEPING_SECONDS = 0.3
_MOST_WORKERS = 4096


@contextmanager
def local_cluster(
    workers: int, *, dashboard: bool = False, memory_limit: str | float | None = None
) -> Iterator[Client]:
    """Start worker processes on this machine, one task each at a time; for ``with``.

    Everything listens on 127.0.0.1 only. The kernels of the tasks share the cores of the machine.
    Ctrl-C reaches this process alone, which stops its workers in order.

    Parameters
    ----------
    workers : int
        Number of processes.
    dashboard : bool
        Whether to serve Dask's dashboard, on a free port of 127.0.0.1 that
        ``client.dashboard_link`` names.
    memory_limit : str or float, optional
        Bytes at which a worker is restarted, such as ``"8 GB"``. Default: an equal share of the
        machine's memory.

    Raises
    ------
    InputError
        If `workers` is not a whole number of 1 or more.
    ClusterError
        If they don't come within a minute.
    """
    from distributed import Client, LocalCluster
    from distributed.system import MEMORY_LIMIT

    workers = count("workers", workers, _MOST_WORKERS)
    settings = _settings(dashboard)
    with config.set(settings), _signals_blocked():
        # Without workers: were one killed while it starts, there would be no cluster.
        cluster: Any = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            memory_limit=MEMORY_LIMIT // workers if memory_limit is None else memory_limit,
            **_loopback(dashboard),
        )
    with cluster, Client(cluster, set_as_default=False) as client:
        while len(cluster.worker_spec) < workers:
            cluster.worker_spec.update(cluster.new_worker_spec())
        with _kept(cluster, settings):
            _await(client, workers)
            yield client


@contextmanager
def cuda_cluster(
    devices: Sequence[int] | None = None, *, dashboard: bool = False
) -> Iterator[Client]:
    """Start a worker process for each NVIDIA GPU of this machine; for ``with``.

    This is dask-cuda's ``LocalCUDACluster``: each worker sees its own device first, is bound to
    the cores beside it, and comes back on the same device when it dies. Everything listens on
    127.0.0.1 only.

    Parameters
    ----------
    devices : sequence of int, optional
        Which GPUs. Default: all, or those that ``CUDA_VISIBLE_DEVICES`` names.
    dashboard : bool
        Whether to serve Dask's dashboard, as `local_cluster` does.

    Raises
    ------
    ClusterError
        If dask-cuda is not installed, or finds no GPU.
    """
    from distributed import Client

    try:
        from dask_cuda import LocalCUDACluster  # pyright: ignore[reportMissingImports]
    except ImportError as fault:
        raise ClusterError(
            f"A worker for each GPU needs the package dask-cuda ({fault}): pip install "
            "'cubie[cuda-cluster]'. Without it, Slurm can give each task its GPU: see "
            "docs/clusters.md."
        ) from fault
    options, settings = _loopback(dashboard), _settings(dashboard)
    chosen = None if devices is None else [count("devices", d + 1, 4096) - 1 for d in devices]
    try:
        with config.set(settings), _signals_blocked():
            cluster: Any = LocalCUDACluster(
                CUDA_VISIBLE_DEVICES=chosen, threads_per_worker=1, **options
            )
    except Exception as fault:
        # NVML and dask-cuda have many ways to say that there is no device.
        raise ClusterError(
            f"No workers for GPUs could be started ({type(fault).__name__}: {fault}): check with "
            "nvidia-smi that this machine has them, or use local_cluster."
        ) from fault
    with cluster, Client(cluster, set_as_default=False) as client, _kept(cluster, settings):
        yield client


@contextmanager
def slurm_cluster(
    jobs: int,
    *,
    cores: int,
    memory: str,
    interface: str | None = None,
    folder: str | os.PathLike[str] = ".",
    directives: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Iterator[Client]:
    """Submit jobs to Slurm that are workers of this process, through dask-jobqueue; for ``with``.

    The scheduler of Dask runs in this process, so it must stay until the sweep is done. It speaks
    TLS with a certificate of its own, and shows no dashboard.

    Parameters
    ----------
    jobs : int
        Number of jobs, one worker each. A job that ends early is submitted again.
    cores : int
        Cores of a job; a worker runs one task at a time, with a kernel on all of them.
    memory : str
        Memory of a job, such as ``"16 GB"``.
    interface : str, optional
        Network interface to listen on, such as ``"ib0"``.
    folder : path
        A folder that all nodes see, for the certificate.
    directives : sequence of str
        More lines of the job, such as ``"--gres=gpu:1"``.
    options : mapping, optional
        Others of ``dask_jobqueue.SLURMCluster``: ``queue``, ``account``, ``walltime`` …

    Raises
    ------
    ClusterError
        If dask-jobqueue is not installed.
    """
    from distributed import Client

    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as fault:
        raise ClusterError(
            f"Jobs as workers need the package dask-jobqueue ({fault}): pip install 'cubie[slurm]'."
        ) from fault
    jobs, cores = count("jobs", jobs, _MOST_WORKERS), count("cores", cores, _MOST_WORKERS)
    with ExitStack() as stack:
        keys = Path(tempfile.mkdtemp(prefix="cubie-", dir=folder))
        stack.callback(shutil.rmtree, keys, ignore_errors=True)
        tls = write_tls_files(keys.resolve() / "tls")
        stack.enter_context(config.set(SETTINGS))
        cluster: Any = SLURMCluster(
            cores=1,
            processes=1,
            job_cpu=cores,
            memory=memory,
            interface=interface,
            protocol="tls",
            security=tls.security(),
            # Without a dashboard there still is a port that tells of the process's health.
            scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            worker_extra_args=["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
            job_extra_directives=list(directives),
            **(options or {}),
        )
        stack.enter_context(cluster)
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
        yield stack.enter_context(Client(cluster, set_as_default=False))


def connect(
    address: str | None = None,
    *,
    scheduler_file: str | os.PathLike[str] | None = None,
    security: Security | None = None,
    insecure: bool = False,
) -> Client:
    """Connect to a cluster that runs already.

    Parameters
    ----------
    address : str, optional
        Of its scheduler, as ``"tls://10.1.0.7:8786"``.
    scheduler_file : path, optional
        In place of the address: the file that ``dask scheduler --scheduler-file`` writes.
    security : distributed.Security, optional
        Certificates, as `TlsFiles.security` gives them. Default: what Dask is configured with.
    insecure : bool
        Whether to use a network without encryption. Whoever reaches such a cluster can run code in
        the name of its owner, and read along.

    Returns
    -------
    distributed.Client
        For `Sweep.run`; close it after use.

    Raises
    ------
    InputError
        If it is no address of a scheduler, or one beyond this machine that isn't encrypted.
    ClusterError
        If no scheduler answers there, or it refuses the certificate.
    """
    from distributed import Client

    if (address is None) == (scheduler_file is None):
        raise InputError("connect needs either an address or a scheduler_file.")
    if address is None:
        assert scheduler_file is not None
        address = _address_in(Path(scheduler_file))
    _check_address(address, insecure)
    encrypted = address.startswith("tls://")
    if security is not None and not encrypted:
        raise InputError(
            f"The scheduler at {address} doesn't encrypt, so that certificates are of no use: "
            "start it with --protocol tls, or leave the certificates out."
        )
    try:
        return Client(address, timeout=_PATIENCE_SECONDS, set_as_default=False, security=security)
    except (OSError, TypeError, ValueError) as fault:
        hint = " with the certificates that were given" if encrypted and security else ""
        raise ClusterError(
            f"No scheduler answers at {address}{hint} ({fault}): start the cluster, then give the "
            "same command again."
        ) from fault


@contextmanager
def _kept(cluster: Any, settings: Mapping[str, Any]) -> Iterator[None]:
    """Start the workers that a cluster should have, and anew whichever of them it gives up.

    A nanny brings back its worker, but not one that dies while both start. And Dask closes a nanny
    whose worker it lost 15 seconds ago and is without just now, though it may be starting again.
    """
    from distributed.core import Status

    over = threading.Event()

    async def mend() -> None:
        for name, nanny in list(cluster.workers.items()):
            if nanny.status in (Status.failed, Status.closed):
                del cluster.workers[name]
        if cluster.worker_spec.keys() - cluster.workers.keys():
            with config.set(settings):
                await cluster

    def keep() -> None:
        while True:
            with suppress(Exception):
                cluster.sync(mend, callback_timeout=_PATIENCE_SECONDS)
            if over.wait(_KEEPING_SECONDS):
                return

    keeper = threading.Thread(target=keep, name="cubie-workers", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def _await(client: Client, workers: int) -> None:
    try:
        client.wait_for_workers(workers, timeout=_START_SECONDS)
    except TimeoutError as fault:
        raise ClusterError(
            f"Less than {workers} workers started within {_START_SECONDS} s: see that this machine "
            "has memory and processes left for them, or ask for fewer."
        ) from fault


def _settings(dashboard: bool) -> dict[str, float | bool | str]:
    """Return the settings of a cluster, whose dashboard has a page of what threads do."""
    return {**SETTINGS, "distributed.worker.profile.enabled": dashboard}


def _loopback(dashboard: bool) -> dict[str, Any]:
    """Return the options of a cluster that no other machine can reach."""
    return {
        "host": "127.0.0.1",
        # Without a dashboard there still is a port that tells of the scheduler's health.
        "dashboard_address": "127.0.0.1:0",
        "scheduler_kwargs": {"dashboard": dashboard},
        "silence_logs": logging.CRITICAL,
    }


def _check_address(address: str, insecure: bool) -> None:
    from distributed.comm.addressing import get_address_host_port, normalize_address

    try:
        host, _ = get_address_host_port(normalize_address(address), strict=True)
    except (ValueError, NotImplementedError) as fault:
        raise InputError(
            f"{address!r} is no address of a scheduler ({fault}). It is written "
            "tcp://127.0.0.1:8786."
        ) from fault
    if address.startswith("tls://") or insecure or _is_loopback(host):
        return
    raise InputError(
        f"{address} is not on this machine, and its connections are not encrypted: whoever reaches "
        "that cluster can run code in your name. Start it with TLS (cubie-dask tls DIR makes the "
        "certificates; see docs/clusters.md) and give them with --tls DIR or security=…; or say "
        "--insecure, insecure=True, if nobody else is on that network."
    )


def _is_loopback(host: str) -> bool:
    """Return whether all addresses of a host are of this machine's loopback interface."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        # Connecting will tell that there is no such host.
        return False
    return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)


def _address_in(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"The scheduler file {path} can't be used ({fault}). A cluster writes it: dask "
            "scheduler --scheduler-file FILE, then dask worker --scheduler-file FILE."
        ) from fault


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let Ctrl-C pass by the processes that are started meanwhile."""
    import signal
    from multiprocessing import resource_tracker

    # Started later, it would let the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
