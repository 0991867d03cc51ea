/*
 * The PF's requests to the GuC for its VFs (configuration, policies, control),
 * and the GuC's events about VFs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"

#define MAX_KLV_DWORDS  16384

typedef uint32_t KlvSetter(GpuState *s, void *opaque, uint32_t key, uint32_t len, const uint32_t *v);

/* Reads KLVs from the PF's memory and calls set for each. */
static uint32_t for_klvs(GpuState *s, uint64_t addr, uint32_t dwords, KlvSetter *set, void *opaque, uint32_t *count)
{
    g_autofree uint32_t *b = NULL;

    if (dwords > MAX_KLV_DWORDS) {
        return GUC_ERR_SIZE;
    }
    b = g_new0(uint32_t, dwords + 2);
    if (!ggtt_rw(s, 0, addr, b, dwords * 4, false)) {
        return GUC_ERR_GGTT_ADDRESS;
    }
    for (uint32_t i = 0; i < dwords; i++) {
        b[i] = le32_to_cpu(b[i]);
    }
    for (uint32_t i = 0; i < dwords; ) {
        uint32_t key = b[i] >> 16, len = b[i] & 0xffff, err;

        if (len > dwords - i - 1) {
            return GUC_ERR_MALFORMED_KLV;
        }
        gpu_trace(s, TRACE_GUC, "KLV %#x, %u dwords: %#x", key, len, b[i + 1]);
        err = set(s, opaque, key, len, &b[i + 1]);
        if (err) {
            return err;
        }
        i += 1 + len;
        ++*count;
    }
    return GUC_OK;
}

static uint32_t set_vf(GpuState *s, void *opaque, uint32_t key, uint32_t len, const uint32_t *v)
{
    GpuFn *vf = opaque;
    uint32_t want = key <= KLV_VF_LMEM_SIZE ? 2 : 1;
    uint64_t v64 = u64_of(v[0], v[1]);

    if (key == KLV_VF_GROUP_EXEC_QUANTUM || key == KLV_VF_GROUP_PREEMPT) {
        want = MAX(1, MIN(len, 8));
    }
    if (len != want) {
        return GUC_ERR_MALFORMED_KLV;
    }
    switch (key) {
    case KLV_VF_GGTT_START:
    case KLV_VF_GGTT_SIZE:
        if (v64 > GGTT_SIZE || v64 % (4 * KiB)) {
            return GUC_ERR_KLV_DATA;
        }
        *(key == KLV_VF_GGTT_START ? &vf->ggtt_start : &vf->ggtt_size) = v64;
        break;
    case KLV_VF_LMEM_SIZE:
        if (v64 > s->vram_size) {
            return GUC_ERR_KLV_DATA;
        }
        vf->lmem = v64;
        break;
    case KLV_VF_NUM_CONTEXTS:
        vf->num_ctxs = v[0];
        break;
    case KLV_VF_TILE_MASK:
        vf->tile_mask = v[0];
        break;
    case KLV_VF_NUM_DOORBELLS:
        vf->num_dbs = v[0];
        break;
    case KLV_VF_EXEC_QUANTUM:
    case KLV_VF_GROUP_EXEC_QUANTUM:
        vf->eq_ms = MIN(v[0], GPU_MAX_EQ_MS);
        break;
    case KLV_VF_PREEMPT_TIMEOUT:
    case KLV_VF_GROUP_PREEMPT:
        vf->pt_us = MIN(v[0], GPU_MAX_PT_US);
        break;
    case KLV_VF_BEGIN_DOORBELL:
        vf->begin_db = v[0];
        break;
    case KLV_VF_BEGIN_CONTEXT:
        vf->begin_ctx = v[0];
        break;
    case KLV_VF_SCHED_PRIORITY:
        /* Only the PF has a priority of its own (xe's sched_priority_change_allowed()); the policy sets that of VFs. */
        if (vf->idx || v[0] > FN_PRIO_HIGH) {
            return GUC_ERR_KLV_DATA;
        }
        vf->prio = v[0];
        break;
    case KLV_VF_THRESHOLD_CAT_ERR ... KLV_VF_THRESHOLD_DOORBELL:
    case KLV_VF_THRESHOLD_MULTI_LRC:
        vf->threshold[key - KLV_VF_THRESHOLD_FIRST] = v[0];
        break;
    default:
        gpu_trace(s, TRACE_ODD, "VF%u: unknown key %#x", vf->idx, key);
        return GUC_ERR_KLV_KEY;
    }
    return GUC_OK;
}

uint32_t pf_update_cfg(GpuState *s, GpuFn *vf, uint64_t addr, uint32_t dwords, uint32_t *count)
{
    if (!addr && !dwords) {  /* removes all provisioning */
        vf->ggtt_start = vf->ggtt_size = vf->lmem = 0;
        vf->num_ctxs = vf->begin_ctx = vf->num_dbs = vf->begin_db = vf->tile_mask = 0;
        vf->eq_ms = vf->pt_us = vf->prio = 0;
        memset(vf->threshold, 0, sizeof(vf->threshold));
        return GUC_OK;
    }
    return for_klvs(s, addr, dwords, set_vf, vf, count);
}

static uint32_t set_policy(GpuState *s, void *opaque, uint32_t key, uint32_t len, const uint32_t *v)
{
    uint32_t gt = *(uint32_t *)opaque;

    switch (key) {
    case KLV_POLICY_SCHED_IF_IDLE:
        if (len != 1 || v[0] > 1) {
            return GUC_ERR_KLV_DATA;
        }
        for (int i = 0; i <= GPU_MAX_VFS; i++) {
            gt_fn(s, gt, i)->prio = v[0] ? FN_PRIO_NORMAL : FN_PRIO_LOW;
        }
        break;
    case KLV_POLICY_SAMPLE_PERIOD:
        if (len != 1) {
            return GUC_ERR_MALFORMED_KLV;
        }
        s->guc[gt].sample_ms = v[0];
        break;
    }
    return GUC_OK;
}

uint32_t pf_update_policy(GpuState *s, uint32_t gt, uint64_t addr, uint32_t dwords, uint32_t *count)
{
    return for_klvs(s, addr, dwords, set_policy, &gt, count);
}

void pf_notify(GpuState *s, GpuFn *vf, uint32_t event)
{
    uint32_t d[2] = { vf->idx, event };

    g2h_event(s, gt_fn(s, vf->gt, 0), G2H_VF_STATE, d, 2);
}

uint32_t pf_control(GpuState *s, GpuFn *vf, uint32_t cmd)
{
    switch (cmd) {
    case VF_PAUSE:
        sched_drain(s, vf);
        vf->paused = true;
        break;
    case VF_RESUME:
        vf->paused = false;
        if (vf->migrated) {
            irq_guc(s, vf, 0);   /* tells the VF driver that it was migrated */
        }
        fn_resume_work(s, vf);
        break;
    case VF_STOP:
        vf->stopped = true;
        break;
    case VF_FLR_START:
        fn_reset(s, vf);
        memset(s->fn_regs[vf->idx], 0, sizeof(s->fn_regs[vf->idx]));
        break;
    case VF_FLR_FINISH:
        break;
    default:
        return GUC_ERR_PARAMS;
    }
    return GUC_OK;
}

/* Sends the PF the event that a command is done.  The answer to the command was sent before. */
void pf_control_done(GpuState *s, GpuFn *vf, uint32_t cmd)
{
    uint32_t event = cmd == VF_PAUSE ? VF_STATE_PAUSE_DONE : VF_STATE_FLR_DONE;
    uint32_t stuck = cmd == VF_PAUSE ? s->fault.pause_stuck : s->fault.flr_stuck;
    uint32_t m[3] = { HXG_GUC(HXG_EVENT, G2H_VF_STATE), vf->idx, event };

    if ((cmd != VF_PAUSE && cmd != VF_FLR_START) || (stuck >> vf->idx & 1)) {
        return;
    }
    if (s->fault.control_delay_ms) {
        g2h_later(s, gt_fn(s, vf->gt, 0), gpu_now() + s->fault.control_delay_ms * (int64_t)SCALE_MS, 0, m, 3);
    } else {
        pf_notify(s, vf, event);
    }
}

/* Counts an adverse event of a VF, and sends the PF an event when the count reaches the threshold. */
void pf_adverse(GpuState *s, GpuFn *fn, uint32_t key)
{
    uint32_t i = key - KLV_VF_THRESHOLD_FIRST, d[2] = { fn->idx, key };
    GpuGuc *g = &s->guc[fn->gt];
    int64_t now;

    if (!fn->idx || !g->sample_ms || !fn->threshold[i]) {
        return;
    }
    now = gpu_now();
    if (now >= g->sample_end) {
        for (int f = 0; f <= GPU_MAX_VFS; f++) {
            memset(gt_fn(s, fn->gt, f)->counter, 0, sizeof(fn->counter));
        }
        g->sample_end = now + g->sample_ms * SCALE_MS;
    }
    if (++fn->counter[i] == fn->threshold[i]) {
        g2h_event(s, gt_fn(s, fn->gt, 0), G2H_ADVERSE_EVENT, d, 2);
    }
}

/* Stores the length in dwords in value[0], and the value in value[1] and value[2]. */
uint32_t vf_query_klv(GpuState *s, GpuFn *fn, uint32_t key, uint32_t *value)
{
    uint64_t v;

    value[0] = 1;
    switch (key) {
    case KLV_GLOBAL_GMD_ID:
        v = *gt_reg(s, fn->gt, GMD_ID);
        break;
    case KLV_GLOBAL_GROUP_SCHED:
    case KLV_GLOBAL_PAGING_ENGINES:
        v = 0;
        break;
    case KLV_VF_GGTT_START:
        v = fn->ggtt_start;
        value[0] = 2;
        break;
    case KLV_VF_GGTT_SIZE:
        v = fn->ggtt_size;
        value[0] = 2;
        break;
    case KLV_VF_LMEM_SIZE:
        v = fn->lmem;
        value[0] = 2;
        break;
    case KLV_VF_NUM_CONTEXTS:
        v = fn->num_ctxs;
        break;
    case KLV_VF_TILE_MASK:
        v = fn->tile_mask;
        break;
    case KLV_VF_NUM_DOORBELLS:
        v = fn->num_dbs;
        break;
    default:
        value[0] = 0;
        return GUC_ERR_KLV_KEY;
    }
    value[1] = v;
    value[2] = v >> 32;
    return GUC_OK;
}
