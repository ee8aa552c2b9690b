"""Finds the runs of a chunk that kill the process that computes them.

A worker does so by child processes, which say of each box when they are through it. So the worker
lives, nothing else that it has in hand is lost, and there is no doubt about who is to blame.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import IO, Any

from cubie_dask.execution.pieces import integrate
from cubie_dask.execution.policy import Probed, probed
from cubie_dask.grids.grid import Block
from cubie_dask.recipe import Recipe
from cubie_dask.stores.store import open_store

__all__ = ["probe_chunk"]

_TOLD_TO_END = (-signal.SIGTERM, -signal.SIGINT)
_ORPHAN_SECONDS = 0.5


def probe_chunk(url: str, chunk: int, threads: int, number: int = 0) -> Probed:
    """Find out which runs of a chunk can be computed, in child processes of this one.

    Parameters
    ----------
    url : str
        The store, as this process sees it: a path or URL.
    chunk : int
        Number of the chunk.
    threads : int
        Threads of the kernel.
    number : int, default 0
        The round of retries whose runs of the chunk are meant, 0 for all runs in the sweep itself.

    Raises
    ------
    RuntimeError
        If a child can't be started, or was told to end.
    """
    block = _probed_runs(url, chunk, number)[1]
    given = [url, *map(str, (chunk, threads, number))]
    with _Children([sys.executable, "-m", "cubie_dask.execution.probing", *given]) as children:
        return probed(block, children.dies)


class _Children:
    """Child processes, one at a time: the next is started when one has died."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> _Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child is not None:
            self._child.kill()
            self._reap()
        self._errors.close()

    def dies(self, box: Block) -> bool:
        """Compute a box, and tell whether the process died of it."""
        if self._child is None:
            self._start()
        if self._answer(json.dumps([box.start, box.shape])):
            return False
        code = self._reap()
        if code in _TOLD_TO_END:
            raise RuntimeError(f"A process that tries runs was told to end by signal {-code}.")
        return True

    def _start(self) -> None:
        # Its own session: a Ctrl-C in the terminal is no fault of a run.
        self._child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        if not self._answer(""):
            code = self._reap()
            self._errors.seek(0)
            said = self._errors.read()[-2000:].decode(errors="replace").strip()
            raise RuntimeError(f"A process to try runs in ended at its start, with {code}: {said}")

    def _answer(self, question: str) -> str:
        child = self._child
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            if question:
                child.stdin.write(question + "\n")
                child.stdin.flush()
            return child.stdout.readline()
        except BrokenPipeError:
            return ""

    def _reap(self) -> int:
        child, self._child = self._child, None
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        code = child.wait()
        child.stdout.close()
        with suppress(BrokenPipeError):
            child.stdin.close()
        return code


def _probed_runs(url: str, chunk: int, number: int) -> tuple[Recipe, Block]:
    """Return the runs of a chunk that are meant, as a box of a sweep."""
    store = open_store(url)
    if not number:
        return store.recipe, store.recipe.plan.block(chunk)
    from cubie_dask.repairs.retried import chosen_runs, retry_recipe
    from cubie_dask.repairs.rounds import read_rounds

    begun = read_rounds(store)[number - 1]
    runs = chosen_runs(store, begun, chunk)
    recipe = retry_recipe(store, begun.solver(store), chunk, runs)
    return recipe, Block((0,), (len(runs),))


def _child(url: str, chunk: int, threads: int, number: int) -> None:
    """Compute the boxes that are asked for on standard input, and say when each is done."""
    answers = os.fdopen(os.dup(1), "w")
    # What libraries print is no answer.
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    recipe = _probed_runs(url, chunk, number)[0]
    recipe.solver.build()

    def say(word: str) -> None:
        answers.write(f"{word}\n")
        answers.flush()

    say("ready")
    for line in sys.stdin:
        start, shape = (tuple[int, ...](numbers) for numbers in json.loads(line))
        box = Block(start, shape)
        try:
            integrate(recipe, box, (box,), threads)
        except Exception as error:
            # An exception is told of by the task that computes the chunk.
            say(f"alive after {type(error).__name__}")
        else:
            say("done")


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ORPHAN_SECONDS)
    os._exit(1)


def _main(arguments: list[Any]) -> None:
    url, *numbers = arguments
    _child(url, *map(int, numbers))


if __name__ == "__main__":
    _main(sys.argv[1:])
