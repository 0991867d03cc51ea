/*
 * Contexts: the driver registers, enables and submits them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A parallel context has a ring for each of several engines.  Each ring is a
 * GpuCtx.  The driver's messages name only the context, which is ring 0.
 */
#include "gpu.h"

#define RESET_COST      (100 * SCALE_US)

/* the descriptor of a work queue */
#define WQ_HEAD         0
#define WQ_TAIL         4
#define WQ_STATUS       12
#define WQ_STATUS_BAD   3       /* the queue has an invalid item */
/* its items; lengths are in dwords */
#define WQ_TYPE(h)      ((h) & 0xff)
#define WQ_LEN(h)       ((((h) >> 16) & 0x7ff) + 1)
enum { WQ_NOOP = 4, WQ_MULTI_LRC = 5 };

static gpointer key(uint32_t id, uint32_t ring)
{
    return GUINT_TO_POINTER(ring << 17 | (id + 1));
}

static GpuCtx *ring_get(GpuFn *fn, uint32_t id, uint32_t ring)
{
    return id < GPU_MAX_CTX_ID ? g_hash_table_lookup(fn->ctxs, key(id, ring)) : NULL;
}

GpuCtx *ctx_get(GpuFn *fn, uint32_t id)
{
    return ring_get(fn, id, 0);
}

GpuCtx *ctx_ring(GpuState *s, const GpuCtx *c, uint32_t ring)
{
    return ring_get(&s->fn[c->fn], c->id, ring);
}

GpuCtx *ctx_new(GpuState *s, GpuFn *fn, uint32_t id, uint32_t ring)
{
    GpuCtx *c = g_new0(GpuCtx, 1);

    assert(!ring_get(fn, id, ring) && ring < GPU_MAX_RINGS);
    c->fn = fn->at;
    c->id = id;
    c->ring = ring;
    c->rings = 1;
    c->polled = -1;
    c->head = UINT32_MAX;    /* not read from the context image yet */
    g_hash_table_insert(fn->ctxs, key(id, ring), c);
    return c;
}

/* Reports whether every context of a function has all of its rings, and every ring an engine. */
bool fn_ctxs_whole(GpuState *s, GpuFn *fn)
{
    GHashTableIter it;
    gpointer v;

    g_hash_table_iter_init(&it, fn->ctxs);
    while (g_hash_table_iter_next(&it, NULL, &v)) {
        GpuCtx *c = v, *r;

        if (!c->rings || c->rings > GPU_MAX_RINGS || c->ring >= c->rings || !ctx_engine(s, c)) {
            return false;
        }
        for (uint32_t i = 0; i < c->rings; i++) {
            r = ctx_ring(s, c, i);
            if (!r || r->rings != c->rings || r->hung != c->hung) {
                return false;
            }
        }
    }
    return true;
}

/* Returns the engine of a ring: the first engine of its class in its mask. */
GpuEngine *ctx_engine(GpuState *s, GpuCtx *c)
{
    for (int i = 0; i < ENGINES; i++) {
        GpuEngine *e = &s->engine[i];

        if (e->gt == s->fn[c->fn].gt && e->gclass == c->gclass && (c->mask >> e->instance & 1)) {
            return e;
        }
    }
    return NULL;
}

void ctx_engine_off(GpuEngine *e)
{
    e->cur = NULL;           /* cs_run() has stored the context's state in its image */
    e->preempt_at = 0;
}

void ctx_unqueue(GpuState *s, GpuCtx *c)
{
    GpuEngine *e = ctx_engine(s, c);

    if (c->queued) {
        if (e->cur == c) {
            ctx_engine_off(e);
        }
        QTAILQ_REMOVE(&e->list, c, next);
        c->queued = c->faulted = false;
    }
}

/* Removes all rings of a context. */
void ctx_remove(GpuState *s, GpuCtx *c)
{
    GpuFn *fn = &s->fn[c->fn];
    uint32_t id = c->id;

    for (uint32_t i = 0; i < GPU_MAX_RINGS; i++) {
        GpuCtx *r = ring_get(fn, id, i);

        if (r) {
            ctx_unqueue(s, r);
            g_hash_table_remove(fn->ctxs, key(id, i));
        }
    }
}

void ctx_remove_all(GpuState *s, GpuFn *fn)
{
    GHashTableIter it;
    gpointer v;

    g_hash_table_iter_init(&it, fn->ctxs);
    while (g_hash_table_iter_next(&it, NULL, &v)) {
        ctx_unqueue(s, v);
    }
    g_hash_table_remove_all(fn->ctxs);
}

/*
 * Takes an item of a work queue.  An item has a header, a descriptor, id and
 * tail of ring 0, a fence, and the tails of the other rings.  Tails are in
 * units of 8 bytes.
 */
static bool wq_item(GpuState *s, GpuCtx *c, uint64_t item, uint32_t len)
{
    uint32_t as = s->fn[c->fn].idx, first = ggtt_r32(s, as, item + 8);

    if (len != 3 + c->rings || (first & 0xffff) != c->id) {
        return false;
    }
    for (uint32_t i = 0; i < c->rings; i++) {
        uint32_t tail = i ? ggtt_r32(s, as, item + (3 + i) * 4) : (first >> 18) & 0x7ff;

        ctx_image_w(s, ctx_ring(s, c, i), LRC_RING_TAIL, tail * 8);
    }
    return true;
}

/* Takes all items that the driver has put into the work queue of a parallel context. */
static void wq_run(GpuState *s, GpuCtx *c)
{
    uint32_t as = s->fn[c->fn].idx;
    uint32_t head = ggtt_r32(s, as, c->wq_desc + WQ_HEAD), tail = ggtt_r32(s, as, c->wq_desc + WQ_TAIL);

    if (head > c->wq_size || tail > c->wq_size || (head | tail) % 4) {
        ggtt_w32(s, as, c->wq_desc + WQ_STATUS, WQ_STATUS_BAD);
        return;
    }
    head %= c->wq_size;
    tail %= c->wq_size;
    for (uint32_t n = c->wq_size / 4; head != tail && n; n--) {
        uint32_t h = ggtt_r32(s, as, c->wq_base + head), len = WQ_LEN(h);

        if (head + len * 4 > c->wq_size ||
            (WQ_TYPE(h) != WQ_NOOP && (WQ_TYPE(h) != WQ_MULTI_LRC || !wq_item(s, c, c->wq_base + head, len)))) {
            gpu_trace(s, TRACE_ODD, "fn%u: context %u: work queue item %#x", as, c->id, h);
            ggtt_w32(s, as, c->wq_desc + WQ_STATUS, WQ_STATUS_BAD);
            return;
        }
        head = (head + len * 4) % c->wq_size;
        if (!ggtt_w32(s, as, c->wq_desc + WQ_HEAD, head)) {
            return;
        }
    }
}

void ctx_submit(GpuState *s, GpuCtx *c)
{
    if (c->rings > 1 && c->enabled && !c->hung) {
        wq_run(s, c);
    }
    for (uint32_t i = 0; i < c->rings; i++) {
        GpuCtx *r = ctx_ring(s, c, i);

        if (!r->queued && r->enabled && !r->hung) {
            QTAILQ_INSERT_TAIL(&ctx_engine(s, r)->list, r, next);
            r->queued = true;
        }
        r->polled = -1;
    }
    sched_kick(s);
}

/* Sends MODE_DONE to the driver when the last ring of the context has reached the mode. */
void ctx_mode_done(GpuState *s, GpuCtx *c, uint32_t on)
{
    uint32_t d[2] = { c->id, on };

    c->disabling = false;
    for (uint32_t i = 0; i < c->rings; i++) {
        if (ctx_ring(s, c, i)->disabling) {
            return;
        }
    }
    g2h_event(s, &s->fn[c->fn], G2H_SCHED_CONTEXT_MODE_DONE, d, 2);
}

void ctx_enable(GpuState *s, GpuCtx *c, bool on)
{
    bool wait = false, owed = false;

    for (uint32_t i = 0; i < c->rings; i++) {
        GpuCtx *r = ctx_ring(s, c, i);

        owed |= r->disabling;
        r->disabling = false;
        r->enabled = on;
    }
    if (owed) {              /* the driver still waits for MODE_DONE of an earlier request: send that first */
        ctx_mode_done(s, c, 0);
    }
    if (on) {
        ctx_submit(s, c);
        ctx_mode_done(s, c, 1);
        return;
    }
    for (uint32_t i = 0; i < c->rings; i++) {
        GpuCtx *r = ctx_ring(s, c, i);

        r->disabling = ctx_engine(s, r)->cur == r;
        wait |= r->disabling;
        if (!r->disabling) {
            ctx_unqueue(s, r);
        }
    }
    if (wait) {
        sched_kick(s);
    } else {
        ctx_mode_done(s, c, 0);
    }
}

void ctx_policy(GpuState *s, GpuCtx *c, uint32_t which, uint32_t value)
{
    for (uint32_t i = 0; i < c->rings; i++) {
        GpuCtx *r = ctx_ring(s, c, i);

        switch (which) {
        case KLV_CTX_EXEC_QUANTUM:
            r->eq_us = value;
            break;
        case KLV_CTX_PREEMPT_TIMEOUT:
            r->pt_us = value;
            break;
        case KLV_CTX_PRIORITY:
            r->prio = value;
            break;
        }
    }
}

/* Reports a page fault of a ring to the driver.  The ring waits for the answer. */
void ctx_page_fault(GpuState *s, GpuCtx *c)
{
    GpuFn *fn = &s->fn[c->fn];
    GpuEngine *e = ctx_engine(s, c);
    /* the answer repeats the number of the context */
    uint32_t d[4] = {
        c->id << 28 | e->gclass << 25 | e->instance << 19,
        (ctx_image_r(s, c, LRC_ASID) << 12) | c->id >> 4,
        (c->fault_va & 0xfffff000u) | fn->idx << 4 | c->fault_type << 2 | c->fault_access,
        c->fault_va >> 32,
    };

    c->faulted = true;
    pf_adverse(s, fn, KLV_VF_THRESHOLD_PAGE_FAULT);
    g2h_event(s, fn, G2H_PAGE_FAULT, d, 4);
}

/* Takes the driver's answer to the page fault of a context on an engine. */
void ctx_page_fault_done(GpuState *s, GpuCtx *c, uint32_t gclass, uint32_t instance, bool failed)
{
    for (uint32_t i = 0; i < c->rings; i++) {
        GpuCtx *r = ctx_ring(s, c, i);
        GpuEngine *e = ctx_engine(s, r);

        if (r->faulted && e->gclass == gclass && e->instance == instance) {
            r->faulted = false;
            if (failed) {
                ctx_reset(s, r, e, true);
                return;
            }
        }
    }
    sched_kick(s);
}

/* Queues the enabled contexts of a function that was paused or migrated. */
void fn_resume_work(GpuState *s, GpuFn *fn)
{
    GHashTableIter it;
    gpointer v;

    g_hash_table_iter_init(&it, fn->ctxs);
    while (g_hash_table_iter_next(&it, NULL, &v)) {
        if (((GpuCtx *)v)->ring == 0) {
            ctx_submit(s, v);
        }
    }
    sched_kick(s);
}

/* Resets the engine e of a ring.  All rings of the context stop for good, and the driver gets an event. */
void ctx_reset(GpuState *s, GpuCtx *c, GpuEngine *e, bool cat_error)
{
    GpuFn *fn = &s->fn[c->fn];
    uint32_t d[2] = { c->id, 0 };
    bool disabling = false;

    for (uint32_t i = 0; i < c->rings; i++) {
        GpuCtx *r = ctx_ring(s, c, i);

        r->hung = true;
        disabling |= r->disabling;
        r->disabling = false;
        ctx_unqueue(s, r);
    }
    e->t += RESET_COST;
    if (cat_error) {
        g2h_event(s, fn, G2H_MEMORY_CAT_ERROR, d, 2);
        pf_adverse(s, fn, KLV_VF_THRESHOLD_CAT_ERR);
    }
    g2h_event(s, fn, G2H_CONTEXT_RESET, d, 1);
    pf_adverse(s, fn, KLV_VF_THRESHOLD_RESET);
    if (disabling) {
        ctx_mode_done(s, c, 0);
    }
}
