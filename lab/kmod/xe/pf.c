// SPDX-License-Identifier: GPL-2.0
/*
 * PF: set-up, and enabling and disabling VFs.
 *
 * Locks: the PCI core calls sriov_configure with the PF's device lock held, so
 * enabling and disabling never overlap. pf->lock is taken below it and is never
 * held while VF devices come and go, because that binds and unbinds drivers
 * which use the PF themselves.
 */

#include <linux/delay.h>
#include <linux/pci.h>

#include <drm/drm_managed.h>

#include "device.h"
#include "params.h"
#include "pf.h"

#define GGTT_END		0xfee00000
#define NUM_CONTEXT_IDS		65535
#define NUM_DOORBELL_IDS	256

static void pools_init(struct xs_pf *pf)
{
	unsigned int gt;

	pf->ggtt.lo = pf->xs->model->ggtt_start;
	pf->ggtt.hi = GGTT_END;
	for_each_gt(pf->xs, gt) {
		pf->gt[gt].contexts.hi = NUM_CONTEXT_IDS;
		pf->gt[gt].doorbells.hi = NUM_DOORBELL_IDS;
	}
}

static void pf_fini(struct drm_device *drm, void *data)
{
	xs_pf_streams_free(data);
}

/*
 * QEMU's igb decodes only the low 32 bits of its VFs' BARs, but on a machine with
 * memory above 4 GiB they are put higher, into the window for prefetchable BARs.
 * The other window of the root port is always below 4 GiB.
 */
static int place_vf_bars(struct xs_device *xs)
{
	int i, err;

	for (i = PCI_IOV_RESOURCES; i <= PCI_IOV_RESOURCE_END; i++) {
		struct resource *bar = &xs->pdev->resource[i];

		if (!bar->flags || bar->end <= U32_MAX)
			continue;
		pci_release_resource(xs->pdev, i);
		bar->flags &= ~IORESOURCE_PREFETCH;
		err = pci_assign_resource(xs->pdev, i);
		if (!err && bar->end > U32_MAX)
			err = -ENOSPC;
		if (err) {
			xs_err(xs, "no room below 4 GiB for the BARs of VFs\n");
			return err;
		}
	}
	return 0;
}

/**
 * xs_pf_init - allocate the PF's state, as it is after probe of a real PF
 * @xs: device whose model and number of GTs are set
 *
 * Return: 0 or a negative errno.
 */
int xs_pf_init(struct xs_device *xs)
{
	struct xs_pf *pf;
	int err;

	err = place_vf_bars(xs);
	if (err)
		return err;
	pf = drmm_kzalloc(&xs->drm, sizeof(*pf), GFP_KERNEL);
	if (!pf)
		return -ENOMEM;
	err = drmm_mutex_init(&xs->drm, &pf->lock);
	if (err)
		return err;
	err = drmm_add_action(&xs->drm, pf_fini, pf);
	if (err)
		return err;

	init_waitqueue_head(&pf->transfer_wait);
	pf->xs = xs;
	pf->hw_vfs = min_t(unsigned int, xs_param_total_vfs, pci_sriov_get_totalvfs(xs->pdev));
	pf->total_vfs = min(pf->hw_vfs, xs_param_max_vfs);
	pools_init(pf);
	xs_pf_service_init(pf);
	xs->pf = pf;
	xs_pf_push_all(pf);

	return pci_sriov_set_totalvfs(xs->pdev, pf->total_vfs);
}

/**
 * xs_pf_register - add the PF's user interfaces
 * @xs: device whose DRM device is registered
 *
 * Return: 0 or a negative errno.
 */
int xs_pf_register(struct xs_device *xs)
{
	int err = 0;

	if (!xs->legacy)
		err = xs_pf_sysfs_register(xs->pf);
	if (err)
		return err;
	xs_pf_debugfs_register(xs->pf);
	return 0;
}

void xs_pf_unregister(struct xs_device *xs)
{
	struct xs_pf *pf = xs->pf;

	xs_pf_disable_vfs(pf);
	mutex_lock(&pf->lock);
	pf->gone = true;
	mutex_unlock(&pf->lock);
	wake_up_all(&pf->transfer_wait);
	xs_pf_sysfs_unregister(xs->pf);
}

/**
 * xs_pf_check_ready - whether configuration can be changed
 * @pf: the PF
 *
 * Return: 0, or -ECANCELED if the device is wedged.
 */
int xs_pf_check_ready(struct xs_pf *pf)
{
	return xs_fault_wedged ? -ECANCELED : 0;
}

/**
 * xs_pf_get_vf_pdev - find the PCI device of an enabled VF
 * @pf: the PF
 * @vfid: VF number
 *
 * Return: a reference to the device, or NULL.
 */
struct pci_dev *xs_pf_get_vf_pdev(struct xs_pf *pf, unsigned int vfid)
{
	struct pci_dev *pdev = pf->xs->pdev;
	int pos = pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_SRIOV);
	u16 offset, stride;
	unsigned int rid;

	/* The core's own pci_iov_virtfn_bus() is not exported. */
	pci_read_config_word(pdev, pos + PCI_SRIOV_VF_OFFSET, &offset);
	pci_read_config_word(pdev, pos + PCI_SRIOV_VF_STRIDE, &stride);
	rid = pdev->devfn + offset + stride * (vfid - 1);
	return pci_get_domain_bus_and_slot(pci_domain_nr(pdev->bus),
					   pdev->bus->number + (rid >> 8), rid & 0xff);
}

/* Device links keep the order of suspend, and unbind VFs before the PF. */
static void link_vfs(struct xs_pf *pf, unsigned int num_vfs)
{
	unsigned int vfid;

	for (vfid = 1; vfid <= num_vfs; vfid++) {
		struct pci_dev *vf = xs_pf_get_vf_pdev(pf, vfid);

		if (!vf)
			continue;
		if (!device_link_add(&vf->dev, &pf->xs->pdev->dev, DL_FLAG_AUTOREMOVE_CONSUMER))
			xs_warn(pf->xs, "no device link to VF%u\n", vfid);
		pci_dev_put(vf);
	}
}

/* Reserve the right to enable VFs and give them their resources. */
static int prepare_vfs(struct xs_pf *pf, unsigned int num_vfs)
{
	int err;

	lockdep_assert_held(&pf->lock);

	err = xs_pf_check_ready(pf);
	if (err)
		return err;
	if (pf->lockdowns)
		return -EPERM;
	err = xs_pf_auto_provision(pf, num_vfs);
	if (!err)
		pf->num_vfs = num_vfs;
	return err;
}

static void forget_vfs(struct xs_pf *pf, unsigned int num_vfs)
{
	unsigned int vfid;

	xs_pf_service_stop(pf);
	mutex_lock(&pf->lock);
	pf->num_vfs = 0;
	for (vfid = 1; vfid <= num_vfs; vfid++)
		xs_pf_vf_was_reset(pf, vfid);
	xs_pf_auto_release(pf, num_vfs);
	mutex_unlock(&pf->lock);
}

/**
 * xs_pf_enable_vfs - enable VFs
 * @pf: the PF, which has none enabled
 * @num_vfs: how many
 *
 * Return: @num_vfs, or a negative errno with no VF enabled and what was
 * provisioned for them released.
 */
int xs_pf_enable_vfs(struct xs_pf *pf, unsigned int num_vfs)
{
	int err;

	mutex_lock(&pf->lock);
	err = prepare_vfs(pf, num_vfs);
	mutex_unlock(&pf->lock);
	if (err)
		return err;

	xs_pf_service_start(pf);
	err = xs_fault_enable_vfs(pf->xs);
	if (!err)
		err = pci_enable_sriov(pf->xs->pdev, num_vfs);
	if (err) {
		forget_vfs(pf, num_vfs);
		return err;
	}

	link_vfs(pf, num_vfs);
	xs_pf_sysfs_link_vfs(pf, num_vfs);
	xs_pf_vram_add_bars(pf, num_vfs);
	xs_info(pf->xs, "Enabled %u of %u VFs\n", num_vfs, pf->total_vfs);
	return num_vfs;
}

/**
 * xs_pf_disable_vfs - disable all VFs
 * @pf: the PF
 *
 * Return: 0.
 */
int xs_pf_disable_vfs(struct xs_pf *pf)
{
	unsigned int num_vfs = pci_num_vf(pf->xs->pdev);

	if (!num_vfs)
		return 0;

	xs_pf_vram_remove_bars(pf, num_vfs);
	xs_pf_sysfs_unlink_vfs(pf, num_vfs);
	pci_disable_sriov(pf->xs->pdev);
	forget_vfs(pf, num_vfs);
	xs_info(pf->xs, "Disabled %u VFs\n", num_vfs);
	return 0;
}

/**
 * xs_pf_lockdown - forbid enabling VFs
 * @pf: the PF
 *
 * Return: 0, or -EBUSY if VFs are enabled.
 */
int xs_pf_lockdown(struct xs_pf *pf)
{
	guard(mutex)(&pf->lock);

	if (pf->num_vfs)
		return -EBUSY;
	pf->lockdowns++;
	return 0;
}

void xs_pf_lockdown_end(struct xs_pf *pf)
{
	guard(mutex)(&pf->lock);

	pf->lockdowns--;
}
