/*
 * The platforms: what differs between the modelled GPUs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "gpu.h"

#define GMD(arch, release, rev) (((arch) << 22) | ((release) << 14) | (rev))

static const GpuPlatform platforms[] = {
    {
        .name = "ptl",
        .device_id = 0xb080,
        .revision = 4,
        .gmd = { GMD(30u, 0, 4), GMD(30u, 0, 4) },
    },
    {
        .name = "bmg",                   /* Arc Pro B50 */
        .device_id = 0xe212,
        .gmd = { GMD(20u, 1, 4), GMD(13u, 1, 4) },
        .vram = 4 * GiB,
        .regs = {
            { GU_CNTL, GU_CNTL_LMEM_INIT },
            { HECI2_FWSTS2, HECI2_FWSTS2_NVM_LOCKED },
            { PUNIT_TELEMETRY_GUID, 0xe2f8u << 12 | 1u << 28 },  /* telemetry of the PUNIT */
        },
    },
};

/* Returns the platform with this name, or NULL. */
const GpuPlatform *platform_find(const char *name)
{
    for (int i = 0; i < ARRAY_SIZE(platforms); i++) {
        if (!strcmp(platforms[i].name, name)) {
            return &platforms[i];
        }
    }
    return NULL;
}

/* Sets the PCI ids of a function. */
void platform_pci(const GpuPlatform *p, PCIDevice *d)
{
    pci_config_set_device_id(d->config, p->device_id);
    pci_set_word(d->config + PCI_SUBSYSTEM_ID, p->device_id);
    pci_config_set_revision(d->config, p->revision);
}

/* Sets the registers of the platform to their values after a reset. */
void platform_reset(GpuState *s)
{
    const GpuPlatform *p = s->platform;

    for (int i = 0; i < s->gts; i++) {
        *gt_reg(s, i, GMD_ID) = p->gmd[i];
    }
    for (int i = 0; i < ARRAY_SIZE(p->regs) && p->regs[i].off; i++) {
        *gpu_reg(s, p->regs[i].off) = p->regs[i].value;
    }
}
