/*
 * The state of the device in a migration stream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VMTB_GPU_VMSTATE_H
#define VMTB_GPU_VMSTATE_H

#include "gpu.h"

typedef struct SavedReg {
    uint32_t off, value;
} SavedReg;

struct GpuSaved {
    GpuIrq irq;
    GpuGuc guc[GPU_MAX_GTS];
    GpuFn fn[GPU_MAX_GTS * GPU_FNS];
    uint32_t fn_regs[GPU_FNS * FN_STRIDE / 4];
    GpuEngine engine[ENGINES];
    uint64_t unknown_cmds;
    int32_t n_regs, n_steered, n_ctxs, n_later;
    SavedReg *regs;          /* registers that are not 0 */
    SavedReg *steered;       /* off is a key of mcr.c */
    GpuCtx *ctxs;            /* queued contexts first, in the order of their engine's list */
    GpuLater *later;
};

/* vmload.c */
bool saved_load(GpuState *s, const GpuSaved *v);

#endif
