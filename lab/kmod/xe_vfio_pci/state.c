// SPDX-License-Identifier: GPL-2.0
/*
 * The migration state of a VF. VFIO splits each request into the steps here.
 *
 * A reset calls back with locks held under which state_lock may not be taken,
 * so when it cannot be had at once the work is left to who holds it.
 */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/vfio.h>

#include "xe_vfio_pci.h"

static void drop_stream(struct xv_device *xv)
{
	if (xv->stream)
		xv_stream_close(xv->stream);
	xv->stream = NULL;
}

static void finish_reset(struct xv_device *xv)
{
	drop_stream(xv);
	xs_pf_sync(xv->pf);
	xv->state = VFIO_DEVICE_STATE_RUNNING;
}

static void state_unlock(struct xv_device *xv)
{
again:
	spin_lock(&xv->reset_lock);
	if (xv->reset_pending) {
		xv->reset_pending = false;
		spin_unlock(&xv->reset_lock);
		finish_reset(xv);
		goto again;
	}
	mutex_unlock(&xv->state_lock);
	spin_unlock(&xv->reset_lock);
}

/**
 * xv_state_reset_done - the VF was reset
 * @xv: the VF
 */
void xv_state_reset_done(struct xv_device *xv)
{
	if (!xv->pf)
		return;

	spin_lock(&xv->reset_lock);
	xv->reset_pending = true;
	if (!mutex_trylock(&xv->state_lock)) {
		spin_unlock(&xv->reset_lock);
		return;
	}
	spin_unlock(&xv->reset_lock);
	state_unlock(xv);
}

void xv_state_open(struct xv_device *xv)
{
	xv->state = VFIO_DEVICE_STATE_RUNNING;
}

void xv_state_close(struct xv_device *xv)
{
	mutex_lock(&xv->state_lock);
	drop_stream(xv);
	state_unlock(xv);
}

/* Begin a transfer: the PF first, then the file for it. */
static struct file *begin(struct xv_device *xv, bool save)
{
	struct xv_stream *stream;
	int err;

	stream = xv_stream_open(xv, save);
	if (IS_ERR(stream))
		return ERR_CAST(stream);

	err = save ? xs_pf_vf_save_start(xv->pf, xv->vfid) :
		     xs_pf_vf_restore_start(xv->pf, xv->vfid);
	if (err) {
		xv_stream_close(stream);
		return ERR_PTR(err);
	}
	xv->stream = stream;
	get_file(stream->file);	/* the caller's reference */
	return stream->file;
}

static int end(struct xv_device *xv, bool save)
{
	drop_stream(xv);
	return save ? xs_pf_vf_save_finish(xv->pf, xv->vfid) :
		      xs_pf_vf_restore_finish(xv->pf, xv->vfid);
}

#define STEP(from, to)	((from) << 8 | (to))

static struct file *step(struct xv_device *xv, enum vfio_device_mig_state to)
{
	switch (STEP(xv->state, to)) {
	case STEP(VFIO_DEVICE_STATE_RUNNING, VFIO_DEVICE_STATE_RUNNING_P2P):
		return ERR_PTR(xs_pf_vf_pause(xv->pf, xv->vfid));
	case STEP(VFIO_DEVICE_STATE_RUNNING_P2P, VFIO_DEVICE_STATE_RUNNING):
		return ERR_PTR(xs_pf_vf_resume(xv->pf, xv->vfid));
	case STEP(VFIO_DEVICE_STATE_RUNNING_P2P, VFIO_DEVICE_STATE_STOP):
	case STEP(VFIO_DEVICE_STATE_STOP, VFIO_DEVICE_STATE_RUNNING_P2P):
		return NULL;
	case STEP(VFIO_DEVICE_STATE_STOP, VFIO_DEVICE_STATE_STOP_COPY):
		return begin(xv, true);
	case STEP(VFIO_DEVICE_STATE_STOP_COPY, VFIO_DEVICE_STATE_STOP):
		return ERR_PTR(end(xv, true));
	case STEP(VFIO_DEVICE_STATE_STOP, VFIO_DEVICE_STATE_RESUMING):
		return begin(xv, false);
	case STEP(VFIO_DEVICE_STATE_RESUMING, VFIO_DEVICE_STATE_STOP):
		return ERR_PTR(end(xv, false));
	default:
		return ERR_PTR(-EINVAL);
	}
}

/* A VF that failed half-way is not to touch memory any more. */
static void fail(struct xv_device *xv, long err)
{
	pci_err(xv->core.pdev, "lab stand-in: VF%u: migration state %u failed: %ld\n", xv->vfid,
		xv->state, err);
	drop_stream(xv);
	xs_pf_vf_stop(xv->pf, xv->vfid);
	xv->state = VFIO_DEVICE_STATE_ERROR;
}

static struct file *xv_set_state(struct vfio_device *vdev, enum vfio_device_mig_state to)
{
	struct xv_device *xv = to_xv(vdev);
	enum vfio_device_mig_state next;
	struct file *file = NULL;

	mutex_lock(&xv->state_lock);
	while (!file && xv->state != to) {
		/* Only a reset leads out of ERROR, and the core warns when it is asked for a way. */
		if (xv->state == VFIO_DEVICE_STATE_ERROR ||
		    vfio_mig_get_next_state(vdev, xv->state, to, &next)) {
			file = ERR_PTR(-EINVAL);
			break;
		}
		file = step(xv, next);
		if (IS_ERR(file))
			fail(xv, PTR_ERR(file));
		else
			xv->state = next;
	}
	state_unlock(xv);
	return file;
}

static int xv_get_state(struct vfio_device *vdev, enum vfio_device_mig_state *state)
{
	struct xv_device *xv = to_xv(vdev);

	mutex_lock(&xv->state_lock);
	*state = xv->state;
	state_unlock(xv);
	return 0;
}

static int xv_get_data_size(struct vfio_device *vdev, unsigned long *size)
{
	struct xv_device *xv = to_xv(vdev);
	ssize_t ret = xs_pf_vf_stream_size(xv->pf, xv->vfid);

	if (ret < 0)
		return ret;
	*size = ret;
	return 0;
}

const struct vfio_migration_ops xv_migration_ops = {
	.migration_set_state = xv_set_state,
	.migration_get_state = xv_get_state,
	.migration_get_data_size = xv_get_data_size,
};
