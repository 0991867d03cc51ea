/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_PF_H_
#define _XS_PF_H_

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "device.h"
#include "pool.h"
#include "vfio.h"

enum xs_threshold {
	XS_THRESHOLD_CAT_ERROR,
	XS_THRESHOLD_ENGINE_RESET,
	XS_THRESHOLD_PAGE_FAULT,
	XS_THRESHOLD_GUC_TIME,
	XS_THRESHOLD_IRQ_TIME,
	XS_THRESHOLD_DOORBELL_TIME,
	XS_THRESHOLD_MULTI_LRC,
	XS_NUM_THRESHOLDS,
};

extern const char * const xs_threshold_names[XS_NUM_THRESHOLDS];

enum xs_priority {
	XS_PRIORITY_LOW,
	XS_PRIORITY_NORMAL,
	XS_PRIORITY_HIGH,
};

enum xs_vf_run {
	XS_VF_READY,
	XS_VF_PAUSED,
	XS_VF_RESUMED,
	XS_VF_STOPPED,
};

enum xs_vf_transfer {
	XS_TRANSFER_NONE,
	XS_TRANSFER_SAVING,
	XS_TRANSFER_SAVED,
	XS_TRANSFER_RESTORING,
	XS_TRANSFER_RESTORE_FAILED,
	XS_TRANSFER_RESTORED,
};

/**
 * struct xs_gt_fn - what one function has on one GT
 * @exec_quantum_ms: 0 is infinite
 * @preempt_timeout_us: 0 is infinite
 * @priority: enum xs_priority
 * @threshold: limits of adverse events, 0 is none
 * @events: adverse events counted
 * @run: control state, VFs only
 * @transfer: save and restore, while paused
 * @op_done: some control operation has completed since the last reset
 */
struct xs_gt_fn {
	u32 exec_quantum_ms;
	u32 preempt_timeout_us;
	u32 priority;
	u32 threshold[XS_NUM_THRESHOLDS];
	u32 events[XS_NUM_THRESHOLDS];
	enum xs_vf_run run;
	enum xs_vf_transfer transfer;
	bool op_done;
};

struct xs_pf_gt {
	struct xs_pool contexts;
	struct xs_pool doorbells;
	u32 contexts_spare;
	u32 doorbells_spare;
	u32 reset_engine;
	u32 sched_if_idle;
	u32 sample_period_ms;
	struct xs_gt_fn fn[XS_NUM_FNS];
};

/* The packet header of the migration stream, little endian on the wire. */
struct xs_packet_header {
	u8 version;
	u8 type;
	u8 tile;
	u8 gt;
	__le32 flags;
	__le64 offset;
	__le64 size;
} __packed;

/**
 * struct xs_stream - the migration stream of one VF
 * @data: while saving, the whole stream; while restoring, the current payload
 * @size: bytes in @data, or that @data shall have
 * @pos: bytes of @data that were read or written
 * @header: while restoring, header of the current packet
 * @header_pos: how much of it has come
 * @described: while restoring, the descriptor has come
 * @complete: while restoring, the trailer has come and nothing was missing
 * @gts_seen: while restoring, mask of the GTs whose state has come
 * @tile_seen: while restoring, the GGTT packet has come
 */
struct xs_stream {
	u8 *data;
	size_t size;
	size_t pos;
	struct xs_packet_header header;
	size_t header_pos;
	bool described;
	bool complete;
	u8 gts_seen;
	bool tile_seen;
};

struct xs_vram_bar;

/**
 * struct xs_pf_vf - what the PF knows of a VF beyond its configuration
 * @version: PF ABI agreed on with the VF's driver: major << 16 | minor; 0 none
 * @resets: number of resets, wraps
 * @restores: number of restores that the VF went through, migrates with it
 * @stream: migration data
 * @vram_bar: BAR 2, of discrete devices
 */
struct xs_pf_vf {
	u32 version;
	u16 resets;
	u16 restores;
	struct xs_stream stream;
	struct xs_vram_bar *vram_bar;
};

struct xs_admin_fn;

/**
 * struct xs_pf - a PF
 * @xs: its device
 * @lock: protects all that follows unless noted
 * @hw_vfs: number of VFs of the imitated hardware; constant
 * @total_vfs: number of VFs that can be enabled; constant
 * @num_vfs: number of VFs that are, or are being, enabled
 * @custom: provisioning is manual
 * @lockdowns: open files that forbid enabling VFs
 * @gone: the driver is being unbound, nobody may wait any more
 * @ggtt: GGTT addresses
 * @ggtt_spare: what fair sharing leaves to the PF
 * @vram_quota: local memory by function
 * @vram_spare: what fair sharing leaves to the PF
 * @vram_preset: VFs hold local memory that was set through sysfs
 * @gt: state of each GT
 * @vf: state of each VF
 * @transfer_wait: woken when save, restore or their data move on
 * @users: workloads on the PF that use GPU time now
 * @service: polls the VFs' mailboxes while VFs are enabled
 * @admin_kobj: sysfs sriov_admin
 * @admin_fn: sysfs sriov_admin/<function>; the last is .bulk_profile
 */
struct xs_pf {
	struct xs_device *xs;
	struct mutex lock;
	unsigned int hw_vfs;
	unsigned int total_vfs;
	unsigned int num_vfs;
	bool custom;
	unsigned int lockdowns;
	bool gone;
	struct xs_pool ggtt;
	u64 ggtt_spare;
	u64 vram_quota[XS_NUM_FNS];
	u64 vram_spare;
	bool vram_preset;
	struct xs_pf_gt gt[XS_MAX_GTS];
	struct xs_pf_vf vf[XS_NUM_FNS];
	wait_queue_head_t transfer_wait;
	unsigned int users;
	struct delayed_work service;
	struct kobject *admin_kobj;
	struct xs_admin_fn *admin_fn[XS_NUM_FNS + 1];
};

#define for_each_gt(xs, gt)	for ((gt) = 0; (gt) < (xs)->num_gts; (gt)++)

/* pf.c */
int xs_pf_init(struct xs_device *xs);
int xs_pf_register(struct xs_device *xs);
void xs_pf_unregister(struct xs_device *xs);
int xs_pf_enable_vfs(struct xs_pf *pf, unsigned int num_vfs);
int xs_pf_disable_vfs(struct xs_pf *pf);
int xs_pf_lockdown(struct xs_pf *pf);
void xs_pf_lockdown_end(struct xs_pf *pf);
int xs_pf_check_ready(struct xs_pf *pf);
struct pci_dev *xs_pf_get_vf_pdev(struct xs_pf *pf, unsigned int vfid);

/* pf_config.c: the caller holds the lock */
int xs_pf_set_ggtt(struct xs_pf *pf, unsigned int vfid, u64 size);
int xs_pf_set_vram(struct xs_pf *pf, unsigned int vfid, u64 size);
int xs_pf_set_contexts(struct xs_pf *pf, unsigned int vfid, unsigned int gt, u64 count);
int xs_pf_set_doorbells(struct xs_pf *pf, unsigned int vfid, unsigned int gt, u64 count);
u64 xs_pf_vram_free(const struct xs_pf *pf);
u64 xs_pf_ggtt_spare(const struct xs_pf *pf);
u64 xs_pf_vram_spare(const struct xs_pf *pf);
u32 xs_pf_contexts_spare(const struct xs_pf *pf, unsigned int gt);
int xs_pf_set_ggtt_spare(struct xs_pf *pf, u64 size);
int xs_pf_set_vram_spare(struct xs_pf *pf, u64 size);
int xs_pf_set_contexts_spare(struct xs_pf *pf, unsigned int gt, u64 count);
int xs_pf_set_doorbells_spare(struct xs_pf *pf, unsigned int gt, u64 count);
void xs_pf_set_exec_quantum(struct xs_pf *pf, unsigned int fn, unsigned int gt, u32 ms);
void xs_pf_set_preempt_timeout(struct xs_pf *pf, unsigned int fn, unsigned int gt, u32 us);
int xs_pf_set_priority(struct xs_pf *pf, unsigned int fn, unsigned int gt, u32 priority);
void xs_pf_set_sched_if_idle(struct xs_pf *pf, unsigned int gt, bool on);
void xs_pf_release_vf(struct xs_pf *pf, unsigned int vfid);

/* pf_provision.c: the caller holds the lock */
int xs_pf_auto_provision(struct xs_pf *pf, unsigned int num_vfs);
void xs_pf_auto_release(struct xs_pf *pf, unsigned int num_vfs);
int xs_pf_restore_auto(struct xs_pf *pf);

/* pf_vram.c */
void xs_pf_vram_add_bars(struct xs_pf *pf, unsigned int num_vfs);
void xs_pf_vram_remove_bars(struct xs_pf *pf, unsigned int num_vfs);
void xs_pf_vram_clear(struct xs_pf *pf, unsigned int vfid);

/* pf_service.c */
void xs_pf_service_init(struct xs_pf *pf);
void xs_pf_service_start(struct xs_pf *pf);
void xs_pf_service_stop(struct xs_pf *pf);
void xs_pf_service_poll(struct xs_pf *pf);
void xs_pf_push(struct xs_pf *pf, unsigned int vfid);
void xs_pf_push_all(struct xs_pf *pf);
void xs_pf_vf_was_reset(struct xs_pf *pf, unsigned int vfid);
u32 xs_pf_gpu_share(struct xs_pf *pf, unsigned int fn);
void xs_pf_take_engine(struct xs_pf *pf, unsigned int vfid);
void xs_pf_lose_work(struct xs_pf *pf, unsigned int vfid);
int xs_pf_gpu_time_get(struct xs_pf *pf);
void xs_pf_gpu_time_put(struct xs_pf *pf);

/* pf_control.c; the rest is in vfio.h */
int xs_pf_gt_control(struct xs_pf *pf, unsigned int vfid, unsigned int gt, const char *op);

/* pf_migration.c; the rest is in vfio.h */
void xs_pf_streams_free(struct xs_pf *pf);
void xs_stream_clear(struct xs_stream *s);

/* pf_debugfs.c */
void xs_pf_debugfs_register(struct xs_pf *pf);

/* pf_sysfs.c */
int xs_pf_sysfs_register(struct xs_pf *pf);
void xs_pf_sysfs_unregister(struct xs_pf *pf);
void xs_pf_sysfs_link_vfs(struct xs_pf *pf, unsigned int num_vfs);
void xs_pf_sysfs_unlink_vfs(struct xs_pf *pf, unsigned int num_vfs);

#endif
