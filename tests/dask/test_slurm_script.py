"""Batch scripts: what they ask for, and that nothing in them is executed that should not be."""

import re
import subprocess

import pytest
from cli_sweeps import LORENZ, cubie_dask, write

from cubie_dask.clusters.slurm import SlurmJob, seconds_of, slurm_script
from cubie_kernels.errors import InputError


def job(**changed):
    given = {"sweep": "/data/lorenz.toml", "store": "/data/lorenz.zarr", "time": "12:00:00"}
    return SlurmJob(**(given | changed))


def directives(script):
    return set(re.findall(r"^#SBATCH --(.*)$", script, re.MULTILINE))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("1:30", 90),
        ("12:00:00", 43200),
        ("2-00", 172800),
        ("1-12:30", 131400),
        ("1-00:00:01", 86401),
    ],
)
def test_times(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "1h", "1:2:3:4", "-1", "1 ", "99999999999", "1;ls", "\u0661"]
)
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="time must be as Slurm writes it"):
        seconds_of(text)


def test_one_job_of_whole_nodes():
    script = slurm_script(job(nodes=4, partition="main", account="me"))
    assert directives(script) == {
        "job-name=lorenz",
        "time=12:00:00",
        "nodes=4",
        "ntasks-per-node=1",
        "exclusive",
        "mem=0",
        "partition=main",
        "account=me",
        "signal=B:TERM@120",
        "requeue",
        "open-mode=append",
    }
    assert "\nlimit=42960\n" in script
    assert "--share" not in script


def test_a_worker_for_each_gpu():
    script = slurm_script(job(gpus=4, cpus=32, memory="256G", directives=("constraint=a100",)))
    wanted = {"gpus-per-node=4", "ntasks-per-node=4", "cpus-per-task=8", "mem=256G"}
    assert directives(script) >= wanted | {"constraint=a100"}
    assert "--cpus-per-task=8 --gpus-per-task=1 bash" in script


def test_an_array():
    script = slurm_script(job(array=16, cpus=8))
    assert directives(script) >= {"array=0-15", "nodes=1", "ntasks-per-node=1", "cpus-per-task=8"}
    assert "dask" not in script.replace("cubie_dask", "").replace("cubie-dask", "")
    with pytest.raises(InputError, match="one node each"):
        job(array=16, nodes=2)


EVIL = ["a;touch pwned", "a\n#SBATCH --uid=0", "$(touch pwned)", "`touch pwned`", "a b", "a'b", ""]


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("name", ["partition", "account", "memory", "interface", "time"])
def test_values_that_are_no_names_are_refused(name, evil):
    with pytest.raises(InputError):
        job(**{name: evil})


@pytest.mark.parametrize("line", [*EVIL, "Uid=0", "a=b c", "a=b\nc", "=b", "-a=b"])
def test_directives_are_options_alone(line):
    with pytest.raises(InputError, match="A directive is an option of sbatch"):
        job(directives=(line,))


@pytest.mark.parametrize(
    "values", [{"gpus": 4, "cpus": 2}, {"nodes": 0}, {"array": 0}, {"cpus": -1}]
)
def test_numbers_that_cannot_be(values):
    with pytest.raises(InputError):
        job(**values)


@pytest.mark.parametrize("array", [None, 3])
@pytest.mark.parametrize(
    "path", ["a'; touch pwned; '.toml", "$(touch pwned)", "`touch pwned`", "a\ntouch pwned\n", "-x"]
)
def test_paths_stay_values(tmp_path, path, array):
    folder = str(tmp_path / path)
    script = slurm_script(job(sweep=folder, store=folder, folder=folder, array=array))
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    # As far as the values go: what the shell makes of them.
    head = script.partition("\nset -u\n")[0] + '\nprintf "%s\\0" "$sweep" "$store" "$parent"\n'
    ended = subprocess.run(["bash"], input=head, capture_output=True, text=True, cwd=tmp_path)
    assert ended.stdout.split("\0")[:3] == [folder] * 3
    assert not list(tmp_path.iterdir())
    assert all(
        "touch" not in line for line in directives(script) if not line.startswith("job-name")
    )
    (name,) = [line for line in directives(script) if line.startswith("job-name=")]
    assert re.fullmatch(r"job-name=[\w.-]+", name)


def test_the_command(tmp_path):
    file = write(tmp_path, LORENZ)
    made = cubie_dask("slurm", file, "--time", "30", "--cpus", "4")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("#!/bin/bash\n")
    assert f"\nstore={tmp_path / 'results' / 'lorenz.zarr'}\n" in made.stdout
    assert (
        cubie_dask("slurm", file, "--time", "30", "--output", tmp_path / "job.sh").returncode == 0
    )
    assert "ntasks-per-node=1" in (tmp_path / "job.sh").read_text()
    again = cubie_dask("slurm", file, "--time", "30", "--output", tmp_path / "job.sh")
    assert again.returncode == 2
    assert "is there already" in again.stderr
    refused = cubie_dask("slurm", file, "--time", "soon")
    assert refused.returncode == 2
    assert "minutes, hours:minutes:seconds" in refused.stderr
    wrong = cubie_dask("slurm", write(tmp_path, LORENZ + "\n[what]\n", "b.toml"), "--time", "30")
    assert wrong.returncode == 2
    assert "unknown table 'what'" in wrong.stderr
