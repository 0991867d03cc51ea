/*
 * The registers of the PF: their values after a reset, and registers whose
 * reads or writes have an effect.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"

static void gt_reset(GpuState *s, uint32_t gt)
{
    *gt_reg(s, gt, RPM_CONFIG0) = (1u << 3) | (3u << 1);     /* 19.2 MHz, no shift */
    *gt_reg(s, gt, GUC_STATUS) = GUC_STATUS_MIA_IN_RESET;
    *gt_reg(s, gt, MCR_SELECTOR) = MCR_MULTICAST;
}

void mmio_reset(GpuState *s)
{
    memset(s->regs, 0, REGS_SIZE);
    g_hash_table_remove_all(s->steered);
    gt_reset(s, 0);
    if (s->gts > 1) {
        gt_reset(s, 1);
        *gt_reg(s, 1, GT_VEBOX_VDBOX) = (1u << 16) | 1;      /* one engine of each class */
    }
    *gpu_reg(s, XEHP_FUSE4) = 1u << 16;                      /* one compute engine */
    *gpu_reg(s, MIRROR_FUSE3) = 1;
    *gpu_reg(s, FUSE_PRODUCTION) = 1u << 2;
    *gpu_reg(s, MIRROR_L3BANK_ENABLE) = 0xf;
    *gpu_reg(s, XELP_EU_ENABLE) = 0xff;
    *gpu_reg(s, XELP_GT_GEOMETRY_DSS) = 0xf;
    *gpu_reg(s, XEHP_GT_COMPUTE_DSS) = 0xf;
    *gpu_reg(s, DRIVER_FLR) = 1u << 31;                      /* there is no driver FLR */
    *gpu_reg(s, GGC) = (3u << 6) | (0x80u << 8);             /* GGTT of 8 MiB, no stolen memory */
    *gpu_reg(s, RP_STATE_CAP) = 144 | (24u << 16);           /* 2400 and 400 MHz in units of 16.67 */
    *gpu_reg(s, RP_STATE_RPE) = 60;
    *gpu_reg(s, RP_STATE_RPA) = 48;
    *gpu_reg(s, MEDIA_STATE_CAP) = 72 | (24u << 16);         /* 1200 and 400 MHz */
    *gpu_reg(s, MEDIA_STATE_RPE) = 30;
    *gpu_reg(s, MEDIA_STATE_RPA) = 24;
    for (int i = 0; i < ENGINES; i++) {
        *gpu_reg(s, s->engine[i].base + RING_IDLEDLY_MAXCNT) = 0x40;
    }
    platform_reset(s);
}

/*
 * Writes a register in the block of a function: a scratch register or a
 * doorbell.  The PF driver writes the block of a VF when it restores the VF.
 */
void fn_mmio_write(GpuState *s, uint32_t n, uint32_t off, uint32_t v)
{
    if (!s->fn[n].ctxs) {
        return;
    }
    s->fn_regs[n][off / 4] = v;
    switch (off) {
    case FN_GUC_HOST_INTERRUPT:
        pf_adverse(s, &s->fn[n], KLV_VF_THRESHOLD_H2G);
        guc_mailbox(s, &s->fn[n], false);
        break;
    case FN_MED_HOST_INTERRUPT:
        guc_mailbox(s, gt_fn(s, s->gts - 1, n), true);
        break;
    }
}

static void engine_read(GpuState *s, uint32_t off, uint32_t *v)
{
    for (int i = 0; i < ENGINES; i++) {
        switch (off - s->engine[i].base) {
        case RING_TIMESTAMP:
            *v = ns_to_ts(gpu_now());
            break;
        case RING_TIMESTAMP_UDW:
            *v = ns_to_ts(gpu_now()) >> 32;
            break;
        }
    }
}

/* Returns the GT of a register.  *off becomes the register's offset in that GT. */
static uint32_t gt_of(const GpuState *s, uint32_t *off)
{
    if (s->gts > 1 && *off >= MEDIA_OFFSET && *off < MEDIA_OFFSET + GT_REGS_SIZE) {
        *off -= MEDIA_OFFSET;
        return 1;
    }
    return 0;
}

static uint32_t reg_read(GpuState *s, uint32_t off)
{
    uint32_t gt = gt_of(s, &off), v;

    switch (off) {
    case MTL_STEER_SEMAPHORE:
        return 1;                                            /* always free */
    case GUC_PMTIMESTAMP_LO:
    case MISC_STATUS_0:
        return ns_to_ts(gpu_now());
    case GUC_PMTIMESTAMP_HI:
    case MISC_STATUS_0 + 4:
        return ns_to_ts(gpu_now()) >> 32;
    case DE_PIPE_IIR:
    case PCU_IIR:
        return 0;
    }
    v = mcr_read(s, gt, off);
    if (gt == 0 && (off & 0xff8) == RING_TIMESTAMP) {
        engine_read(s, off, &v);
    }
    return v;
}

/* Runs a command of the power controller.  Every command succeeds, and returns zeros where not otherwise stated. */
static void pcode_run(GpuState *s, uint32_t cmd)
{
    gpu_trace(s, TRACE_ODD, "pcode command %#x, data %#x", cmd, *gpu_reg(s, PCODE_DATA0));
    *gpu_reg(s, PCODE_DATA0) = (cmd & 0xff) == PCODE_INIT_STATUS ? 1 : 0;    /* initialization is complete */
    *gpu_reg(s, PCODE_DATA1) = 0;
}

static void reg_write(GpuState *s, uint32_t off, uint32_t v)
{
    uint32_t *r = gpu_reg(s, off), gt = gt_of(s, &off), *ack;

    switch (off) {
    case FORCEWAKE_GT:
        ack = gt_reg(s, gt, FORCEWAKE_ACK_GT);
        *ack = reg_masked(*ack, v);
        return;
    case FORCEWAKE_RENDER:
        ack = gt_reg(s, gt, FORCEWAKE_ACK_RENDER);
        *ack = reg_masked(*ack, v);
        return;
    case FORCEWAKE_MEDIA_VDBOX ... FORCEWAKE_MEDIA_VDBOX + 0x1c:
        ack = gt_reg(s, gt, FORCEWAKE_ACK_MEDIA_VDBOX + off - FORCEWAKE_MEDIA_VDBOX);
        *ack = reg_masked(*ack, v);
        return;
    case FORCEWAKE_MEDIA_VEBOX ... FORCEWAKE_MEDIA_VEBOX + 0xc:
        ack = gt_reg(s, gt, FORCEWAKE_ACK_MEDIA_VEBOX + off - FORCEWAKE_MEDIA_VEBOX);
        *ack = reg_masked(*ack, v);
        return;
    case GDRST:
        if (v & (GDRST_FULL | GDRST_GUC)) {
            guc_reset(s, gt);
        }
        *r = 0;
        return;
    case DMA_CTRL:
        /* the upper half of the value is the mask of the bits to write */
        if ((v & v >> 16 & DMA_START) == DMA_START) {
            guc_load(s, gt);
        }
        *r = 0;
        return;
    case GUC_WOPCM_SIZE:
    case DMA_GUC_WOPCM_OFFSET:
        *r = v | 1;                                          /* bit 0: size locked, or offset valid */
        return;
    case GUC_TLB_INV_CR:
    case PVC_GUC_TLB_INV_DESC0:
    case AUX_INV:
    case XELPMP_GSC_INV:
    case L3_INV:
        *r = 0;                                              /* done at once */
        return;
    case PVC_GUC_TLB_INV_DESC1:
        *r = v & ~(1u << 6);
        return;
    case PCODE_MAILBOX:
        if (v & PCODE_READY) {
            pcode_run(s, v);
            *r = 0;                                          /* done, no error */
        }
        return;
    case GU_CNTL:
        if (v & GU_CNTL_DRIVERFLR) {
            *gpu_reg(s, DRIVERFLR_DONE) |= 1u << 31;
        }
        *r = v & ~GU_CNTL_DRIVERFLR;
        return;
    case LMEM_CFG:                                           /* not steered, although it is in such a range */
        *r = v;
        return;
    case DRIVERFLR_DONE:
        *r &= ~(v & (1u << 31));
        return;
    case GMD_ID:
    case GUC_STATUS:
        return;                                              /* read only */
    case GUC_SEND_INTERRUPT:
        sched_kick(s);
        return;
    }
    mcr_write(s, gt, off, v);
}

static void trace_reg(GpuState *s, uint32_t off, uint32_t v, int bit)
{
    bool first = !(s->seen[off / 4] & (1 << bit));

    s->seen[off / 4] |= 1 << bit;
    if (s->trace >= TRACE_REGS || first) {
        gpu_log("%c %06x = %08x", "RW"[bit], off, v);
    }
}

static uint64_t mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    GpuState *s = opaque;
    uint32_t off = addr & ~3u, v;

    if (off >= FN_BASE && off < FN_BASE + (GPU_MAX_VFS + 1) * FN_STRIDE) {
        uint32_t n = (off - FN_BASE) / FN_STRIDE, o = (off - FN_BASE) % FN_STRIDE;

        if (n || !irq_read(s, o, &v)) {
            v = s->fn_regs[n][o / 4];
        }
    } else {
        v = reg_read(s, off);
    }
    if (unlikely(s->trace)) {
        trace_reg(s, off, v, 0);
    }
    return v;
}

static void mmio_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    GpuState *s = opaque;
    uint32_t off = addr & ~3u;

    if (unlikely(s->trace)) {
        trace_reg(s, off, val, 1);
    }
    if (off >= FN_BASE && off < FN_BASE + (GPU_MAX_VFS + 1) * FN_STRIDE) {
        uint32_t n = (off - FN_BASE) / FN_STRIDE, o = (off - FN_BASE) % FN_STRIDE;

        if (n || !irq_write(s, o, val)) {
            if (n == 0 && o == FN_VF_CAP) {
                return;                                      /* read only: it tells a VF (1) from the PF (0) */
            }
            fn_mmio_write(s, n, o, val);
        }
        return;
    }
    reg_write(s, off, val);
}

const MemoryRegionOps gpu_mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};
