// SPDX-License-Identifier: GPL-2.0
/*
 * PF: save and restore of VFs, and the stream between them.
 */

#include <linux/errno.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "packet.h"
#include "params.h"
#include "pf.h"

#define RESTORE_TIMEOUT	(20 * HZ)

void xs_stream_clear(struct xs_stream *s)
{
	kvfree(s->data);
	memset(s, 0, sizeof(*s));
}

void xs_pf_streams_free(struct xs_pf *pf)
{
	unsigned int vfid;

	for (vfid = 1; vfid < XS_NUM_FNS; vfid++)
		xs_stream_clear(&pf->vf[vfid].stream);
}

static bool all_gts_in(struct xs_pf *pf, unsigned int vfid, enum xs_vf_transfer transfer)
{
	unsigned int gt;

	for_each_gt(pf->xs, gt)
		if (READ_ONCE(pf->gt[gt].fn[vfid].transfer) != transfer)
			return false;
	return true;
}

static bool any_gt_in(struct xs_pf *pf, unsigned int vfid, enum xs_vf_transfer transfer)
{
	unsigned int gt;

	for_each_gt(pf->xs, gt)
		if (READ_ONCE(pf->gt[gt].fn[vfid].transfer) == transfer)
			return true;
	return false;
}

static void set_all_gts(struct xs_pf *pf, unsigned int vfid, enum xs_vf_transfer transfer)
{
	unsigned int gt;

	for_each_gt(pf->xs, gt) {
		pf->gt[gt].fn[vfid].transfer = transfer;
		pf->gt[gt].fn[vfid].op_done = true;
	}
	wake_up_all(&pf->transfer_wait);
}

/**
 * start - begin to save or restore, GT by GT
 * @pf: the PF, locked
 * @vfid: VF number
 * @want: XS_TRANSFER_SAVING or XS_TRANSFER_RESTORING
 * @other: the one of these that @want is not
 *
 * Return: 0 or the errno of the first GT that refused; those before it stay.
 */
static int start(struct xs_pf *pf, unsigned int vfid, enum xs_vf_transfer want,
		 enum xs_vf_transfer other)
{
	unsigned int gt;

	for_each_gt(pf->xs, gt) {
		struct xs_gt_fn *fn = &pf->gt[gt].fn[vfid];

		if (fn->run != XS_VF_PAUSED)
			return -EPERM;
		if (fn->transfer == other)
			return -EBUSY;
		if (fn->transfer == want)
			return -EALREADY;
		fn->transfer = want;
	}
	return 0;
}

/**
 * xs_pf_vf_save_start - make the migration stream of a paused VF
 * @pf: the PF
 * @vfid: VF number
 *
 * Return: 0; -EPERM if the VF is not paused; -EBUSY while it is restored;
 * -EALREADY while it is saved; -ENOMEM.
 */
int xs_pf_vf_save_start(struct xs_pf *pf, unsigned int vfid)
{
	struct xs_stream *s = &pf->vf[vfid].stream;
	int err;

	guard(mutex)(&pf->lock);

	xs_pf_service_poll(pf);
	err = start(pf, vfid, XS_TRANSFER_SAVING, XS_TRANSFER_RESTORING);
	if (err)
		return err;
	xs_stream_clear(s);
	if (xs_param_migration)
		err = xs_stream_build(pf, vfid);
	if (err)
		set_all_gts(pf, vfid, XS_TRANSFER_NONE);
	wake_up_all(&pf->transfer_wait);
	return err;
}
EXPORT_SYMBOL_GPL(xs_pf_vf_save_start);

/**
 * xs_pf_vf_save_finish - end the save of a VF
 * @pf: the PF
 * @vfid: VF number
 *
 * Return: 0, or -EIO if there is none or it failed.
 */
int xs_pf_vf_save_finish(struct xs_pf *pf, unsigned int vfid)
{
	guard(mutex)(&pf->lock);

	if (!pf->vf[vfid].stream.data || !all_gts_in(pf, vfid, XS_TRANSFER_SAVING))
		return -EIO;
	set_all_gts(pf, vfid, XS_TRANSFER_SAVED);
	xs_stream_clear(&pf->vf[vfid].stream);
	return 0;
}
EXPORT_SYMBOL_GPL(xs_pf_vf_save_finish);

/**
 * xs_pf_vf_restore_start - expect the migration stream for a paused VF
 * @pf: the PF
 * @vfid: VF number
 *
 * Return: 0; -EPERM if the VF is not paused; -EBUSY while it is saved;
 * -EALREADY while it is restored.
 */
int xs_pf_vf_restore_start(struct xs_pf *pf, unsigned int vfid)
{
	int err;

	guard(mutex)(&pf->lock);

	xs_pf_service_poll(pf);
	err = start(pf, vfid, XS_TRANSFER_RESTORING, XS_TRANSFER_SAVING);
	if (!err)
		xs_stream_clear(&pf->vf[vfid].stream);
	return err;
}
EXPORT_SYMBOL_GPL(xs_pf_vf_restore_start);

/* A condition to wait for, hence without the lock; looked at again with it. */
static bool restore_has_ended(struct xs_pf *pf, unsigned int vfid)
{
	unsigned int gt;

	if (READ_ONCE(pf->gone) || READ_ONCE(pf->vf[vfid].stream.complete))
		return true;
	if (any_gt_in(pf, vfid, XS_TRANSFER_RESTORING))
		return false;
	for_each_gt(pf->xs, gt)
		if (READ_ONCE(pf->gt[gt].fn[vfid].op_done))
			return true;
	return false;
}

/**
 * xs_pf_vf_restore_finish - wait until the stream is in and the VF is restored
 * @pf: the PF
 * @vfid: VF number
 *
 * Return: 0; -EIO if there is no restore or it failed; -ETIMEDOUT after 20 s
 * without the end of the stream; -EINTR.
 */
int xs_pf_vf_restore_finish(struct xs_pf *pf, unsigned int vfid)
{
	long left = wait_event_interruptible_timeout(pf->transfer_wait,
						     restore_has_ended(pf, vfid), RESTORE_TIMEOUT);

	if (left < 0)
		return -EINTR;

	guard(mutex)(&pf->lock);

	if (!left)
		return -ETIMEDOUT;
	if (!pf->vf[vfid].stream.complete || !all_gts_in(pf, vfid, XS_TRANSFER_RESTORING))
		return -EIO;
	set_all_gts(pf, vfid, XS_TRANSFER_RESTORED);
	xs_stream_clear(&pf->vf[vfid].stream);
	return 0;
}
EXPORT_SYMBOL_GPL(xs_pf_vf_restore_finish);

/* A condition to wait for, hence without the lock; looked at again with it. */
static bool save_runs(struct xs_pf *pf, unsigned int vfid)
{
	return READ_ONCE(pf->gone) || all_gts_in(pf, vfid, XS_TRANSFER_SAVING);
}

static ssize_t stream_read_locked(struct xs_pf *pf, unsigned int vfid, char __user *buf,
				  size_t count)
{
	struct xs_stream *s = &pf->vf[vfid].stream;

	if (pf->gone)
		return -ENODEV;
	if (!all_gts_in(pf, vfid, XS_TRANSFER_SAVING))
		return -EAGAIN;
	if (!s->data)
		return -EIO;

	count = min(count, s->size - s->pos);
	if (copy_to_user(buf, s->data + s->pos, count))
		return -EFAULT;
	s->pos += count;
	return count;
}

/**
 * xs_pf_vf_stream_read - read on in the stream of a VF that is saved
 * @pf: the PF
 * @vfid: VF number
 * @buf: where to
 * @count: at the most
 * @wait: wait for a save to start
 *
 * Return: number of bytes, 0 at the end; -EIO if VFs cannot be saved; -EAGAIN
 * if no save runs; -EFAULT; -ENODEV if the device went away; -ERESTARTSYS.
 */
ssize_t xs_pf_vf_stream_read(struct xs_pf *pf, unsigned int vfid, char __user *buf, size_t count,
			     bool wait)
{
	ssize_t ret;

	do {
		if (wait && wait_event_interruptible(pf->transfer_wait, save_runs(pf, vfid)))
			return -ERESTARTSYS;
		mutex_lock(&pf->lock);
		ret = stream_read_locked(pf, vfid, buf, count);
		mutex_unlock(&pf->lock);
	} while (wait && ret == -EAGAIN);
	return ret;
}
EXPORT_SYMBOL_GPL(xs_pf_vf_stream_read);

static int begin_payload(struct xs_pf *pf, struct xs_stream *s)
{
	int err = xs_packet_check_header(pf, &s->header);

	if (err)
		return err;
	/* The descriptor comes first, and only then. */
	if (s->described == (s->header.type == XS_PACKET_DESCRIPTOR))
		return -EINVAL;

	kvfree(s->data);
	s->pos = 0;
	s->size = le64_to_cpu(s->header.size);
	s->data = kvmalloc(max_t(size_t, s->size, 1), GFP_KERNEL);
	return s->data ? 0 : -ENOMEM;
}

static void restore_failed(struct xs_pf *pf, unsigned int vfid)
{
	xs_stream_clear(&pf->vf[vfid].stream);
	set_all_gts(pf, vfid, XS_TRANSFER_RESTORE_FAILED);
}

/* The trailer ends the restore well only if all parts of the VF have come. */
static void end_of_stream(struct xs_pf *pf, unsigned int vfid)
{
	struct xs_stream *s = &pf->vf[vfid].stream;

	if (!s->tile_seen || s->gts_seen != GENMASK(pf->xs->num_gts - 1, 0)) {
		xs_err(pf->xs, "VF%u: restore failed: incomplete state\n", vfid);
		restore_failed(pf, vfid);
		return;
	}
	s->complete = true;
	wake_up_all(&pf->transfer_wait);
}

/*
 * Return: 0, also if the packet does not fit the VF, which fails the restore
 * later; a negative errno if the packet is no packet for this device.
 */
static int end_of_packet(struct xs_pf *pf, unsigned int vfid)
{
	struct xs_stream *s = &pf->vf[vfid].stream;

	s->header_pos = 0;
	switch (s->header.type) {
	case XS_PACKET_DESCRIPTOR:
		s->described = true;
		return xs_packet_check_descriptor(pf, s->data, s->size);
	case XS_PACKET_TRAILER:
		end_of_stream(pf, vfid);
		return 0;
	}

	if (xs_packet_apply(pf, vfid, &s->header, s->data, s->size)) {
		restore_failed(pf, vfid);
		return 0;
	}
	if (s->header.type == XS_PACKET_GGTT)
		s->tile_seen = true;
	if (s->header.type == XS_PACKET_GUC)
		s->gts_seen |= BIT(s->header.gt);
	return 0;
}

/* Take in bytes up to the end of the header or payload that they belong to. */
static ssize_t stream_write_part(struct xs_pf *pf, unsigned int vfid, const char __user *buf,
				 size_t count)
{
	struct xs_stream *s = &pf->vf[vfid].stream;
	int err = 0;

	if (pf->gone)
		return -ENODEV;
	if (!all_gts_in(pf, vfid, XS_TRANSFER_RESTORING) || s->complete)
		return -EIO;

	if (s->header_pos < sizeof(s->header)) {
		count = min(count, sizeof(s->header) - s->header_pos);
		if (copy_from_user((u8 *)&s->header + s->header_pos, buf, count))
			return -EFAULT;
		s->header_pos += count;
		if (s->header_pos < sizeof(s->header))
			return count;
		err = begin_payload(pf, s);
	} else {
		count = min(count, s->size - s->pos);
		if (copy_from_user(s->data + s->pos, buf, count))
			return -EFAULT;
		s->pos += count;
	}
	if (!err && s->pos == s->size)
		err = end_of_packet(pf, vfid);
	if (err)
		restore_failed(pf, vfid);
	return err ?: count;
}

/**
 * xs_pf_vf_stream_write - write on in the stream of a VF that is restored
 * @pf: the PF
 * @vfid: VF number
 * @buf: where from
 * @count: how much
 *
 * A packet is acted on when its last byte arrives.
 *
 * Return: @count; -EINVAL for malformed packets; -ENODEV for a stream of
 * another device; -EIO if no restore runs or it has failed; -EFAULT; -ENOMEM.
 */
ssize_t xs_pf_vf_stream_write(struct xs_pf *pf, unsigned int vfid, const char __user *buf,
			      size_t count)
{
	size_t done = 0;
	ssize_t ret;

	guard(mutex)(&pf->lock);

	while (done < count) {
		ret = stream_write_part(pf, vfid, buf + done, count - done);
		if (ret < 0)
			return ret;
		done += ret;
	}
	return done;
}
EXPORT_SYMBOL_GPL(xs_pf_vf_stream_write);

/**
 * xs_pf_vf_stream_size - size of the stream that a save would make
 * @pf: the PF
 * @vfid: VF number
 *
 * Return: number of bytes, or -ENOPKG if VFs cannot be saved.
 */
ssize_t xs_pf_vf_stream_size(struct xs_pf *pf, unsigned int vfid)
{
	return xs_param_migration ? xs_stream_size_of(pf) : -ENOPKG;
}
EXPORT_SYMBOL_GPL(xs_pf_vf_stream_size);
