"""What follows when an attempt at a chunk ends: pure functions of what happened to it so far.

A chunk whose worker died is begun again. One that is there when two workers die is probed: child
processes of a worker compute halves of it, and halves of those, until the runs that kill a process
stand alone. They are marked, and the chunk is computed from the boxes that are left. The death of a
worker says nothing of the other chunks that it had in hand: they are probed as well if it happens
to them twice, and are found innocent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cubie_dask.errors import ChunkError, StorageFullError
from cubie_dask.grids.grid import Block
from cubie_dask.stores.full_disk import is_full
from cubie_kernels.errors import CubieError

if TYPE_CHECKING:
    from cubie_dask.stores.ledger import Record

__all__ = [
    "Attempt",
    "GiveUp",
    "History",
    "Probed",
    "StopSweep",
    "Task",
    "follow",
    "halves",
    "out_of_memory",
    "probed",
]

_MOST_FAULTS = 3
_DEATHS_TO_PROBE = 2
_MOST_LOST_PROBES = 5
_MOST_CUTS = 6
_DEATHS_ALONE = 2
_MOST_LOST_RUNS = 64
_CUDA_OUT_OF_MEMORY = 2


@dataclass(frozen=True)
class Task:
    """What an executor is asked to do with a chunk.

    Attributes
    ----------
    chunk : int
        Number of the chunk.
    attempt : int
        How often it has been begun, this time and probes included.
    boxes : tuple of Block, or None
        Compute it box by box, and mark the runs in none of them as lost; None is the whole chunk.
    probe : bool
        Look for the runs that kill a process, and compute nothing else.
    """

    chunk: int
    attempt: int = 1
    boxes: tuple[Block, ...] | None = None
    probe: bool = False


@dataclass(frozen=True)
class Probed:
    """What a probe found.

    Attributes
    ----------
    boxes : tuple of Block
        Boxes of the chunk that a process survived.
    lost : int
        Number of runs that killed every process that began them alone.
    ended : bool
        False if there were so many that the search was broken off.
    """

    boxes: tuple[Block, ...]
    lost: int = 0
    ended: bool = True


@dataclass(frozen=True)
class Attempt:
    """How one attempt at a chunk ended: one of the last four fields is set.

    Attributes
    ----------
    task : Task
        What was asked.
    record : Record, optional
        The chunk is finished.
    probed : Probed, optional
        The probe is.
    error : BaseException, optional
        What was raised.
    deaths : int
        How many workers died that had it in hand; 0 if one died that had others with it.
    """

    task: Task
    record: Record | None = None
    probed: Probed | None = None
    error: BaseException | None = None
    deaths: int = 0


@dataclass(frozen=True)
class History:
    """What happened to a chunk that is not finished.

    Attributes
    ----------
    faults : int
        Number of exceptions.
    deaths : int
        Number of dead workers since it was last probed or cut.
    lost_probes : int
        Number of probes that ended with their worker.
    cuts : int
        How often it was cut finer after a probe.
    boxes : tuple of Block, or None
        As in `Task`; None before a probe.
    """

    faults: int = 0
    deaths: int = 0
    lost_probes: int = 0
    cuts: int = 0
    boxes: tuple[Block, ...] | None = None


@dataclass(frozen=True)
class GiveUp:
    """The sweep goes on without the chunk."""

    error: Exception


@dataclass(frozen=True)
class StopSweep:
    """The sweep can't go on."""

    error: Exception


def follow(
    history: History, ended: Attempt, where: str
) -> tuple[History, Task | GiveUp | StopSweep]:
    """Return what to do after an attempt that did not finish its chunk.

    Parameters
    ----------
    history : History
        What happened to the chunk before.
    ended : Attempt
        How the attempt ended.
    where : str
        The store, for messages.
    """
    if ended.probed is not None:
        return _after_probe(history, ended.task, ended.probed, where)
    if ended.error is not None:
        return _after_error(history, ended.task, ended.error, where)
    return _after_death(history, ended.task, ended.deaths, where)


def probed(block: Block, dies: Callable[[Block], bool]) -> Probed:
    """Find the runs of a block that kill a process, by halves.

    Parameters
    ----------
    block : Block
        The runs of a chunk.
    dies : callable
        Computes a box in a process of its own, and tells whether that died of it.

    Returns
    -------
    Probed
        A single run is lost when it killed a process alone, twice more than to be suspected.
    """
    good: list[Block] = []
    waiting, lost = [block], 0
    while waiting:
        box = waiting.pop()
        if not dies(box):
            good.append(box)
        elif box.runs > 1:
            waiting.extend(reversed(halves(box)))
        elif all(dies(box) for _ in range(_DEATHS_ALONE)):
            lost += 1
            if lost > _MOST_LOST_RUNS:
                return Probed((), lost, ended=False)
        else:
            good.append(box)
    return Probed(tuple(good), lost)


def halves(box: Block) -> tuple[Block, Block]:
    """Cut a box of two runs or more along its longest dimension, the first of equal ones."""
    length = max(box.shape)
    axis = box.shape.index(length)
    first = length // 2

    def part(start: int, count: int) -> Block:
        return Block(
            (*box.start[:axis], box.start[axis] + start, *box.start[axis + 1 :]),
            (*box.shape[:axis], count, *box.shape[axis + 1 :]),
        )

    return part(0, first), part(first, length - first)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether smaller pieces may help: the memory of this machine or of a device is full."""
    if isinstance(error, MemoryError):
        return True
    # Of numba's CUDA driver, which isn't imported where there is none.
    is_cuda = type(error).__name__ == "CudaAPIError"
    return is_cuda and getattr(error, "code", None) == _CUDA_OUT_OF_MEMORY


def _after_error(
    history: History, task: Task, error: BaseException, where: str
) -> tuple[History, Task | GiveUp | StopSweep]:
    if is_full(error):
        full = StorageFullError(
            f"No room left for chunk {task.chunk} in {where}. All finished chunks are kept: make "
            "room and run the same sweep on the same store to do the rest."
        )
        return history, StopSweep(full)
    if isinstance(error, CubieError):
        # It would come again.
        return history, StopSweep(error)
    history = replace(history, faults=history.faults + 1)
    if history.faults < _MOST_FAULTS:
        return history, replace(task, attempt=task.attempt + 1)
    what = f"failed {history.faults} times, at last with {type(error).__name__}: {error}"
    return history, _given_up(task, what, where)


def _after_death(
    history: History, task: Task, deaths: int, where: str
) -> tuple[History, Task | GiveUp | StopSweep]:
    again = replace(task, attempt=task.attempt + 1)
    if task.probe:
        history = replace(history, lost_probes=history.lost_probes + 1)
        if history.lost_probes < _MOST_LOST_PROBES:
            return history, again
        return history, _given_up(
            task, f"was in hand when workers died, and so were {history.lost_probes} probes", where
        )
    history = replace(history, deaths=history.deaths + deaths)
    if history.deaths < _DEATHS_TO_PROBE:
        return history, again
    history = replace(history, deaths=0)
    if history.boxes is None:
        return history, replace(again, probe=True)
    finer = tuple(
        part for box in history.boxes for part in (halves(box) if box.runs > 1 else (box,))
    )
    if history.cuts == _MOST_CUTS or finer == history.boxes:
        return history, _given_up(
            task,
            "kills workers, although processes of their own survived its runs: give workers more "
            "memory, or chunks fewer runs",
            where,
        )
    history = replace(history, boxes=finer, cuts=history.cuts + 1)
    return history, replace(again, boxes=finer)


def _after_probe(
    history: History, task: Task, found: Probed, where: str
) -> tuple[History, Task | GiveUp | StopSweep]:
    if not found.ended:
        what = f"has more than {_MOST_LOST_RUNS} runs that kill the process that computes them"
        return history, _given_up(task, what, where)
    history = replace(history, boxes=found.boxes, deaths=0)
    return history, Task(task.chunk, task.attempt + 1, found.boxes)


def _given_up(task: Task, what: str, where: str) -> GiveUp:
    return GiveUp(
        ChunkError(
            f"Chunk {task.chunk} of {where} {what}. All finished chunks are kept: once the cause "
            "is gone, run the same sweep on the same store to do the rest."
        )
    )
