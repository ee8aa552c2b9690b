"""The integration loop with fixed steps: all lanes of a register take the same ones.

A state that is infinite or undefined stays so. The steps are therefore looked at block by block;
only when a lane was lost in a block, the block is done again with a look at every step, to find the
last good state.
"""


def save_passed(
    t, h, t_new, alive, save_at, saved, run, stride, times,
    y, y_new, p, o, out, k, between, *WORK_AND_RESULTS,
):
    """Write the saved times that the step from ``t`` to ``t_new`` has passed; return the next."""
    prepare_dense(t, h, y, p, y_new, k, between, *WORK)
    while saved < times and save_at[saved] <= t_new:
        theta = real(save_at[saved] - t) / h
        dense_output(theta, h, y, y_new, k, between, *WORK)
        if save_at[saved] >= t_new:
            for i in range(N):
                between[i] = y_new[i]
        store_row(
            times, stride, saved * stride + run, alive, save_at[saved], between, p, o, out, *RESULTS
        )
        saved += 1
    return saved


def integrate(
    control, settings, columns, values, parameters, initial, rtol, atol, save_at, *RESULTS, arena,
):
    """Integrate all runs that the shared counter in ``control`` hands out."""
    shared, persistent = open_arena(arena)
    y = LOOP_STATE
    y_new = LOOP_PROPOSED_STATE
    y_last = LOOP_LAST_STATE
    kept = LOOP_KEPT_STATE
    p = LOOP_PARAMETERS
    o = LOOP_OBSERVABLES
    out = LOOP_SAVED_VALUES
    k = STEP_DERIVATIVES
    between = STEP_ACCUMULATOR
    declare(WORK)
    runs = control[RUNS]
    stride = control[STRIDE]
    times = control[TIMES]
    all_steps = control[FULL_STEPS] + control[PART_STEPS]
    for i in range(P):
        p[i] = real(parameters[i])
    queue = run_queue()
    nothing = integers(0)
    run = take_runs(nothing, nothing < 1, control, queue)
    alive = run < runs
    while any_lane(alive):
        load_run(run, alive, columns, values, initial, y, p)
        t = settings[T0]
        start_derivative(t, alive, y, p, k)
        saved = 0
        newton = nothing
        linear = nothing
        if SAVES:
            while saved < times and save_at[saved] <= t:
                store_row(
                    times, stride, saved * stride + run, alive, t, y, p, o, out, *RESULTS
                )
                saved += 1
        first = 0
        while first < all_steps:
            # The shorter step that may complete the span makes a block of its own.
            part = first >= control[FULL_STEPS]
            h = uniform(settings[DT_PART] if part else settings[DT])
            end = all_steps if part else min(first + BLOCK, control[FULL_STEPS])
            t_first = t
            saved_first = saved
            newton_first = newton
            linear_first = linear
            for i in range(N):
                kept[i] = y[i]
                kept[N + i] = k[i]
            looks = 0
            while looks < 2:
                # Nothing is kept from block to block, so that a second look sees the same.
                begin_runs(alive, *WORK)
                if RECORDS:
                    record_block(looks > 0)
                for s in range(first, end):
                    t_new = settings[T0] + (s + 1) * settings[DT]
                    if s + 1 >= all_steps:
                        t_new = settings[T1]
                    if looks:
                        for i in range(N):
                            y_last[i] = y[i]
                    # A state that the equations of an implicit step do not give is undefined.
                    q, trouble, solves, products = take_step(
                        t, h, y, p, y_new, rtol, atol, alive, k, between, *WORK
                    )
                    newton = newton + select(alive, solves, 0)
                    linear = linear + select(alive, products, 0)
                    if IMPLICIT:
                        for i in range(N):
                            y_new[i] = select(trouble > 0, real(NAN), y_new[i])
                    if RECORDS:
                        record_attempt(alive, run, s, t, h, y, y_new, q, trouble, all_finite(y_new))
                    if looks:
                        lost = both(alive, negate(all_finite(y_new)))
                        if any_lane(lost):
                            code = select(trouble > 0, trouble, NONFINITE)
                            store_end(
                                stride, run, lost, t, y_last, p, o, out, code,
                                integers(s), integers(0), newton, linear, *RESULTS,
                            )
                            if SAVES:
                                store_missing(
                                    times, stride, run, lost, integers(saved), out, *RESULTS
                                )
                            alive = both(alive, negate(lost))
                    if SAVES and saved < times and save_at[saved] <= t_new:
                        saved = save_passed(
                            t, h, t_new, alive, save_at, saved, run, stride, times,
                            y, y_new, p, o, out, k, between, *WORK, *RESULTS,
                        )
                    t = t_new
                    for i in range(N):
                        y[i] = y_new[i]
                        k[i] = k[END * N + i]
                looks += 1
                if any_lane(both(alive, negate(all_finite(y)))):
                    t = t_first
                    saved = saved_first
                    newton = newton_first
                    linear = linear_first
                    for i in range(N):
                        y[i] = kept[i]
                        k[i] = kept[N + i]
                else:
                    looks = 2
            if stop_requested(control):
                return
            first = end if any_lane(alive) else all_steps
        store_end(
            stride, run, alive, t, y, p, o, out, SUCCESS,
            integers(all_steps), integers(0), newton, linear, *RESULTS,
        )
        run = take_runs(run, run >= 0, control, queue)
        alive = run < runs
