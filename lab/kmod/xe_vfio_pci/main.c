// SPDX-License-Identifier: GPL-2.0
/*
 * Stand-in for xe-vfio-pci: gives the VFs of the xe stand-in to user space, and
 * lets them migrate.
 */

#include <linux/module.h>
#include <linux/pci.h>
#include <linux/vfio.h>

#include "xe_vfio_pci.h"

static int xv_open_device(struct vfio_device *vdev)
{
	struct xv_device *xv = to_xv(vdev);
	int err;

	err = vfio_pci_core_enable(&xv->core);
	if (err)
		return err;
	xv_state_open(xv);
	vfio_pci_core_finish_enable(&xv->core);
	return 0;
}

static void xv_close_device(struct vfio_device *vdev)
{
	xv_state_close(to_xv(vdev));
	vfio_pci_core_close_device(vdev);
}

static int xv_init_dev(struct vfio_device *vdev)
{
	struct xv_device *xv = to_xv(vdev);
	struct pci_dev *pdev = to_pci_dev(vdev->dev);
	struct xs_pf *pf = pdev->is_virtfn ? xs_pf_of_vf(pdev) : NULL;

	mutex_init(&xv->state_lock);
	spin_lock_init(&xv->reset_lock);
	if (pf && xs_pf_can_migrate(pf)) {
		xv->pf = pf;
		xv->vfid = pci_iov_vf_id(pdev) + 1;
		vdev->migration_flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P;
		vdev->mig_ops = &xv_migration_ops;
	}
	return vfio_pci_core_init_dev(vdev);
}

static void xv_release_dev(struct vfio_device *vdev)
{
	struct xv_device *xv = to_xv(vdev);

	mutex_destroy(&xv->state_lock);
	vfio_pci_core_release_dev(vdev);
}

static const struct vfio_device_ops xv_ops = {
	.name = "xe-vfio-pci",
	.init = xv_init_dev,
	.release = xv_release_dev,
	.open_device = xv_open_device,
	.close_device = xv_close_device,
	.ioctl = vfio_pci_core_ioctl,
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = vfio_pci_core_read,
	.write = vfio_pci_core_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
};

static int xv_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct xv_device *xv;
	int err;

	xv = vfio_alloc_device(xv_device, core.vdev, &pdev->dev, &xv_ops);
	if (IS_ERR(xv))
		return PTR_ERR(xv);
	dev_set_drvdata(&pdev->dev, &xv->core);

	err = vfio_pci_core_register_device(&xv->core);
	if (err) {
		vfio_put_device(&xv->core.vdev);
		return err;
	}
	pci_info(pdev, "lab stand-in: VF given to VFIO%s\n", xv->pf ? ", can migrate" : "");
	return 0;
}

static void xv_remove(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);

	vfio_pci_core_unregister_device(core);
	vfio_put_device(&core->vdev);
}

static void xv_reset_done(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);

	xv_state_reset_done(container_of(core, struct xv_device, core));
}

static const struct pci_error_handlers xv_err_handlers = {
	.reset_done = xv_reset_done,
	.error_detected = vfio_pci_core_aer_err_detected,
};

static const struct pci_device_id xv_pci_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_VENDOR_ID_INTEL, 0xe20b) },
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_VENDOR_ID_INTEL, 0xb080) },
	{}
};
MODULE_DEVICE_TABLE(pci, xv_pci_ids);

static struct pci_driver xv_pci_driver = {
	.name = "xe-vfio-pci",
	.id_table = xv_pci_ids,
	.probe = xv_probe,
	.remove = xv_remove,
	.err_handler = &xv_err_handlers,
	.driver_managed_dma = true,
};
module_pci_driver(xv_pci_driver);

MODULE_AUTHOR("The vmtb authors");
MODULE_DESCRIPTION("Lab stand-in of the xe-vfio-pci driver, for VFs of the xe stand-in");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(IOMMUFD);
