/*
 * MI commands and PIPE_CONTROL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "cs.h"

enum {
    MI_NOOP = 0x00, MI_USER_INTERRUPT = 0x02, MI_ARB_CHECK = 0x05, MI_ARB_ON_OFF = 0x08,
    MI_BATCH_BUFFER_END = 0x0a, MI_MATH = 0x1a, MI_SEMAPHORE_SIGNAL = 0x1b, MI_SEMAPHORE_WAIT = 0x1c,
    MI_FORCE_WAKEUP = 0x1d, MI_STORE_DATA_IMM = 0x20, MI_LOAD_REGISTER_IMM = 0x22, MI_STORE_REGISTER_MEM = 0x24,
    MI_FLUSH_DW = 0x26, MI_LOAD_REGISTER_MEM = 0x29, MI_LOAD_REGISTER_REG = 0x2a, MI_COPY_MEM_MEM = 0x2e,
    MI_ATOMIC = 0x2f, MI_BATCH_BUFFER_START = 0x31, MI_COND_BATCH_BUFFER_END = 0x36,
};

#define USE_GGTT(h)     (((h) >> 22) & 1)

/*
 * Each turn of a loop in a batch costs more engine time than the turn before,
 * up to SPIN_COST << SPIN_SHIFT_MAX, so that a spinner costs little host CPU.
 */
#define SPIN_COST       (2 * SCALE_US)
#define SPIN_SHIFT_MAX  6
#define SPIN_WINDOW     (64 * KiB)

static uint64_t addr_of(const Cs *cs, int dw)
{
    return u64_of(cs->d[dw], cs->d[dw + 1]);
}

static uint32_t read32(Cs *cs, bool ggtt, uint64_t va)
{
    uint32_t v = 0;

    cs_rw(cs, !ggtt, va & ~3ull, &v, 4, false);
    return le32_to_cpu(v);
}

static void write32(Cs *cs, bool ggtt, uint64_t va, uint32_t v)
{
    v = cpu_to_le32(v);
    cs_rw(cs, !ggtt, va & ~3ull, &v, 4, true);
}

static void write64(Cs *cs, bool ggtt, uint64_t va, uint64_t v)
{
    v = cpu_to_le64(v);
    cs_rw(cs, !ggtt, va & ~7ull, &v, 8, true);
}

static bool compare(uint32_t op, uint32_t mem, uint32_t imm)
{
    switch (op & 7) {
    case 0:
        return mem > imm;
    case 1:
        return mem >= imm;
    case 2:
        return mem < imm;
    case 3:
        return mem <= imm;
    case 4:
        return mem == imm;
    default:
        return mem != imm;
    }
}

static void semaphore_wait(Cs *cs)
{
    GpuCtx *c = cs->c;
    uint32_t h = cs->d[0], v;

    if (h & (1u << 16)) {
        return;              /* register poll: on this device the polled condition is always true */
    }
    v = read32(cs, USE_GGTT(h), addr_of(cs, 2));
    if (cs->fault || compare(h >> 12, v, cs->d[1])) {
        return;
    }
    if (c->watchdog) {
        /*
         * The watchdog fires: the GuC resets the engine, and the context goes
         * on after the wait.  A VF driver uses this to get a context with a
         * clean state.
         */
        gpu_trace(cs->s, TRACE_ODD, "%s: watchdog of context %u of function %u", cs->e->name, c->id, c->fn);
        c->watchdog = false;
        return;
    }
    cs->wait = true;
}

static void store_data(Cs *cs)
{
    uint32_t h = cs->d[0], left = cs->len > 3 ? cs->len - 3 : 0, tmp[64];
    uint64_t dst = addr_of(cs, 1) & ~3ull;

    for (uint32_t at = 3; left && !cs->fault; ) {
        uint32_t n = MIN(left, ARRAY_SIZE(tmp));

        cs_fetch(cs, at, tmp, n);
        for (uint32_t i = 0; i < n; i++) {
            tmp[i] = cpu_to_le32(tmp[i]);
        }
        if (!cs->fault) {
            cs_rw(cs, !USE_GGTT(h), dst, tmp, n * 4, true);
        }
        dst += n * 4;
        at += n;
        left -= n;
    }
}

static void flush_dw(Cs *cs)
{
    uint32_t h = cs->d[0];
    uint64_t a = addr_of(cs, 1) & ~7ull;
    bool ggtt = cs->d[1] & 4;

    if (h & (1u << 21)) {    /* an index into the status page of the context */
        a = cs->c->lrca + (a & 0xfff);
        ggtt = true;
    }
    switch ((h >> 14) & 3) {
    case 1:
        if (cs->len >= 5) {
            write64(cs, ggtt, a, u64_of(cs->d[3], cs->d[4]));
        } else {
            write32(cs, ggtt, a, cs->d[3]);
        }
        break;
    case 3:
        write64(cs, ggtt, a, cs_ts(cs));
        break;
    }
}

void cs_pipe_control(Cs *cs)
{
    uint64_t a = addr_of(cs, 2) & ~3ull;
    bool ggtt = cs->d[1] & (1u << 24);

    if (cs->d[1] & (1u << 21)) {
        a = cs->c->lrca + (a & 0xfff);
        ggtt = true;
    }
    switch ((cs->d[1] >> 14) & 3) {
    case 1:
        write64(cs, ggtt, a, u64_of(cs->d[4], cs->d[5]));
        break;
    case 3:
        write64(cs, ggtt, a, cs_ts(cs));
        break;
    }
}

/* MI_ATOMIC: opcode bits 4:0 are the operation, 6:5 the width. */
static void atomic(Cs *cs)
{
    uint32_t h = cs->d[0], op = (h >> 8) & 0xff, width = op >> 5;
    uint32_t size = width == 1 ? 8 : 4;
    uint64_t a = addr_of(cs, 1) & ~(size - 1ull), v = 0, old, x, y;

    if (width > 1) {
        cs->s->unknown_cmds++;           /* 16 bytes */
        return;
    }
    cs_rw(cs, !USE_GGTT(h), a, &v, size, false);
    v = old = le64_to_cpu(v);
    x = size == 8 ? u64_of(cs->d[3], cs->d[5]) : cs->d[3];
    y = size == 8 ? u64_of(cs->d[4], cs->d[6]) : cs->d[4];
    switch (op & 0x1f) {
    case 0x01:
        v &= x;
        break;
    case 0x02:
        v |= x;
        break;
    case 0x03:
        v ^= x;
        break;
    case 0x04:
        v = x;
        break;
    case 0x05:
        v++;
        break;
    case 0x06:
        v--;
        break;
    case 0x07:
        v += x;
        break;
    case 0x08:
        v -= x;
        break;
    case 0x09:
        v = x - v;
        break;
    case 0x0c:
        v = MAX(v, x);
        break;
    case 0x0d:
        v = MIN(v, x);
        break;
    case 0x0e:
        v = v == x ? y : v;
        break;
    default:
        cs->s->unknown_cmds++;
        return;
    }
    if (h & (1u << 16)) {    /* the old value is returned in GPR 0 */
        cs->c->gpr[0] = old;
    }
    v = cpu_to_le64(v);
    cs_rw(cs, !USE_GGTT(h), a, &v, size, true);
    if (cs->page_fault) {
        cs->c->fault_access = ACCESS_ATOMIC;
    }
}

static void batch_start(Cs *cs)
{
    GpuCtx *c = cs->c;
    uint32_t h = cs->d[0];
    bool second = h & (1u << 22), predicated = h & (1u << 15);
    uint64_t to = addr_of(cs, 1) & ~3ull;

    if (predicated) {
        cs->s->unknown_cmds++;           /* predication is not modelled: the command always jumps */
    }
    if (c->level == 0) {
        c->head = (c->head + cs->len * 4) % cs->ring_size;
        c->level = 1;
    } else if (second && c->level == 1) {
        c->ip[1] = cs->ip + cs->len * 4ull;
        c->level = 2;
    } else if (to <= cs->ip && cs->ip - to < SPIN_WINDOW) {
        cs_charge(cs, SPIN_COST << MIN(c->spins, SPIN_SHIFT_MAX));
        c->spins++;
    }
    c->ip[c->level] = to;
    /* a batch in the PPGTT cannot jump to a batch in the GGTT */
    c->pp[c->level] = ((h >> 8) & 1) || cs->pp;
    cs->jumped = true;
}

static void cond_batch_end(Cs *cs)
{
    uint32_t h = cs->d[0], v = read32(cs, USE_GGTT(h), addr_of(cs, 2));
    /* with bit 21 the batch ends if the comparison fails, without it if the value is not greater */
    bool go_on = h & (1u << 21) ? compare(h >> 12, v, cs->d[1]) : v > cs->d[1];

    if (!cs->fault && !go_on && cs->c->level) {
        /* bit 18: only the current level ends */
        cs->c->level = h & (1u << 18) ? cs->c->level - 1 : 0;
        cs->jumped = true;
    }
}

void cs_mi(Cs *cs)
{
    GpuCtx *c = cs->c;
    uint32_t h = cs->d[0], op = (h >> 23) & 0x3f;

    switch (op) {
    case MI_NOOP:
        break;
    case MI_ARB_CHECK:
        /* with bit 8 set, MI_ARB_CHECK switches the pre-parser and does not allow preemption */
        cs->may_preempt = !c->noarb && !(h & (1u << 8));
        break;
    case MI_ARB_ON_OFF:
        c->noarb = !(h & 1);
        break;
    case MI_FORCE_WAKEUP:
    case MI_SEMAPHORE_SIGNAL:
        break;
    case MI_USER_INTERRUPT:
        irq_engine(cs->s, c, cs->e);
        break;
    case MI_BATCH_BUFFER_END:
        if (c->level) {
            c->level--;
            cs->jumped = true;
        }
        break;
    case MI_MATH:
        cs_math(cs, cs->d + 1, MIN(cs->len, CS_MAX_DWORDS) - 1);
        break;
    case MI_SEMAPHORE_WAIT:
        semaphore_wait(cs);
        break;
    case MI_STORE_DATA_IMM:
        store_data(cs);
        break;
    case MI_LOAD_REGISTER_IMM:
        for (uint32_t i = 1; i + 1 < MIN(cs->len, CS_MAX_DWORDS); i += 2) {
            cs_reg_w(cs, cs->d[i], cs->d[i + 1]);
        }
        break;
    case MI_STORE_REGISTER_MEM:
        write32(cs, USE_GGTT(h), addr_of(cs, 2), cs_reg_r(cs, cs->d[1]));
        break;
    case MI_FLUSH_DW:
        flush_dw(cs);
        break;
    case MI_LOAD_REGISTER_MEM:
        cs_reg_w(cs, cs->d[1], read32(cs, USE_GGTT(h), addr_of(cs, 2)));
        break;
    case MI_LOAD_REGISTER_REG:
        cs_reg_w(cs, cs->d[2], cs_reg_r(cs, cs->d[1]));
        break;
    case MI_COPY_MEM_MEM:
        write32(cs, h & (1u << 21), addr_of(cs, 1), read32(cs, USE_GGTT(h), addr_of(cs, 3)));
        break;
    case MI_ATOMIC:
        atomic(cs);
        break;
    case MI_BATCH_BUFFER_START:
        batch_start(cs);
        break;
    case MI_COND_BATCH_BUFFER_END:
        cond_batch_end(cs);
        break;
    default:
        cs->s->unknown_cmds++;
        gpu_trace(cs->s, TRACE_ODD, "%s: MI command %08x skipped", cs->e->name, h);
    }
}
