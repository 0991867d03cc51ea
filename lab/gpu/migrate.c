/*
 * Save and restore of the GuC's state of a VF.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The blob is opaque to the driver.  Addresses in it are relative to the VF's
 * range of the GGTT, because the restored VF may have another range.
 */
#include "gpu.h"

#define MAGIC           0x33554d58
#define MAX_BLOB        (16 * MiB)
#define NO_ADDR         UINT64_MAX

typedef struct SavedCtx {
    uint32_t id, gclass, mask, flags, level, pp, head, prio, eq_us, pt_us, ring, rings, wq_size, pad;
    uint64_t wq_desc, wq_base, lrca, ip[3], gpr[16];
} SavedCtx;
enum { SAVED_ENABLED = 1, SAVED_HUNG = 2, SAVED_WATCHDOG = 4, SAVED_NOARB = 8 };

typedef struct SavedVf {
    uint32_t magic, contexts, ct_on, h2g_size, g2h_size, pad;
    uint64_t memirq_status, memirq_source, h2g_desc, h2g_buf, g2h_desc, g2h_buf;
} SavedVf;

static uint64_t rel(const GpuFn *fn, uint64_t a)
{
    return a ? a - fn->ggtt_start : NO_ADDR;
}

static uint64_t unrel(const GpuFn *fn, uint64_t a)
{
    /* no check: an address outside of the VF's range faults when it is used */
    return a == NO_ADDR ? 0 : (a + fn->ggtt_start) & (GGTT_SIZE - 1);
}

static void save_ctx(const GpuFn *fn, const GpuCtx *c, SavedCtx *o)
{
    *o = (SavedCtx) {
        .id = c->id, .gclass = c->gclass, .mask = c->mask, .level = c->level, .head = c->head, .prio = c->prio,
        .eq_us = c->eq_us, .pt_us = c->pt_us, .pp = c->pp[1] << 1 | c->pp[2] << 2, .lrca = rel(fn, c->lrca),
        .ring = c->ring, .rings = c->rings, .wq_size = c->wq_size, .wq_desc = rel(fn, c->wq_desc),
        .wq_base = rel(fn, c->wq_base),
        .flags = (c->enabled ? SAVED_ENABLED : 0) | (c->hung ? SAVED_HUNG : 0) |
                 (c->watchdog ? SAVED_WATCHDOG : 0) | (c->noarb ? SAVED_NOARB : 0),
    };
    memcpy(o->ip, c->ip, sizeof(o->ip));
    memcpy(o->gpr, c->gpr, sizeof(o->gpr));
}

uint32_t vf_save(GpuState *s, GpuFn *fn, uint64_t addr, uint32_t dwords, uint32_t *used)
{
    uint32_t n = g_hash_table_size(fn->ctxs), i = 0;
    uint32_t need = (sizeof(SavedVf) + n * sizeof(SavedCtx)) / 4;
    g_autofree uint8_t *b = NULL;
    SavedVf *h;
    SavedCtx *m;
    GHashTableIter it;
    gpointer v;

    *used = need;
    if (!addr && !dwords) {
        return GUC_OK;       /* the driver asks only for the size */
    }
    if (dwords < need) {
        *used = 0;
        return GUC_ERR_PARAMS;
    }
    b = g_malloc0(need * 4);
    h = (void *)b;
    m = (void *)(b + sizeof(*h));
    *h = (SavedVf) {
        .magic = MAGIC, .contexts = n, .ct_on = fn->ct_on, .h2g_size = fn->h2g.size, .g2h_size = fn->g2h.size,
        .memirq_status = rel(fn, fn->memirq_status), .memirq_source = rel(fn, fn->memirq_source),
        .h2g_desc = rel(fn, fn->h2g.desc), .h2g_buf = rel(fn, fn->h2g.buf),
        .g2h_desc = rel(fn, fn->g2h.desc), .g2h_buf = rel(fn, fn->g2h.buf),
    };
    g_hash_table_iter_init(&it, fn->ctxs);
    while (g_hash_table_iter_next(&it, NULL, &v)) {
        const GpuCtx *c = v;

        gpu_trace(s, TRACE_ODD, "VF%u save: context %u, enabled %d, in flight %d, level %d", fn->idx, c->id,
                  c->enabled, c->queued, c->level);
        save_ctx(fn, c, &m[i++]);
    }
    return ggtt_rw(s, 0, addr, b, need * 4, true) ? GUC_OK : GUC_ERR_GGTT_ADDRESS;
}

static bool restore_ctx(GpuState *s, GpuFn *fn, const SavedCtx *o)
{
    GpuCtx probe = { .fn = fn->at, .id = o->id }, *c;

    if (o->id >= GPU_MAX_CTX_ID || o->gclass >= CLASSES || o->level > 2 ||
        o->ring >= GPU_MAX_RINGS || o->wq_size > GPU_MAX_WQ || o->wq_size % 4) {
        return false;
    }
    if (ctx_ring(s, &probe, o->ring) || (o->rings > 1 && !o->ring && !o->wq_size)) {
        return false;
    }
    c = ctx_new(s, fn, o->id, o->ring);
    c->rings = o->rings;
    c->wq_size = o->wq_size;
    c->wq_desc = unrel(fn, o->wq_desc);
    c->wq_base = unrel(fn, o->wq_base);
    c->gclass = o->gclass;
    c->mask = o->mask;
    c->level = o->level;
    c->head = o->head;
    c->prio = o->prio;
    c->eq_us = o->eq_us;
    c->pt_us = o->pt_us;
    c->pp[1] = o->pp >> 1 & 1;
    c->pp[2] = o->pp >> 2 & 1;
    c->lrca = unrel(fn, o->lrca) & 0xfffff000u;
    c->enabled = o->flags & SAVED_ENABLED;
    c->hung = o->flags & SAVED_HUNG;
    c->watchdog = o->flags & SAVED_WATCHDOG;
    c->noarb = o->flags & SAVED_NOARB;
    memcpy(c->ip, o->ip, sizeof(c->ip));
    memcpy(c->gpr, o->gpr, sizeof(c->gpr));
    return true;
}

uint32_t vf_restore(GpuState *s, GpuFn *fn, uint64_t addr, uint32_t dwords, uint32_t *used)
{
    g_autofree uint8_t *b = NULL;
    const SavedVf *h;
    const SavedCtx *m;
    bool ok = true;

    if (dwords > MAX_BLOB / 4 || dwords * 4 < sizeof(*h)) {
        return GUC_ERR_SIZE;
    }
    b = g_malloc0(dwords * 4);
    if (!ggtt_rw(s, 0, addr, b, dwords * 4, false)) {
        return GUC_ERR_GGTT_ADDRESS;
    }
    h = (void *)b;
    m = (void *)(b + sizeof(*h));
    if (h->magic != MAGIC || h->contexts > (dwords * 4 - sizeof(*h)) / sizeof(*m)) {
        return GUC_ERR_PARAMS;
    }
    fn_reset(s, fn);
    fn->paused = true;
    fn->memirq_status = unrel(fn, h->memirq_status);
    fn->memirq_source = unrel(fn, h->memirq_source);
    fn->h2g = (GpuCtb) { unrel(fn, h->h2g_desc), unrel(fn, h->h2g_buf), h->h2g_size & ~3u };
    fn->g2h = (GpuCtb) { unrel(fn, h->g2h_desc), unrel(fn, h->g2h_buf), h->g2h_size & ~3u };
    fn->ct_on = h->ct_on;
    for (uint32_t i = 0; ok && i < h->contexts && !(s->fault.restore_lost >> fn->idx & 1); i++) {
        ok = restore_ctx(s, fn, &m[i]);
    }
    if (!ok || !fn_ctxs_whole(s, fn)) {
        fn_reset(s, fn);
        fn->paused = true;
        return GUC_ERR_PARAMS;
    }
    fn->migrated = true;
    *used = dwords;
    return GUC_OK;
}
