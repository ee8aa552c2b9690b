"""The command ``slurm``: a batch script for a sweep, printed, written or submitted."""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

from cubie_dask.cli.exits import Exit
from cubie_dask.cli.output import say
from cubie_dask.cli.showing import store_of
from cubie_dask.cli.sweep_file import read_sweep_file
from cubie_dask.clusters.slurm import SlurmJob, slurm_script
from cubie_dask.errors import ClusterError
from cubie_kernels.errors import InputError

__all__ = ["slurm"]


def slurm(given: argparse.Namespace) -> Exit:
    """Make a batch script of the arguments of the command, once the sweep file is found good."""
    store = str(store_of(read_sweep_file(given.file), given.store))
    script = slurm_script(
        SlurmJob(
            sweep=os.path.abspath(given.file),
            store=store if "://" in store else os.path.abspath(store),
            time=given.time,
            nodes=given.nodes,
            array=given.array,
            partition=given.partition,
            account=given.account,
            gpus=given.gpus or 0,
            cpus=given.cpus,
            memory=given.mem,
            interface=given.interface,
            folder=os.path.abspath(given.folder),
            directives=tuple(given.directive),
        )
    )
    if given.submit:
        say(f"Submitted job {_submitted(script)}")
    elif given.output is None:
        say(script.rstrip("\n"))
    else:
        _write(given.output, script)
    return Exit.COMPLETE


def _write(path: Path, script: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(script)
    except FileExistsError as fault:
        raise InputError(f"{path} is there already: give another name, or delete it.") from fault


def _submitted(script: str) -> str:
    try:
        ended = subprocess.run(
            ["sbatch", "--parsable"], input=script, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as fault:
        raise ClusterError(
            "There is no command sbatch here: say --submit where jobs are submitted, or --output "
            "FILE to write the script."
        ) from fault
    if ended.returncode != 0:
        raise ClusterError(f"sbatch refused the job: {ended.stderr.strip()}")
    return ended.stdout.strip().partition(";")[0]
