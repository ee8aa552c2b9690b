"""Wrong use of the command: one message on standard error, exit code 2, nothing computed."""

import pytest
from cli_sweeps import EXPLODING, LORENZ, cubie_dask, write

from cubie_dask.cli import main

# Text to replace in the sweep file, what to put there, and what the message must say.
FILES = {
    "unknown table": ("[solver]", "[sovler]", ["unknown table 'sovler'", "mean 'solver'", "grid"]),
    "unknown key": (
        "method =",
        "metod =",
        ["[solver] has an unknown key 'metod'", "mean 'method'", "max_steps"],
    ),
    "unknown key of the time": ("t_span =", "tspan =", ["[time]", "'tspan'", "mean 't_span'"]),
    "unknown key of the model": ("states =", "state =", ["[model]", "'state'", "mean 'states'"]),
    "unknown key of a range": ("count =", "cuont =", ["[grid.values.rho]", "mean 'count'"]),
    "unknown key of outputs": ("saved =", "save =", ["[outputs]", "mean 'saved'"]),
    "unknown key of the store": ("chunk_runs", "chunks_run", ["[store]", "mean 'chunk_runs'"]),
    "no table": ("[time]\n", "", ["lacks the table 'time'"]),
    "no key": ("t_span = [0, 1]", "", ["[time] lacks the key 't_span'"]),
    "no count": (", count = 22", "", ["[grid.values.rho] lacks the key 'count'", "{start = 0"]),
    "not TOML": (
        'kind = "product"',
        "kind = product",
        ["not TOML", "line 16: kind = product", "\n" + " " * 18 + "^"],
    ),
    "open text": ('z**2\n"""', "z**2", ["not TOML", "Unterminated", "\n  line "]),
    "key twice": ("[grid.values]", "[grid]", ["not TOML", "line 18"]),
    "wrong type": ("[0, 1]", '"0 to 1"', ["[time] t_span must be a list, not '0 to 1'"]),
    "wrong type of number": ("10_000", "true", ["[solver] max_steps must be a whole number"]),
    "wrong type of name": ('["x", "energy"]', "[1]", ["[outputs] saved must be a list of names"]),
    "unknown method": ('"tsit5"', '"tist5"', ["[solver]", "'tist5'", "mean 'tsit5'"]),
    "unknown kind": ('"product"', '"products"', ["[grid] kind", "mean 'product'", "'sample'"]),
    "sample's key": ("[grid.values]", "seed = 1\n[grid.values]", ["[grid] seed", '"sample"']),
    "unknown parameter": ("rho = {", "roh = {", ["[grid.values]", "'roh'", "mean 'rho'"]),
    "unknown output": ('["x",', '["energi",', ["[outputs]", "'energi'", "mean 'energy'"]),
    "bad equation": ("(y - x)", "(y - w)", ["[model]", "Undefined name 'w'", "line 1: dx", "^"]),
    "text as a value": ("x = 1.0,", 'x = "1",', ["[model.states] x must be a number"]),
    "infinite value": ("8, 10, 12.5", "8, inf", ["[grid.values] sigma", "finite"]),
    "empty list": ("[8, 10, 12.5]", "[]", ["[grid.values]", "'sigma' has no values"]),
    "value alone": ("[8, 10, 12.5]", "8", ["[grid.values] sigma can't be 8", "{start = 0"]),
    "reversed span": ("[0, 1]", "[1, 0]", ["[time] t_span", "runs backwards"]),
    "times twice": ("save_every", "save_at = [1]\nsave_every", ["[time]", "not both"]),
    "negative tolerance": ("rtol = 1e-7", "rtol = -1", ["[solver] rtol", "below 0"]),
    "too many values": ("count = 22", "count = 1_000_000_000", ["[grid.values.rho] count"]),
    "log of 0": ("count = 22", 'count = 22, spacing = "log"', ['"log"', "above 0"]),
    "no file": ("[8, 10, 12.5]", '{ file = "none.csv" }', ["[grid.values.sigma]", "none.csv"]),
    "no column": ("[8, 10, 12.5]", '{ file = "k.csv" }', ["no column 'sigma'", "mean 'sigm'"]),
    "bad cell": (
        "[8, 10, 12.5]",
        '{ file = "k.csv", column = "b" }',
        ["k.csv", "Line 3", "'two'"],
    ),
    "other file": ("[8, 10, 12.5]", '{ file = "k.txt" }', ["must end in .csv or .npy"]),
}


@pytest.mark.parametrize("what", FILES)
def test_faults_in_the_file(tmp_path, capsys, what):
    (tmp_path / "k.csv").write_text("sigm,b\n1,1\n2,two\n")
    old, new, said = FILES[what]
    assert LORENZ.count(old) >= 1
    file = write(tmp_path, LORENZ.replace(old, new, 1))
    assert main(["run", str(file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"cubie-dask: {file}: ")
    for words in said:
        assert words in printed.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("what", ["unknown key", "not TOML", "bad equation", "bad cell"])
def test_faults_in_the_file_as_the_shell_sees_them(tmp_path, capfd, what):
    (tmp_path / "k.csv").write_text("sigm,b\n1,1\n2,two\n")
    old, new, _ = FILES[what]
    file = write(tmp_path, LORENZ.replace(old, new, 1))
    ended = cubie_dask("run", file)
    assert main(["run", str(file)]) == ended.returncode == 2
    assert (ended.stdout, ended.stderr) == tuple(capfd.readouterr())


ARGUMENTS = {
    "no command": ([], ["required: COMMAND"]),
    "unknown command": (["rnu"], ["'rnu'", "run"]),
    "no file": (["run"], ["required: FILE.toml"]),
    "unknown option": (["run", "sweep.toml", "--plto", "a.png"], ["'--plto'", "mean '--plot'"]),
    "missing file": (["plan", "sweeps.toml"], ["no such file", "mean 'sweep.toml'"]),
    "folder": (["run", "."], ["directory"]),
    "not text": (["run", "bytes.toml"], ["not UTF-8"]),
    "two clusters": (["run", "sweep.toml", "--workers", "1", "--address", "a"], ["not allowed"]),
    "no workers": (["run", "sweep.toml", "--workers", "0"], ["--workers", "1 or more", "'0'"]),
    "no scheduler file": (["run", "sweep.toml", "--scheduler-file", "s.json"], ["s.json"]),
    "bad address": (["run", "sweep.toml", "--address", "nope://x"], ["nope://x", "tcp://"]),
    "kind of picture": (["run", "sweep.toml", "--plot", "a.pgn"], [".svg", "mean '.png'"]),
    "folder of picture": (["run", "sweep.toml", "--plot", "no/a.png"], ["no/a.png"]),
    "no store": (["run", "storeless.toml"], ["[store] lacks the key 'path'", "--store"]),
    "status of nothing": (["status", "none.zarr"], ["none.zarr does not exist"]),
    "status of something": (["status", "."], ["holds something else"]),
    "store is a file": (["run", "sweep.toml", "--store", "bytes.toml"], ["bytes.toml"]),
}


@pytest.mark.parametrize("what", ARGUMENTS)
def test_faults_in_the_arguments(tmp_path, what):
    write(tmp_path, LORENZ)
    write(tmp_path, EXPLODING.replace('path = "exploding.zarr"', ""), "storeless.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    arguments, said = ARGUMENTS[what]
    before = sorted(tmp_path.rglob("*"))
    ended = cubie_dask(*arguments, cwd=tmp_path)
    assert ended.returncode == 2, ended
    assert ended.stdout == ""
    assert ended.stderr.startswith("cubie-dask")
    for words in said:
        assert words in ended.stderr, ended.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_another_sweep_is_refused_by_run_and_plan(tmp_path):
    assert cubie_dask("run", write(tmp_path, LORENZ), "--quiet").returncode == 0
    changed = write(tmp_path, LORENZ.replace("rtol = 1e-7", "rtol = 1e-6"))
    for command in ("run", "plan"):
        ended = cubie_dask(command, changed)
        assert ended.returncode == 2
        assert "holds another sweep" in ended.stderr
        assert "rtol: was [1e-07, 1e-07, 1e-07], now [1e-06, 1e-06, 1e-06]" in ended.stderr
