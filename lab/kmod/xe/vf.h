/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_VF_H_
#define _XS_VF_H_

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "device.h"

struct xs_vf_gt_config {
	u32 contexts;
	u32 doorbells;
};

/**
 * struct xs_vf_config - what the VF was told that it has
 * @devid: id of the imitated GPU
 * @flags: XS_MBX_FLAG_*
 * @num_gts: number of GTs
 * @ggtt_start: first GGTT address
 * @ggtt_size: in bytes
 * @vram: in bytes
 * @epoch: count of resets and restores that the configuration belongs to
 * @gt: ids by GT
 */
struct xs_vf_config {
	u16 devid;
	u8 flags;
	u8 num_gts;
	u64 ggtt_start;
	u64 ggtt_size;
	u64 vram;
	u32 epoch;
	struct xs_vf_gt_config gt[XS_MAX_GTS];
};

/**
 * struct xs_vf - a VF
 * @xs: its device
 * @lock: protects the members below
 * @config: as of the last query
 * @pf_version: PF ABI agreed on with the PF: major << 16 | minor
 * @ggtt_shift: by how much the last restore moved the GGTT range
 * @resfix_stoppers: by GT, halts of the recovery after a restore; user's
 * @watch: looks for resets and restores
 * @users: workloads that use GPU time now
 * @recovered: number of the last restore that the VF has recovered from
 */
struct xs_vf {
	struct xs_device *xs;
	struct mutex lock;
	struct xs_vf_config config;
	u32 pf_version;
	s64 ggtt_shift;
	u8 resfix_stoppers[XS_MAX_GTS];
	struct delayed_work watch;
	unsigned int users;
	u16 recovered;
};

int xs_vf_init(struct xs_device *xs);
u64 xs_vf_vram(struct xs_vf *vf);
void xs_vf_reset_done(struct xs_vf *vf);

int xs_vf_gpu_time_get(struct xs_vf *vf);
void xs_vf_gpu_time_put(struct xs_vf *vf);
u32 xs_vf_gpu_share(struct xs_vf *vf);
void xs_vf_gpu_job(struct xs_vf *vf, u32 us);
u32 xs_vf_gpu_kills(struct xs_vf *vf);

void xs_vf_debugfs_register(struct xs_vf *vf);

#endif
