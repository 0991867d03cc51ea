// SPDX-License-Identifier: GPL-2.0
/*
 * sysfs: tile0/gt0 and tile0/gt1 below the PCI device.
 */

#include <linux/kobject.h>

#include "device.h"

static void gt_sysfs_fini(void *data)
{
	struct xs_device *xs = data;
	unsigned int gt;

	for (gt = 0; gt < xs->num_gts; gt++)
		kobject_put(xs->gt_kobj[gt]);
	kobject_put(xs->tile_kobj);
}

int xs_gt_sysfs_init(struct xs_device *xs)
{
	struct device *dev = &xs->pdev->dev;
	unsigned int gt;
	char name[8];

	xs->tile_kobj = kobject_create_and_add("tile0", &dev->kobj);
	if (!xs->tile_kobj)
		return -ENOMEM;

	for (gt = 0; gt < xs->num_gts; gt++) {
		snprintf(name, sizeof(name), "gt%u", gt);
		xs->gt_kobj[gt] = kobject_create_and_add(name, xs->tile_kobj);
		if (!xs->gt_kobj[gt]) {
			gt_sysfs_fini(xs);
			return -ENOMEM;
		}
	}
	return devm_add_action_or_reset(dev, gt_sysfs_fini, xs);
}
