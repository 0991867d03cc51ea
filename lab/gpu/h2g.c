/*
 * The GuC's actions that come through the CTB of a function.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"

/* Results of a handler in addition to its error code. */
typedef struct H2gReply {
    uint32_t data;           /* DATA0 of the answer */
    GpuFn *control;          /* VF control: after the answer, send the PF an event about this VF */
} H2gReply;

typedef uint32_t H2gHandler(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r);

static uint32_t register_ctx(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    bool multi = HXG_ACTION(m[0]) == H2G_REGISTER_MULTI_LRC;
    uint32_t id = m[2], gclass = m[3], mask = m[4], rings = multi ? m[10] : 1;
    const uint32_t *lrca = multi ? &m[11] : &m[10];
    GpuCtx *c;

    if (id >= GPU_MAX_CTX_ID || (fn->idx && id >= fn->num_ctxs)) {
        return GUC_ERR_CONTEXT_INDEX;
    }
    if (gclass >= CLASSES || !mask) {
        return GUC_ERR_ENGINE;
    }
    if (!rings || rings > GPU_MAX_RINGS ||
        (multi && (len < 11 + 2 * rings || m[9] % 4 || !m[9] || m[9] > GPU_MAX_WQ))) {
        return GUC_ERR_PARAMS;
    }
    c = ctx_get(fn, id);
    if (c) {
        /* after a migration, a VF driver does not know which of its contexts are registered, and repeats some */
        gpu_trace(s, TRACE_ODD, "fn%u: context %u is registered twice", fn->idx, id);
        ctx_remove(s, c);
    }
    for (uint32_t i = 0; i < rings; i++) {
        c = ctx_new(s, fn, id, i);
        c->rings = rings;
        c->gclass = gclass;
        c->mask = mask << i;             /* the engines of the rings follow each other */
        c->lrca = lrca[i * 2] & 0xfffff000u;
        if (!ctx_engine(s, c)) {
            ctx_remove(s, c);
            return GUC_ERR_ENGINE;
        }
    }
    if (rings > 1) {
        c = ctx_get(fn, id);
        c->wq_desc = u64_of(m[5], m[6]);
        c->wq_base = u64_of(m[7], m[8]);
        c->wq_size = m[9];
    }
    if (multi) {
        pf_adverse(s, fn, KLV_VF_THRESHOLD_MULTI_LRC);
    }
    return GUC_OK;
}

static uint32_t deregister_ctx(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    GpuCtx *c = ctx_get(fn, m[1]);
    uint32_t id = m[1];

    if (!c) {
        return GUC_ERR_NO_CONTEXT;
    }
    ctx_remove(s, c);
    g2h_event(s, fn, G2H_DEREGISTER_DONE, &id, 1);
    return GUC_OK;
}

static uint32_t sched_ctx(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    GpuCtx *c = ctx_get(fn, m[1]);

    if (!c) {
        return GUC_ERR_NO_CONTEXT;
    }
    pf_adverse(s, fn, KLV_VF_THRESHOLD_DOORBELL);
    ctx_submit(s, c);
    return GUC_OK;
}

static uint32_t sched_ctx_mode(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    GpuCtx *c = ctx_get(fn, m[1]);

    if (!c) {
        return GUC_ERR_NO_CONTEXT;
    }
    if (m[2] > 1) {
        return GUC_ERR_PARAMS;
    }
    ctx_enable(s, c, m[2]);
    return GUC_OK;
}

static uint32_t ctx_policies(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    GpuCtx *c = ctx_get(fn, m[1]);

    if (!c) {
        return GUC_ERR_NO_CONTEXT;
    }
    for (uint32_t i = 2; i < len; ) {
        uint32_t key = m[i] >> 16, n = m[i] & 0xffff;

        if (n != 1 || i + 1 >= len) {
            return GUC_ERR_MALFORMED_KLV;
        }
        ctx_policy(s, c, key, m[i + 1]);
        i += 2;
    }
    return GUC_OK;
}

static uint32_t tlb_inval(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    /* no translation is kept between runs of contexts: done; with UINT32_MAX the driver does not wait for an event */
    if (m[1] != UINT32_MAX) {
        g2h_event(s, fn, G2H_TLB_INVALIDATION_DONE, &m[1], 1);
    }
    return GUC_OK;
}

static GpuFn *vf_of(GpuState *s, const GpuFn *pf, uint32_t vfid)
{
    GpuFn *vf = vfid && vfid <= GPU_MAX_VFS ? gt_fn(s, pf->gt, vfid) : NULL;

    return vf && fn_present(vf) ? vf : NULL;
}

static uint32_t do_slpc(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    slpc_request(s, &s->guc[fn->gt], m + 1, len - 1);
    return GUC_OK;
}

static uint32_t device_activity(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    s->guc[fn->gt].dev_meta = u64_of(m[1], m[2]);
    s->guc[fn->gt].dev_activity = u64_of(m[3], m[4]);
    activity_update(s, fn->gt);
    return GUC_OK;
}

static uint32_t function_activity(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    GpuGuc *g = &s->guc[fn->gt];

    if (m[1] > s->num_vfs + 1u) {
        return GUC_ERR_PARAMS;
    }
    g->fn_activity_count = m[1];
    g->fn_meta = u64_of(m[2], m[3]);
    g->fn_activity = u64_of(m[4], m[5]);
    activity_update(s, fn->gt);
    return GUC_OK;
}

static uint32_t vgt_policy(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    return pf_update_policy(s, fn->gt, u64_of(m[1], m[2]), m[3], &r->data);
}

static uint32_t vf_cfg(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    if (m[1] > s->num_vfs) {
        return GUC_ERR_VFID;
    }
    return pf_update_cfg(s, gt_fn(s, fn->gt, m[1]), u64_of(m[2], m[3]), m[4], &r->data);
}

static uint32_t vf_control(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    r->control = vf_of(s, fn, m[1]);
    return r->control ? pf_control(s, r->control, m[2]) : GUC_ERR_VFID;
}

static uint32_t save_restore(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    GpuFn *vf = vf_of(s, fn, m[1]);

    if (!vf) {
        return GUC_ERR_VFID;
    }
    /*
     * A request without address and length asks only for the size.  The driver
     * sends it for a running VF, too: debugfs migration_size and
     * VFIO_DEVICE_FEATURE_MIG_DATA_SIZE can be read in any state.
     */
    if (!vf->paused && (HXG_DATA0(m[0]) || m[2] || m[3] || m[4])) {
        return GUC_ERR_STATE;
    }
    switch (HXG_DATA0(m[0])) {
    case 0:
        return vf_save(s, vf, u64_of(m[2], m[3]), m[4], &r->data);
    case 1:
        return vf_restore(s, vf, u64_of(m[2], m[3]), m[4], &r->data);
    default:
        return GUC_ERR_PARAMS;
    }
}

/* Relays a message between the drivers of PF and VF.  The GuC does not interpret it. */
static uint32_t relay_to_vf(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    GpuFn *vf = vf_of(s, fn, m[1]);

    if (!vf) {
        return GUC_ERR_VFID;
    }
    g2h_event(s, vf, G2H_RELAY_FROM_PF, m + 2, len - 2);
    return GUC_OK;
}

static uint32_t relay_to_pf(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    uint32_t e[CTB_MAX_DWORDS - 1] = { fn->idx };

    if (len > ARRAY_SIZE(e)) {
        return GUC_ERR_PARAMS;
    }
    memcpy(e + 1, m + 1, (len - 1) * 4);
    g2h_event(s, gt_fn(s, fn->gt, 0), G2H_RELAY_FROM_VF, e, len);
    return GUC_OK;
}

static uint32_t acknowledge(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    return GUC_OK;
}

static uint32_t page_fault_response(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    GpuCtx *c = ctx_get(fn, m[2] >> 16);

    if (c) {
        ctx_page_fault_done(s, c, (m[2] >> 13) & 7, (m[2] >> 7) & 0x3f, m[1] & 2);
    }
    return GUC_OK;
}

/* Authenticates the HuC at once; no firmware runs. */
static uint32_t auth_huc(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    *gt_reg(s, fn->gt, HUC_KERNEL_LOAD_INFO) |= HUC_LOADED;
    return GUC_OK;
}

enum { ALL, PF_ONLY, VF_ONLY };

/* Lengths are in dwords, HXG header included. */
static const struct {
    uint32_t action, min, max;
    int who;
    H2gHandler *handler;
} actions[] = {
    { H2G_REQUEST_ENGINE_RESET, 1, 16, ALL, acknowledge },
    { H2G_LOG_FLUSH_COMPLETE, 1, 16, ALL, acknowledge },
    { H2G_LOG_ENABLE, 1, 16, PF_ONLY, acknowledge },
    { H2G_LOG_FORCE_FLUSH, 1, 16, PF_ONLY, acknowledge },
    { H2G_GLOBAL_SCHED_POLICY, 1, 16, ALL, acknowledge },
    { H2G_SCHED_POLICIES_KLV, 1, CTB_MAX_DWORDS, ALL, acknowledge },
    { H2G_SCHED_CONTEXT, 2, 2, ALL, sched_ctx },
    { H2G_SCHED_CONTEXT_MODE_SET, 3, 3, ALL, sched_ctx_mode },
    { H2G_UPDATE_CONTEXT_POLICIES, 2, CTB_MAX_DWORDS, ALL, ctx_policies },
    { H2G_SLPC_REQUEST, 2, 16, PF_ONLY, do_slpc },
    { H2G_SETUP_GUCRC, 2, 16, PF_ONLY, acknowledge },
    { H2G_AUTHENTICATE_HUC, 1, 16, PF_ONLY, auth_huc },
    { H2G_REGISTER_CONTEXT, 12, 12, ALL, register_ctx },
    { H2G_DEREGISTER_CONTEXT, 2, 2, ALL, deregister_ctx },
    { H2G_REGISTER_MULTI_LRC, 13, CTB_MAX_DWORDS, ALL, register_ctx },
    { H2G_RELAY_TO_VF, 3, 66, PF_ONLY, relay_to_vf },
    { H2G_RELAY_TO_PF, 2, 65, VF_ONLY, relay_to_pf },
    { H2G_UPDATE_VGT_POLICY, 4, 4, PF_ONLY, vgt_policy },
    { H2G_UPDATE_VF_CFG, 5, 5, PF_ONLY, vf_cfg },
    { H2G_VF_CONTROL, 3, 3, PF_ONLY, vf_control },
    { H2G_SAVE_RESTORE_VF, 5, 5, PF_ONLY, save_restore },
    { H2G_SET_ENG_UTIL_BUFF, 1, 16, PF_ONLY, acknowledge },
    { H2G_DEVICE_ACTIVITY_BUFFER, 5, 5, PF_ONLY, device_activity },
    { H2G_FUNCTION_ACTIVITY_BUFFER, 6, 6, PF_ONLY, function_activity },
    { H2G_OPT_IN_FEATURE_KLV, 1, CTB_MAX_DWORDS, ALL, acknowledge },
    { H2G_PAGE_FAULT_RESPONSE, 3, 16, ALL, page_fault_response },
    { H2G_TLB_INVALIDATION, 2, 16, ALL, tlb_inval },
    { H2G_TLB_INVALIDATION_ALL, 2, 16, ALL, tlb_inval },
};

static uint32_t dispatch(GpuState *s, GpuFn *fn, const uint32_t *m, uint32_t len, H2gReply *r)
{
    uint32_t action = HXG_ACTION(m[0]);

    for (int i = 0; i < ARRAY_SIZE(actions); i++) {
        if (actions[i].action != action) {
            continue;
        }
        if ((actions[i].who == PF_ONLY && fn->idx) || (actions[i].who == VF_ONLY && !fn->idx)) {
            return GUC_ERR_NO_PERMISSION;
        }
        if (len < actions[i].min || len > actions[i].max) {
            gpu_trace(s, TRACE_ODD, "fn%u: action %#x with %u dwords", fn->idx, action, len);
            return GUC_ERR_PARAMS;
        }
        return actions[i].handler(s, fn, m, len, r);
    }
    gpu_trace(s, TRACE_ODD, "fn%u: unknown action %#x", fn->idx, action);
    return GUC_ERR_UNKNOWN_ACTION;
}

void h2g_handle(GpuState *s, GpuFn *fn, uint16_t fence, uint32_t *m, uint32_t len)
{
    uint32_t type = HXG_TYPE(m[0]), err, answer, arg = 0;
    int64_t delay = 0;
    H2gReply r = { 0 };

    gpu_trace(s, TRACE_GUC, "fn%u: action %#x type %u, %u dwords: %#x %#x %#x %#x", fn->idx, HXG_ACTION(m[0]),
              type, len, len > 1 ? m[1] : 0, len > 2 ? m[2] : 0, len > 3 ? m[3] : 0, len > 4 ? m[4] : 0);
    pf_adverse(s, fn, KLV_VF_THRESHOLD_H2G);
    switch (fault_h2g(s, HXG_ACTION(m[0]), &arg)) {
    case H2G_DROP:
        return;
    case H2G_FAIL:
        err = arg;
        break;
    case H2G_DELAY:
        delay = arg * (int64_t)SCALE_MS;
        /* fall through */
    default:
        err = (m[0] & HXG_ORIGIN_GUC) || type > HXG_FAST_REQUEST ? GUC_ERR_PROTOCOL : dispatch(s, fn, m, len, &r);
    }
    if (HXG_ACTION(m[0]) == H2G_SAVE_RESTORE_VF && len > 4 && m[4]) {
        delay += s->fault.migrate_delay_ms * (int64_t)SCALE_MS;
    }
    if (err) {
        gpu_trace(s, TRACE_ODD, "fn%u: action %#x refused: %#x", fn->idx, HXG_ACTION(m[0]), err);
    }
    answer = err ? HXG_GUC(HXG_FAILURE, err) : HXG_GUC(HXG_SUCCESS, r.data);
    if (type == HXG_REQUEST || (err && type == HXG_FAST_REQUEST)) {
        if (delay) {
            g2h_later(s, fn, gpu_now() + delay, fence, &answer, 1);
        } else {
            g2h_send(s, fn, fence, &answer, 1);
        }
    }
    if (r.control && !err) {
        pf_control_done(s, r.control, m[2]);
    }
}
