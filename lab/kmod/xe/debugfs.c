// SPDX-License-Identifier: GPL-2.0
/*
 * debugfs that PF and VF have in common.
 *
 * standin/gpu_time is the only file that xe does not have: it takes the place
 * of the GPU. A workload that imitates execution keeps it open while it works,
 * and reads from it which share of GPU time its function gets. It may write how
 * long its longest job is that cannot be preempted.
 */

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

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

/**
 * struct gpu_client - a workload
 * @xs: its device
 * @job: its longest job that cannot be preempted, in us
 * @kills: what had been done to jobs of the VF when it began
 */
struct gpu_client {
	struct xs_device *xs;
	u32 job;
	u32 kills;
};

static int gpu_time_open(struct inode *inode, struct file *file)
{
	struct xs_device *xs = inode->i_private;
	struct gpu_client *client;
	int err = 0;

	client = kzalloc(sizeof(*client), GFP_KERNEL);
	if (!client)
		return -ENOMEM;
	if (xs->mode == XS_MODE_PF)
		err = xs_pf_gpu_time_get(xs->pf);
	else if (xs->mode == XS_MODE_VF)
		err = xs_vf_gpu_time_get(xs->vf);
	if (err) {
		kfree(client);
		return err;
	}
	client->xs = xs;
	if (xs->mode == XS_MODE_VF)
		client->kills = xs_vf_gpu_kills(xs->vf);
	/* The release may come after the device is gone, so the open file holds it. */
	drm_dev_get(&xs->drm);
	file->private_data = client;
	return 0;
}

static int gpu_time_release(struct inode *inode, struct file *file)
{
	struct gpu_client *client = file->private_data;
	struct xs_device *xs = client->xs;

	if (xs->mode == XS_MODE_VF && client->job)
		xs_vf_gpu_job(xs->vf, 0);
	if (xs->mode == XS_MODE_PF)
		xs_pf_gpu_time_put(xs->pf);
	else if (xs->mode == XS_MODE_VF)
		xs_vf_gpu_time_put(xs->vf);
	drm_dev_put(&xs->drm);
	kfree(client);
	return 0;
}

/* Work is lost as a whole, or in an engine reset, which takes what did not let itself be preempted. */
static bool was_killed(const struct gpu_client *client)
{
	u32 kills, done;

	if (client->xs->mode != XS_MODE_VF)
		return false;
	kills = xs_vf_gpu_kills(client->xs->vf);
	done = kills ^ client->kills;
	return done & 0xffff || (done && client->job);
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

/* Every read from offset 0 gives the share of this moment, or EIO once the work was killed. */
static ssize_t gpu_time_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	struct gpu_client *client = file->private_data;
	char text[16];
	int len;

	if (was_killed(client))
		return -EIO;
	len = scnprintf(text, sizeof(text), "%u\n", gpu_share(client->xs));
	return simple_read_from_buffer(buf, count, ppos, text, len);
}

/* Microseconds of the longest job that cannot be preempted. */
static ssize_t gpu_time_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	struct gpu_client *client = file->private_data;
	u32 us;
	int err = kstrtou32_from_user(buf, count, 0, &us);

	if (err)
		return err;
	client->job = us;
	if (client->xs->mode == XS_MODE_VF)
		xs_vf_gpu_job(client->xs->vf, us);
	return count;
}

static const struct file_operations gpu_time_fops = {
	.owner = THIS_MODULE,
	.open = gpu_time_open,
	.read = gpu_time_read,
	.write = gpu_time_write,
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
	debugfs_create_file("gpu_time", 0600, standin, xs, &gpu_time_fops);
	create_gt_dirs(xs);
	if (xs->mode == XS_MODE_VF)
		xs_vf_debugfs_register(xs->vf);
}
