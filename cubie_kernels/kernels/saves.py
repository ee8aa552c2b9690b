"""Results of a run from its lane to memory; the run axis is last and fastest."""


def store_state(array, step, index, mask, y, out):
    """Write the saved components of ``y``: component v to ``array[v * step + index]``."""
    if ALL_STATES_SAVED:
        for i in range(N):
            out[i] = y[i]
    else:
        for v in unroll(range(len(SAVED_STATES))):
            out[v] = y[SAVED_STATES[v]]
    scatter_rows(array, step, index, mask, out, len(SAVED_STATES))


def store_observables(array, step, index, mask, t, y, p, o, out):
    """Compute the observables and write those that are saved."""
    if SAVED_OBSERVABLES:
        observe(real(t), y, p, o)
        for v in unroll(range(len(SAVED_OBSERVABLES))):
            out[v] = o[SAVED_OBSERVABLES[v]]
        scatter_rows(array, step, index, mask, out, len(SAVED_OBSERVABLES))


def store_row(times, stride, index, mask, t, y, p, o, out, *RESULTS):
    """Write one saved time of the lanes of ``mask``; ``index`` is time times stride plus run."""
    store_state(states, times * stride, index, mask, y, out)
    store_observables(observables, times * stride, index, mask, t, y, p, o, out)


def store_missing(times, stride, run, mask, position, out, *RESULTS):
    """Write NaN to the saved times that the lanes of ``mask`` did not reach."""
    for v in range(len(SAVED_STATES)):
        out[v] = real(NAN)
    for v in range(len(SAVED_OBSERVABLES)):
        out[v] = real(NAN)
    left = both(mask, position < times)
    while any_lane(left):
        index = position * stride + run
        scatter_rows(states, times * stride, index, left, out, len(SAVED_STATES))
        scatter_rows(observables, times * stride, index, left, out, len(SAVED_OBSERVABLES))
        position = count_if(position, left)
        left = both(left, position < times)


def store_end(
    stride, run, mask, t, y, p, o, out, code, taken, refused, newton, linear, *RESULTS,
):
    """Write how the runs of the lanes of ``mask`` ended."""
    store_state(final_state, stride, run, mask, y, out)
    store_observables(final_observables, stride, run, mask, t, y, p, o, out)
    scatter(final_time, run, mask, t)
    scatter(status, run, mask, code)
    scatter(accepted, run, mask, taken)
    scatter(rejected, run, mask, refused)
    if IMPLICIT:
        scatter(newton_iterations, run, mask, newton)
        scatter(linear_iterations, run, mask, linear)
