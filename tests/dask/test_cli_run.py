"""The command on sweeps that are in order: what it prints, writes and returns."""

import json
import subprocess

import numpy as np
import pytest
from cli_sweeps import EXPLODING, LORENZ, command, cubie_dask, environment, write
from sweep_models import assert_same_results

from cubie_dask import Grid, Sweep, open_sweep
from cubie_dask.cli import main
from cubie_dask.cli.sweep_file import read_sweep_file
from cubie_kernels import System


def test_run_makes_the_store_that_the_same_sweep_in_python_makes(tmp_path):
    file = write(tmp_path, LORENZ)
    ended = cubie_dask("run", file, cwd="/")
    assert ended.returncode == 0, ended.stderr
    assert "Complete sweep of lorenz: 6 of 6 chunks" in ended.stdout
    assert "66  success         The run reached the end of its time span." in ended.stdout
    assert "<xarray.Dataset>" in ended.stdout
    assert "(time: 3, rho: 22, sigma: 3)" in ended.stdout
    assert "66 runs in 6 chunks" in ended.stderr
    assert "complete after" in ended.stderr

    system = System.from_equations(
        "dx = sigma*(y - x)\ndy = x*(rho - z) - y\ndz = x*y - beta*z\nenergy = x**2 + y**2 + z**2",
        states={"x": 1.0, "y": 0.0, "z": 0.0},
        parameters={"rho": 28.0, "sigma": 10.0},
        constants={"beta": 8 / 3},
        observables=["energy"],
        name="lorenz",
    )
    grid = Grid.product(rho=np.linspace(0, 21, 22), sigma=[8.0, 10.0, 12.5])
    sweep = Sweep(
        system,
        grid,
        t_span=(0, 1),
        save_every=0.5,
        rtol=1e-7,
        atol={"x": 1e-9, "y": 1e-9, "z": 1e-8},
        max_steps=10_000,
        saved=["x", "energy"],
    )
    sweep.run(tmp_path / "python.zarr", progress="none")
    made, expected = (
        open_sweep(tmp_path / name) for name in ("results/lorenz.zarr", "python.zarr")
    )
    assert_same_results(made, expected)


def test_a_second_run_says_that_there_is_nothing_to_do(tmp_path):
    file = write(tmp_path, LORENZ)
    assert cubie_dask("run", file, "--quiet").stdout == ""
    again = cubie_dask("run", file)
    assert again.returncode == 0
    assert again.stdout.startswith("Nothing to do: all chunks were finished before.\n")
    assert "<xarray.Dataset>" in again.stdout
    assert again.stderr == ""


def test_quiet_says_nothing_and_threads_change_nothing(tmp_path):
    file = write(tmp_path, LORENZ)
    for name, threads in (("one", 1), ("two", 2)):
        ended = cubie_dask("run", file, "--quiet", "--threads", threads, "--store", tmp_path / name)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert_same_results(open_sweep(tmp_path / "one"), open_sweep(tmp_path / "two"))
    assert not (tmp_path / "results").exists()


def test_failed_runs_are_told_of_and_give_exit_code_1(tmp_path):
    file = write(tmp_path, EXPLODING)
    ended = cubie_dask("run", file)
    assert ended.returncode == 1
    assert "Complete sweep of sweep: 1 of 1 chunks" in ended.stdout
    status = open_sweep(tmp_path / "exploding.zarr").status.values
    # x = 1/(1 - k t) is infinite at t = 1/k: up to the end for k < 1/0.9 alone.
    assert (status[:8] == 1).all()
    assert (status[8:] > 1).all()
    said = cubie_dask("status", tmp_path / "exploding.zarr", "--json")
    assert said.returncode == 1
    report = json.loads(said.stdout)
    assert report["complete"] is True
    assert report["statuses"].pop("success") == 8
    assert sum(report["statuses"].values()) == 8
    for word, count in report["statuses"].items():
        assert f"{count}  {word}" in ended.stdout
    assert cubie_dask("run", file).returncode == 1


def test_plan_shows_the_cost_and_computes_nothing(tmp_path):
    file = write(tmp_path, LORENZ)
    ended = cubie_dask("plan", file)
    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.iterdir()) == [file]
    for line in (
        "model    lorenz: x, y, z",
        "grid     product of rho 0 … 21, sigma 8 … 12.5",
        "times    0 0.5 1: 3 saves",
        "runs     66 (rho: 22 x sigma: 3)",
        "outputs  3 times of x, energy in float64",
        "chunks   6 of 4 x 3 = 12 runs, 780 B each",
        "zarr     one of 288 B for each variable in a chunk",
        # 66 runs of 3 times of 2 variables in 8 bytes, and 17 bytes beside.
        "store    4.29 kB before compression, 49 files",
        "limit    the size of a chunk comes from: chunk_runs",
        f"path     {tmp_path / 'results' / 'lorenz.zarr'}, which is not there yet",
    ):
        assert line in ended.stdout.splitlines()
    cubie_dask("run", file, "--quiet")
    assert "lorenz.zarr, with 6 of 6 chunks finished" in cubie_dask("plan", file).stdout


def test_plan_says_memory_and_time(tmp_path):
    file = write(tmp_path, LORENZ)
    options = ("--workers", "2", "--memory", "1GB")
    ended = cubie_dask("plan", file, *options, "--run-seconds", "0.5")
    assert ended.returncode == 0, ended.stderr
    assert "of 1 GB a worker" in ended.stdout
    assert "16 s of computing on 2 workers: 6 s a chunk, 0.5 s a run; rests on" in ended.stdout
    timed = cubie_dask("plan", file, *options, "--pilot", "--json")
    plan = json.loads(timed.stdout)
    assert (plan["chunks"], plan["chunk"], plan["files"]) == (6, {"rho": 4, "sigma": 3}, 49)
    assert plan["basis"] == "a pilot"
    assert 0 < plan["run_seconds"] < 1
    assert plan["memory_needed"] < plan["memory"] == 10**9
    assert list(tmp_path.iterdir()) == [file]
    small = cubie_dask("plan", file, "--memory", "10MB")
    assert small.returncode == 2
    assert "may use 10 MB: give each worker" in small.stderr


def test_plan_of_a_sweep_without_saves_or_store(tmp_path):
    text = EXPLODING.replace('path = "exploding.zarr"', "")
    ended = cubie_dask("plan", write(tmp_path, text))
    assert "times    the end, 0.9" in ended.stdout.splitlines()
    assert "path     none yet: say --store PATH" in ended.stdout.splitlines()


def test_status_of_a_complete_sweep(tmp_path):
    cubie_dask("run", write(tmp_path, LORENZ), "--quiet")
    store = tmp_path / "results" / "lorenz.zarr"
    text = cubie_dask("status", store)
    assert text.returncode == 0
    assert text.stdout.startswith("Complete sweep of lorenz: 6 of 6 chunks")
    report = json.loads(cubie_dask("status", store, "--json").stdout)
    assert report["statuses"] == {"success": 66}
    assert report["store"] == str(store)
    assert (report["runs"], report["chunks"], report["chunks_finished"]) == (66, 6, 6)
    assert report["steps"] == int(
        open_sweep(store)[["accepted_steps", "rejected_steps"]].to_array().sum()
    )
    assert len(report["workers"]) == 1


def test_a_reader_that_leaves_does_not_stop_the_work(tmp_path):
    file = write(tmp_path, LORENZ)
    child = subprocess.Popen(
        command("run", file), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    child.stdout.close()
    errors = child.stderr.read().decode()
    child.stderr.close()
    assert child.wait(120) == 0
    assert "BrokenPipe" not in errors
    assert cubie_dask("status", tmp_path / "results" / "lorenz.zarr").returncode == 0


@pytest.mark.slow
def test_workers_give_the_same_store(tmp_path):
    file = write(tmp_path, LORENZ)
    ended = cubie_dask("run", file, "--workers", 2)
    assert ended.returncode == 0, ended.stderr
    assert "Complete sweep" in ended.stdout
    cubie_dask("run", file, "--quiet", "--store", tmp_path / "one")
    store = tmp_path / "results" / "lorenz.zarr"
    assert_same_results(open_sweep(store), open_sweep(tmp_path / "one"))


@pytest.mark.slow
def test_a_cluster_by_address_and_by_scheduler_file(tmp_path):
    from distributed import LocalCluster

    file = write(tmp_path, LORENZ)
    cubie_dask("run", file, "--quiet", "--store", tmp_path / "one")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        scheduler = tmp_path / "scheduler.json"
        scheduler.write_text(json.dumps({"address": cluster.scheduler_address}))
        for name, which in (
            ("address", ("--address", cluster.scheduler_address)),
            ("file", ("--scheduler-file", scheduler)),
        ):
            ended = cubie_dask("run", file, *which, "--store", tmp_path / name)
            assert ended.returncode == 0, ended.stderr
            assert_same_results(open_sweep(tmp_path / name), open_sweep(tmp_path / "one"))
    gone = cubie_dask("run", file, "--address", cluster.scheduler_address, "--store", "unused")
    assert gone.returncode == 75
    assert "No scheduler answers" in gone.stderr


GRIDS = {
    "zip of lists": (
        'kind = "zip"\n[grid.values]\nrho = [1, 2]\ny = [0.5, -0.5]',
        Grid.zip(rho=[1.0, 2.0], y=[0.5, -0.5]),
    ),
    "logarithmic range": (
        '[grid.values]\nsigma = { start = 10, stop = 0.1, count = 3, spacing = "log" }',
        Grid.product(sigma=np.geomspace(10, 0.1, 3)),
    ),
    "sample": (
        'kind = "sample"\nruns = 64\nsampler = "latin-hypercube"\nseed = 7\n[grid.values]\n'
        'sigma = { start = 1, stop = 10, spacing = "log" }\nrho = { start = 0, stop = 21 }',
        Grid.sample(64, sigma=("log", 1, 10), rho=(0, 21), kind="latin-hypercube", seed=7),
    ),
    "Sobol by default": (
        'kind = "sample"\nruns = 8\n[grid.values]\nx = { start = -1, stop = 1 }',
        Grid.sample(8, x=(-1, 1)),
    ),
    "files": (
        'kind = "zip"\n[grid.values]\nrho = { file = "data/all.csv" }\n'
        'sigma = { file = "data/all.csv", column = "s 2" }\nx = { file = "data/x.npy" }',
        Grid.zip(rho=[1.0, 2.5, 3.0], sigma=[10.0, 11.0, 12.0], x=[0.0, 1.0, 2.0]),
    ),
}


@pytest.mark.parametrize("kind", GRIDS)
def test_grids_of_every_kind(tmp_path, kind):
    (tmp_path / "data").mkdir()
    table = "rho, s 2\r\n1, 10\r\n2.5, 11\r\n\r\n3e0, 12\r\n"
    (tmp_path / "data" / "all.csv").write_text("\ufeff" + table, encoding="utf-8", newline="")
    np.save(tmp_path / "data" / "x.npy", np.arange(3))
    text, expected = GRIDS[kind]
    head, tail = LORENZ.index("[grid]"), LORENZ.index("[time]")
    file = write(tmp_path, LORENZ[:head] + "[grid]\n" + text + "\n" + LORENZ[tail:])
    grid = read_sweep_file(file).sweep.grid
    assert grid == expected
    assert grid.names == expected.names


def test_equations_and_times_from_files(tmp_path):
    (tmp_path / "model.txt").write_text("dx = -k*x  # decay\n")
    np.save(tmp_path / "times.npy", [0.25, 0.5, 1.0])
    text = EXPLODING.replace('equations = "dx = k*x**2"', 'equations_file = "model.txt"')
    text = text.replace("t_span = [0, 0.9]", 't_span = [0, 1]\nsave_at = { file = "times.npy" }')
    sweep = read_sweep_file(write(tmp_path, text, "decay.toml")).sweep
    assert sweep.solver.system.text == "dx = -k*x  # decay\n"
    assert sweep.solver.system.name == "decay"
    assert sweep.solver.times.tolist() == [0.25, 0.5, 1.0]


def test_help_and_version(capsys):
    for arguments in (["--help"], ["run", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "75  stopped or not complete; the same command does the rest" in said
