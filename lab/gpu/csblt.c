/*
 * Copies and fills of the blitter.  Surfaces are linear: tiling is ignored,
 * which is right for copies between surfaces of one tiling.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "cs.h"

enum {
    XY_FAST_COPY = 0x42, XY_FAST_COLOR = 0x44, XY_CTRL_SURF_COPY = 0x48, MEM_COPY = 0x5a, MEM_SET = 0x5b,
};

#define BYTES_PER_NS    16
/* larger than any driver's copy with one command; a command for more bytes is a fault */
#define MAX_BYTES       (64 * MiB)

static void blt_charge(Cs *cs, uint64_t va, uint64_t len)
{
    cs->blt_bytes += len;
    if (cs->blt_bytes > MAX_BYTES) {
        cs->fault = true;
        cs->fault_va = va;
    }
    cs_charge(cs, len / BYTES_PER_NS);
}

static void copy(Cs *cs, uint64_t src, uint64_t dst, uint64_t len)
{
    uint8_t buf[4096];

    blt_charge(cs, dst, len);
    while (len && !cs->fault) {
        uint32_t n = MIN(len, sizeof(buf));

        if (cs_rw(cs, true, src, buf, n, false)) {
            cs_rw(cs, true, dst, buf, n, true);
        }
        src += n;
        dst += n;
        len -= n;
    }
}

static void fill(Cs *cs, uint64_t dst, uint64_t len, const void *pixel, uint32_t size)
{
    uint8_t buf[4096];

    for (uint32_t i = 0; i < sizeof(buf); i += size) {
        memcpy(buf + i, pixel, size);
    }
    blt_charge(cs, dst, len);
    while (len && !cs->fault) {
        uint32_t n = MIN(len, sizeof(buf));

        cs_rw(cs, true, dst, buf, n, true);
        dst += n;
        len -= n;
    }
}

/* Returns the bytes of a pixel.  So the widest row of any command is 64 Ki pixels of 16 bytes. */
static uint32_t depth(uint32_t code)
{
    static const uint8_t bytes[8] = { 1, 2, 4, 4, 8, 16, 4, 4 };

    return bytes[code & 7];
}

static void fast_copy(Cs *cs)
{
    const uint32_t *d = cs->d;
    uint32_t bpp = depth(d[1] >> 24), dp = d[1] & 0xffff, sp = d[7] & 0xffff;
    uint32_t x1 = d[2] & 0xffff, y1 = d[2] >> 16, x2 = d[3] & 0xffff, y2 = d[3] >> 16;
    uint32_t sx = d[6] & 0xffff, sy = d[6] >> 16;

    if (x2 <= x1) {
        return;
    }
    /* the pitch of a tiled surface is in dwords */
    dp *= (d[0] >> 13) & 3 ? 4 : 1;
    sp *= (d[0] >> 20) & 3 ? 4 : 1;
    for (uint32_t y = 0; y1 + y < y2 && !cs->fault; y++) {
        copy(cs, u64_of(d[8], d[9]) + (uint64_t)(sy + y) * sp + sx * bpp,
             u64_of(d[4], d[5]) + (uint64_t)(y1 + y) * dp + x1 * bpp, (uint64_t)(x2 - x1) * bpp);
    }
}

static void fast_color(Cs *cs)
{
    const uint32_t *d = cs->d;
    uint32_t bpp = depth(d[0] >> 19), pitch = (d[1] & 0x3ffff) + 1;
    uint32_t x1 = d[2] & 0xffff, y1 = d[2] >> 16, x2 = d[3] & 0xffff, y2 = d[3] >> 16, pixel[4];

    if (x2 <= x1) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        pixel[i] = cpu_to_le32(d[7 + i]);
    }
    for (uint32_t y = y1; y < y2 && !cs->fault; y++) {
        fill(cs, u64_of(d[4], d[5]) + (uint64_t)y * pitch + x1 * bpp, (uint64_t)(x2 - x1) * bpp, pixel, bpp);
    }
}

static void mem_copy(Cs *cs)
{
    const uint32_t *d = cs->d;
    uint64_t src = u64_of(d[5], d[6]), dst = u64_of(d[7], d[8]);
    uint32_t width = (d[1] & 0xffffff) + 1, rows = (d[2] & 0x3ffff) + 1;

    if (d[0] & (1u << 19)) {             /* pages of 256 bytes */
        copy(cs, src, dst, width * 256ull);
    } else if (d[0] & (1u << 17)) {      /* a matrix */
        for (uint32_t y = 0; y < rows && !cs->fault; y++) {
            copy(cs, src + y * (uint64_t)((d[3] & 0x3ffff) + 1), dst + y * (uint64_t)((d[4] & 0x3ffff) + 1), width);
        }
    } else {
        copy(cs, src, dst, width);
    }
}

static void mem_set(Cs *cs)
{
    const uint32_t *d = cs->d;
    uint32_t rows = d[0] & (1u << 17) ? (d[2] & 0x3ffff) + 1 : 1;
    uint8_t v = d[6] >> 24;

    for (uint32_t y = 0; y < rows && !cs->fault; y++) {
        fill(cs, u64_of(d[4], d[5]) + y * (uint64_t)((d[3] & 0x3ffff) + 1), (d[1] & 0xffffff) + 1, &v, 1);
    }
}

void cs_blt(Cs *cs)
{
    cs->blt_bytes = 0;
    switch ((cs->d[0] >> 22) & 0x7f) {
    case XY_FAST_COPY:
        fast_copy(cs);
        break;
    case XY_FAST_COLOR:
        fast_color(cs);
        break;
    case XY_CTRL_SURF_COPY:
        break;                           /* the device has no compression, so no CCS data */
    case MEM_COPY:
        mem_copy(cs);
        break;
    case MEM_SET:
        mem_set(cs);
        break;
    default:
        cs->s->unknown_cmds++;
        gpu_trace(cs->s, TRACE_ODD, "%s: blitter command %08x skipped", cs->e->name, cs->d[0]);
    }
}
