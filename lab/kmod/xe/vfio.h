/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_VFIO_H_
#define _XS_VFIO_H_

#include <linux/types.h>

struct pci_dev;
struct xs_pf;

/*
 * What the stand-in of xe exports to that of xe-vfio-pci. All of it takes the
 * PF's lock.
 */

struct xs_pf *xs_pf_of_vf(struct pci_dev *vf);
bool xs_pf_can_migrate(struct xs_pf *pf);
void xs_pf_sync(struct xs_pf *pf);

int xs_pf_vf_pause(struct xs_pf *pf, unsigned int vfid);
int xs_pf_vf_resume(struct xs_pf *pf, unsigned int vfid);
int xs_pf_vf_stop(struct xs_pf *pf, unsigned int vfid);
int xs_pf_vf_reset(struct xs_pf *pf, unsigned int vfid);

int xs_pf_vf_save_start(struct xs_pf *pf, unsigned int vfid);
int xs_pf_vf_save_finish(struct xs_pf *pf, unsigned int vfid);
int xs_pf_vf_restore_start(struct xs_pf *pf, unsigned int vfid);
int xs_pf_vf_restore_finish(struct xs_pf *pf, unsigned int vfid);
ssize_t xs_pf_vf_stream_read(struct xs_pf *pf, unsigned int vfid, char __user *buf, size_t count,
			     bool wait);
ssize_t xs_pf_vf_stream_write(struct xs_pf *pf, unsigned int vfid, const char __user *buf,
			      size_t count);
ssize_t xs_pf_vf_stream_size(struct xs_pf *pf, unsigned int vfid);

#endif
