/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_DEVICE_H_
#define _XS_DEVICE_H_

#include <linux/pci.h>
#include <linux/types.h>

#include <drm/drm_device.h>

/* As many as the emulated 82576 has. */
#define XS_MAX_VFS	8
#define XS_MAX_GTS	2

/* PF and VF functions are indexed by VF number; the PF is number 0. */
#define XS_PFID		0
#define XS_NUM_FNS	(XS_MAX_VFS + 1)

#define XS_MAIN_GT	0

enum xs_mode {
	XS_MODE_NATIVE,
	XS_MODE_PF,
	XS_MODE_VF,
};

/**
 * struct xs_model - what distinguishes one imitated GPU from another
 * @name: value of the module parameter "device"
 * @devid: PCI device id that sysfs shows for the PF and its VFs
 * @vram: local memory that can be given to VFs, in bytes; 0 on integrated parts
 * @ggtt_start: first usable GGTT address, the size of the WOPCM
 * @runtime_regs: addresses of the registers that the PF lends to VFs
 * @num_runtime_regs: how many of them
 */
struct xs_model {
	const char *name;
	u16 devid;
	u64 vram;
	u64 ggtt_start;
	const u32 *runtime_regs;
	unsigned int num_runtime_regs;
};

extern const struct xs_model xs_models[];
const struct xs_model *xs_model_by_name(const char *name);
const struct xs_model *xs_model_by_devid(u16 devid);

struct dentry;
struct kobject;
struct xs_pf;
struct xs_vf;

/**
 * struct xs_device - one PCI function driven by the stand-in
 * @drm: DRM device, owns the memory of this structure
 * @pdev: the PCI function
 * @mmio: BAR 0
 * @mode: PF, VF, or native (a PF with SR-IOV switched off by max_vfs=0)
 * @model: which GPU is imitated
 * @num_gts: 1 (main) or 2 (main and media)
 * @legacy: the debugfs layout of kernels up to 6.18
 * @tile_kobj: sysfs tile0
 * @gt_kobj: sysfs tile0/gtN
 * @gt_dentry: debugfs tile0/gtN
 * @pf: PF state, in PF mode only
 * @vf: VF state, in VF mode only
 */
struct xs_device {
	struct drm_device drm;
	struct pci_dev *pdev;
	void __iomem *mmio;
	enum xs_mode mode;
	const struct xs_model *model;
	unsigned int num_gts;
	bool legacy;
	struct kobject *tile_kobj;
	struct kobject *gt_kobj[XS_MAX_GTS];
	struct dentry *gt_dentry[XS_MAX_GTS];
	struct xs_pf *pf;
	struct xs_vf *vf;
};

static inline bool xs_is_discrete(const struct xs_device *xs)
{
	return xs->model->vram;
}

/* Every line of the stand-in in the kernel log says what it is. */
#define xs_info(xs, fmt, ...)	pci_info((xs)->pdev, "lab stand-in: " fmt, ##__VA_ARGS__)
#define xs_warn(xs, fmt, ...)	pci_warn((xs)->pdev, "lab stand-in: " fmt, ##__VA_ARGS__)
#define xs_err(xs, fmt, ...)	pci_err((xs)->pdev, "lab stand-in: " fmt, ##__VA_ARGS__)

extern struct pci_driver xs_pci_driver;

extern const struct drm_driver xs_drm_driver;

int xs_gt_sysfs_init(struct xs_device *xs);
void xs_debugfs_register(struct xs_device *xs);

int xs_identity_assume(struct xs_device *xs);

#endif
