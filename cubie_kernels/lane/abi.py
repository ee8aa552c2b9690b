"""What host code hands to a kernel: the arrays, and the places of the numbers in them."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ENTRY", "RESULTS", "Control", "Setting"]

# The arrays that the entry of every kernel takes, in order, and their elements. A real has the
# precision of the state.
_ARRAYS = {
    "control": "int64",
    "settings": "float64",
    "columns": "int64",
    "values": "real",
    "parameters": "real",
    "initial": "real",
    "rtol": "real",
    "atol": "real",
    "save_at": "float64",
}
_RESULTS = {
    "final_state": "real",
    "final_observables": "real",
    "final_time": "float64",
    "status": "uint8",
    "accepted": "int32",
    "rejected": "int32",
    "newton_iterations": "int32",
    "linear_iterations": "int32",
    "states": "real",
    "observables": "real",
}
ENTRY = (*_ARRAYS.values(), *_RESULTS.values(), "real")  # the last is the scratch arena
RESULTS = tuple(_RESULTS)


class Control(IntEnum):
    """64-bit integers shared by all threads of a call."""

    NEXT = 0  # the next run to hand out
    STOP = 1  # not 0 asks all threads to return
    RUNS = 2  # number of runs
    STRIDE = 3  # runs in a row of the results
    CHUNK = 4  # most runs that a thread takes at a time
    TIMES = 5  # number of saved times
    MAX_STEPS = 6  # attempted steps that a run may use
    FULL_STEPS = 7  # steps of the full length, when the step is fixed
    PART_STEPS = 8  # 1 if a shorter step completes the span
    SHARE = 9  # a thread takes one part in so many of the runs that are left


class Setting(IntEnum):
    """64-bit reals of a call."""

    T0 = 0
    T1 = 1
    DT = 2  # the step, or the first step; 0 asks for a guess
    DT_MIN = 3
    DT_MAX = 4
    DT_PART = 5  # length of the shorter last step, when the step is fixed
