"""Runs that kill every process that computes them: found, marked, and the sweep goes on."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from sabotage import orders
from sweep_models import lorenz_sweep

from cubie_dask import local_cluster, open_sweep
from cubie_dask.execution.pieces import integrate, lost_outcome
from cubie_dask.execution.policy import Probed, halves
from cubie_dask.execution.probing import probe_chunk
from cubie_dask.grids.grid import Block
from cubie_dask.progress.events import ChunkFailed, ChunkFinished, ChunkProbed
from cubie_dask.recipe import Recipe
from cubie_kernels.status import Status

POISON = [(5, 7, 3), (5, 7, 4)]


def order(monkeypatch, **given):
    for name, value in orders(**given).items():
        monkeypatch.setenv(name, value)


def assert_all_but(poison, found, reference):
    """Check that the poison runs are marked and all others have the reference's bits."""
    lost = np.zeros(found.status.shape, bool)
    for run in poison:
        lost[run] = True
    assert ((found.status.values == Status.WORKER_LOST) == lost).all()
    assert not (reference.status.values == Status.WORKER_LOST).any()
    for name in reference.data_vars:
        values, wanted = found[name].values, reference[name].values
        assert values[..., ~lost].tobytes() == wanted[..., ~lost].tobytes(), name
        if name != "status":
            empty = (
                np.isnan(values[..., lost]) if values.dtype.kind == "f" else values[..., lost] == 0
            )
            assert empty.all(), name


@pytest.mark.slow
def test_runs_that_kill_workers_are_marked(tmp_path, monkeypatch):
    order(monkeypatch, poison=POISON)
    sweep, events = lorenz_sweep(26), []
    with local_cluster(2) as client:
        report = sweep.run(tmp_path / "a.zarr", client, progress=events.append)
    assert report.complete
    assert report.statuses == {Status.SUCCESS: 7 * 11 * 13 - 2, Status.WORKER_LOST: 2}
    (guilty,) = [
        chunk
        for chunk in range(sweep.plan().chunks)
        if all(
            part.start <= i < part.stop
            for part, i in zip(sweep.plan().block(chunk).slices, POISON[0], strict=True)
        )
    ]
    probed = {e.chunk: e.lost for e in events if isinstance(e, ChunkProbed)}
    assert probed.pop(guilty) == 2
    assert not any(probed.values())
    # Each death of a worker that had it in hand is an attempt of its own, and so is the probe. What
    # was finished before the death isn't done again.
    attempts = {e.record.chunk: e.record.attempt for e in events if isinstance(e, ChunkFinished)}
    failed = Counter(e.chunk for e in events if isinstance(e, ChunkFailed))
    most = {c: 1 + failed[c] + (c in {*probed, guilty}) for c in attempts}
    assert all(attempts[chunk] <= most[chunk] for chunk in attempts)
    # Twice alone, and once more if other chunks were in the same task.
    assert failed[guilty] in (2, 3)
    assert attempts[guilty] == failed[guilty] + 2
    sweep.run(tmp_path / "b.zarr", progress="none")
    assert_all_but(POISON, open_sweep(tmp_path / "a.zarr"), open_sweep(tmp_path / "b.zarr"))


def test_results_are_the_same_in_any_boxes():
    sweep = lorenz_sweep(13 * 11)
    recipe = Recipe(sweep.solver, sweep.grid, sweep.plan())
    block = Block((1, 2, 3), (3, 5, 7))
    whole = integrate(recipe, block, (block,))
    first, second = halves(block)
    cut = integrate(recipe, block, (second, *halves(first)))
    part = integrate(recipe, block, halves(first))
    none = lost_outcome(recipe, block.runs)
    inside = np.zeros(block.shape, bool)
    inside[:, :, : first.shape[2]] = True
    for name in ("states", "observables", "final_time", "accepted", "rejected", "status"):
        a, b, c, n = (getattr(outcome, name) for outcome in (whole, cut, part, none))
        assert a.tobytes() == b.tobytes(), name
        assert (a.shape, a.dtype) == (n.shape, n.dtype)
        assert c[..., inside.ravel()].tobytes() == a[..., inside.ravel()].tobytes(), name
        assert c[..., ~inside.ravel()].tobytes() == n[..., ~inside.ravel()].tobytes(), name


@pytest.mark.parametrize("fits", [1, 10, 400])
def test_what_does_not_fit_into_memory_is_done_in_pieces(fits):
    sweep = lorenz_sweep(13 * 11)
    recipe = Recipe(sweep.solver, sweep.grid, sweep.plan())
    block = Block((0, 0, 0), (2, 4, 13))
    wanted = integrate(recipe, block, (block,))

    class Small(type(sweep.grid)):
        """A grid whose larger blocks need more memory than there is."""

        def columns(self, box):
            sizes.append(box.runs)
            if box.runs > fits:
                # More than any machine has: NumPy refuses it.
                np.empty(1 << 55)
            return super().columns(box)

    sizes = []
    small = Recipe(sweep.solver, Small(sweep.grid.axes), sweep.plan())
    found = integrate(small, block, (block,))
    assert max(size for size in sizes if size <= fits) <= fits
    assert sum(size for size in sizes if size <= fits) == block.runs
    assert found.states.tobytes() == wanted.states.tobytes()
    assert found.status.tobytes() == wanted.status.tobytes()
    fits = 0
    with pytest.raises(MemoryError):
        integrate(small, block, (block,))


def test_the_process_that_tries_runs_says_why_it_cannot_start(tmp_path, monkeypatch):
    sweep = lorenz_sweep(13 * 11)
    sweep.run(tmp_path / "a.zarr", progress="none")
    program = (
        "from cubie_dask.execution.probing import probe_chunk; import sys;"
        "print(probe_chunk(sys.argv[1], 2, 1))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.zarr")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"{Probed((sweep.plan().block(2),))}\n"
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such library >&2; exit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(RuntimeError, match=r"try runs in ended at its start, with 3: no such lib"):
        probe_chunk(str(tmp_path / "a.zarr"), 2, 1)
