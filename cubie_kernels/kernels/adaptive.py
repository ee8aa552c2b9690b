"""The integration loop with adaptive steps: a lane that ends its run takes the next one."""


def status_of(done, stuck, valid, trouble):
    """Return how runs have ended.

    ``valid`` tells whether the last step gave numbers, ``trouble`` is the status of what kept the
    equations of an implicit step from being solved, or 0.
    """
    failure = select(valid, STEP_TOO_SMALL, integers(NONFINITE))
    failure = select(trouble > 0, trouble, failure)
    return select(done, SUCCESS, select(stuck, failure, STEP_BUDGET))


def save_start(t, fresh, save_at, position, run, stride, times, y, p, o, out, *RESULTS):
    """Write the initial state of the lanes of ``fresh`` if the start is a saved time."""
    next_save = look_up(save_at, position)
    due = both(fresh, next_save <= t)
    if any_lane(due):
        store_row(times, stride, position * stride + run, due, t, y, p, o, out, *RESULTS)
        position = count_if(position, due)
        next_save = look_up(save_at, position)
    return next_save, position


def save_passed(
    t, h, t_new, due, save_at, next_save, position, run, stride, times,
    y, y_new, p, o, out, k, between, *WORK_AND_RESULTS,
):
    """Write the saved times that the step from ``t`` to ``t_new`` has passed."""
    prepare_dense(t, h, y, p, y_new, k, between, *WORK)
    while any_lane(due):
        theta = real(next_save - t) / h
        dense_output(theta, h, y, y_new, k, between, *WORK)
        at_end = next_save >= t_new
        for i in range(N):
            between[i] = select(at_end, y_new[i], between[i])
        store_row(
            times, stride, position * stride + run, due, next_save, between, p, o, out, *RESULTS
        )
        position = count_if(position, due)
        next_save = look_up(save_at, position)
        due = both(due, next_save <= t_new)
    return next_save, position


def integrate(
    control, settings, columns, values, parameters, initial, rtol, atol, save_at, *RESULTS, arena,
):
    """Integrate all runs that the shared counter in ``control`` hands out."""
    shared, persistent = open_arena(arena)
    y = LOOP_STATE
    y_new = LOOP_PROPOSED_STATE
    p = LOOP_PARAMETERS
    o = LOOP_OBSERVABLES
    out = LOOP_SAVED_VALUES
    k = STEP_DERIVATIVES
    between = STEP_ACCUMULATOR
    declare(WORK)
    runs = control[RUNS]
    stride = control[STRIDE]
    times = control[TIMES]
    t0 = settings[T0]
    t1 = settings[T1]
    dt_min = real(settings[DT_MIN])
    dt_max = real(settings[DT_MAX])
    for i in range(P):
        p[i] = real(parameters[i])
    queue = run_queue()
    nothing = integers(0)
    never = nothing < 0
    run = position = code = newton = linear = nothing
    idle = nothing < 1
    active = retry = never
    waited = 0
    tried = refused = counts(0)
    t = next_save = wide(t0)
    h = real(1.0)
    e_1 = e_2 = ratio_1 = real(0.0)
    started = False
    while any_lane(either(active, idle)):
        if refill_now(idle, active, waited):
            if started:
                t = select(both(idle, code == SUCCESS), wide(t1), t)
                store_end(
                    stride, run, idle, t, y, p, o, out, code,
                    tried - refused, refused, newton, linear, *RESULTS,
                )
                if SAVES:
                    store_missing(times, stride, run, idle, position, out, *RESULTS)
            started = True
            run = take_runs(run, idle, control, queue)
            fresh = both(idle, run < runs)
            active = either(active, fresh)
            idle = never
            waited = 0
            load_run(run, fresh, columns, values, initial, y, p)
            begin_runs(fresh, *WORK)
            t = select(fresh, wide(t0), t)
            start_derivative(t, fresh, y, p, k)
            h = select(fresh, first_step(t, settings[DT], y, p, k, y_new, rtol, atol), h)
            h = smaller(larger(h, dt_min), dt_max)
            tried = select(fresh, 0, tried)
            refused = select(fresh, 0, refused)
            newton = select(fresh, 0, newton)
            linear = select(fresh, 0, linear)
            retry = both(retry, negate(fresh))
            e_1 = select(fresh, 0.0, e_1)
            e_2 = select(fresh, 0.0, e_2)
            ratio_1 = select(fresh, 0.0, ratio_1)
            if SAVES:
                position = select(fresh, 0, position)
                next_save, position = save_start(
                    t, fresh, save_at, position, run, stride, times, y, p, o, out, *RESULTS
                )
        left = real(t1 - t)
        # A step is stretched a little rather than followed by one of a few roundings.
        last = both(active, 1.0001 * h >= left)
        step = select(last, left, h)
        q, trouble, solves, products = take_step(
            t, step, y, p, y_new, rtol, atol, active, k, between, *WORK
        )
        if TOLERANCE_POWER > 1.0:
            q = tightened(q, y, rtol, atol)
        newton = newton + select(active, solves, 0)
        linear = linear + select(active, products, 0)
        accept = both(active, both(q <= 1.0, trouble == 0))
        if RECORDS:
            record_attempt(active, run, tried, t, step, y, y_new, q, trouble, accept)
        e = log2_error(q)
        ratio = log2_ratio(accept, retry, e, e_1, e_2, ratio_1)
        ratio = select(trouble > 0, real(LOG2_UNSOLVED), ratio)
        h = smaller(step * exp2_estimate(ratio), dt_max)
        t_new = t + wide(step)
        if SAVES:
            reached = select(last, wide(t1), t_new)
            due = both(accept, next_save <= reached)
            if any_lane(due):
                next_save, position = save_passed(
                    t, step, reached, due, save_at, next_save, position, run, stride, times,
                    y, y_new, p, o, out, k, between, *WORK, *RESULTS,
                )
        t = select(accept, t_new, t)
        if PAIRED and not any_lane(negate(accept)):
            y, y_new = y_new, y
            for i in blocks(range(N)):
                k[i] = k[END * N + i]
        else:
            for i in range(N):
                y[i] = select(accept, y_new[i], y[i])
                k[i] = select(accept, k[END * N + i], k[i])
        e_2 = select(accept, e_1, e_2)
        e_1 = select(accept, e, e_1)
        ratio_1 = select(accept, ratio, ratio_1)
        retry = negate(accept)
        tried = count_if(tried, active)
        refused = count_if(refused, both(active, retry))
        done = both(accept, last)
        stuck = both(retry, either(h < dt_min, trouble == STIFF))
        ended = both(active, either(either(done, stuck), tried >= control[MAX_STEPS]))
        h = larger(h, dt_min)
        if any_lane(ended):
            valid = both(all_finite(y_new), finite(q))
            code = select(ended, status_of(done, stuck, valid, trouble), code)
            active = both(active, negate(ended))
            idle = either(idle, ended)
        waited += 1
        if stop_requested(control):
            active = idle = never
