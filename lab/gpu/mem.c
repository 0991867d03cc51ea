/*
 * The GPU's accesses to memory, through the GGTT or a context's page tables.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every access to system memory is a DMA of the PCI function that owns the GGTT
 * entry or the context.  So an IOMMU translates it in the domain of that
 * function.  Accesses to local memory are in lmem.c.
 */
#include "gpu.h"

/* Reads or writes system memory or local memory as a function. */
bool fn_rw(GpuState *s, GpuFn *fn, bool local, uint64_t pa, void *p, uint32_t len, bool write)
{
    MemTxResult r;

    if (!fn->pdev) {
        r = MEMTX_ERROR;
    } else if (local) {
        r = lmem_rw(s, fn, pa, p, len, write) ? MEMTX_OK : MEMTX_ERROR;
    } else if (write) {
        r = pci_dma_write(fn->pdev, pa, p, len);
    } else {
        r = pci_dma_read(fn->pdev, pa, p, len);
    }
    if (r != MEMTX_OK && !write) {
        memset(p, 0, len);
    }
    return r == MEMTX_OK;
}

/* Looks up the GGTT entry of an address.  Only the function whose number is in the entry may use it. */
static bool ggtt_walk(GpuState *s, uint32_t as, uint64_t va, uint64_t *pa, bool *local)
{
    uint64_t pte;

    if (va >= GGTT_SIZE) {
        return false;
    }
    pte = le64_to_cpu(s->ggtt[va >> 12]);
    if (!(pte & PTE_PRESENT) || (pte & GGTT_PTE_VFID) >> GGTT_PTE_VFID_SHIFT != as) {
        return false;
    }
    *pa = (pte & PTE_ADDR) | (va & 0xfff);
    *local = s->vram && (pte & GGTT_PTE_LOCAL);
    return true;
}

bool ggtt_rw(GpuState *s, uint32_t as, uint64_t va, void *p, uint32_t len, bool write)
{
    uint8_t *b = p;

    while (len) {
        uint32_t n = MIN(len, 0x1000 - (va & 0xfff));
        uint64_t pa;
        bool local;

        if (!ggtt_walk(s, as, va, &pa, &local) || !fn_rw(s, &s->fn[as], local, pa, b, n, write)) {
            gpu_trace(s, TRACE_ODD, "fn%u: GGTT fault at %#" PRIx64 " (%s)", as, va, write ? "write" : "read");
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

uint32_t ggtt_r32(GpuState *s, uint32_t as, uint64_t va)
{
    uint32_t v = 0;

    ggtt_rw(s, as, va, &v, sizeof(v), false);
    return le32_to_cpu(v);
}

bool ggtt_w32(GpuState *s, uint32_t as, uint64_t va, uint32_t v)
{
    v = cpu_to_le32(v);
    return ggtt_rw(s, as, va, &v, sizeof(v), true);
}

/*
 * Walks the page tables: five levels of 512 entries; pages of 4 KiB, 2 MiB and
 * 1 GiB.  A GPU with local memory has its page tables there.
 */
bool ppgtt_walk(GpuState *s, GpuFn *fn, uint64_t root, uint64_t va, PpgttEntry *e)
{
    uint64_t table = root & PTE_ADDR;

    *e = (PpgttEntry) { .va = va & ~0xfffull };
    for (int level = 4; level >= 0; level--) {
        int shift = 12 + 9 * level;
        uint64_t pte = 0;
        bool leaf;

        if (!fn_rw(s, fn, s->vram, table + ((va >> shift) & 0x1ff) * 8, &pte, sizeof(pte), false)) {
            return false;
        }
        pte = le64_to_cpu(pte);
        leaf = level == 0 || (level <= 2 && (pte & PTE_LARGE));
        if (leaf && (pte & PTE_NULL)) {
            e->valid = e->null = true;
            return true;
        }
        if (!(pte & PTE_PRESENT)) {
            return false;
        }
        if (leaf) {
            uint64_t mask = (1ull << shift) - 1;

            e->pa = (pte & PTE_ADDR & ~mask) | (e->va & mask);
            e->local = s->vram && (pte & PPGTT_PTE_LOCAL);
            e->rw = pte & PPGTT_PTE_RW;
            e->valid = true;
            return true;
        }
        table = pte & PTE_ADDR;
    }
    return false;
}
