// SPDX-License-Identifier: GPL-2.0
/*
 * The file through which user space moves the state of a VF.
 */

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "xe_vfio_pci.h"

static ssize_t stream_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	struct xv_stream *stream = file->private_data;

	guard(mutex)(&stream->lock);

	return stream->dead ? -ENODEV :
			      xs_pf_vf_stream_read(stream->pf, stream->vfid, buf, count, false);
}

static ssize_t stream_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	struct xv_stream *stream = file->private_data;

	guard(mutex)(&stream->lock);

	return stream->dead ? -ENODEV :
			      xs_pf_vf_stream_write(stream->pf, stream->vfid, buf, count);
}

static int stream_release(struct inode *inode, struct file *file)
{
	struct xv_stream *stream = file->private_data;

	mutex_destroy(&stream->lock);
	kfree(stream);
	return 0;
}

static const struct file_operations save_fops = {
	.owner = THIS_MODULE,
	.read = stream_read,
	.release = stream_release,
};

static const struct file_operations restore_fops = {
	.owner = THIS_MODULE,
	.write = stream_write,
	.release = stream_release,
};

/**
 * xv_stream_open - make the file for a save or a restore
 * @xv: the VF
 * @save: for reading, else for writing
 *
 * Return: the stream, with a reference to its file for the caller; or an ERR_PTR.
 */
struct xv_stream *xv_stream_open(struct xv_device *xv, bool save)
{
	struct xv_stream *stream;

	stream = kzalloc(sizeof(*stream), GFP_KERNEL_ACCOUNT);
	if (!stream)
		return ERR_PTR(-ENOMEM);
	mutex_init(&stream->lock);
	stream->pf = xv->pf;
	stream->vfid = xv->vfid;
	stream->file = anon_inode_getfile(save ? "xe-standin-save" : "xe-standin-restore",
					  save ? &save_fops : &restore_fops, stream,
					  save ? O_RDONLY : O_WRONLY);
	if (IS_ERR(stream->file)) {
		int err = PTR_ERR(stream->file);

		kfree(stream);
		return ERR_PTR(err);
	}
	stream_open(stream->file->f_inode, stream->file);
	return stream;
}

/**
 * xv_stream_close - end a stream and give up the reference to its file
 * @stream: the stream, which lives on as long as user space has the file
 */
void xv_stream_close(struct xv_stream *stream)
{
	mutex_lock(&stream->lock);
	stream->dead = true;
	mutex_unlock(&stream->lock);
	fput(stream->file);
}
