"""The integration loop with adaptive steps: a lane that ends its run takes the next one."""


def status_of(done, stuck, valid):
    """Return how runs have ended; ``valid`` tells whether the last step gave numbers."""
    failure = select(valid, STEP_TOO_SMALL, integers(NONFINITE))
    return select(done, SUCCESS, select(stuck, failure, STEP_BUDGET))


def save_start(
    t, fresh, save_at, position, run, stride, times, states, observables, y, p, o, out,
):
    """Write the initial state of the lanes of ``fresh`` if the start is a saved time."""
    next_save = look_up(save_at, position)
    due = both(fresh, next_save <= t)
    if any_lane(due):
        store_row(
            states, observables, times, stride, position * stride + run, due, t, y, p, o, out
        )
        position = count_if(position, due)
        next_save = look_up(save_at, position)
    return next_save, position


def save_passed(
    t, h, t_new, due, save_at, next_save, position, run, stride, times,
    states, observables, y, y_new, k, p, o, between, out,
):
    """Write the saved times that the step from ``t`` to ``t_new`` has passed."""
    dense_stages(t, h, y, p, k, between)
    while any_lane(due):
        theta = real(next_save - t) / h
        dense_output(theta, h, y, y_new, k, between)
        at_end = next_save >= t_new
        for i in range(N):
            between[i] = select(at_end, y_new[i], between[i])
        store_row(
            states, observables, times, stride, position * stride + run, due,
            next_save, between, p, o, out,
        )
        position = count_if(position, due)
        next_save = look_up(save_at, position)
        due = both(due, next_save <= t_new)
    return next_save, position


def integrate(
    control, settings, columns, values, parameters, initial, rtol, atol, save_at,
    final_state, final_observables, final_time, status, accepted, rejected,
    states, observables, arena,
):
    """Integrate all runs that the shared counter in ``control`` hands out."""
    shared, persistent = open_arena(arena)
    y = LOOP_STATE
    y_new = LOOP_PROPOSED_STATE
    p = LOOP_PARAMETERS
    o = LOOP_OBSERVABLES
    out = LOOP_SAVED_VALUES
    k = ERK_STAGE_RHS
    between = ERK_STAGE_ACCUMULATOR
    runs = control[RUNS]
    stride = control[STRIDE]
    times = control[TIMES]
    most_steps = control[MAX_STEPS]
    t0 = settings[T0]
    t1 = settings[T1]
    dt_min = real(settings[DT_MIN])
    dt_max = real(settings[DT_MAX])
    for i in range(P):
        p[i] = real(parameters[i])
    queue = run_queue()
    nothing = integers(0)
    never = nothing < 0
    run = nothing
    idle = nothing < 1
    active = never
    retry = never
    waited = 0
    tried = counts(0)
    refused = counts(0)
    position = nothing
    code = nothing
    t = wide(t0)
    next_save = wide(t0)
    h = real(1.0)
    e_1 = real(0.0)
    e_2 = real(0.0)
    ratio_1 = real(0.0)
    started = False
    while any_lane(either(active, idle)):
        if refill_now(idle, active, waited):
            if started:
                t = select(both(idle, code == SUCCESS), wide(t1), t)
                store_end(
                    final_state, final_observables, final_time, status, accepted, rejected,
                    stride, run, idle, t, y, p, o, out, code, tried - refused, refused,
                )
                if SAVES:
                    store_missing(states, observables, times, stride, run, idle, position, out)
            started = True
            run = take_runs(run, idle, control, queue)
            fresh = both(idle, run < runs)
            active = either(active, fresh)
            idle = never
            waited = 0
            load_run(run, fresh, columns, values, initial, y, p)
            t = select(fresh, wide(t0), t)
            start_derivative(t, fresh, y, p, k)
            if settings[DT] > 0.0:
                h = select(fresh, real(settings[DT]), h)
            else:
                h = select(fresh, first_step(t, y, p, k, y_new, rtol, atol), h)
            h = smaller(larger(h, dt_min), dt_max)
            tried = select(fresh, 0, tried)
            refused = select(fresh, 0, refused)
            retry = both(retry, negate(fresh))
            e_1 = select(fresh, 0.0, e_1)
            e_2 = select(fresh, 0.0, e_2)
            ratio_1 = select(fresh, 0.0, ratio_1)
            if SAVES:
                position = select(fresh, 0, position)
                next_save, position = save_start(
                    t, fresh, save_at, position, run, stride, times,
                    states, observables, y, p, o, out,
                )
        left = real(t1 - t)
        last = h >= left
        step = select(last, left, h)
        erk_stages(t, step, y, p, k, y_new, between)
        q = erk_error(step, y, y_new, k, between, rtol, atol)
        accept = both(active, q <= 1.0)
        e = log2_error(q)
        ratio = log2_ratio(accept, retry, e, e_1, e_2, ratio_1)
        h = smaller(step * exp2_estimate(ratio), dt_max)
        t_new = t + wide(step)
        if SAVES:
            reached = select(last, wide(t1), t_new)
            due = both(accept, next_save <= reached)
            if any_lane(due):
                next_save, position = save_passed(
                    t, step, reached, due, save_at, next_save, position, run, stride, times,
                    states, observables, y, y_new, k, p, o, between, out,
                )
        t = select(accept, t_new, t)
        if PAIRED and not any_lane(negate(accept)):
            y, y_new = y_new, y
            for i in blocks(range(N)):
                k[i] = k[(STAGES - 1) * N + i]
        else:
            for i in range(N):
                y[i] = select(accept, y_new[i], y[i])
                k[i] = select(accept, k[(STAGES - 1) * N + i], k[i])
        e_2 = select(accept, e_1, e_2)
        e_1 = select(accept, e, e_1)
        ratio_1 = select(accept, ratio, ratio_1)
        retry = negate(accept)
        tried = count_if(tried, active)
        refused = count_if(refused, both(active, retry))
        done = both(accept, last)
        stuck = both(retry, h < dt_min)
        ended = both(active, either(either(done, stuck), tried >= most_steps))
        h = larger(h, dt_min)
        if any_lane(ended):
            valid = both(all_finite(y_new), finite(q))
            code = select(ended, status_of(done, stuck, valid), code)
            active = both(active, negate(ended))
            idle = either(idle, ended)
        waited += 1
        if stop_requested(control):
            active = never
            idle = never
