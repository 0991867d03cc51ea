/*
 * The GuC: loading, resets, and the mailbox of scratch registers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"

/* key, length, value: a few attributes of a GPU of this size */
static const uint32_t hwconfig[] = {
    1, 1, 1,        /* max slices */
    2, 1, 4,        /* max dual subslices */
    3, 1, 8,        /* EUs in each */
    4, 1, 10,       /* pixel pipes */
    70, 1, 2,
};

/* Resets the state that the driver of a function has set up in the GuC; provisioning stays. */
void fn_reset(GpuState *s, GpuFn *fn)
{
    ctx_remove_all(s, fn);
    g2h_drop_later(s, fn);
    fn->ct_on = fn->ct_broken = false;
    fn->h2g = fn->g2h = (GpuCtb) { 0 };
    fn->memirq_source = fn->memirq_status = 0;
    fn->paused = fn->stopped = fn->migrated = false;
    memset(fn->counter, 0, sizeof(fn->counter));
}

static void fn_unprovision(GpuFn *fn)
{
    fn->ggtt_start = fn->ggtt_size = fn->lmem = 0;
    fn->num_ctxs = fn->begin_ctx = fn->num_dbs = fn->begin_db = fn->tile_mask = 0;
    fn->eq_ms = fn->pt_us = fn->prio = 0;
    memset(fn->threshold, 0, sizeof(fn->threshold));
}

void guc_reset(GpuState *s, uint32_t gt)
{
    for (int i = 0; i < GPU_FNS; i++) {
        GpuFn *fn = gt_fn(s, gt, i);

        if (fn->ctxs) {
            fn_reset(s, fn);
            fn_unprovision(fn);
            memset(fn->active_ns, 0, sizeof(fn->active_ns));
        }
    }
    sched_reset(s, gt);
    s->guc[gt] = (GpuGuc) { 0 };
    slpc_reset(&s->guc[gt]);
    *gt_reg(s, gt, GUC_STATUS) = GUC_STATUS_MIA_IN_RESET;
    *gt_reg(s, gt, HUC_KERNEL_LOAD_INFO) = 0;
}

void guc_load(GpuState *s, uint32_t gt)
{
    if (s->fault.guc_status) {
        *gt_reg(s, gt, GUC_STATUS) = s->fault.guc_status;
        return;
    }
    *gt_reg(s, gt, GUC_STATUS) = GUC_STATUS_READY;
    s->guc[gt].up = true;
    gpu_trace(s, TRACE_ODD, "GuC of GT%u started", gt);
}

static uint32_t self_cfg(GpuFn *fn, uint32_t key, uint32_t len, uint64_t v, uint32_t *done)
{
    uint32_t want = 2;

    switch (key) {
    case KLV_SELF_H2G_SIZE:
    case KLV_SELF_G2H_SIZE:
        want = 1;
        if (v >> 32 || (uint32_t)v % 4) {
            return GUC_ERR_KLV_DATA;
        }
        break;
    }
    if (len != want) {
        return key >= KLV_SELF_MEMIRQ_STATUS && key <= KLV_SELF_G2H_SIZE ? GUC_ERR_MALFORMED_KLV : GUC_OK;
    }
    if (v >= GGTT_SIZE) {
        return GUC_ERR_GGTT_ADDRESS;
    }
    switch (key) {
    case KLV_SELF_MEMIRQ_STATUS:
        fn->memirq_status = v;
        break;
    case KLV_SELF_MEMIRQ_SOURCE:
        fn->memirq_source = v;
        break;
    case KLV_SELF_H2G_BUF:
        fn->h2g.buf = v;
        break;
    case KLV_SELF_H2G_DESC:
        fn->h2g.desc = v;
        break;
    case KLV_SELF_H2G_SIZE:
        fn->h2g.size = v;
        break;
    case KLV_SELF_G2H_BUF:
        fn->g2h.buf = v;
        break;
    case KLV_SELF_G2H_DESC:
        fn->g2h.desc = v;
        break;
    case KLV_SELF_G2H_SIZE:
        fn->g2h.size = v;
        break;
    default:
        return GUC_OK;       /* an unknown key is no error, but is not counted in *done */
    }
    *done = 1;
    return GUC_OK;
}

static uint32_t get_hwconfig(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t *size)
{
    uint32_t table[ARRAY_SIZE(hwconfig)];

    *size = sizeof(table);
    if (!m[1] && !m[2] && !m[3]) {
        return GUC_OK;       /* the driver asks only for the size */
    }
    for (int i = 0; i < ARRAY_SIZE(table); i++) {
        table[i] = cpu_to_le32(hwconfig[i]);
    }
    if (m[3] < sizeof(table)) {
        return GUC_ERR_PARAMS;
    }
    return ggtt_rw(s, fn->idx, u64_of(m[1], m[2]), table, sizeof(table), true) ? GUC_OK : GUC_ERR_GGTT_ADDRESS;
}

/* Negotiates the version of the VF interface: the VF asks for a version, or with major 0 for any. */
static uint32_t match_version(const uint32_t *m, uint32_t *out)
{
    uint32_t branch = m[1] >> 24, major = (m[1] >> 16) & 0xff, minor = (m[1] >> 8) & 0xff;

    if (branch || (major && major != GUC_VF_MAJOR) || (major && minor > GUC_VF_MINOR)) {
        return GUC_ERR_VERSION;
    }
    out[1] = (GUC_VF_MAJOR << 16) | (GUC_VF_MINOR << 8);
    return GUC_OK;
}

static uint32_t resfix_done(GpuState *s, GpuFn *fn)
{
    if (fn->migrated) {
        fn->migrated = false;
        fn_resume_work(s, fn);
        pf_notify(s, fn, VF_STATE_FIXUP_DONE);
    }
    return GUC_OK;
}

/* absent: the device has no media GT, but VF drivers send messages to its GuC anyway. */
static uint32_t mailbox_action(GpuState *s, GpuFn *fn, const uint32_t *m, bool absent, uint32_t *out,
                               uint32_t *data)
{
    uint32_t action = HXG_ACTION(m[0]), err;

    if (fn->idx && !absent && !fn->ggtt_size) {
        switch (action) {
        case H2G_SELF_CFG:
        case H2G_CONTROL_CTB:
            return GUC_ERR_UNPROVISIONED;
        }
    }
    switch (action) {
    case H2G_SELF_CFG:
        return self_cfg(fn, m[1] >> 16, m[1] & 0xffff, u64_of(m[2], m[3]), data);
    case H2G_CONTROL_CTB:
        if (m[1] > 1) {
            return GUC_ERR_PARAMS;
        }
        fn->ct_on = m[1];
        fn->ct_broken = false;
        return GUC_OK;
    case H2G_GET_HWCONFIG:
        return get_hwconfig(s, fn, m, data);
    case H2G_VF_RESET:       /* the PF sends the same action as "client soft reset" */
        if (!absent) {
            fn_reset(s, fn);
        }
        return GUC_OK;
    case H2G_MATCH_VERSION:
        return fn->idx ? match_version(m, out) : GUC_ERR_NO_PERMISSION;
    case H2G_QUERY_SINGLE_KLV:
        if (!fn->idx) {
            return GUC_ERR_NO_PERMISSION;
        }
        err = vf_query_klv(s, fn, m[1] & 0xffff, out);
        *data = out[0];
        if (absent) {
            out[1] = 0;      /* GMD_ID 0: there is no media GT */
        }
        return err;
    case H2G_RESFIX_START:
        return fn->idx ? GUC_OK : GUC_ERR_NO_PERMISSION;
    case H2G_RESFIX_DONE:
        return fn->idx ? resfix_done(s, fn) : GUC_ERR_NO_PERMISSION;
    default:
        gpu_trace(s, TRACE_ODD, "fn%u: unknown action %#x in the mailbox", fn->idx, action);
        return GUC_ERR_UNKNOWN_ACTION;
    }
}

/* Handles the doorbell of a function: a message is in the function's mailbox or CTB. */
void guc_mailbox(GpuState *s, GpuFn *fn, bool media)
{
    uint32_t *m = &s->fn_regs[fn->idx][(media ? FN_MED_VF_SW_FLAG : FN_VF_SW_FLAG) / 4];
    bool absent = media && s->gts < 2;
    uint32_t out[4] = { 0 }, data = 0, err;

    if (!m[0] || (m[0] & HXG_ORIGIN_GUC)) {
        if (!absent) {
            sched_kick(s);
        }
        return;
    }
    gpu_trace(s, TRACE_GUC, "fn%u: mailbox %08x %08x %08x %08x", fn->idx, m[0], m[1], m[2], m[3]);
    if (!s->guc[fn->gt].up) {
        return;
    }
    switch (fault_h2g(s, HXG_ACTION(m[0]), &err)) {
    case H2G_FAIL:
        break;
    case H2G_DROP:
    case H2G_DELAY:          /* the driver polls the mailbox and takes no late answer */
        return;
    default:
        err = HXG_TYPE(m[0]) == HXG_REQUEST ? mailbox_action(s, fn, m, absent, out, &data) : GUC_ERR_PROTOCOL;
    }
    m[0] = err ? HXG_GUC(HXG_FAILURE, err) : HXG_GUC(HXG_SUCCESS, data);
    m[1] = out[1];
    m[2] = out[2];
    m[3] = out[3];
    gpu_trace(s, TRACE_GUC, "fn%u: mailbox -> %08x %08x %08x %08x", fn->idx, m[0], m[1], m[2], m[3]);
}
