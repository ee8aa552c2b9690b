"""Results of a run from its lane to memory; the run axis is last and fastest."""


def store_state(array, row, step, index, mask, y):
    """Write the saved components of ``y``: component v to ``array[row + v * step + index]``."""
    if ALL_STATES_SAVED:
        for i in range(N):
            scatter(array, row + i * step, index, mask, y[i])
    else:
        for v in unroll(range(len(SAVED_STATES))):
            scatter(array, row + v * step, index, mask, y[SAVED_STATES[v]])


def store_observables(array, row, step, index, mask, t, y, p, o):
    """Compute the observables and write those that are saved."""
    if SAVED_OBSERVABLES:
        observe(real(t), y, p, o)
        for v in unroll(range(len(SAVED_OBSERVABLES))):
            scatter(array, row + v * step, index, mask, o[SAVED_OBSERVABLES[v]])


def store_row(states, observables, times, stride, index, mask, t, y, p, o):
    """Write one saved time of the lanes of ``mask``; ``index`` is time times stride plus run."""
    store_state(states, 0, times * stride, index, mask, y)
    store_observables(observables, 0, times * stride, index, mask, t, y, p, o)


def store_missing(states, observables, times, stride, run, mask, position):
    """Write NaN to the saved times that the lanes of ``mask`` did not reach."""
    left = both(mask, position < times)
    while any_lane(left):
        index = position * stride + run
        for v in range(len(SAVED_STATES)):
            scatter(states, v * times * stride, index, left, real(NAN))
        for v in range(len(SAVED_OBSERVABLES)):
            scatter(observables, v * times * stride, index, left, real(NAN))
        position = count_if(position, left)
        left = both(left, position < times)


def store_end(
    final_state, final_observables, final_time, status, accepted, rejected,
    stride, run, mask, t, y, p, o, code, taken, refused,
):
    """Write how the runs of the lanes of ``mask`` ended."""
    store_state(final_state, 0, stride, run, mask, y)
    store_observables(final_observables, 0, stride, run, mask, t, y, p, o)
    scatter(final_time, 0, run, mask, t)
    scatter(status, 0, run, mask, code)
    scatter(accepted, 0, run, mask, taken)
    scatter(rejected, 0, run, mask, refused)
