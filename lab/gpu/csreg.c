/*
 * Commands' access to the registers of their engine, and MI_MATH.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "cs.h"

uint32_t cs_reg_r(Cs *cs, uint32_t reg)
{
    uint32_t o = reg & 0xffc;

    if (o >= RING_GPR0 && o < RING_GPR_END) {
        uint64_t v = cs->c->gpr[(o - RING_GPR0) / 8];

        return o & 4 ? v >> 32 : v;
    }
    switch (o) {
    case RING_TIMESTAMP:
        return cs_ts(cs);
    case RING_TIMESTAMP_UDW:
        return cs_ts(cs) >> 32;
    case RING_CTX_TIMESTAMP:
        return cs_ctx_ts(cs);
    case RING_CTX_TIMESTAMP_UDW:
        return cs_ctx_ts(cs) >> 32;
    }
    return reg < REGS_SIZE ? *gpu_reg(cs->s, reg & ~3u) : 0;
}

void cs_reg_w(Cs *cs, uint32_t reg, uint32_t v)
{
    uint32_t o = reg & 0xffc;

    if (o >= RING_GPR0 && o < RING_GPR_END) {
        uint64_t *g = &cs->c->gpr[(o - RING_GPR0) / 8];

        *g = o & 4 ? deposit64(*g, 32, 32, v) : deposit64(*g, 0, 32, v);
    } else if (o == RING_WATCHDOG_CTL) {
        cs->c->watchdog = !(v & 1);      /* 0 starts the watchdog, 1 stops it */
    }
}

enum {
    ALU_LOAD = 0x080, ALU_LOADINV = 0x480, ALU_LOAD0 = 0x081, ALU_LOAD1 = 0x481,
    ALU_ADD = 0x100, ALU_SUB = 0x101, ALU_AND = 0x102, ALU_OR = 0x103, ALU_XOR = 0x104,
    ALU_SHL = 0x105, ALU_SHR = 0x106, ALU_STORE = 0x180, ALU_STOREINV = 0x580,
    ALU_SRCA = 0x20, ALU_SRCB = 0x21, ALU_ACCU = 0x31, ALU_ZF = 0x32, ALU_CF = 0x33,
};

typedef struct Alu {
    uint64_t src[2], accu;
    bool zf, cf;
} Alu;

static uint64_t alu_get(const Cs *cs, const Alu *a, uint32_t reg)
{
    switch (reg) {
    case 0 ... 15:
        return cs->c->gpr[reg];
    case ALU_ACCU:
        return a->accu;
    case ALU_ZF:
        return a->zf ? UINT64_MAX : 0;
    case ALU_CF:
        return a->cf ? UINT64_MAX : 0;
    default:
        return 0;
    }
}

static void alu_load(Alu *a, uint32_t reg, uint64_t v)
{
    if (reg == ALU_SRCA || reg == ALU_SRCB) {
        a->src[reg - ALU_SRCA] = v;
    }
}

static bool alu_compute(Alu *a, uint32_t op)
{
    uint64_t x = a->src[0], y = a->src[1];

    switch (op) {
    case ALU_ADD:
        a->accu = x + y;
        a->cf = a->accu < x;
        break;
    case ALU_SUB:
        a->accu = x - y;
        a->cf = x < y;
        break;
    case ALU_AND:
        a->accu = x & y;
        break;
    case ALU_OR:
        a->accu = x | y;
        break;
    case ALU_XOR:
        a->accu = x ^ y;
        break;
    case ALU_SHL:
        a->accu = x << (y & 63);
        break;
    case ALU_SHR:
        a->accu = x >> (y & 63);
        break;
    default:
        return false;
    }
    a->zf = !a->accu;
    return true;
}

void cs_math(Cs *cs, const uint32_t *op, uint32_t n)
{
    Alu a = { 0 };

    for (uint32_t i = 0; i < n; i++) {
        uint32_t x = (op[i] >> 10) & 0x3ff, y = op[i] & 0x3ff, code = op[i] >> 20;

        switch (code) {
        case ALU_LOAD:
            alu_load(&a, x, alu_get(cs, &a, y));
            break;
        case ALU_LOADINV:
            alu_load(&a, x, ~alu_get(cs, &a, y));
            break;
        case ALU_LOAD0:
            alu_load(&a, x, 0);
            break;
        case ALU_LOAD1:
            alu_load(&a, x, UINT64_MAX);
            break;
        case ALU_STORE:
        case ALU_STOREINV:
            if (x < ARRAY_SIZE(cs->c->gpr)) {
                cs->c->gpr[x] = code == ALU_STORE ? alu_get(cs, &a, y) : ~alu_get(cs, &a, y);
            }
            break;
        default:
            if (!alu_compute(&a, code) && code) {
                cs->s->unknown_cmds++;
            }
        }
    }
}
