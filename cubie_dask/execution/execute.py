"""Runs the chunks of a sweep through an executor, a few at a time, and follows up failed ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from cubie_dask.errors import ChunkError
from cubie_dask.execution.policy import Attempt, GiveUp, History, StopSweep, Task, follow
from cubie_dask.execution.stopping import Stopping
from cubie_dask.execution.worker import compute_chunk, write_chunk
from cubie_dask.progress.events import ChunkFailed, ChunkFinished, ChunkProbed, Event, SweepStopping
from cubie_dask.stores.ledger import Record
from cubie_dask.stores.store import SweepStore

__all__ = ["Executor", "InProcess", "drive"]

# So many chunks that fail for good are no matter of single chunks.
_MOST_GIVEN_UP = 3


class Executor(Protocol):
    """What runs chunks: this process or a cluster."""

    def slots(self) -> int:
        """Return how many tasks may be in hand now."""
        ...

    def ahead(self) -> int:
        """Return how many chunks one thread may have to end once no more are given to it."""
        ...

    def submit(self, task: Task) -> None:
        """Take a task in hand."""
        ...

    def wait(self) -> list[Attempt]:
        """Make progress, and return attempts that ended since the last call, if any."""
        ...

    def drop(self) -> int:
        """Give back the tasks that are not begun, and return how many those were."""
        ...

    def close(self) -> None:
        """Finish or give up what is in hand; nothing is half written in the ledger's eyes."""
        ...


def drive(
    executor: Executor,
    chunks: Iterable[int],
    tell: Callable[[Event], None],
    where: str,
    stopping: Stopping | None = None,
) -> str | None:
    """Run chunks until all are finished, it is asked to stop, or it can't go on.

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
    stopping : Stopping, optional
        Asked before each chunk is taken.

    Returns
    -------
    str or None
        Why it stopped before all chunks were taken, if it did.

    Raises
    ------
    CubieError
        As `follow` says; ChunkError at the end if chunks had to be left, or at once if they are
        too many.
    """
    try:
        return _Drive(executor, chunks, tell, where, stopping or Stopping()).run()
    finally:
        executor.close()


class _Drive:
    """The state of `drive`: what is in hand, and the chunks in trouble."""

    def __init__(
        self,
        executor: Executor,
        chunks: Iterable[int],
        tell: Callable[[Event], None],
        where: str,
        stopping: Stopping,
    ) -> None:
        self._executor, self._tell, self._where = executor, tell, where
        self._stopping = stopping
        self._fresh = (Task(chunk) for chunk in chunks)
        self._again: deque[Task] = deque()
        self._troubled: dict[int, History] = {}
        self._left: list[tuple[int, Exception]] = []
        self._flying = 0
        self._told_of_stop = False

    def run(self) -> str | None:
        while True:
            reason = self._stopping.reason(self._executor.ahead())
            if reason is None:
                self._fill()
            elif self._flying:
                self._flying -= self._executor.drop()
                self._tell_of_stop(reason)
            if not self._flying:
                if self._left:
                    raise _left_out(self._left)
                return reason
            for ended in self._executor.wait():
                self._flying -= 1
                self._note(ended)

    def _fill(self) -> None:
        for _ in range(self._executor.slots() - self._flying):
            task = self._again.popleft() if self._again else next(self._fresh, None)
            if task is None:
                break
            self._executor.submit(task)
            self._flying += 1

    def _tell_of_stop(self, reason: str) -> None:
        if not self._told_of_stop:
            self._told_of_stop = True
            self._tell(SweepStopping(reason, self._flying))

    def _note(self, ended: Attempt) -> None:
        chunk = ended.task.chunk
        if ended.record is not None:
            self._troubled.pop(chunk, None)
            self._stopping.note(ended.record.compute_seconds + ended.record.write_seconds)
            self._tell(ChunkFinished(ended.record))
            return
        history = self._troubled.get(chunk, History())
        self._troubled[chunk], step = follow(history, ended, self._where)
        if ended.probed is not None:
            self._tell(ChunkProbed(chunk, ended.task.attempt, ended.probed.lost))
        else:
            error = repr(ended.error) if ended.error is not None else "its worker died"
            retried = isinstance(step, Task)
            follows = _follows(step)
            self._tell(ChunkFailed(chunk, ended.task.attempt, error, retried, follows))
        if isinstance(step, Task):
            self._again.append(step)
            return
        if isinstance(step, StopSweep):
            raise step.error from (None if step.error is ended.error else ended.error)
        self._troubled.pop(chunk)
        step.error.__cause__ = ended.error
        self._left.append((chunk, step.error))
        if len(self._left) == _MOST_GIVEN_UP:
            raise _left_out(self._left)


def _follows(step: Task | GiveUp | StopSweep) -> str:
    if isinstance(step, StopSweep):
        return "the sweep stops"
    if isinstance(step, GiveUp):
        return "the sweep goes on without it"
    if step.probe:
        return "its runs are tried in processes of their own"
    return "it is begun again"


def _left_out(left: list[tuple[int, Exception]]) -> Exception:
    first = left[0][1]
    if len(left) == 1:
        return first
    chunks = ", ".join(str(chunk) for chunk, _ in left)
    error = ChunkError(f"{len(left)} chunks ({chunks}) can't be computed. The first: {first}")
    error.__cause__ = first.__cause__
    return error


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
        self._queue: deque[Task] = deque()
        self._writing: dict[Future[Record], Task] = {}
        writers = min(8, max(2, available_threads()))
        self._most_writing = writers + 1
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="cubie-write")

    def slots(self) -> int:
        """Return room for one chunk that is computed and those that are written."""
        return 1 + self._most_writing

    def ahead(self) -> int:
        """Return 1: it is asked between chunks."""
        return 1

    def submit(self, task: Task) -> None:
        """Queue a chunk."""
        self._queue.append(task)

    def wait(self) -> list[Attempt]:
        """Compute the next chunk, or else wait for one to be written."""
        if not self._queue or len(self._writing) >= self._most_writing:
            wait(self._writing, return_when=FIRST_COMPLETED)
        else:
            task = self._queue.popleft()
            try:
                computed = compute_chunk(self._store, task.chunk, self._threads, task.boxes)
            except Exception as error:
                return [Attempt(task, error=error)]
            written = self._writers.submit(write_chunk, self._store, computed, task.attempt)
            self._writing[written] = task
        return [self._ended(future) for future in [f for f in self._writing if f.done()]]

    def _ended(self, future: Future[Record]) -> Attempt:
        task = self._writing.pop(future)
        error = future.exception()
        return Attempt(task, record=future.result() if error is None else None, error=error)

    def drop(self) -> int:
        """Empty the queue."""
        count = len(self._queue)
        self._queue.clear()
        return count

    def close(self) -> None:
        """Let the chunks that are computed be written, and drop the others."""
        self._queue.clear()
        self._writers.shutdown(wait=True)
