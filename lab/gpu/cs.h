/*
 * Declarations shared by the files of the command parser.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VMTB_GPU_CS_H
#define VMTB_GPU_CS_H

#include "gpu.h"

#define CS_TLB_ENTRIES  16
#define CS_MAX_DWORDS   256

/* One run of a context on an engine. */
typedef struct Cs {
    GpuState *s;
    GpuEngine *e;
    GpuFn *fn;
    GpuCtx *c;
    uint64_t root;           /* PPGTT */
    uint32_t ring, ring_size;
    PpgttEntry tlb[CS_TLB_ENTRIES];
    uint32_t asid;           /* address space; 0: the driver does not handle page faults of the context */
    bool fault;
    bool page_fault;         /* the driver may correct the fault and let the command run again */
    uint64_t fault_va;

    /* the current command */
    uint32_t d[CS_MAX_DWORDS];
    uint32_t len;            /* dwords; may be larger than CS_MAX_DWORDS */
    uint64_t ip;
    bool pp;
    bool jumped;
    bool may_preempt;        /* the context may be preempted after this command */
    bool wait;               /* the command waits and will be executed again */
    uint64_t blt_bytes;      /* bytes copied or filled by this command */
} Cs;

/* cs.c */
bool cs_rw(Cs *cs, bool ppgtt, uint64_t va, void *p, uint32_t len, bool write);
bool cs_fetch(Cs *cs, uint32_t dw, uint32_t *v, uint32_t n);
void cs_charge(Cs *cs, int64_t ns);
static inline uint64_t cs_ts(const Cs *cs)
{
    return ns_to_ts(cs->e->t);
}
static inline uint64_t cs_ctx_ts(const Cs *cs)
{
    return cs->c->ts_base + ns_to_ts(cs->c->run_ns);
}

/* csmi.c */
void cs_mi(Cs *cs);
void cs_pipe_control(Cs *cs);

/* csreg.c */
uint32_t cs_reg_r(Cs *cs, uint32_t reg);
void cs_reg_w(Cs *cs, uint32_t reg, uint32_t v);
void cs_math(Cs *cs, const uint32_t *op, uint32_t n);

/* csblt.c */
void cs_blt(Cs *cs);

#endif
