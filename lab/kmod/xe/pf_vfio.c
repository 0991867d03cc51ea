// SPDX-License-Identifier: GPL-2.0
/*
 * PF: how the VFIO driver of a VF finds it.
 */

#include <linux/export.h>
#include <linux/pci.h>

#include "params.h"
#include "pf.h"

/**
 * xs_pf_of_vf - find the PF of a VF
 * @vf: the VF
 *
 * Return: the PF, which stays as long as a driver is bound to the VF; or NULL if
 * the stand-in of xe does not drive it.
 */
struct xs_pf *xs_pf_of_vf(struct pci_dev *vf)
{
	struct xs_device *xs = pci_iov_get_pf_drvdata(vf, &xs_pci_driver);

	return IS_ERR_OR_NULL(xs) || xs->mode != XS_MODE_PF ? NULL : xs->pf;
}
EXPORT_SYMBOL_GPL(xs_pf_of_vf);

/**
 * xs_pf_can_migrate - whether VFs can be saved and restored
 * @pf: the PF
 */
bool xs_pf_can_migrate(struct xs_pf *pf)
{
	return xs_param_migration && !pf->xs->legacy;
}
EXPORT_SYMBOL_GPL(xs_pf_can_migrate);

/**
 * xs_pf_sync - take note of what VFs did, above all of a reset just done
 * @pf: the PF
 */
void xs_pf_sync(struct xs_pf *pf)
{
	guard(mutex)(&pf->lock);

	xs_pf_service_poll(pf);
}
EXPORT_SYMBOL_GPL(xs_pf_sync);
