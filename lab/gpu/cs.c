/*
 * The command parser: ring, batches, and the engine time that commands cost.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "cs.h"

#define CMD_COST        50              /* ns of engine time */
#define RING_MASK       0x1ffffc
#define IMAGE_OFFSET    4096            /* the register state follows the HWSP page */

uint32_t ctx_image_r(GpuState *s, GpuCtx *c, uint32_t dw)
{
    return ggtt_r32(s, s->fn[c->fn].idx, c->lrca + IMAGE_OFFSET + dw * 4);
}

void ctx_image_w(GpuState *s, GpuCtx *c, uint32_t dw, uint32_t v)
{
    ggtt_w32(s, s->fn[c->fn].idx, c->lrca + IMAGE_OFFSET + dw * 4, v);
}

static void page_fault(Cs *cs, uint64_t va, bool write, uint32_t type)
{
    cs->fault = true;
    cs->page_fault = cs->asid;
    cs->fault_va = cs->c->fault_va = va;
    cs->c->fault_access = write ? ACCESS_WRITE : ACCESS_READ;
    cs->c->fault_type = type;
}

bool cs_rw(Cs *cs, bool ppgtt, uint64_t va, void *p, uint32_t len, bool write)
{
    uint8_t *b = p;

    if (cs->fault) {         /* the command runs again, or never: it has no more effects */
        if (!write) {
            memset(b, 0, len);
        }
        return false;
    }
    if (!ppgtt) {
        if (!ggtt_rw(cs->s, cs->fn->idx, va, p, len, write)) {
            cs->fault = true;
            cs->fault_va = va;
        }
        return !cs->fault;
    }
    va &= 0x01ffffffffffffffull;
    while (len) {
        uint32_t n = MIN(len, 0x1000 - (va & 0xfff));
        PpgttEntry *e = &cs->tlb[(va >> 12) % CS_TLB_ENTRIES];

        if ((!e->valid || e->va != (va & ~0xfffull)) && !ppgtt_walk(cs->s, cs->fn, cs->root, va, e)) {
            page_fault(cs, va, write, FAULT_NOT_PRESENT);
        } else if (write && !e->null && !e->rw && cs->asid) {
            page_fault(cs, va, write, FAULT_WRITE_ACCESS);
        } else if (e->null) {
            if (!write) {
                memset(b, 0, n);
            }
        } else if (!fn_rw(cs->s, cs->fn, e->local, e->pa + (va & 0xfff), b, n, write)) {
            cs->fault = true;
            cs->fault_va = va;
        }
        if (cs->fault) {
            if (!write) {
                memset(b, 0, len);
            }
            return false;
        }
        va += n;
        b += n;
        len -= n;
    }
    return true;
}

void cs_charge(Cs *cs, int64_t ns)
{
    cs->e->t += ns;
    cs->c->run_ns += ns;
}

/* Reads n dwords of the current command, from dword dw on.  The ring wraps around. */
bool cs_fetch(Cs *cs, uint32_t dw, uint32_t *v, uint32_t n)
{
    if (cs->c->level) {
        if (!cs_rw(cs, cs->pp, cs->ip + dw * 4ull, v, n * 4, false)) {
            return false;
        }
    } else {
        for (uint32_t i = 0, k; i < n; i += k) {
            uint32_t o = (cs->c->head + (dw + i) * 4) % cs->ring_size;

            k = MIN(n - i, (cs->ring_size - o) / 4);
            if (!cs_rw(cs, false, (uint64_t)cs->ring + o, v + i, k * 4, false)) {
                return false;
            }
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        v[i] = le32_to_cpu(v[i]);
    }
    return true;
}

/* Returns the length of a command in dwords, from the command's header. */
static uint32_t cmd_len(uint32_t h)
{
    uint32_t op = (h >> 23) & 0x3f;

    switch (h >> 29) {
    case 0:
        if (op < 0x10) {
            return 1;
        }
        switch (op) {
        case 0x20:
            return (h & 0x3ff) + 2;
        case 0x26:
            return (h & 0x3f) + 2;
        }
        return (h & 0xff) + 2;
    case 2:
        return (h & 0xff) + 2;
    case 3:
        return ((h >> 27) & 3) == 1 ? 1 : (h & 0xff) + 2;
    default:
        return 1;
    }
}

static void cmd_run(Cs *cs)
{
    uint32_t h = cs->d[0];

    switch (h >> 29) {
    case 0:
        cs_mi(cs);
        break;
    case 2:
        cs_blt(cs);
        break;
    case 3:
        if ((h & 0xff000000) == 0x7a000000) {
            cs_pipe_control(cs);
        }
        break;
    default:
        cs->s->unknown_cmds++;
        gpu_trace(cs->s, TRACE_ODD, "%s: unknown command %08x", cs->e->name, h);
    }
}

static void advance(Cs *cs)
{
    GpuCtx *c = cs->c;

    if (cs->jumped) {
        return;
    }
    if (c->level) {
        c->ip[c->level] += cs->len * 4ull;
    } else {
        c->head = (c->head + cs->len * 4) % cs->ring_size;
    }
}

/* Executes one command.  Returns false if the ring is empty or an access has faulted. */
static bool step(Cs *cs, uint32_t tail)
{
    GpuCtx *c = cs->c;

    if (c->level) {
        cs->ip = c->ip[c->level];
        cs->pp = c->pp[c->level];
    } else {
        if (c->head == tail) {
            return false;
        }
        cs->ip = cs->ring + (uint64_t)c->head;
        cs->pp = false;
    }
    if (!cs_fetch(cs, 0, cs->d, 1)) {
        return false;
    }
    cs->len = cmd_len(cs->d[0]);
    cs->jumped = cs->may_preempt = cs->wait = false;
    memset(cs->d + 1, 0, sizeof(cs->d) - 4);
    if (!cs_fetch(cs, 1, cs->d + 1, MIN(cs->len, CS_MAX_DWORDS) - 1)) {
        return false;
    }
    gpu_trace(cs->s, TRACE_CMDS, "%s: fn%u ctx %u L%d %#" PRIx64 ": %08x %08x %08x %08x %08x (%u)", cs->e->name, c->fn,
              c->id, c->level, cs->ip, cs->d[0], cs->d[1], cs->d[2], cs->d[3], cs->d[4], cs->len);
    cs_charge(cs, CMD_COST);
    cmd_run(cs);
    if (cs->fault) {
        return false;
    }
    if (!cs->wait) {
        advance(cs);
    }
    if (!c->level) {
        c->spins = 0;
        cs->may_preempt = !c->noarb;
    }
    return true;
}

static void load(Cs *cs)
{
    GpuState *s = cs->s;
    GpuCtx *c = cs->c;
    uint32_t head = ctx_image_r(s, c, LRC_RING_HEAD) & RING_MASK;

    cs->ring = ctx_image_r(s, c, LRC_RING_START);
    cs->ring_size = (ctx_image_r(s, c, LRC_RING_CTL) & 0x1ff000) + 0x1000;
    cs->asid = ctx_image_r(s, c, LRC_ASID) & 0xfffff;
    cs->root = u64_of(ctx_image_r(s, c, LRC_PDP0_LDW), ctx_image_r(s, c, LRC_PDP0_UDW));
    if (head != c->head) {               /* the context is new, or the driver has moved its head */
        c->head = head % cs->ring_size;
        c->level = 0;
        c->watchdog = c->noarb = false;
    }
    c->head %= cs->ring_size;
    c->ts_base = u64_of(ctx_image_r(s, c, LRC_CTX_TIMESTAMP), ctx_image_r(s, c, LRC_CTX_TIMESTAMP_UDW));
    c->run_ns = 0;
}

static void store(Cs *cs)
{
    uint64_t ts = cs_ctx_ts(cs);

    ctx_image_w(cs->s, cs->c, LRC_RING_HEAD, cs->c->head);
    ctx_image_w(cs->s, cs->c, LRC_CTX_TIMESTAMP, ts);
    ctx_image_w(cs->s, cs->c, LRC_CTX_TIMESTAMP_UDW, ts >> 32);
}

CsResult cs_run(GpuState *s, GpuEngine *e, GpuCtx *c, int64_t until, bool preempt, int budget)
{
    Cs cs = { .s = s, .e = e, .fn = &s->fn[c->fn], .c = c };
    CsResult r = CS_TIME;
    int n = 0;

    load(&cs);
    /* a context may also be preempted before its first command here, if that is in the ring */
    cs.may_preempt = !c->level && !c->noarb;
    for (; n < budget; n++) {
        if (preempt && cs.may_preempt) {
            r = CS_PREEMPTED;
            break;
        }
        if (e->t >= until) {
            break;
        }
        if (!step(&cs, (ctx_image_r(s, c, LRC_RING_TAIL) & RING_MASK) % cs.ring_size)) {
            r = cs.page_fault ? CS_PAGE_FAULT : cs.fault ? CS_FAULT : CS_IDLE;
            break;
        }
        if (cs.wait) {
            r = CS_WAIT;
            break;
        }
    }
    if (cs.fault) {
        gpu_trace(s, TRACE_ODD, "%s: fn%u ctx %u: fault at %#" PRIx64 ", level %d, ip %#" PRIx64, e->name, c->fn, c->id,
                  cs.fault_va, c->level, cs.ip);
    }
    store(&cs);
    s->last_cmds = MAX(n, 1);
    return r;
}
