/*
 * Checks the state from a migration stream and loads it into the device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "vmstate.h"

#define MAX_ENGINE_LEAD NANOSECONDS_PER_SECOND

static bool load_fn(GpuFn *fn, const GpuFn *v)
{
    /* the device's own numbers and pointers do not come from the stream */
    GpuFn n = *v;

    n.idx = fn->idx;
    n.gt = fn->gt;
    n.at = fn->at;
    n.pdev = fn->pdev;
    n.ctxs = fn->ctxs;
    *fn = n;
    return n.ggtt_start <= GGTT_SIZE && n.ggtt_size <= GGTT_SIZE && n.prio <= FN_PRIO_HIGH &&
           n.eq_ms <= GPU_MAX_EQ_MS && n.pt_us <= GPU_MAX_PT_US && !(n.h2g.size % 4) && !(n.g2h.size % 4) &&
           (n.ctxs || (!n.ct_on && !n.num_ctxs));
}

static bool load_engine(GpuEngine *e, const GpuEngine *v)
{
    e->t = v->t;
    e->rests = v->rests;
    e->slice_fn = v->slice_fn;
    e->slice_end = v->slice_end;
    e->ctx_end = v->ctx_end;
    e->preempt_at = v->preempt_at;
    return v->t >= 0 && v->t <= gpu_now() + MAX_ENGINE_LEAD && v->slice_fn >= -1 &&
           (v->slice_fn < 0 || v->slice_fn / GPU_FNS == e->gt);
}

static bool fn_valid(const GpuState *s, uint32_t at)
{
    return at < ARRAY_SIZE(s->fn) && s->fn[at].ctxs;
}

static bool load_ctx(GpuState *s, const GpuCtx *v)
{
    GpuEngine *e;
    GpuCtx *c;

    if (!fn_valid(s, v->fn) || v->id >= GPU_MAX_CTX_ID || v->gclass >= CLASSES || v->level < 0 || v->level > 2 ||
        v->ring >= GPU_MAX_RINGS || ctx_ring(s, v, v->ring) || (v->lrca & ~0xfffff000ull) ||
        (v->rings > 1 && !v->ring && !v->wq_size) || v->wq_size > GPU_MAX_WQ || v->wq_size % 4 ||
        (v->running && !v->queued) || (v->queued && (v->hung || !(v->enabled || (v->running && v->disabling))))) {
        return false;
    }
    c = ctx_new(s, &s->fn[v->fn], v->id, v->ring);
    *c = *v;
    c->queued = c->running = c->faulted = false;
    e = ctx_engine(s, c);
    if (!e || (v->running && e->cur)) {
        return false;
    }
    if (v->queued) {
        QTAILQ_INSERT_TAIL(&e->list, c, next);
        c->queued = true;
        e->cur = v->running ? c : e->cur;
    }
    return true;
}

/* Returns false if the state is invalid.  The caller must then reset the device, because a part may be loaded. */
bool saved_load(GpuState *s, const GpuSaved *v)
{
    bool ok = true;

    s->irq = v->irq;
    memcpy(s->guc, v->guc, sizeof(s->guc));
    memcpy(s->fn_regs, v->fn_regs, sizeof(s->fn_regs));
    s->unknown_cmds = v->unknown_cmds;
    memset(s->regs, 0, REGS_SIZE);
    for (int i = 0; i < v->n_regs; i++) {
        if (v->regs[i].off >= REGS_SIZE || v->regs[i].off % 4) {
            return false;
        }
        *gpu_reg(s, v->regs[i].off) = v->regs[i].value;
    }
    g_hash_table_remove_all(s->steered);
    for (int i = 0; i < v->n_steered; i++) {
        if (!mcr_key_valid(s, v->steered[i].off) || !mcr_set(s, v->steered[i].off, v->steered[i].value)) {
            return false;
        }
    }
    for (int i = 0; i < GPU_MAX_GTS; i++) {
        ok &= v->guc[i].fn_activity_count <= s->num_vfs + 1u;
    }
    for (int i = 0; i < ARRAY_SIZE(s->fn); i++) {
        ok &= load_fn(&s->fn[i], &v->fn[i]);
    }
    for (int i = 0; i < ENGINES; i++) {
        ok &= load_engine(&s->engine[i], &v->engine[i]);
    }
    for (int i = 0; ok && i < v->n_ctxs; i++) {
        ok = load_ctx(s, &v->ctxs[i]);
    }
    for (int i = 0; ok && i < ARRAY_SIZE(s->fn); i++) {
        ok = !s->fn[i].ctxs || fn_ctxs_whole(s, &s->fn[i]);
    }
    for (int i = 0; ok && i < v->n_later; i++) {
        const GpuLater *l = &v->later[i];

        ok = fn_valid(s, l->fn) && l->len && l->len <= CTB_MAX_DWORDS && l->when > 0 && l->when != INT64_MAX;
        if (ok) {
            g2h_later(s, &s->fn[l->fn], l->when, l->fence, l->hxg, l->len);
        }
    }
    return ok;
}
