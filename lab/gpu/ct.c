/*
 * Command transport buffers: rings of messages in the GGTT, one each way.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A descriptor is { head, tail, status }, in dwords; a message is a header
 * (fence << 16 | length) and its HXG dwords.
 */
#include "gpu.h"

#define DESC_HEAD       0
#define DESC_TAIL       4
#define DESC_STATUS     8
#define STATUS_OVERFLOW (1u << 0)
#define STATUS_UNDERFLOW (1u << 1)

#define GUC_IRQ_G2H     15
#define H2G_MAX_BATCH   256
#define G2H_MAX_HELD    64

/* Sets an error in the descriptor, and stops using the function's CTBs until the driver resets. */
static void ct_break(GpuState *s, GpuFn *fn, const GpuCtb *ctb, uint32_t status)
{
    gpu_trace(s, TRACE_ODD, "fn%u: CTB at %#" PRIx64 " is broken: %#x", fn->idx, ctb->desc, status);
    fn->ct_broken = true;
    ggtt_w32(s, fn->idx, ctb->desc + DESC_STATUS, ggtt_r32(s, fn->idx, ctb->desc + DESC_STATUS) | status);
}

/* Sends a message later, because the ring is full.  If too many messages wait already, breaks the CTBs. */
static bool g2h_hold(GpuState *s, GpuFn *fn, uint16_t fence, const uint32_t *hxg, uint32_t len)
{
    GpuLater *l;
    int held = 0;

    QTAILQ_FOREACH(l, &s->later, next) {
        held += l->fn == fn->at;
    }
    if (held >= G2H_MAX_HELD) {
        ct_break(s, fn, &fn->g2h, STATUS_OVERFLOW);
        return false;
    }
    g2h_later(s, fn, gpu_now() + SCALE_MS, fence, hxg, len);
    return true;
}

bool g2h_send(GpuState *s, GpuFn *fn, uint16_t fence, const uint32_t *hxg, uint32_t len)
{
    uint32_t dws = fn->g2h.size / 4, head, tail, hdr;
    uint64_t desc = fn->g2h.desc;

    assert(len && len <= CTB_MAX_DWORDS);
    if (!fn->ct_on || fn->ct_broken || !dws || !fn_present(fn)) {
        return false;
    }
    head = ggtt_r32(s, fn->idx, desc + DESC_HEAD);
    tail = ggtt_r32(s, fn->idx, desc + DESC_TAIL);
    if (head >= dws || tail >= dws) {
        ct_break(s, fn, &fn->g2h, STATUS_OVERFLOW);
        return false;
    }
    if ((head + dws - tail - 1) % dws < len + 1) {
        return g2h_hold(s, fn, fence, hxg, len);
    }
    hdr = ((uint32_t)fence << 16) | len;
    if (s->fault.ctb_corrupt >> fn->idx & 1) {
        s->fault.ctb_corrupt &= ~(1u << fn->idx);
        hdr |= 0xff;
    }
    ggtt_w32(s, fn->idx, fn->g2h.buf + tail * 4ull, hdr);
    for (uint32_t i = 0; i < len; i++) {
        tail = (tail + 1) % dws;
        ggtt_w32(s, fn->idx, fn->g2h.buf + tail * 4ull, hxg[i]);
    }
    if (!ggtt_w32(s, fn->idx, desc + DESC_TAIL, (tail + 1) % dws)) {
        return false;
    }
    irq_guc(s, fn, GUC_IRQ_G2H);
    return true;
}

void g2h_event(GpuState *s, GpuFn *fn, uint32_t action, const uint32_t *data, uint32_t len)
{
    uint32_t m[CTB_MAX_DWORDS] = { HXG_GUC(HXG_EVENT, action) };

    assert(len < ARRAY_SIZE(m));
    memcpy(m + 1, data, len * 4);
    gpu_trace(s, TRACE_GUC, "fn%u: event %#x: %#x %#x", fn->idx, action, len ? data[0] : 0, len > 1 ? data[1] : 0);
    g2h_send(s, fn, 0, m, len + 1);
}

/* Sends a message at the time when of the virtual clock. */
void g2h_later(GpuState *s, GpuFn *fn, int64_t when, uint16_t fence, const uint32_t *hxg, uint32_t len)
{
    GpuLater *l = g_new0(GpuLater, 1), *at;

    assert(len && len <= ARRAY_SIZE(l->hxg));
    l->when = when;
    l->fn = fn->at;
    l->fence = fence;
    l->len = len;
    memcpy(l->hxg, hxg, len * 4);
    QTAILQ_FOREACH(at, &s->later, next) {
        if (at->when > when) {
            QTAILQ_INSERT_BEFORE(at, l, next);
            sched_kick(s);
            return;
        }
    }
    QTAILQ_INSERT_TAIL(&s->later, l, next);
    sched_kick(s);
}

void g2h_run_later(GpuState *s)
{
    GpuLater *l;

    while ((l = QTAILQ_FIRST(&s->later)) && l->when <= gpu_now()) {
        QTAILQ_REMOVE(&s->later, l, next);
        g2h_send(s, &s->fn[l->fn], l->fence, l->hxg, l->len);
        g_free(l);
    }
}

/* Drops the messages that wait to be sent to a function. */
void g2h_drop_later(GpuState *s, const GpuFn *fn)
{
    GpuLater *l, *nx;

    QTAILQ_FOREACH_SAFE(l, &s->later, next, nx) {
        if (l->fn == fn->at) {
            QTAILQ_REMOVE(&s->later, l, next);
            g_free(l);
        }
    }
}

void h2g_run(GpuState *s, GpuFn *fn)
{
    uint32_t m[CTB_MAX_DWORDS];

    /* a guest that sends without end must not block the main loop: sched_kick() continues later */
    for (int budget = H2G_MAX_BATCH; budget > 0; budget--) {
        uint32_t dws = fn->h2g.size / 4, head, tail, hdr, len, avail;
        uint64_t desc = fn->h2g.desc;

        /* a message may have paused or reset the function */
        if (!fn->ct_on || fn->ct_broken || !dws || !fn_runs(fn) || (s->fault.ct_dead >> fn->idx & 1)) {
            return;
        }
        head = ggtt_r32(s, fn->idx, desc + DESC_HEAD);
        tail = ggtt_r32(s, fn->idx, desc + DESC_TAIL);
        if (head == tail) {
            return;
        }
        if (head >= dws || tail >= dws) {
            ct_break(s, fn, &fn->h2g, STATUS_OVERFLOW);
            return;
        }
        hdr = ggtt_r32(s, fn->idx, fn->h2g.buf + head * 4ull);
        len = hdr & 0xff;
        avail = (tail + dws - head) % dws;
        if (len + 1 > avail) {
            ct_break(s, fn, &fn->h2g, STATUS_UNDERFLOW);
            return;
        }
        for (uint32_t i = 0; i < len; i++) {
            m[i] = ggtt_r32(s, fn->idx, fn->h2g.buf + (head + 1 + i) % dws * 4ull);
        }
        if (!ggtt_w32(s, fn->idx, desc + DESC_HEAD, (head + 1 + len) % dws)) {
            return;
        }
        if (len) {           /* length 0 is padding at the end of the ring */
            h2g_handle(s, fn, hdr >> 16, m, len);
        }
    }
    sched_kick(s);
}
