/*
 * Interrupts: registers and MSI for the PF, bytes in memory and MSI for a VF.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"
#include "hw/pci/msi.h"

static const uint8_t guc_irq_bit[GPU_MAX_GTS] = { 25, 24 };

static void kick(GpuState *s)
{
    if (s->irq.mstr && (s->irq.intr_dw[0] | s->irq.intr_dw[1])) {
        /* one MSI; the next MSI follows when the driver has switched the master interrupt on again */
        s->irq.mstr = false;
        msi_notify(PCI_DEVICE(s), 0);
    }
}

static void raise_pf(GpuState *s, uint32_t bit, uint16_t vec)
{
    s->irq.vec[bit] |= vec;
    s->irq.intr_dw[bit / 32] |= 1u << (bit % 32);
    kick(s);
}

static bool raise_byte(GpuState *s, GpuFn *fn, uint64_t addr)
{
    uint8_t ff = 0xff;

    return ggtt_rw(s, fn->idx, addr, &ff, 1, true);
}

void irq_guc(GpuState *s, GpuFn *fn, int bit)
{
    if (fn->idx == 0) {
        raise_pf(s, guc_irq_bit[fn->gt], 1u << bit);
    } else if (fn->pdev && fn->memirq_source && fn->memirq_status &&
               raise_byte(s, fn, fn->memirq_status + bit) &&
               raise_byte(s, fn, fn->memirq_source)) {
        msi_notify(fn->pdev, 0);
    }
}

void irq_engine(GpuState *s, GpuCtx *c, GpuEngine *e)
{
    GpuFn *fn = &s->fn[c->fn];
    uint32_t status, source;

    if (fn->idx == 0) {
        raise_pf(s, e->irq_bit, 1);
        return;
    }
    /* a VF's context image has the addresses of the status and source bytes */
    status = ctx_image_r(s, c, LRC_INT_STATUS_PTR);
    source = ctx_image_r(s, c, LRC_INT_SRC_PTR);
    if (status && source) {
        raise_byte(s, fn, status + e->irq_bit * 16ull);
        raise_byte(s, fn, source + e->irq_bit);
    }
    pf_adverse(s, fn, KLV_VF_THRESHOLD_IRQ);
    if (fn->pdev) {
        msi_notify(fn->pdev, 0);
    }
}

static uint32_t identity(GpuState *s, uint32_t bit)
{
    /* class and instance as in GEN11_INTR_ENGINE_CLASS and _INSTANCE */
    uint32_t class = 4, instance = bit == guc_irq_bit[1] ? 16 : 0;

    for (int i = 0; i < ENGINES; i++) {
        const GpuEngine *e = &s->engine[i];

        if (e->irq_bit == bit) {
            switch (e->gclass) {
            case CLASS_RENDER:
            case CLASS_VIDEO:
            case CLASS_VIDEO_ENHANCE:
                class = e->gclass;
                break;
            case CLASS_COPY:
                class = 3;
                instance = bit == 23 ? 8 : 15 - bit;
                break;
            case CLASS_COMPUTE:
                class = 5;
                instance = bit - 4;
                break;
            }
        }
    }
    return (1u << 31) | (instance << 20) | (class << 16);
}

void irq_reset(GpuState *s)
{
    s->irq = (GpuIrq) { 0 };
}

bool irq_read(GpuState *s, uint32_t off, uint32_t *v)
{
    switch (off) {
    case FN_MSTR_TILE_INTR:
        *v = (s->irq.intr_dw[0] | s->irq.intr_dw[1] ? 1 : 0) | (s->irq.mstr ? 1u << 31 : 0);
        return true;
    case FN_GFX_MSTR_INTR:
        *v = (s->irq.intr_dw[0] ? 1 : 0) | (s->irq.intr_dw[1] ? 2 : 0);
        return true;
    case FN_GT_INTR_DW0:
    case FN_GT_INTR_DW1:
        *v = s->irq.intr_dw[(off - FN_GT_INTR_DW0) / 4];
        return true;
    case FN_INTR_IDENTITY0:
    case FN_INTR_IDENTITY1:
        *v = s->irq.ident[(off - FN_INTR_IDENTITY0) / 4];
        return true;
    default:
        return false;
    }
}

bool irq_write(GpuState *s, uint32_t off, uint32_t v)
{
    uint32_t bank;

    switch (off) {
    case FN_MSTR_TILE_INTR:
        s->irq.mstr = v >> 31;
        kick(s);
        return true;
    case FN_GFX_MSTR_INTR:
        return true;
    case FN_GT_INTR_DW0:
    case FN_GT_INTR_DW1:
        bank = (off - FN_GT_INTR_DW0) / 4;
        for (int b = 0; b < 32; b++) {
            /* the bit stays set if another interrupt came after the driver read the identity */
            if ((v >> b & 1) && !s->irq.vec[bank * 32 + b]) {
                s->irq.intr_dw[bank] &= ~(1u << b);
            }
        }
        return true;
    case FN_INTR_IDENTITY0:
    case FN_INTR_IDENTITY1:
        s->irq.ident[(off - FN_INTR_IDENTITY0) / 4] = 0;
        return true;
    case FN_IIR_SELECTOR0:
    case FN_IIR_SELECTOR1:
        if (v) {
            uint32_t bit;

            bank = (off - FN_IIR_SELECTOR0) / 4;
            bit = bank * 32 + ctz32(v);
            s->irq.ident[bank] = identity(s, bit) | s->irq.vec[bit];
            s->irq.vec[bit] = 0;
        }
        return true;
    default:
        return false;
    }
}
