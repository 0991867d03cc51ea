/*
 * Masked registers, and steered (multicast) registers.  A steered register
 * exists once for each instance of a unit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A read returns the value of the instance that the selector names.  A write
 * goes to all instances, or with the selector's multicast bit off to the named
 * instance.  Most registers are equal in all instances: GpuState.steered has
 * only the values that differ.
 */
#include "gpu.h"

#define MAX_STEERED     4096
#define GROUP(sel)      (((sel) >> 8) & 0x1f)
#define INSTANCE(sel)   ((sel) & 0xf)
#define KEY_BITS        9

typedef struct McrRange {
    uint32_t first, last;
} McrRange;

static const McrRange steered[GPU_MAX_GTS][16] = {
    {
        { 0x0b00, 0x0bff }, { 0x1000, 0x1fff }, { 0x4000, 0x4aff }, { 0x5200, 0x52ff }, { 0x5500, 0x7fff },
        { 0x8140, 0x815f }, { 0x8700, 0x887f }, { 0x94d0, 0x955f }, { 0x9680, 0x96ff }, { 0xb000, 0xb3ff },
        { 0xc800, 0xcfff }, { 0xd800, 0xd8ff }, { 0xdc00, 0xe9ff }, { 0xf000, 0xffff }, { 0x13000, 0x135ff },
    },
    {
        { 0x4000, 0x41ff }, { 0x4400, 0x47df }, { 0x4900, 0x4aff }, { 0x8160, 0x817f }, { 0x9480, 0x94cf },
        { 0x9560, 0x95ff }, { 0xb600, 0xb8ff }, { 0xc800, 0xd07f }, { 0xd0d0, 0xf0ff }, { 0x13c00, 0x13c7f },
    },
};

static const uint32_t masked_regs[] = {
    0x5588, 0x6204, 0x6208, 0x62a8, 0x7004, 0x7010, 0x7018, 0x703c, 0x7044, 0x7300, 0x7304, 0x731c, 0x83a4, 0x83a8,
    0x83b4, 0xb01c, 0xdaf8, 0xe188, 0xe18c, 0xe194, 0xe420, 0xe48c, 0xe49c, 0xe4c4, 0xe4cc, 0xe4f0, 0xe4f4, 0xe528,
    0xe52c, 0xe53c, 0xe5f0, 0xe5f4, 0xe7f0, 0x14800, 0x14804,
};

static const uint32_t masked_engine_regs[] = {
    0x050, 0x0c0, 0x0c4, 0x0d4, 0x0d8, 0x0e0, 0x0ec, 0x200, 0x244, 0x29c, 0x580,
};

static bool is_steered(uint32_t gt, uint32_t off)
{
    for (int i = 0; i < ARRAY_SIZE(steered[gt]) && steered[gt][i].last; i++) {
        if (off >= steered[gt][i].first && off <= steered[gt][i].last) {
            return true;
        }
    }
    return false;
}

static bool is_masked(const GpuState *s, uint32_t gt, uint32_t off)
{
    for (int i = 0; i < ARRAY_SIZE(masked_regs); i++) {
        if (off == masked_regs[i]) {
            return true;
        }
    }
    for (int i = 0; i < ENGINES; i++) {
        /* gt 0 only: the engines of the media GT lie above the registers that MEDIA_OFFSET moves */
        for (int k = 0; gt == 0 && k < ARRAY_SIZE(masked_engine_regs); k++) {
            if (off == s->engine[i].base + masked_engine_regs[k]) {
                return true;
            }
        }
    }
    return false;
}

uint32_t reg_masked(uint32_t old, uint32_t v)
{
    uint32_t mask = v >> 16;

    return (old & ~mask) | (v & mask);
}

static gpointer key(uint32_t gt, uint32_t off, uint32_t sel)
{
    return GUINT_TO_POINTER((off + gt * MEDIA_OFFSET) << KEY_BITS | GROUP(sel) << 4 | INSTANCE(sel));
}

/* Reads a register of a GT that only stores its value: no read has a side effect. */
uint32_t mcr_read(GpuState *s, uint32_t gt, uint32_t off)
{
    gpointer v;

    if (g_hash_table_size(s->steered) && is_steered(gt, off) &&
        g_hash_table_lookup_extended(s->steered, key(gt, off, *gt_reg(s, gt, MCR_SELECTOR)), NULL, &v)) {
        return GPOINTER_TO_UINT(v);
    }
    return *gt_reg(s, gt, off);
}

/* Applies a write to all instances to the instances with a value of their own. */
static void write_steered(GpuState *s, uint32_t reg, uint32_t v, bool masked)
{
    GHashTableIter it;
    gpointer k, old;

    g_hash_table_iter_init(&it, s->steered);
    while (g_hash_table_iter_next(&it, &k, &old)) {
        if (GPOINTER_TO_UINT(k) >> KEY_BITS != reg) {
            continue;
        }
        if (masked) {
            g_hash_table_iter_replace(&it, GUINT_TO_POINTER(reg_masked(GPOINTER_TO_UINT(old), v)));
        } else {
            g_hash_table_iter_remove(&it);
        }
    }
}

void mcr_write(GpuState *s, uint32_t gt, uint32_t off, uint32_t v)
{
    uint32_t sel = *gt_reg(s, gt, MCR_SELECTOR), *r = gt_reg(s, gt, off);
    bool masked = is_masked(s, gt, off);

    if (is_steered(gt, off)) {
        if (!(sel & MCR_MULTICAST)) {
            uint32_t now = masked ? reg_masked(mcr_read(s, gt, off), v) : v;

            mcr_set(s, GPOINTER_TO_UINT(key(gt, off, sel)), now);
            return;
        }
        write_steered(s, off + gt * MEDIA_OFFSET, v, masked);
    }
    *r = masked ? reg_masked(*r, v) : v;
}

/* Sets a register in one instance.  Returns false if too many instances differ. */
bool mcr_set(GpuState *s, uint32_t k, uint32_t v)
{
    if (g_hash_table_size(s->steered) >= MAX_STEERED && !g_hash_table_contains(s->steered, GUINT_TO_POINTER(k))) {
        gpu_trace(s, TRACE_ODD, "more than %d steered registers differ: a write to %06x is lost", MAX_STEERED,
                  k >> KEY_BITS);
        return false;
    }
    g_hash_table_insert(s->steered, GUINT_TO_POINTER(k), GUINT_TO_POINTER(v));
    return true;
}

/* Reports whether a key from a migration stream is valid: a write could have made it. */
bool mcr_key_valid(const GpuState *s, uint32_t k)
{
    uint32_t off = k >> KEY_BITS, gt = off >= MEDIA_OFFSET;

    return gt < s->gts && off % 4 == 0 && is_steered(gt, off - gt * MEDIA_OFFSET);
}
