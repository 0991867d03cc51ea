/*
 * The PF as a device of QEMU: PCI, properties, reset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"
#include "nested.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_sriov.h"
#include "hw/pci/msi.h"
#include "system/runstate.h"
#include "hw/qdev-properties.h"

#define PCIE_CAP        0x70
#define MSI_CAP         0xac
#define PM_CAP          0xd0
#define ARI_CAP         0x100
#define ACS_CAP         0x140
#define SRIOV_CAP       0x320
#define BAR2_SIZE       (256 * MiB)
#define BAR_TYPE        (PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH)

void gpu_log(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("vmtb-gpu: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

/*
 * Runs the scheduler.  The GPU does no work while the machine is stopped,
 * because QEMU may be saving the machine's memory.  pf_vm_change() schedules
 * the work again when the machine continues.
 */
static void pf_bh(void *opaque)
{
    if (runstate_is_running()) {
        sched_run(opaque);
    }
}

static void pf_vm_change(void *opaque, bool running, RunState state)
{
    if (running) {
        sched_kick(opaque);
    }
}

static void pf_config_write(PCIDevice *d, uint32_t addr, uint32_t val, int len)
{
    pci_default_write_config(d, addr, val, len);
    pcie_sriov_config_write(d, addr, val, len);
    pcie_cap_flr_write_config(d, addr, val, len);
}

/* Resets the whole device except its PCI configuration. */
void gpu_reset(GpuState *s)
{
    for (int i = 0; i < s->gts; i++) {
        guc_reset(s, i);
    }
    mmio_reset(s);
    lmem_reset(s);
    irq_reset(s);
    memset(s->fn_regs, 0, sizeof(s->fn_regs));
    memset(s->ggtt, 0, GSM_SIZE);
    memory_region_set_dirty(&s->gsm, 0, GSM_SIZE);
}

static void pf_reset_hold(Object *obj, ResetType type)
{
    gpu_reset(VMTB_GPU(obj));
    pcie_sriov_pf_reset(PCI_DEVICE(obj));
}

static uint64_t zero_read(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static void zero_write(void *opaque, hwaddr addr, uint64_t v, unsigned size)
{
}

static const MemoryRegionOps zero_ops = {
    .read = zero_read,
    .write = zero_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8 },
};

static bool pf_bars(GpuState *s, Error **errp)
{
    PCIDevice *d = PCI_DEVICE(s);

    memory_region_init(&s->bar0, OBJECT(s), "vmtb-gpu-bar0", BAR0_SIZE);
    memory_region_init_io(&s->mmio, OBJECT(s), &gpu_mmio_ops, s, "vmtb-gpu-regs", REGS_SIZE);
    memory_region_add_subregion(&s->bar0, 0, &s->mmio);
    if (!memory_region_init_ram(&s->gsm, OBJECT(s), "vmtb-gpu-ggtt", GSM_SIZE, errp)) {
        return false;
    }
    s->ggtt = memory_region_get_ram_ptr(&s->gsm);
    memory_region_add_subregion(&s->bar0, GSM_OFFSET, &s->gsm);
    pci_register_bar(d, 0, BAR_TYPE, &s->bar0);
    if (!s->vram_size) {
        memory_region_init_io(&s->bar2, OBJECT(s), &zero_ops, s, "vmtb-gpu-bar2", BAR2_SIZE);
    } else if (!lmem_init(s, &s->bar2, errp)) {
        return false;
    }
    pci_register_bar(d, 2, BAR_TYPE, &s->bar2);
    return true;
}

static bool pf_caps(GpuState *s, Error **errp)
{
    PCIDevice *d = PCI_DEVICE(s);

    if (pcie_endpoint_cap_init(d, PCIE_CAP) < 0) {
        error_setg(errp, "vmtb-gpu: no PCI Express capability: put the device on a PCI Express bus");
        return false;
    }
    pcie_cap_flr_init(d);
    if (msi_init(d, MSI_CAP, 1, true, true, errp) < 0 || pci_pm_init(d, PM_CAP, errp) < 0) {
        return false;
    }
    pci_set_word(d->config + PM_CAP + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
    pci_set_word(d->wmask + PM_CAP + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    pcie_ari_init(d, ARI_CAP);
    if (s->num_vfs) {
        if (!pcie_sriov_pf_init(d, SRIOV_CAP, TYPE_VMTB_GPU_VF, s->device_id, s->num_vfs, s->num_vfs, 1, 1, errp)) {
            return false;
        }
        pcie_sriov_pf_init_vf_bar(d, 0, BAR_TYPE, BAR0_SIZE);
        if (s->vram_size) {
            pcie_sriov_pf_init_vf_bar(d, 2, BAR_TYPE, lmem_bar_size(s));
        }
        /* without ACS, all functions would share one IOMMU group */
        pcie_acs_init(d, ACS_CAP);
    }
    return true;
}

static bool pf_platform(GpuState *s, Error **errp)
{
    PCIDevice *d = PCI_DEVICE(s);
    const GpuPlatform *p = platform_find(s->platform_name ?: "ptl");

    if (!p) {
        error_setg(errp, "vmtb-gpu: platform=%s: no such platform", s->platform_name);
        return false;
    }
    if (s->vram_size && !p->vram) {
        error_setg(errp, "vmtb-gpu: vram: platform=%s has no local memory", p->name);
        return false;
    }
    s->platform = p;
    s->device_id = p->device_id;
    s->vram_size = s->vram_size ?: p->vram;
    platform_pci(p, d);
    return true;
}

static void pf_realize(PCIDevice *d, Error **errp)
{
    ERRP_GUARD();
    GpuState *s = VMTB_GPU(d);

    /* QEMU and this object read the last field of PCIDevice: if the values differ, the layouts differ */
    if (object_property_get_uint(OBJECT(d), "x-max-bounce-buffer-size", errp) != d->max_bounce_buffer_size) {
        if (!*errp) {
            error_setg(errp, "vmtb-gpu: compiled for another QEMU: PCIDevice has another layout there: "
                       "compile lab/gpu against the source of this QEMU");
        }
        return;
    }
    if (s->num_vfs > GPU_MAX_VFS) {
        error_setg(errp, "vmtb-gpu: vfs=%u: at most %d", s->num_vfs, GPU_MAX_VFS);
        return;
    }
    if (s->gts < 1 || s->gts > GPU_MAX_GTS) {
        error_setg(errp, "vmtb-gpu: gts=%u: 1, or 2 with a media GT", s->gts);
        return;
    }
    if (!pf_platform(s, errp) || !nested_mend(errp)) {
        return;
    }
    s->regs = g_malloc0(REGS_SIZE);
    s->seen = g_malloc0(REGS_SIZE / 4);
    s->steered = g_hash_table_new(NULL, NULL);
    QTAILQ_INIT(&s->later);
    for (uint32_t i = 0; i < ARRAY_SIZE(s->fn); i++) {
        GpuFn *fn = &s->fn[i];

        fn->at = i;
        fn->gt = i / GPU_FNS;
        fn->idx = i % GPU_FNS;
        fn->pdev = fn->idx ? NULL : d;
        if (fn->gt < s->gts && fn->idx <= s->num_vfs) {
            fn->ctxs = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        }
    }
    s->bh = qemu_bh_new_guarded(pf_bh, s, &DEVICE(d)->mem_reentrancy_guard);
    s->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, pf_bh, s);
    s->vm_change = qdev_add_vm_change_state_handler(DEVICE(d), pf_vm_change, s);
    sched_init(s);
    mmio_reset(s);
    d->config_write = pf_config_write;
    d->config[PCI_INTERRUPT_PIN] = 1;
    if (pf_bars(s, errp)) {
        pf_caps(s, errp);
    }
}

static void pf_instance_init(Object *obj)
{
    fault_init(VMTB_GPU(obj));
}

static void pf_exit(PCIDevice *d)
{
    GpuState *s = VMTB_GPU(d);

    if (s->num_vfs) {
        pcie_sriov_pf_exit(d);
    }
    for (int i = 0; i < s->gts; i++) {
        guc_reset(s, i);
    }
    vmstate_forget(s);
    qemu_del_vm_change_state_handler(s->vm_change);
    msi_uninit(d);
    pcie_cap_exit(d);
    qemu_bh_delete(s->bh);
    timer_free(s->timer);
    for (int i = 0; i < ARRAY_SIZE(s->fn); i++) {
        g_clear_pointer(&s->fn[i].ctxs, g_hash_table_destroy);
    }
    g_free(s->regs);
    g_free(s->seen);
    g_hash_table_destroy(s->steered);
}

static const Property pf_props[] = {
    DEFINE_PROP_STRING("platform", GpuState, platform_name),
    DEFINE_PROP_SIZE("vram", GpuState, vram_size, 0),
    DEFINE_PROP_UINT8("vfs", GpuState, num_vfs, 7),
    DEFINE_PROP_UINT8("gts", GpuState, gts, 1),
    DEFINE_PROP_UINT32("trace", GpuState, trace, 0),
};

static void pf_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *c = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    c->realize = pf_realize;
    c->exit = pf_exit;
    c->vendor_id = c->subsystem_vendor_id = PCI_VENDOR_ID_INTEL;
    c->class_id = PCI_CLASS_DISPLAY_VGA;
    rc->phases.hold = pf_reset_hold;
    dc->vmsd = &gpu_vmstate;
    dc->desc = "Intel GPU, at the level of GuC messages";
    dc->hotpluggable = false;
    device_class_set_props(dc, pf_props);
    set_bit(DEVICE_CATEGORY_DISPLAY, dc->categories);
}

static const TypeInfo pf_types[] = {
    {
        .name = TYPE_VMTB_GPU,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(GpuState),
        .instance_init = pf_instance_init,
        .class_init = pf_class_init,
        .interfaces = (InterfaceInfo[]) { { INTERFACE_PCIE_DEVICE }, { } },
    },
};

DEFINE_TYPES(pf_types)
