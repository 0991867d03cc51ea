// SPDX-License-Identifier: GPL-2.0
/*
 * The imitated GPUs, and how the emulated network device comes to look like
 * one of them in sysfs.
 */

#include <linux/pci.h>
#include <linux/string.h>

#include "device.h"

static const u32 xe2_runtime_regs[] = {
	0xd00, 0x9114, 0x9118, 0x911c, 0x9134, 0x913c, 0x9140,
	0x9144, 0x9148, 0x914c, 0x9150, 0x9154, 0xc1dc,
};

static const u32 xe3_runtime_regs[] = {
	0xd00, 0x9114, 0x9118, 0x911c, 0x9130, 0x9134, 0x913c, 0x9140,
	0x9144, 0x9148, 0x914c, 0x9150, 0x9154, 0xc1dc,
};

const struct xs_model xs_models[] = {
	{
		.name = "bmg",
		.devid = 0xe20b,
		.vram = 12256ull << 20,
		.ggtt_start = 4 << 20,
		.runtime_regs = xe2_runtime_regs,
		.num_runtime_regs = ARRAY_SIZE(xe2_runtime_regs),
	}, {
		.name = "ptl",
		.devid = 0xb080,
		.ggtt_start = 2 << 20,
		.runtime_regs = xe3_runtime_regs,
		.num_runtime_regs = ARRAY_SIZE(xe3_runtime_regs),
	},
};

const struct xs_model *xs_model_by_name(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(xs_models); i++)
		if (!strcmp(xs_models[i].name, name))
			return &xs_models[i];
	return NULL;
}

const struct xs_model *xs_model_by_devid(u16 devid)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(xs_models); i++)
		if (xs_models[i].devid == devid)
			return &xs_models[i];
	return NULL;
}

/*
 * The first members of the PCI core's private struct pci_sriov, as they are in
 * Linux 6.12. The core creates each VF with the vf_device that is kept here,
 * and there is no other way to give VFs their id before they are announced.
 * Nothing is written unless all that is known from config space is found where
 * this layout says.
 */
struct pci_sriov_head {
	int pos;
	int nres;
	u32 cap;
	u16 ctrl;
	u16 total_vfs;
	u16 initial_vfs;
	u16 num_vfs;
	u16 offset;
	u16 stride;
	u16 vf_device;
};

static bool sriov_head_is_sound(struct pci_dev *pdev, const struct pci_sriov_head *head)
{
	int pos = pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_SRIOV);
	u16 total, offset, stride, vf_device;
	u32 cap;

	pci_read_config_dword(pdev, pos + PCI_SRIOV_CAP, &cap);
	pci_read_config_word(pdev, pos + PCI_SRIOV_TOTAL_VF, &total);
	pci_read_config_word(pdev, pos + PCI_SRIOV_VF_OFFSET, &offset);
	pci_read_config_word(pdev, pos + PCI_SRIOV_VF_STRIDE, &stride);
	pci_read_config_word(pdev, pos + PCI_SRIOV_VF_DID, &vf_device);

	return head->pos == pos && head->cap == cap && head->total_vfs == total &&
	       head->offset == offset && head->stride == stride &&
	       (head->vf_device == vf_device || xs_model_by_devid(head->vf_device));
}

/**
 * xs_identity_assume - give a function and its future VFs the imitated id
 * @xs: device whose model is set
 *
 * The id stays when the driver goes, as that of a real GPU would.
 *
 * Return: 0, or -ENODEV if this kernel keeps SR-IOV data in another way.
 */
int xs_identity_assume(struct xs_device *xs)
{
	struct pci_dev *pdev = xs->pdev;

	if (pdev->is_physfn) {
		struct pci_sriov_head *head = (struct pci_sriov_head *)pdev->sriov;

		if (!sriov_head_is_sound(pdev, head)) {
			xs_err(xs, "SR-IOV data of this kernel is not as in 6.12\n");
			return -ENODEV;
		}
		head->vf_device = xs->model->devid;
	}
	pdev->device = xs->model->devid;
	return 0;
}
