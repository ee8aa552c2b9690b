"""Runs the chunks of a sweep through an executor, a few at a time, and retries failed ones."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from cubie_dask.errors import ChunkError, StorageFullError
from cubie_dask.ledger import Record
from cubie_dask.progress import ChunkFailed, ChunkFinished, Event
from cubie_dask.store import SweepStore
from cubie_dask.worker import compute_chunk, write_chunk
from cubie_kernels.errors import CubieError

__all__ = ["Attempt", "Executor", "InProcess", "drive", "final_error"]

_MOST_ATTEMPTS = 3


@dataclass(frozen=True)
class Attempt:
    """How one attempt at a chunk ended: with a record or with an error."""

    chunk: int
    attempt: int
    record: Record | None = None
    error: BaseException | None = None


class Executor(Protocol):
    """What runs chunks: this process or a cluster."""

    def slots(self) -> int:
        """Return how many chunks may be in hand now."""
        ...

    def submit(self, chunk: int, attempt: int) -> None:
        """Take a chunk in hand."""
        ...

    def wait(self) -> list[Attempt]:
        """Make progress, and return attempts that ended since the last call, if any."""
        ...

    def close(self) -> None:
        """Finish or give up what is in hand; nothing is half written in the ledger's eyes."""
        ...


def drive(
    executor: Executor, chunks: Iterable[int], tell: Callable[[Event], None], where: str
) -> None:
    """Run chunks until all are finished or one cannot be.

    Parameters
    ----------
    executor : Executor
        What runs them; it is closed at the end, however that comes.
    chunks : iterable of int
        The chunks to run, taken one by one.
    tell : callable
        Told of each attempt that ends.
    where : str
        The store, for messages.

    Raises
    ------
    CubieError
        As `final_error` says.
    """
    fresh = ((chunk, 1) for chunk in chunks)
    again: deque[tuple[int, int]] = deque()
    flying = 0
    try:
        while True:
            for _ in range(executor.slots() - flying):
                task = again.popleft() if again else next(fresh, None)
                if task is None:
                    break
                executor.submit(*task)
                flying += 1
            if not flying:
                return
            for ended in executor.wait():
                flying -= 1
                if ended.record is not None:
                    tell(ChunkFinished(ended.record))
                    continue
                assert ended.error is not None
                final = final_error(ended, where)
                tell(ChunkFailed(ended.chunk, ended.attempt, repr(ended.error), final is None))
                if final is not None:
                    raise final from ended.error
                again.append((ended.chunk, ended.attempt + 1))
    finally:
        executor.close()


def final_error(ended: Attempt, where: str, most: int = _MOST_ATTEMPTS) -> Exception | None:
    """Return the error that ends the sweep after a failed attempt, or None to try again.

    A full disk ends it at once, and so do errors of this project, which would come again. Any
    other error is given `most` attempts.
    """
    error = ended.error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(
            f"No room left for chunk {ended.chunk} in {where}. All finished chunks are kept: make "
            "room and run the same sweep on the same store to do the rest."
        )
    if isinstance(error, CubieError):
        return error
    if ended.attempt < most:
        return None
    return ChunkError(
        f"Chunk {ended.chunk} of {where} failed {ended.attempt} times, at last with "
        f"{type(error).__name__}: {error}. All finished chunks are kept: once the cause is gone, "
        "run the same sweep on the same store to do the rest."
    )


class InProcess:
    """Runs chunks in this process: the kernel on all cores, while other threads write.

    One thread cannot keep up with compressing what a fast kernel makes, so there are as many as
    cores, to eight; one more finished chunk may wait for them.

    Parameters
    ----------
    store : SweepStore
        The sweep.
    threads : int, optional
        Threads of the kernel. Default: one for each core that this process may use.
    """

    def __init__(self, store: SweepStore, threads: int | None = None) -> None:
        from cubie_kernels.run.execute import available_threads

        # Before the first chunk, so that its time is that of its runs.
        store.recipe.solver.build()
        self._store, self._threads = store, threads
        self._queue: deque[tuple[int, int]] = deque()
        self._writing: dict[Future[Record], tuple[int, int]] = {}
        writers = min(8, max(2, available_threads()))
        self._most_writing = writers + 1
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="cubie-write")

    def slots(self) -> int:
        """Return room for one chunk that is computed and those that are written."""
        return 1 + self._most_writing

    def submit(self, chunk: int, attempt: int) -> None:
        """Queue a chunk."""
        self._queue.append((chunk, attempt))

    def wait(self) -> list[Attempt]:
        """Compute the next chunk, or else wait for one to be written."""
        if not self._queue or len(self._writing) >= self._most_writing:
            wait(self._writing, return_when=FIRST_COMPLETED)
        else:
            chunk, attempt = self._queue.popleft()
            try:
                computed = compute_chunk(self._store, chunk, self._threads)
            except Exception as error:
                return [Attempt(chunk, attempt, error=error)]
            written = self._writers.submit(write_chunk, self._store, computed, attempt)
            self._writing[written] = (chunk, attempt)
        return [self._ended(future) for future in [f for f in self._writing if f.done()]]

    def _ended(self, future: Future[Record]) -> Attempt:
        chunk, attempt = self._writing.pop(future)
        error = future.exception()
        record = future.result() if error is None else None
        return Attempt(chunk, attempt, record, error)

    def close(self) -> None:
        """Let the chunks that are computed be written, and drop the others."""
        self._queue.clear()
        self._writers.shutdown(wait=True)
