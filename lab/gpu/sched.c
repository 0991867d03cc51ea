/*
 * The scheduler: which context runs on which engine, and for how long.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each engine has a clock of its own in nanoseconds of QEMU_CLOCK_VIRTUAL.
 * A command costs a fixed engine time, independent of the host time that its
 * emulation takes.  The slices of functions and contexts are counted in engine
 * time.  So equal quanta give equal rates on a busy host, too.  An engine runs
 * until its clock is LEAD ahead of the virtual clock.  Then it waits until the
 * next tick.
 */
#include "gpu.h"

#define TICK            SCALE_MS
#define LEAD            (500 * SCALE_US)
#define MAX_DRAIN       (500 * SCALE_MS)
#define DRAIN_BUDGET    1000000         /* commands of a context in one sched_drain() */
#define CMD_BUDGET      20000           /* commands of one engine in one sched_run() */
#define CTX_QUANTUM     SCALE_MS        /* when the driver has set none */
#define NEVER           INT64_MAX

static const GpuEngine templates[ENGINES] = {
    { .name = "rcs0", .gclass = CLASS_RENDER, .instance = 0, .base = 0x002000, .irq_bit = 0 },
    { .name = "bcs0", .gclass = CLASS_COPY, .instance = 0, .base = 0x022000, .irq_bit = 15 },
    { .name = "bcs8", .gclass = CLASS_COPY, .instance = 1, .base = 0x3ee000, .irq_bit = 23 },
    { .name = "ccs0", .gclass = CLASS_COMPUTE, .instance = 0, .base = 0x01a000, .irq_bit = 4 },
    { .name = "vcs0", .gt = 1, .gclass = CLASS_VIDEO, .instance = 0, .base = 0x1c0000, .irq_bit = 32 },
    { .name = "vecs0", .gt = 1, .gclass = CLASS_VIDEO_ENHANCE, .instance = 0, .base = 0x1c8000, .irq_bit = 63 },
};

void sched_init(GpuState *s)
{
    for (int i = 0; i < ENGINES; i++) {
        s->engine[i] = templates[i];
        s->engine[i].idx = i;
        s->engine[i].slice_fn = -1;
        s->engine[i].rests = true;
        QTAILQ_INIT(&s->engine[i].list);
    }
}

void sched_reset(GpuState *s, uint32_t gt)
{
    for (int i = 0; i < ENGINES; i++) {
        GpuEngine *e = &s->engine[i];

        if (e->gt != gt) {
            continue;
        }
        assert(QTAILQ_EMPTY(&e->list) && !e->cur);
        e->t = 0;
        e->rests = true;
        e->slice_fn = -1;
        e->slice_end = e->ctx_end = e->preempt_at = 0;
    }
    sched_kick(s);           /* sched_run() then stops the timer if nothing is to be done */
}

void sched_kick(GpuState *s)
{
    qemu_bh_schedule(s->bh);
}

/* Reports whether a context may run.  A context whose semaphore was closed checks it again after TICK / 4. */
static bool ctx_ready(GpuEngine *e, GpuCtx *c)
{
    return !c->faulted && (c->polled < 0 || e->t - c->polled >= TICK / 4);
}

/* Returns the context of a function to run next: highest priority first, then the order of the list. */
static GpuCtx *best_ctx(GpuState *s, GpuEngine *e, uint32_t fn)
{
    GpuCtx *c, *best = NULL;

    if (!fn_runs(&s->fn[fn])) {
        return NULL;
    }
    QTAILQ_FOREACH(c, &e->list, next) {
        if (c->fn == fn && ctx_ready(e, c) && (!best || c->prio < best->prio)) {
            best = c;
        }
    }
    return best;
}

static int64_t fn_quantum(GpuState *s, uint32_t fn)
{
    return s->fn[fn].eq_ms * (int64_t)SCALE_MS * fault_quantum_factor(s, &s->fn[fn]);
}

/* Reports whether a function keeps its slice to the end even without work. */
static bool keeps_slice(GpuState *s, uint32_t fn)
{
    return s->fn[fn].prio == FN_PRIO_NORMAL || fault_quantum_factor(s, &s->fn[fn]) > 1;
}

/* Returns the i-th function after from on the engine's GT. */
static int fn_after(const GpuEngine *e, int from, int i)
{
    return e->gt * GPU_FNS + (from + i) % GPU_FNS;
}

/*
 * Returns the function that gets the next slice, or -1 if no function has
 * work.  Functions of high priority with work come first.  Functions of normal
 * priority get their slice even without work.
 */
static int next_fn(GpuState *s, GpuEngine *e)
{
    int from = e->slice_fn < 0 ? 0 : e->slice_fn;
    bool work = false;

    for (int i = 1; i <= GPU_FNS; i++) {
        int f = fn_after(e, from, i);

        if (best_ctx(s, e, f)) {
            work = true;
            if (s->fn[f].prio == FN_PRIO_HIGH) {
                return f;
            }
        }
    }
    for (int i = 1; work && i <= GPU_FNS; i++) {
        int f = fn_after(e, from, i);

        if (best_ctx(s, e, f) ||
            (keeps_slice(s, f) && fn_quantum(s, f) && fn_runs(&s->fn[f]) && s->fn[f].ct_on)) {
            return f;
        }
    }
    return -1;
}

static bool others_wait(GpuState *s, GpuEngine *e, uint32_t fn)
{
    GpuCtx *c;

    QTAILQ_FOREACH(c, &e->list, next) {
        if (c->fn != fn && fn_runs(&s->fn[c->fn]) && ctx_ready(e, c)) {
            return true;
        }
    }
    return false;
}

static void start_slice(GpuState *s, GpuEngine *e, int fn)
{
    e->slice_fn = fn;
    e->slice_end = fn >= 0 && fn_quantum(s, fn) ? e->t + fn_quantum(s, fn) : NEVER;
}

/* Chooses the context to run now.  Returns false if no context can run. */
static bool pick(GpuState *s, GpuEngine *e, int64_t limit)
{
    for (;;) {
        GpuCtx *c;
        int f;

        if (e->slice_fn >= 0 && e->t < e->slice_end) {
            c = best_ctx(s, e, e->slice_fn);
            if (c) {
                e->cur = c;
                e->ctx_end = e->t + (c->eq_us ? c->eq_us * (int64_t)SCALE_US : CTX_QUANTUM);
                e->preempt_at = 0;
                return true;
            }
            /* the idle slice of a function that keeps it passes while other functions wait */
            if (keeps_slice(s, e->slice_fn) && e->slice_end != NEVER &&
                others_wait(s, e, e->slice_fn)) {
                e->t = MIN(e->slice_end, limit);
                if (e->t < e->slice_end) {
                    return false;
                }
            }
        }
        f = next_fn(s, e);
        if (f < 0) {
            e->slice_fn = -1;
            return false;
        }
        start_slice(s, e, f);
    }
}

/*
 * Returns when cur has to leave the engine: 0 means now, NEVER means that no
 * other context waits for its place.  *timeout becomes cur's preemption timeout
 * in us.
 */
static int64_t room_at(GpuState *s, GpuEngine *e, uint32_t *timeout)
{
    GpuCtx *c = e->cur, *best = best_ctx(s, e, c->fn);
    int64_t at = NEVER;

    *timeout = c->pt_us;
    if (!c->enabled || (best && best->prio < c->prio)) {
        return 0;
    }
    if (e->slice_end != NEVER && others_wait(s, e, c->fn)) {
        at = e->slice_end;
        *timeout = s->fn[c->fn].pt_us;
    }
    if (e->ctx_end < at) {
        GpuCtx *o;

        QTAILQ_FOREACH(o, &e->list, next) {
            if (o != c && o->fn == c->fn && o->prio == c->prio && ctx_ready(e, o)) {
                *timeout = c->pt_us;
                return e->ctx_end;
            }
        }
    }
    return at;
}

static void to_tail(GpuEngine *e, GpuCtx *c)
{
    QTAILQ_REMOVE(&e->list, c, next);
    QTAILQ_INSERT_TAIL(&e->list, c, next);
}

/* Takes cur off the engine.  cur goes to the end of the engine's list, or off the list if it is being disabled. */
static void preempt(GpuState *s, GpuEngine *e)
{
    GpuCtx *c = e->cur;

    ctx_engine_off(e);
    to_tail(e, c);
    if (c->disabling) {
        ctx_unqueue(s, c);
        ctx_mode_done(s, c, 0);
    }
}

/* Handles the result of a run of cur.  late: the preemption timeout has passed. */
static void engine_ran(GpuState *s, GpuEngine *e, CsResult r, bool late)
{
    GpuCtx *c = e->cur;

    switch (r) {
    case CS_IDLE:
        ctx_unqueue(s, c);
        if (c->disabling) {
            ctx_mode_done(s, c, 0);
        }
        break;
    case CS_WAIT:
        c->polled = e->t;
        preempt(s, e);
        break;
    case CS_PREEMPTED:
        preempt(s, e);
        break;
    case CS_FAULT:
        ctx_reset(s, c, e, true);
        break;
    case CS_PAGE_FAULT:
        preempt(s, e);
        if (c->queued) {
            ctx_page_fault(s, c);
        }
        break;
    case CS_TIME:
        if (late) {
            gpu_trace(s, TRACE_ODD, "%s: context %u of function %u did not make room", e->name, c->id, c->fn);
            ctx_reset(s, c, e, false);
        }
        break;
    }
}

/*
 * Takes a function that is about to be paused off the engines.  A context that
 * is not preempted within the function's preemption timeout is reset.  Without
 * a timeout, or with one longer than MAX_DRAIN, the context stops in the middle
 * of a batch.
 */
void sched_drain(GpuState *s, GpuFn *fn)
{
    for (int i = 0; i < ENGINES; i++) {
        GpuEngine *e = &s->engine[i];
        int64_t end = e->t + fn->pt_us * (int64_t)SCALE_US;
        CsResult r;

        if (!e->cur || &s->fn[e->cur->fn] != fn || !fn->pt_us || fn->pt_us * (int64_t)SCALE_US > MAX_DRAIN) {
            continue;
        }
        r = s->fault.hang_work >> fn->idx & 1 ? CS_TIME : cs_run(s, e, e->cur, end, true, DRAIN_BUDGET);
        if (r == CS_TIME && e->t < end) {
            e->t = end;                  /* hung, or its budget is used up: it would run until the timeout */
        }
        engine_ran(s, e, r, true);
    }
}

static void engine_step(GpuState *s, GpuEngine *e, int64_t limit, int *budget)
{
    GpuCtx *c = e->cur;
    uint32_t timeout;
    int64_t at = room_at(s, e, &timeout), t0 = e->t, until = limit;
    bool want = e->t >= at;
    CsResult r;

    if (!fn_runs(&s->fn[c->fn])) {
        preempt(s, e);               /* the function is paused: the context stops after a command */
        return;
    }
    if (want && !e->preempt_at) {
        e->preempt_at = timeout ? e->t + timeout * (int64_t)SCALE_US : NEVER;
    } else if (!want) {
        e->preempt_at = 0;
        until = MIN(until, at);
    }
    if (want) {
        until = MIN(until, e->preempt_at);
    }
    if (s->fault.kill_work >> s->fn[c->fn].idx & 1) {
        ctx_reset(s, c, e, false);
        return;
    }
    if (s->fault.hang_work >> s->fn[c->fn].idx & 1) {
        /* the context uses engine time, but executes no command */
        e->t = MAX(until, e->t + SCALE_US);
        r = CS_TIME;
    } else {
        r = cs_run(s, e, c, until, want, *budget);
        *budget -= s->last_cmds;
    }
    s->fn[c->fn].active_ns[e->idx] += e->t - t0;
    engine_ran(s, e, r, want && e->t >= e->preempt_at);
}

static bool engine_busy(GpuState *s, GpuEngine *e)
{
    GpuCtx *c;

    QTAILQ_FOREACH(c, &e->list, next) {
        if (fn_runs(&s->fn[c->fn]) && !c->faulted) {
            return true;
        }
    }
    return false;
}

static void engine_run(GpuState *s, GpuEngine *e, int64_t now)
{
    int budget = CMD_BUDGET;

    if (e->t < now && e->rests) {
        e->t = now;
    }
    while (budget > 0 && e->t < now + LEAD) {
        if (!e->cur && !pick(s, e, now + LEAD)) {
            e->t = MAX(e->t, now);   /* no context can run now */
            break;
        }
        engine_step(s, e, now + LEAD, &budget);
    }
    e->rests = !engine_busy(s, e);
}

/* Returns when the scheduler has to run again; NEVER if only a driver can cause new work. */
int64_t sched_next(GpuState *s)
{
    int64_t now = gpu_now(), next = NEVER;
    GpuLater *l = QTAILQ_FIRST(&s->later);

    for (int i = 0; i < ENGINES; i++) {
        GpuEngine *e = &s->engine[i];

        if (engine_busy(s, e)) {
            /* an engine behind the virtual clock continues soon, but lets the main loop run first */
            next = MIN(next, e->t < now ? now + 50 * SCALE_US : now + TICK);
        }
    }
    return l ? MIN(next, MAX(l->when, now)) : next;
}

void sched_run(GpuState *s)
{
    int64_t now = gpu_now(), next;

    g2h_run_later(s);
    for (int i = 0; i < ARRAY_SIZE(s->fn); i++) {
        if (s->fn[i].ctxs) {
            h2g_run(s, &s->fn[i]);
        }
    }
    for (int i = 0; i < ENGINES; i++) {
        engine_run(s, &s->engine[i], now);
    }
    activity_tick(s);
    next = sched_next(s);
    if (next == NEVER) {
        timer_del(s->timer);
    } else {
        timer_mod(s->timer, next);
    }
}
