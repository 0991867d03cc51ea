// SPDX-License-Identifier: GPL-2.0
/*
 * debugfs that PF and VF have in common.
 *
 * standin/gpu_time is the only file that xe does not have: it takes the place
 * of the GPU. A workload that imitates execution keeps it open while it works,
 * and reads from it which share of GPU time its function gets.
 */

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/seq_file.h>

#include <drm/drm_drv.h>

#include "device.h"
#include "pf.h"
#include "vf.h"

static int sriov_info_show(struct seq_file *m, void *unused)
{
	static const char * const modes[] = {
		[XS_MODE_NATIVE] = "none", [XS_MODE_PF] = "SR-IOV PF", [XS_MODE_VF] = "SR-IOV VF",
	};
	struct xs_device *xs = m->private;

	seq_printf(m, "supported: yes\nenabled: %s\nmode: %s\n",
		   xs->mode == XS_MODE_NATIVE ? "no" : "yes", modes[xs->mode]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(sriov_info);

static int gpu_time_open(struct inode *inode, struct file *file)
{
	struct xs_device *xs = inode->i_private;
	int err = 0;

	if (xs->mode == XS_MODE_PF)
		err = xs_pf_gpu_time_get(xs->pf);
	else if (xs->mode == XS_MODE_VF)
		err = xs_vf_gpu_time_get(xs->vf);
	if (err)
		return err;
	/* The release may come after the device is gone, so the open file holds it. */
	drm_dev_get(&xs->drm);
	file->private_data = xs;
	return 0;
}

static int gpu_time_release(struct inode *inode, struct file *file)
{
	struct xs_device *xs = file->private_data;

	if (xs->mode == XS_MODE_PF)
		xs_pf_gpu_time_put(xs->pf);
	else if (xs->mode == XS_MODE_VF)
		xs_vf_gpu_time_put(xs->vf);
	drm_dev_put(&xs->drm);
	return 0;
}

static u32 gpu_share(struct xs_device *xs)
{
	if (xs->mode == XS_MODE_NATIVE)
		return 1000000;
	if (xs->mode == XS_MODE_VF)
		return xs_vf_gpu_share(xs->vf);

	guard(mutex)(&xs->pf->lock);

	return xs_pf_gpu_share(xs->pf, XS_PFID);
}

/* Every read from offset 0 gives the share of this moment. */
static ssize_t gpu_time_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	char text[16];
	int len = scnprintf(text, sizeof(text), "%u\n", gpu_share(file->private_data));

	return simple_read_from_buffer(buf, count, ppos, text, len);
}

static const struct file_operations gpu_time_fops = {
	.owner = THIS_MODULE,
	.open = gpu_time_open,
	.read = gpu_time_read,
	.llseek = default_llseek,
	.release = gpu_time_release,
};

static void create_gt_dirs(struct xs_device *xs)
{
	struct dentry *tile = debugfs_create_dir("tile0", xs->drm.debugfs_root);
	char name[8], target[24];
	unsigned int gt;

	for_each_gt(xs, gt) {
		snprintf(name, sizeof(name), "gt%u", gt);
		snprintf(target, sizeof(target), "tile0/gt%u", gt);
		xs->gt_dentry[gt] = debugfs_create_dir(name, tile);
		debugfs_create_symlink(name, xs->drm.debugfs_root, target);
	}
}

void xs_debugfs_register(struct xs_device *xs)
{
	struct dentry *standin = debugfs_create_dir("standin", xs->drm.debugfs_root);

	debugfs_create_file("sriov_info", 0444, xs->drm.debugfs_root, xs, &sriov_info_fops);
	debugfs_create_file("gpu_time", 0400, standin, xs, &gpu_time_fops);
	create_gt_dirs(xs);
	if (xs->mode == XS_MODE_VF)
		xs_vf_debugfs_register(xs->vf);
}
