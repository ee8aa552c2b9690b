"""The disk cache: whole entries or none, whatever happens to files, folders and processes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cubie_kernels import Solver, System
from cubie_kernels.build import build_kernel
from cubie_kernels.build.store import Entry, KernelStore, cache_folder

DIGEST = hashlib.sha256(b"a kernel").hexdigest()[:40]
ENTRY = Entry(b"\x7fELF\n\n code \x00\xff" * 50, {"symbol": "integrate_1"})
PROGRAM = """
import sys
at_start = "numba" in sys.modules
import numpy as np
from cubie_kernels import System, solve
model = System.from_equations("dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0}, name="decay")
solution = solve(model, {"k": np.linspace(0, 2, 50)}, t_span=(0, 1), method="heun", rtol=1e-4)
import hashlib
print(hashlib.sha256(solution["x"].tobytes()).hexdigest(), at_start, "numba" in sys.modules)
"""


@pytest.fixture
def store(tmp_path):
    return KernelStore(tmp_path / "kernels")


def decay():
    model = System.from_equations(
        "dx = -k*x", states={"x": 1.0}, parameters={"k": 1.0}, name="decay"
    )
    return Solver(model, t_span=(0, 1), swept=["k"], method="heun", rtol=1e-4).config()


def build_anew(folder, monkeypatch):
    """Build past the memory of this process, with the cache in ``folder``."""
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(folder))
    return build_kernel.__wrapped__(decay())


def start(folder):
    environment = {**os.environ, "CUBIE_CACHE_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment
    )


def finish(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.split()


class TestStore:
    def test_round_trip(self, store):
        assert store.load(DIGEST) is None
        assert store.save(DIGEST, ENTRY)
        assert store.load(DIGEST) == ENTRY
        assert store.load(DIGEST[:-1] + "x") is None

    def test_module(self, store):
        path = store.save_module(DIGEST, "x = 'ü'\n")
        assert path == store.module_path(DIGEST)
        assert path.read_text(encoding="utf-8") == "x = 'ü'\n"

    @pytest.mark.parametrize("place", ["first", "facts", "checksum", "code", "last"])
    def test_damage_is_noticed(self, store, place):
        store.save(DIGEST, ENTRY)
        data = bytearray(store.path(DIGEST).read_bytes())
        at = {
            "first": 0,
            "facts": data.index(b"integrate_1"),
            "checksum": data.index(b"}\n") + 5,
            "code": data.index(b"ELF"),
            "last": len(data) - 1,
        }[place]
        data[at] ^= 1
        store.path(DIGEST).write_bytes(data)
        assert store.load(DIGEST) is None

    @pytest.mark.parametrize("length", [0, 1, 15, 40, 100, -1])
    def test_part_of_an_entry_is_none(self, store, length):
        store.save(DIGEST, ENTRY)
        data = store.path(DIGEST).read_bytes()
        store.path(DIGEST).write_bytes(data[:length])
        assert store.load(DIGEST) is None

    def test_clear(self, store):
        store.save(DIGEST, ENTRY)
        store.save_module(DIGEST, "")
        assert store.clear() == 1
        assert store.load(DIGEST) is None
        assert not [path for path in store.folder.rglob("*") if path.is_file()]
        assert store.clear() == 0

    def test_nothing_else_is_left_behind(self, store):
        for _ in range(3):
            store.save(DIGEST, ENTRY)
        assert [path.name for path in store.path(DIGEST).parent.iterdir()] == [f"{DIGEST}.kernel"]

    def test_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        store = KernelStore(tmp_path / "file" / "kernels")
        assert not store.save(DIGEST, ENTRY)
        assert store.load(DIGEST) is None
        path = store.save_module(DIGEST, "x = 1\n")
        assert path.read_text() == "x = 1\n"
        assert tmp_path not in path.parents
        assert store.clear() == 0


def test_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CUBIE_CACHE_DIR")
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "xdg" / "cubie" / "kernels"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_folder() == Path.home() / ".cache" / "cubie" / "kernels"
    assert Path.cwd() not in cache_folder().parents


def test_damaged_entry_is_compiled_again(tmp_path, monkeypatch):
    build_anew(tmp_path, monkeypatch)
    (entry,) = tmp_path.glob("*/*.kernel")
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    again = build_anew(tmp_path, monkeypatch)
    assert KernelStore(tmp_path).load(entry.stem) is not None
    assert again.text == build_kernel(decay()).text
    (module,) = tmp_path.glob("*/*.py")
    assert module.name == f"kernel_{entry.stem}.py"
    assert module.read_text(encoding="utf-8") == again.text


def test_folder_in_the_way_of_the_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    kernel = build_anew(tmp_path / "file" / "cache", monkeypatch)
    assert kernel.text == build_kernel(decay()).text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_processes_share_the_cache(tmp_path):
    """Several compile the same kernel at once; a later one loads it and never imports Numba."""
    results = [finish(process) for process in [start(tmp_path) for _ in range(3)]]
    assert len({digest for digest, _, _ in results}) == 1
    files = sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file())
    assert files == [".kernel", ".py"]
    digest, at_start, at_end = finish(start(tmp_path))
    assert digest == results[0][0]
    assert at_end == at_start == "False"


def test_same_bits_from_memory_and_from_disk(tmp_path, monkeypatch):
    from cubie_kernels.run.batch import Column
    from cubie_kernels.run.execute import execute

    kernels = [build_kernel(decay()), *(build_anew(tmp_path, monkeypatch) for _ in range(2))]
    solver = Solver(decay().system, t_span=(0, 1), swept=["k"], method="heun", rtol=1e-4)
    batch = solver.batch({"k": Column(np.linspace(0, 2, 50))}, 50)
    states = [execute(kernel, batch).final_state.tobytes() for kernel in kernels]
    assert states[0] == states[1] == states[2]
