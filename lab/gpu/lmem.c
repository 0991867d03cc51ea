/*
 * Local memory: accesses to it, and the LMTT (local memory translation table),
 * which has the pages that belong to each VF.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The PF addresses all local memory.  A VF's addresses begin at 0, and every
 * access of a VF goes through the LMTT: from an engine, from the GuC, and from a
 * CPU through the VF's BAR 2.  The PF's driver keeps the LMTT in local memory.
 */
#include "gpu.h"
#include "qemu/cutils.h"

#define STOLEN_SIZE     (64 * MiB)      /* at the end of local memory, as on real cards with firmware's areas in it */

/* the LMTT: a directory by VF number, a table by 32 GiB, a table by page */
#define LMTT_UNIT       (64 * KiB)      /* of pointers to tables */
#define LMTT_PAGE       (2 * MiB)
#define LMTT_VALID      1u
#define LMTT_PTR(e)     (extract64(e, 4, 32) * LMTT_UNIT)
#define LMTT_PAGE_OF(e) (extract32(e, 5, 27) * LMTT_PAGE)
#define LMTT_ADDR_BITS  48

static bool in_lmem(const GpuState *s, uint64_t pa, uint64_t len)
{
    return pa < s->vram_size && len <= s->vram_size - pa;
}

/* Translates an address of a VF.  The register of the VF's GT has the address of the directory. */
static bool lmtt_walk(GpuState *s, const GpuFn *fn, uint64_t *addr)
{
    uint32_t cfg = *gt_reg(s, fn->gt, LMEM_CFG), pte;
    uint64_t index[2] = { fn->idx, *addr >> 35 }, table = (cfg & LMEM_CFG_DIR) * LMTT_UNIT, pde;

    if (!(cfg & LMEM_CFG_EN) || *addr >> LMTT_ADDR_BITS) {
        return false;
    }
    for (int i = 0; i < ARRAY_SIZE(index); i++) {
        if (!in_lmem(s, table + index[i] * 8, 8)) {
            return false;
        }
        pde = ldq_le_p(s->vram + table + index[i] * 8);
        if (!(pde & LMTT_VALID)) {
            return false;
        }
        table = LMTT_PTR(pde);
    }
    table += extract64(*addr, 21, 14) * 4;
    if (!in_lmem(s, table, 4)) {
        return false;
    }
    pte = ldl_le_p(s->vram + table);
    *addr = LMTT_PAGE_OF(pte) + *addr % LMTT_PAGE;
    return pte & LMTT_VALID;
}

bool lmem_rw(GpuState *s, const GpuFn *fn, uint64_t addr, void *p, uint32_t len, bool write)
{
    uint8_t *b = p;

    while (len) {
        uint32_t n = MIN(len, LMTT_PAGE - addr % LMTT_PAGE);
        uint64_t pa = addr;

        if ((fn->idx && !lmtt_walk(s, fn, &pa)) || !in_lmem(s, pa, n)) {
            gpu_trace(s, TRACE_ODD, "fn%u: local memory fault at %#" PRIx64 " (%s)", fn->idx, addr,
                      write ? "write" : "read");
            return false;
        }
        if (!write) {
            memcpy(b, s->vram + pa, n);
        } else if (!buffer_is_zero(b, n) || !buffer_is_zero(s->vram + pa, n)) {
            /* zeros on zeros are not written: the host would allocate memory for a page that only the driver cleared */
            memcpy(s->vram + pa, b, n);
            memory_region_set_dirty(&s->vram_mr, pa, n);
        }
        addr += n;
        b += n;
        len -= n;
    }
    return true;
}

/* Clears local memory and returns its pages to the host. */
void lmem_reset(GpuState *s)
{
    uint64_t dsm = s->vram_size - STOLEN_SIZE, gsm = dsm - GSM_SIZE;

    if (!s->vram_size) {
        return;
    }
    *gpu_reg(s, SG_TILE_ADDR_RANGE) = s->vram_size / GiB << 8;
    *gpu_reg(s, DSMBASE) = dsm;
    *gpu_reg(s, DSMBASE + 4) = dsm >> 32;
    *gpu_reg(s, GSMBASE) = gsm;
    *gpu_reg(s, GSMBASE + 4) = gsm >> 32;
    if (ram_block_discard_range(s->vram_mr.ram_block, 0, s->vram_size)) {
        memset(s->vram, 0, s->vram_size);
    }
    memory_region_set_dirty(&s->vram_mr, 0, s->vram_size);
}

/* Initializes the BAR 2 of the PF.  Its size is a power of two, so a part of it may be empty. */
bool lmem_init(GpuState *s, MemoryRegion *bar, Error **errp)
{
    if (s->vram_size % GiB || s->vram_size > GPU_MAX_VRAM) {
        error_setg(errp, "vmtb-gpu: vram: want a multiple of 1 GiB, at most %" PRId64 " GiB", GPU_MAX_VRAM / GiB);
        return false;
    }
    memory_region_init(bar, OBJECT(s), "vmtb-gpu-bar2", lmem_bar_size(s));
    if (!memory_region_init_ram_flags_nomigrate(&s->vram_mr, OBJECT(s), "vmtb-gpu-vram", s->vram_size,
                                                RAM_NORESERVE, errp)) {
        return false;
    }
    vmstate_register_ram(&s->vram_mr, DEVICE(s));
    s->vram = memory_region_get_ram_ptr(&s->vram_mr);
    memory_region_add_subregion(bar, 0, &s->vram_mr);
    return true;
}

uint64_t lmem_bar_size(const GpuState *s)
{
    return pow2ceil(s->vram_size);
}

/* A VF's BAR 2 shows its local memory.  Where it has none, reads return all ones, and writes have no effect. */
static uint64_t vf_lmem_read(void *opaque, hwaddr addr, unsigned size)
{
    GpuVf *v = opaque;
    uint64_t val = 0;

    return lmem_rw(v->pf, gt_fn(v->pf, 0, v->n), addr, &val, size, false) ? le64_to_cpu(val) : UINT64_MAX;
}

static void vf_lmem_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    GpuVf *v = opaque;

    val = cpu_to_le64(val);
    lmem_rw(v->pf, gt_fn(v->pf, 0, v->n), addr, &val, size, true);
}

static const MemoryRegionOps vf_lmem_ops = {
    .read = vf_lmem_read,
    .write = vf_lmem_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

void lmem_vf_init(GpuVf *v)
{
    memory_region_init_io(&v->bar2, OBJECT(v), &vf_lmem_ops, v, "vmtb-gpu-vf-bar2", lmem_bar_size(v->pf));
}
