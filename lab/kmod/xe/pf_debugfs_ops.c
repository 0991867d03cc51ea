// SPDX-License-Identifier: GPL-2.0
/*
 * PF debugfs: files that do something when they are opened, read or written.
 */

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kstrtox.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>

#include "pf_debugfs.h"

typedef int (*vf_op)(struct xs_pf *pf, unsigned int vfid);

/* Write true to do, write false to do nothing; offset is not moved. */
static ssize_t write_bool(const struct xs_node *node, const char __user *buf, size_t count,
			  loff_t *ppos, vf_op op)
{
	bool yes;
	int err;

	if (*ppos)
		return -EINVAL;
	err = kstrtobool_from_user(buf, count, &yes);
	if (!err && yes)
		err = op(node->pf, node->fn);
	return err ?: count;
}

/* Root can open a file of mode 0200 for reading too; there is nothing in it. */
static int nothing_show(struct seq_file *m, void *unused)
{
	return 0;
}

#define DEFINE_VF_OP(name)								\
static int name##_open(struct inode *inode, struct file *file)				\
{											\
	return single_open(file, nothing_show, inode->i_private);			\
}											\
											\
static ssize_t name##_write(struct file *file, const char __user *buf, size_t count,	\
			    loff_t *ppos)						\
{											\
	return write_bool(file_inode(file)->i_private, buf, count, ppos, do_##name);	\
}											\
											\
static const struct file_operations name##_fops = {					\
	.owner = THIS_MODULE,								\
	.open = name##_open,								\
	.read = seq_read,								\
	.write = name##_write,								\
	.llseek = default_llseek,							\
	.release = single_release,							\
}

#define do_pause	xs_pf_vf_pause
#define do_resume	xs_pf_vf_resume
#define do_stop		xs_pf_vf_stop
#define do_reset	xs_pf_vf_reset

DEFINE_VF_OP(pause);
DEFINE_VF_OP(resume);
DEFINE_VF_OP(stop);
DEFINE_VF_OP(reset);

static int do_restore_auto(struct xs_pf *pf, unsigned int unused)
{
	guard(mutex)(&pf->lock);

	return xs_pf_restore_auto(pf);
}
DEFINE_VF_OP(restore_auto);

/* Write true to start, read to finish. */
#define DEFINE_TRANSFER_OP(name)							\
static ssize_t name##_read(struct file *file, char __user *buf, size_t count,		\
			   loff_t *ppos)						\
{											\
	const struct xs_node *node = file_inode(file)->i_private;			\
											\
	return xs_pf_vf_##name##_finish(node->pf, node->fn);				\
}											\
											\
static ssize_t name##_write(struct file *file, const char __user *buf, size_t count,	\
			    loff_t *ppos)						\
{											\
	return write_bool(file_inode(file)->i_private, buf, count, ppos,		\
			  xs_pf_vf_##name##_start);					\
}											\
											\
static const struct file_operations name##_fops = {					\
	.owner = THIS_MODULE,								\
	.open = simple_open,								\
	.read = name##_read,								\
	.write = name##_write,								\
	.llseek = default_llseek,							\
}

DEFINE_TRANSFER_OP(save);
DEFINE_TRANSFER_OP(restore);

static ssize_t data_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	const struct xs_node *node = file_inode(file)->i_private;

	return *ppos ? -ESPIPE : xs_pf_vf_stream_read(node->pf, node->fn, buf, count, true);
}

static ssize_t data_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	const struct xs_node *node = file_inode(file)->i_private;

	return *ppos ? -ESPIPE : xs_pf_vf_stream_write(node->pf, node->fn, buf, count);
}

static const struct file_operations data_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = data_read,
	.write = data_write,
	.llseek = default_llseek,
};

static ssize_t size_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	const struct xs_node *node = file_inode(file)->i_private;
	ssize_t size = xs_pf_vf_stream_size(node->pf, node->fn);
	char text[24];
	int len;

	if (size < 0)
		return size;
	len = scnprintf(text, sizeof(text), "%zd\n", size);
	return simple_read_from_buffer(buf, count, ppos, text, len);
}

static const struct file_operations size_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = size_read,
	.llseek = default_llseek,
};

static ssize_t control_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	static const char words[] = "stop\npause\nresume\n";

	return simple_read_from_buffer(buf, count, ppos, words, sizeof(words) - 1);
}

static ssize_t control_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	const struct xs_node *node = file_inode(file)->i_private;
	char op[32] = {};
	ssize_t len;
	int err;

	if (*ppos)
		return -ESPIPE;
	if (count >= sizeof(op))
		return -EINVAL;
	len = simple_write_to_buffer(op, sizeof(op) - 1, ppos, buf, count);
	if (len < 0)
		return len;
	err = xs_pf_gt_control(node->pf, node->fn, node->gt, op);
	return err ?: len;
}

static const struct file_operations control_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = control_read,
	.write = control_write,
	.llseek = default_llseek,
};

/* The release may come after the device is gone, so the open file holds it. */
static int lockdown_open(struct inode *inode, struct file *file)
{
	const struct xs_node *node = inode->i_private;
	struct xs_pf *pf = node->pf;
	int err = xs_pf_lockdown(pf);

	if (err)
		return err;
	drm_dev_get(&pf->xs->drm);
	file->private_data = pf;
	return 0;
}

static int lockdown_release(struct inode *inode, struct file *file)
{
	struct xs_pf *pf = file->private_data;

	xs_pf_lockdown_end(pf);
	drm_dev_put(&pf->xs->drm);
	return 0;
}

static const struct file_operations lockdown_fops = {
	.owner = THIS_MODULE,
	.open = lockdown_open,
	.release = lockdown_release,
};

/* In the directory of each VF and GT. */
const struct xs_file xs_gt_control_files[] = {
	{ .name = "control", .mode = 0600, .flags = XS_FILE_VF, .fops = &control_fops },
	{}
};

/* Below sriov/vfM. */
const struct xs_file xs_vf_op_files[] = {
	{ .name = "pause", .mode = 0200, .fops = &pause_fops },
	{ .name = "resume", .mode = 0200, .fops = &resume_fops },
	{ .name = "stop", .mode = 0200, .fops = &stop_fops },
	{ .name = "reset", .mode = 0200, .fops = &reset_fops },
	{ .name = "save", .mode = 0600, .fops = &save_fops },
	{ .name = "restore", .mode = 0600, .fops = &restore_fops },
	{ .name = "migration_data", .mode = 0600, .fops = &data_fops },
	{ .name = "migration_size", .mode = 0400, .fops = &size_fops },
	{}
};

/* Below sriov. */
const struct xs_file xs_device_files[] = {
	{ .name = "restore_auto_provisioning", .mode = 0200, .fops = &restore_auto_fops },
	{ .name = "lockdown_vfs_enabling", .mode = 0400, .fops = &lockdown_fops },
	{}
};
