/*
 * The device in a migration stream: savevm, loadvm, migration of the machine.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The state goes through a copy (GpuSaved).  State from a stream is loaded into
 * the device only when the stream is complete and valid.  After a stream that
 * ends early or has invalid values, the device is in its state after a reset.
 * Faults are not saved: they belong to the machine in which they were set.
 */
#include "vmstate.h"
#include "qemu/error-report.h"
#include "migration/qemu-file-types.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_sriov.h"

#define MAX_SAVED_CTXS  (GPU_MAX_GTS * GPU_FNS * GPU_MAX_CTX_ID * GPU_MAX_RINGS)
#define MAX_SAVED_LATER 65536
#define TIME_PAST       (3600 * (int64_t)NANOSECONDS_PER_SECOND)
#define TIME_FUTURE     (60 * 86400 * (int64_t)NANOSECONDS_PER_SECOND)

/*
 * The stream has a time on the virtual clock as its distance from now.  So the
 * distance can be bounded, and a machine whose clock starts at 0 can load it.
 * Three values are not times.
 */
static const int64_t no_times[] = { 0, -1, INT64_MAX };

static int put_time(QEMUFile *f, void *pv, size_t size, const VMStateField *field, JSONWriter *desc)
{
    int64_t v = *(int64_t *)pv;

    for (int i = 0; i < ARRAY_SIZE(no_times); i++) {
        if (v == no_times[i]) {
            qemu_put_be64(f, INT64_MIN + i);
            return 0;
        }
    }
    qemu_put_be64(f, MAX(MIN(v - gpu_now(), TIME_FUTURE), -TIME_PAST));
    return 0;
}

static int get_time(QEMUFile *f, void *pv, size_t size, const VMStateField *field)
{
    int64_t v = qemu_get_be64(f), *t = pv;

    for (int i = 0; i < ARRAY_SIZE(no_times); i++) {
        if (v == INT64_MIN + i) {
            *t = no_times[i];
            return 0;
        }
    }
    if (v < -TIME_PAST || v > TIME_FUTURE) {
        return -EINVAL;
    }
    *t = MAX(gpu_now() + v, 1);
    return 0;
}

static const VMStateInfo info_time = { .name = "time", .get = get_time, .put = put_time };

#define VMSTATE_TIME(_f, _s) VMSTATE_SINGLE(_f, _s, 1, info_time, int64_t)
#define GPU_VMSTATE(_name, ...) \
    { .name = "vmtb-gpu/" _name, .version_id = 1, .minimum_version_id = 1, \
      .fields = (const VMStateField[]) { __VA_ARGS__, VMSTATE_END_OF_LIST() } }

static const VMStateDescription vmstate_reg = GPU_VMSTATE("register",
    VMSTATE_UINT32(off, SavedReg),
    VMSTATE_UINT32(value, SavedReg));

static const VMStateDescription vmstate_irq = GPU_VMSTATE("irq",
    VMSTATE_UINT32_ARRAY(intr_dw, GpuIrq, 2),
    VMSTATE_UINT16_ARRAY(vec, GpuIrq, 64),
    VMSTATE_UINT32_ARRAY(ident, GpuIrq, 2),
    VMSTATE_BOOL(mstr, GpuIrq));

static const VMStateDescription vmstate_guc = GPU_VMSTATE("guc",
    VMSTATE_BOOL(up, GpuGuc),
    VMSTATE_UINT64(slpc, GpuGuc),
    VMSTATE_UINT32(slpc_min, GpuGuc),
    VMSTATE_UINT32(slpc_max, GpuGuc),
    VMSTATE_UINT32(sample_ms, GpuGuc),
    VMSTATE_TIME(sample_end, GpuGuc),
    VMSTATE_UINT64(dev_meta, GpuGuc),
    VMSTATE_UINT64(dev_activity, GpuGuc),
    VMSTATE_UINT64(fn_meta, GpuGuc),
    VMSTATE_UINT64(fn_activity, GpuGuc),
    VMSTATE_UINT32(fn_activity_count, GpuGuc),
    VMSTATE_UINT32(activity_change, GpuGuc),
    VMSTATE_TIME(activity_at, GpuGuc));

static const VMStateDescription vmstate_ctb = GPU_VMSTATE("ctb",
    VMSTATE_UINT64(desc, GpuCtb),
    VMSTATE_UINT64(buf, GpuCtb),
    VMSTATE_UINT32(size, GpuCtb));

static const VMStateDescription vmstate_fn = GPU_VMSTATE("function",
    VMSTATE_UINT64(memirq_status, GpuFn),
    VMSTATE_UINT64(memirq_source, GpuFn),
    VMSTATE_STRUCT(h2g, GpuFn, 1, vmstate_ctb, GpuCtb),
    VMSTATE_STRUCT(g2h, GpuFn, 1, vmstate_ctb, GpuCtb),
    VMSTATE_BOOL(ct_on, GpuFn),
    VMSTATE_BOOL(ct_broken, GpuFn),
    VMSTATE_UINT64(ggtt_start, GpuFn),
    VMSTATE_UINT64(ggtt_size, GpuFn),
    VMSTATE_UINT64(lmem, GpuFn),
    VMSTATE_UINT32(num_ctxs, GpuFn),
    VMSTATE_UINT32(begin_ctx, GpuFn),
    VMSTATE_UINT32(num_dbs, GpuFn),
    VMSTATE_UINT32(begin_db, GpuFn),
    VMSTATE_UINT32(tile_mask, GpuFn),
    VMSTATE_UINT32(eq_ms, GpuFn),
    VMSTATE_UINT32(pt_us, GpuFn),
    VMSTATE_UINT32(prio, GpuFn),
    VMSTATE_UINT32_ARRAY(threshold, GpuFn, 16),
    VMSTATE_BOOL(paused, GpuFn),
    VMSTATE_BOOL(stopped, GpuFn),
    VMSTATE_BOOL(migrated, GpuFn),
    VMSTATE_UINT32_ARRAY(counter, GpuFn, 16),
    VMSTATE_UINT64_ARRAY(active_ns, GpuFn, ENGINES));

static const VMStateDescription vmstate_engine = GPU_VMSTATE("engine",
    VMSTATE_TIME(t, GpuEngine),
    VMSTATE_BOOL(rests, GpuEngine),
    VMSTATE_INT32(slice_fn, GpuEngine),
    VMSTATE_TIME(slice_end, GpuEngine),
    VMSTATE_TIME(ctx_end, GpuEngine),
    VMSTATE_TIME(preempt_at, GpuEngine));

static const VMStateDescription vmstate_ctx = GPU_VMSTATE("context",
    VMSTATE_UINT32(fn, GpuCtx),
    VMSTATE_UINT32(id, GpuCtx),
    VMSTATE_UINT32(gclass, GpuCtx),
    VMSTATE_UINT32(mask, GpuCtx),
    VMSTATE_UINT32(ring, GpuCtx),
    VMSTATE_UINT32(rings, GpuCtx),
    VMSTATE_UINT64(wq_desc, GpuCtx),
    VMSTATE_UINT64(wq_base, GpuCtx),
    VMSTATE_UINT32(wq_size, GpuCtx),
    VMSTATE_UINT64(lrca, GpuCtx),
    VMSTATE_UINT32(prio, GpuCtx),
    VMSTATE_UINT32(eq_us, GpuCtx),
    VMSTATE_UINT32(pt_us, GpuCtx),
    VMSTATE_BOOL(enabled, GpuCtx),
    VMSTATE_BOOL(queued, GpuCtx),
    VMSTATE_BOOL(running, GpuCtx),
    VMSTATE_BOOL(hung, GpuCtx),
    VMSTATE_BOOL(disabling, GpuCtx),
    VMSTATE_TIME(polled, GpuCtx),
    VMSTATE_BOOL(watchdog, GpuCtx),
    VMSTATE_BOOL(noarb, GpuCtx),
    VMSTATE_INT32(level, GpuCtx),
    VMSTATE_BOOL_ARRAY(pp, GpuCtx, 3),
    VMSTATE_UINT64_ARRAY(ip, GpuCtx, 3),
    VMSTATE_UINT32(head, GpuCtx),
    VMSTATE_UINT32(spins, GpuCtx),
    VMSTATE_UINT64_ARRAY(gpr, GpuCtx, 16));

static const VMStateDescription vmstate_later = GPU_VMSTATE("later",
    VMSTATE_TIME(when, GpuLater),
    VMSTATE_UINT32(fn, GpuLater),
    VMSTATE_UINT32(len, GpuLater),
    VMSTATE_UINT16(fence, GpuLater),
    VMSTATE_UINT32_ARRAY(hxg, GpuLater, CTB_MAX_DWORDS));

/* Checks the counts from a stream, before memory is allocated for that many entries. */
static bool counts_valid(void *opaque, int version_id)
{
    const GpuSaved *v = opaque;

    return v->n_regs >= 0 && v->n_regs <= REGS_SIZE / 4 && v->n_steered >= 0 && v->n_steered <= REGS_SIZE / 4 &&
           v->n_ctxs >= 0 && v->n_ctxs <= MAX_SAVED_CTXS &&
           v->n_later >= 0 && v->n_later <= MAX_SAVED_LATER;
}

static const VMStateDescription vmstate_saved = GPU_VMSTATE("state",
    VMSTATE_INT32(n_regs, GpuSaved),
    VMSTATE_INT32(n_steered, GpuSaved),
    VMSTATE_INT32(n_ctxs, GpuSaved),
    VMSTATE_INT32(n_later, GpuSaved),
    VMSTATE_VALIDATE("counts are in range", counts_valid),
    VMSTATE_STRUCT(irq, GpuSaved, 1, vmstate_irq, GpuIrq),
    VMSTATE_STRUCT_ARRAY(guc, GpuSaved, GPU_MAX_GTS, 1, vmstate_guc, GpuGuc),
    VMSTATE_UINT32_ARRAY(fn_regs, GpuSaved, GPU_FNS * FN_STRIDE / 4),
    VMSTATE_STRUCT_ARRAY(fn, GpuSaved, GPU_MAX_GTS * GPU_FNS, 1, vmstate_fn, GpuFn),
    VMSTATE_STRUCT_ARRAY(engine, GpuSaved, ENGINES, 1, vmstate_engine, GpuEngine),
    VMSTATE_UINT64(unknown_cmds, GpuSaved),
    VMSTATE_STRUCT_VARRAY_ALLOC(regs, GpuSaved, n_regs, 1, vmstate_reg, SavedReg),
    VMSTATE_STRUCT_VARRAY_ALLOC(steered, GpuSaved, n_steered, 1, vmstate_reg, SavedReg),
    VMSTATE_STRUCT_VARRAY_ALLOC(ctxs, GpuSaved, n_ctxs, 1, vmstate_ctx, GpuCtx),
    VMSTATE_STRUCT_VARRAY_ALLOC(later, GpuSaved, n_later, 1, vmstate_later, GpuLater));

/*
 * Loads the PCI configuration of the PF.  QEMU would enable the number of VFs in
 * the stream without a check.  So get_pci() hides the SR-IOV capability from
 * QEMU, checks the number, and then enables the VFs.
 */
static int get_pci(QEMUFile *f, void *pv, size_t size, const VMStateField *field)
{
    PCIDevice *d = pv;
    uint16_t cap = d->exp.sriov_cap;
    const uint8_t *cfg = d->config + cap;
    int ret;

    d->exp.sriov_cap = 0;
    ret = vmstate_load_state(f, &vmstate_pci_device, d, vmstate_pci_device.version_id);
    d->exp.sriov_cap = cap;
    if (ret || !cap) {
        return ret;
    }
    if (pci_get_word(cfg + PCI_SRIOV_NUM_VF) > pci_get_word(cfg + PCI_SRIOV_TOTAL_VF)) {
        error_report("vmtb-gpu: the stream enables %u VFs of %u", pci_get_word(cfg + PCI_SRIOV_NUM_VF),
                     pci_get_word(cfg + PCI_SRIOV_TOTAL_VF));
        pcie_sriov_pf_reset(d);
        return -EINVAL;
    }
    pcie_sriov_pf_post_load(d);
    return 0;
}

static int put_pci(QEMUFile *f, void *pv, size_t size, const VMStateField *field, JSONWriter *desc)
{
    return vmstate_save_state(f, &vmstate_pci_device, pv, desc);
}

static const VMStateInfo info_pci = { .name = "PCI", .get = get_pci, .put = put_pci };

void vmstate_forget(GpuState *s)
{
    if (s->saved) {
        g_free(s->saved->regs);
        g_free(s->saved->steered);
        g_free(s->saved->ctxs);
        g_free(s->saved->later);
        g_clear_pointer(&s->saved, g_free);
    }
}

static int pf_pre_load(void *opaque)
{
    GpuState *s = opaque;

    vmstate_forget(s);
    s->saved = g_new0(GpuSaved, 1);
    return 0;
}

static void save_ctx(GArray *a, const GpuState *s, const GpuCtx *c)
{
    GpuCtx copy = *c;

    for (int i = 0; i < ENGINES; i++) {
        copy.running |= s->engine[i].cur == c;
    }
    g_array_append_val(a, copy);
}

static int pf_pre_save(void *opaque)
{
    GpuState *s = opaque;
    GArray *regs = g_array_new(false, false, sizeof(SavedReg));
    GArray *steered = g_array_new(false, false, sizeof(SavedReg));
    GArray *ctxs = g_array_new(false, false, sizeof(GpuCtx));
    GArray *later = g_array_new(false, false, sizeof(GpuLater));
    GHashTableIter it;
    gpointer k, p;
    GpuSaved *v;
    GpuLater *l;
    GpuCtx *c;

    pf_pre_load(s);
    v = s->saved;
    v->irq = s->irq;
    memcpy(v->guc, s->guc, sizeof(v->guc));
    memcpy(v->fn_regs, s->fn_regs, sizeof(v->fn_regs));
    v->unknown_cmds = s->unknown_cmds;
    memcpy(v->fn, s->fn, sizeof(v->fn));
    memcpy(v->engine, s->engine, sizeof(v->engine));
    for (uint32_t i = 0; i < REGS_SIZE / 4; i++) {
        SavedReg r = { i * 4, s->regs[i] };

        if (r.value) {
            g_array_append_val(regs, r);
        }
    }
    g_hash_table_iter_init(&it, s->steered);
    while (g_hash_table_iter_next(&it, &k, &p)) {
        SavedReg r = { GPOINTER_TO_UINT(k), GPOINTER_TO_UINT(p) };

        g_array_append_val(steered, r);
    }
    for (int i = 0; i < ENGINES; i++) {
        QTAILQ_FOREACH(c, &s->engine[i].list, next) {
            save_ctx(ctxs, s, c);
        }
    }
    for (int i = 0; i < ARRAY_SIZE(s->fn); i++) {
        if (!s->fn[i].ctxs) {
            continue;
        }
        g_hash_table_iter_init(&it, s->fn[i].ctxs);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
            if (!((GpuCtx *)p)->queued) {
                save_ctx(ctxs, s, p);
            }
        }
    }
    QTAILQ_FOREACH(l, &s->later, next) {
        g_array_append_val(later, *l);
    }
    v->n_regs = regs->len;
    v->n_steered = steered->len;
    v->n_ctxs = ctxs->len;
    v->n_later = later->len;
    v->regs = (SavedReg *)g_array_free(regs, false);
    v->steered = (SavedReg *)g_array_free(steered, false);
    v->ctxs = (GpuCtx *)g_array_free(ctxs, false);
    v->later = (GpuLater *)g_array_free(later, false);
    return 0;
}

static int pf_post_save(void *opaque)
{
    vmstate_forget(opaque);
    return 0;
}

static int pf_post_load(void *opaque, int version_id)
{
    GpuState *s = opaque;
    bool ok;

    for (int i = 0; i < s->gts; i++) {
        guc_reset(s, i);
    }
    ok = saved_load(s, s->saved);
    vmstate_forget(s);
    if (!ok) {
        error_report("vmtb-gpu: the state in the stream is not one that this device can be in");
        gpu_reset(s);
        return -EINVAL;
    }
    sched_kick(s);
    return 0;
}

/*
 * Enabling a VF resets it, so the PF must be loaded before its VFs.  The
 * priority of an IOMMU does that: loading the PF needs no IOMMU.
 */
const VMStateDescription gpu_vmstate = {
    .name = TYPE_VMTB_GPU,
    .version_id = 2,
    .minimum_version_id = 2,
    .priority = MIG_PRI_IOMMU,
    .pre_load = pf_pre_load,
    .post_load = pf_post_load,
    .pre_save = pf_pre_save,
    .post_save = pf_post_save,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT8_EQUAL(num_vfs, GpuState, "vfs: the stream comes from a device with another number of VFs"),
        VMSTATE_UINT8_EQUAL(gts, GpuState, "gts: the stream comes from a device with another number of GTs"),
        VMSTATE_UINT32_EQUAL(device_id, GpuState, "platform: the stream comes from another platform"),
        VMSTATE_UINT64_EQUAL(vram_size, GpuState, "vram: the stream comes from a device with another size"),
        VMSTATE_SINGLE(parent_obj, GpuState, 1, info_pci, PCIDevice),
        VMSTATE_STRUCT_POINTER(saved, GpuState, vmstate_saved, GpuSaved),
        VMSTATE_END_OF_LIST(),
    },
};

/* The other state of a VF is in the state of its PF. */
const VMStateDescription gpu_vf_vmstate = {
    .name = TYPE_VMTB_GPU_VF,
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, GpuVf),
        VMSTATE_END_OF_LIST(),
    },
};
