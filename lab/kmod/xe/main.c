// SPDX-License-Identifier: GPL-2.0
/*
 * Stand-in for the xe driver: PCI probe and remove.
 *
 * It drives the PF and the VFs of the SR-IOV network device that QEMU emulates
 * (igb, 8086:10c9 and 8086:10ca) and offers user space the interfaces of an
 * Intel GPU with SR-IOV. There is no GPU behind it.
 */

#include <linux/module.h>
#include <linux/pci.h>

#include <drm/drm_drv.h>

#include "device.h"
#include "params.h"
#include "pf.h"
#include "vf.h"

/*
 * A function without an SR-IOV capability is a VF. Its config space does not
 * tell: in a guest a VF has the id that its host gives it.
 */
static enum xs_mode function_mode(struct pci_dev *pdev)
{
	if (pdev->is_virtfn || !pdev->is_physfn)
		return XS_MODE_VF;
	return xs_param_max_vfs ? XS_MODE_PF : XS_MODE_NATIVE;
}

/* As xe, it does not claim the BAR: user space could not map its file then. */
static int map_registers(struct xs_device *xs)
{
	int err;

	err = pcim_enable_device(xs->pdev);
	if (err)
		return err;
	xs->mmio = pcim_iomap(xs->pdev, 0, 0);
	return xs->mmio ? 0 : -ENOMEM;
}

static int init_mode(struct xs_device *xs)
{
	if (xs->mode == XS_MODE_VF)
		return xs_vf_init(xs);

	xs->model = xs_model_by_name(xs_param_device);
	xs->num_gts = xs_param_gts;
	xs->legacy = xs_params_legacy();
	if (xs->mode == XS_MODE_PF)
		return xs_pf_init(xs);
	return pci_sriov_set_totalvfs(xs->pdev, 0);
}

static int xs_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	static const char * const names[] = {
		[XS_MODE_NATIVE] = "none", [XS_MODE_PF] = "SR-IOV PF", [XS_MODE_VF] = "SR-IOV VF",
	};
	struct xs_device *xs;
	int err;

	xs = devm_drm_dev_alloc(&pdev->dev, &xs_drm_driver, struct xs_device, drm);
	if (IS_ERR(xs))
		return PTR_ERR(xs);
	xs->pdev = pdev;
	xs->mode = function_mode(pdev);
	pci_set_drvdata(pdev, xs);

	err = map_registers(xs);
	if (err)
		return err;
	err = init_mode(xs);
	if (err)
		return err;
	err = xs_identity_assume(xs);
	if (err)
		return err;
	err = xs_gt_sysfs_init(xs);
	if (err)
		return err;
	err = drm_dev_register(&xs->drm, 0);
	if (err)
		return err;
	xs_debugfs_register(xs);

	if (xs->mode == XS_MODE_PF) {
		err = xs_pf_register(xs);
		if (err) {
			drm_dev_unplug(&xs->drm);
			return err;
		}
	}
	xs_info(xs, "%s like %s, %u GT, mode %s; no GPU behind it\n", xs->legacy ? "6.18" : "7.0",
		xs->model->name, xs->num_gts, names[xs->mode]);
	return 0;
}

static void xs_remove(struct pci_dev *pdev)
{
	struct xs_device *xs = pci_get_drvdata(pdev);

	if (xs->mode == XS_MODE_PF)
		xs_pf_unregister(xs);
	drm_dev_unplug(&xs->drm);
}

static int xs_sriov_configure(struct pci_dev *pdev, int num_vfs)
{
	struct xs_device *xs = pci_get_drvdata(pdev);

	if (xs->mode != XS_MODE_PF)
		return -ENODEV;
	return num_vfs ? xs_pf_enable_vfs(xs->pf, num_vfs) : xs_pf_disable_vfs(xs->pf);
}

static void xs_reset_done(struct pci_dev *pdev)
{
	struct xs_device *xs = pci_get_drvdata(pdev);

	if (xs->mode == XS_MODE_PF)
		xs_pf_push_all(xs->pf);
	else if (xs->mode == XS_MODE_VF)
		xs_vf_reset_done(xs->vf);
}

static const struct pci_error_handlers xs_err_handlers = {
	.reset_done = xs_reset_done,
};

static const struct pci_device_id xs_pci_ids[] = {
	{ PCI_VDEVICE(INTEL, 0x10c9) },
	{ PCI_VDEVICE(INTEL, 0x10ca) },
	{ PCI_VDEVICE(INTEL, 0xe20b) },
	{ PCI_VDEVICE(INTEL, 0xb080) },
	{}
};
MODULE_DEVICE_TABLE(pci, xs_pci_ids);

struct pci_driver xs_pci_driver = {
	.name = "xe",
	.id_table = xs_pci_ids,
	.probe = xs_probe,
	.remove = xs_remove,
	.sriov_configure = xs_sriov_configure,
	.err_handler = &xs_err_handlers,
};

static int __init xs_init(void)
{
	int err = xs_params_check();

	if (err)
		return err;
	if (xs_fault_refuse_load) {
		pr_err("xe: lab stand-in: fault injected: refuses to load\n");
		return -ENODEV;
	}
	pr_info("xe: lab stand-in, not the driver of Intel GPUs\n");
	return pci_register_driver(&xs_pci_driver);
}
module_init(xs_init);

static void __exit xs_exit(void)
{
	pci_unregister_driver(&xs_pci_driver);
}
module_exit(xs_exit);

MODULE_AUTHOR("The vmtb authors");
MODULE_DESCRIPTION("Lab stand-in of the xe driver on an emulated SR-IOV device (no GPU)");
MODULE_LICENSE("GPL");
