/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XE_VFIO_PCI_H_
#define _XE_VFIO_PCI_H_

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/vfio_pci_core.h>

#include "../xe/vfio.h"

/**
 * struct xv_stream - an open end of the migration stream
 * @file: what user space reads from or writes to
 * @lock: protects @dead
 * @pf: the PF
 * @vfid: VF number
 * @dead: the transfer is over, further access fails
 */
struct xv_stream {
	struct file *file;
	struct mutex lock;
	struct xs_pf *pf;
	unsigned int vfid;
	bool dead;
};

/**
 * struct xv_device - a VF given to user space
 * @core: the generic part
 * @pf: the PF, NULL if the VF cannot migrate
 * @vfid: VF number
 * @state_lock: protects @state and @stream
 * @reset_lock: protects @reset_pending
 * @reset_pending: a reset came while @state_lock was held by another
 * @state: migration state
 * @stream: the open stream, if the state has one
 */
struct xv_device {
	struct vfio_pci_core_device core;
	struct xs_pf *pf;
	unsigned int vfid;
	struct mutex state_lock;
	spinlock_t reset_lock;
	bool reset_pending;
	enum vfio_device_mig_state state;
	struct xv_stream *stream;
};

static inline struct xv_device *to_xv(struct vfio_device *vdev)
{
	return container_of(vdev, struct xv_device, core.vdev);
}

extern const struct vfio_migration_ops xv_migration_ops;

void xv_state_open(struct xv_device *xv);
void xv_state_close(struct xv_device *xv);
void xv_state_reset_done(struct xv_device *xv);

struct xv_stream *xv_stream_open(struct xv_device *xv, bool save);
void xv_stream_close(struct xv_stream *stream);

#endif
