/*
 * A VF as a device of QEMU: PCI, registers, the VF's part of the GGTT, FLR.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_sriov.h"
#include "hw/pci/msi.h"

#define PCIE_CAP        0x70
#define MSI_CAP         0xac
#define ARI_CAP         0x100
#define ACS_CAP         0x140
#define BAR_TYPE        (PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH)

/* A VF has only its own block of registers, at the offset of function 0's block in the PF. */
static uint64_t vf_read(void *opaque, hwaddr addr, unsigned size)
{
    GpuVf *v = opaque;
    uint32_t off = addr & ~3u, o = off - FN_BASE;

    if (off < FN_BASE || o >= FN_STRIDE) {
        gpu_trace(v->pf, TRACE_ODD, "VF%u: R %06x", v->n, off);
        return 0;
    }
    return o == FN_VF_CAP ? 1 : v->pf->fn_regs[v->n][o / 4];
}

static void vf_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    GpuVf *v = opaque;
    uint32_t off = addr & ~3u, o = off - FN_BASE;

    if (off == VF_WA_DUMMY) {            /* the driver writes here for a work-around: no effect */
        return;
    }
    if (off < FN_BASE || o >= FN_STRIDE) {
        gpu_trace(v->pf, TRACE_ODD, "VF%u: W %06x = %08x", v->n, off, (uint32_t)val);
        return;
    }
    fn_mmio_write(v->pf, v->n, o, val);
}

static const MemoryRegionOps vf_ops = {
    .read = vf_read,
    .write = vf_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

/* GGTT entries with the VF's number belong to the VF; other entries read 0 and ignore writes. */
static uint64_t gsm_read(void *opaque, hwaddr addr, unsigned size)
{
    GpuVf *v = opaque;
    uint64_t pte = le64_to_cpu(v->pf->ggtt[addr >> 3]);

    if ((pte & GGTT_PTE_VFID) >> GGTT_PTE_VFID_SHIFT != v->n) {
        return 0;
    }
    pte &= ~GGTT_PTE_VFID;
    return size == 8 ? pte : extract64(pte, addr & 4 ? 32 : 0, 32);
}

static void gsm_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    GpuVf *v = opaque;
    uint64_t *e = &v->pf->ggtt[addr >> 3], pte = le64_to_cpu(*e);

    if ((pte & GGTT_PTE_VFID) >> GGTT_PTE_VFID_SHIFT != v->n) {
        return;
    }
    pte = size == 8 ? val : deposit64(pte, addr & 4 ? 32 : 0, 32, val);
    *e = cpu_to_le64((pte & ~GGTT_PTE_VFID) | ((uint64_t)v->n << GGTT_PTE_VFID_SHIFT));
    memory_region_set_dirty(&v->pf->gsm, addr & ~7ull, 8);
}

static const MemoryRegionOps gsm_ops = {
    .read = gsm_read,
    .write = gsm_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 8 },
    .impl = { .min_access_size = 4, .max_access_size = 8 },
};

static void vf_reset_hold(Object *obj, ResetType type)
{
    GpuVf *v = VMTB_GPU_VF(obj);
    GpuState *s = v->pf;

    if (!s || !s->fn[v->n].ctxs) {
        return;
    }
    memset(s->fn_regs[v->n], 0, sizeof(s->fn_regs[v->n]));
    for (int i = 0; i < s->gts; i++) {
        fn_reset(s, gt_fn(s, i, v->n));
        if (v->in_flr && s->guc[i].up && gt_fn(s, i, 0)->ct_on) {
            pf_notify(s, gt_fn(s, i, v->n), VF_STATE_FLR);
        }
    }
}

static void vf_config_write(PCIDevice *d, uint32_t addr, uint32_t val, int len)
{
    GpuVf *v = VMTB_GPU_VF(d);
    uint32_t devctl = d->exp.exp_cap + PCI_EXP_DEVCTL;

    pci_default_write_config(d, addr, val, len);
    v->in_flr = addr <= devctl && addr + len >= devctl + 2 &&
                ((val >> ((devctl - addr) * 8)) & PCI_EXP_DEVCTL_BCR_FLR);
    pcie_cap_flr_write_config(d, addr, val, len);
    v->in_flr = false;
}

static void vf_realize(PCIDevice *d, Error **errp)
{
    GpuVf *v = VMTB_GPU_VF(d);

    v->pf = VMTB_GPU(pcie_sriov_get_pf(d));
    v->n = pcie_sriov_vf_number(d) + 1;
    platform_pci(v->pf->platform, d);
    d->config_write = vf_config_write;
    memory_region_init(&v->bar0, OBJECT(d), "vmtb-gpu-vf-bar0", BAR0_SIZE);
    memory_region_init_io(&v->mmio, OBJECT(d), &vf_ops, v, "vmtb-gpu-vf-regs", REGS_SIZE);
    memory_region_add_subregion(&v->bar0, 0, &v->mmio);
    memory_region_init_io(&v->gsm, OBJECT(d), &gsm_ops, v, "vmtb-gpu-vf-ggtt", GSM_SIZE);
    memory_region_add_subregion(&v->bar0, GSM_OFFSET, &v->gsm);
    pci_register_bar(d, 0, BAR_TYPE, &v->bar0);
    if (v->pf->vram) {
        lmem_vf_init(v);
        pci_register_bar(d, 2, BAR_TYPE, &v->bar2);
    }
    if (pcie_endpoint_cap_init(d, PCIE_CAP) < 0) {
        error_setg(errp, "vmtb-gpu-vf: no PCI Express capability");
        return;
    }
    pcie_cap_flr_init(d);
    if (msi_init(d, MSI_CAP, 1, true, true, errp) < 0) {
        return;
    }
    pcie_ari_init(d, ARI_CAP);
    pcie_acs_init(d, ACS_CAP);
    /*
     * A real VF has no memory enable bit: only VF MSE of the PF counts.  QEMU
     * checks the VF's memory enable bit, so the bit is always set here.
     */
    pci_set_word(d->config + PCI_COMMAND, PCI_COMMAND_MEMORY);
    pci_word_test_and_clear_mask(d->wmask + PCI_COMMAND, PCI_COMMAND_MEMORY);
    for (int i = 0; i < GPU_MAX_GTS; i++) {
        gt_fn(v->pf, i, v->n)->pdev = d;
    }
}

static void vf_exit(PCIDevice *d)
{
    GpuVf *v = VMTB_GPU_VF(d);

    for (int i = 0; i < GPU_MAX_GTS; i++) {
        GpuFn *fn = gt_fn(v->pf, i, v->n);

        if (fn->ctxs) {
            fn_reset(v->pf, fn);
        }
        fn->pdev = NULL;
    }
    msi_uninit(d);
    pcie_cap_exit(d);
}

static void vf_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *c = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    c->realize = vf_realize;
    c->exit = vf_exit;
    c->vendor_id = c->subsystem_vendor_id = PCI_VENDOR_ID_INTEL;
    c->class_id = PCI_CLASS_DISPLAY_VGA;
    rc->phases.hold = vf_reset_hold;
    dc->vmsd = &gpu_vf_vmstate;
    dc->desc = "virtual function of vmtb-gpu";
    dc->user_creatable = false;
    set_bit(DEVICE_CATEGORY_DISPLAY, dc->categories);
}

static const TypeInfo vf_types[] = {
    {
        .name = TYPE_VMTB_GPU_VF,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(GpuVf),
        .class_init = vf_class_init,
        .interfaces = (InterfaceInfo[]) { { INTERFACE_PCIE_DEVICE }, { } },
    },
};

DEFINE_TYPES(vf_types)
