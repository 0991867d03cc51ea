// SPDX-License-Identifier: GPL-2.0
/*
 * PF: pause, resume, stop and reset of VFs.
 */

#include <linux/errno.h>
#include <linux/export.h>
#include <linux/string.h>

#include "pf.h"

/* GuC knows no VF that is not enabled. */
static int check_enabled(struct xs_pf *pf, unsigned int vfid)
{
	return vfid > pf->num_vfs ? -EIO : 0;
}

static void set_run(struct xs_pf *pf, unsigned int vfid, unsigned int gt, enum xs_vf_run run)
{
	struct xs_gt_fn *fn = &pf->gt[gt].fn[vfid];

	fn->run = run;
	fn->transfer = XS_TRANSFER_NONE;
	fn->op_done = true;
	wake_up_all(&pf->transfer_wait);
}

static int gt_pause(struct xs_pf *pf, unsigned int vfid, unsigned int gt)
{
	int err;

	switch (pf->gt[gt].fn[vfid].run) {
	case XS_VF_STOPPED:
		return -EPERM;
	case XS_VF_PAUSED:
		return -ESTALE;
	default:
		err = check_enabled(pf, vfid);
		if (err)
			return err;
		if (gt == XS_MAIN_GT)
			xs_pf_take_engine(pf, vfid);
		set_run(pf, vfid, gt, XS_VF_PAUSED);
		return 0;
	}
}

static int gt_resume(struct xs_pf *pf, unsigned int vfid, unsigned int gt)
{
	struct xs_gt_fn *fn = &pf->gt[gt].fn[vfid];

	if (fn->run != XS_VF_PAUSED)
		return -EPERM;
	if (fn->transfer == XS_TRANSFER_SAVING || fn->transfer == XS_TRANSFER_RESTORING)
		return -EBUSY;
	set_run(pf, vfid, gt, XS_VF_RESUMED);
	return 0;
}

static int gt_stop(struct xs_pf *pf, unsigned int vfid, unsigned int gt)
{
	int err;

	if (pf->gt[gt].fn[vfid].run == XS_VF_STOPPED)
		return -ESTALE;
	err = check_enabled(pf, vfid);
	if (!err)
		set_run(pf, vfid, gt, XS_VF_STOPPED);
	return err;
}

/**
 * fold_gts - do something on all GTs, whatever the results
 * @pf: the PF
 * @vfid: VF number
 * @op: what to do
 *
 * Return: 0 or the errno of @op if only the last GT failed; as xe does, -EUCLEAN
 * if a GT failed before the last one.
 */
static int fold_gts(struct xs_pf *pf, unsigned int vfid,
		    int (*op)(struct xs_pf *pf, unsigned int vfid, unsigned int gt))
{
	unsigned int gt;
	int err, result = 0;

	guard(mutex)(&pf->lock);

	xs_pf_service_poll(pf);
	for_each_gt(pf->xs, gt) {
		err = op(pf, vfid, gt);
		result = result ? -EUCLEAN : err;
	}
	return result;
}

int xs_pf_vf_pause(struct xs_pf *pf, unsigned int vfid)
{
	return fold_gts(pf, vfid, gt_pause);
}
EXPORT_SYMBOL_GPL(xs_pf_vf_pause);

int xs_pf_vf_resume(struct xs_pf *pf, unsigned int vfid)
{
	return fold_gts(pf, vfid, gt_resume);
}
EXPORT_SYMBOL_GPL(xs_pf_vf_resume);

int xs_pf_vf_stop(struct xs_pf *pf, unsigned int vfid)
{
	return fold_gts(pf, vfid, gt_stop);
}
EXPORT_SYMBOL_GPL(xs_pf_vf_stop);

/**
 * xs_pf_vf_reset - reset a VF from the PF's side
 * @pf: the PF
 * @vfid: VF number
 *
 * Return: 0.
 */
int xs_pf_vf_reset(struct xs_pf *pf, unsigned int vfid)
{
	guard(mutex)(&pf->lock);

	xs_pf_service_poll(pf);
	xs_pf_vf_was_reset(pf, vfid);
	return 0;
}

/**
 * xs_pf_gt_control - do one word of the per-GT control file
 * @pf: the PF
 * @vfid: VF number
 * @gt: GT number
 * @op: the word
 *
 * Return: 0 or a negative errno. As in xe, an unknown word does nothing.
 */
int xs_pf_gt_control(struct xs_pf *pf, unsigned int vfid, unsigned int gt, const char *op)
{
	guard(mutex)(&pf->lock);

	xs_pf_service_poll(pf);
	if (sysfs_streq(op, "pause"))
		return gt_pause(pf, vfid, gt);
	if (sysfs_streq(op, "resume"))
		return gt_resume(pf, vfid, gt);
	if (sysfs_streq(op, "stop"))
		return gt_stop(pf, vfid, gt);
	return 0;
}
