// SPDX-License-Identifier: GPL-2.0
/*
 * PF: quotas, spares and scheduling of each function. The errors and their
 * order are those of xe. The caller holds the PF's lock.
 */

#include <linux/align.h>
#include <linux/errno.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/sizes.h>

#include "params.h"
#include "pf.h"

#define GGTT_ALIGN		SZ_4K
#define VRAM_ALIGN		SZ_2M
#define MIN_GGTT_SPARE		SZ_64M
#define MIN_VRAM_SPARE		SZ_128M
#define MIN_CONTEXTS_SPARE	256
#define MAX_EXEC_QUANTUM_MS	100000
#define MAX_PREEMPT_TIMEOUT_US	100000000

/**
 * xs_pf_set_ggtt - change how much GGTT a VF has
 * @pf: the PF
 * @vfid: VF number
 * @size: in bytes, rounded up to 4 KiB; 0 releases
 *
 * What the VF had is released first, so it has nothing after a failure.
 *
 * Return: 0, or -ENOSPC. The 4 GiB that a 32-bit size cannot hold never fit.
 */
int xs_pf_set_ggtt(struct xs_pf *pf, unsigned int vfid, u64 size)
{
	int err = 0;

	xs_pool_release(&pf->ggtt, vfid);
	if (size) {
		err = xs_fault_provision(pf->xs);
		if (!err && size >= SZ_4G)
			err = -ENOSPC;
		if (!err)
			err = xs_pool_take_highest(&pf->ggtt, vfid, ALIGN(size, GGTT_ALIGN));
	}
	xs_pf_push(pf, vfid);
	return err;
}

u64 xs_pf_vram_free(const struct xs_pf *pf)
{
	u64 left = pf->xs->model->vram;
	unsigned int fn;

	for (fn = 0; fn < XS_NUM_FNS; fn++)
		left -= pf->vram_quota[fn];
	return left;
}

/**
 * xs_pf_set_vram - change how much local memory a VF has
 * @pf: the PF of a discrete device
 * @vfid: VF number
 * @size: in bytes, rounded up to 2 MiB; 0 releases
 *
 * What the VF had is released first, so it has nothing after a failure.
 *
 * Return: 0 or -ENOSPC.
 */
int xs_pf_set_vram(struct xs_pf *pf, unsigned int vfid, u64 size)
{
	int err = 0;

	pf->vram_quota[vfid] = 0;
	if (size) {
		err = xs_fault_provision(pf->xs);
		if (!err && size > xs_pf_vram_free(pf))
			err = -ENOSPC;
		/* The total is a multiple of the alignment, so the rounded size fits too. */
		if (!err)
			pf->vram_quota[vfid] = ALIGN(size, VRAM_ALIGN);
	}
	xs_pf_push(pf, vfid);
	return err;
}

/**
 * xs_pf_set_contexts - change how many GuC contexts a VF has on a GT
 * @pf: the PF
 * @vfid: VF number
 * @gt: GT number
 * @count: 0 releases
 *
 * Return: 0; -EINVAL above 65535; -EDQUOT if the PF's spare would be touched;
 * -ENOSPC if there is no contiguous range.
 */
int xs_pf_set_contexts(struct xs_pf *pf, unsigned int vfid, unsigned int gt, u64 count)
{
	struct xs_pool *pool = &pf->gt[gt].contexts;
	int err = 0;

	if (count > pool->hi)
		return -EINVAL;

	xs_pool_release(pool, vfid);
	if (count) {
		err = xs_fault_provision(pf->xs);
		if (!err && xs_pool_used(pool) + count + xs_pf_contexts_spare(pf, gt) > pool->hi)
			err = -EDQUOT;
		if (!err)
			err = xs_pool_take_highest(pool, vfid, count);
	}
	xs_pf_push(pf, vfid);
	return err;
}

/**
 * xs_pf_set_doorbells - change how many doorbells a VF has on a GT
 * @pf: the PF
 * @vfid: VF number
 * @gt: GT number
 * @count: 0 releases
 *
 * Return: 0; -EINVAL above 256; -EDQUOT if a spare is set and would be touched;
 * -ENOSPC if there is no contiguous range.
 */
int xs_pf_set_doorbells(struct xs_pf *pf, unsigned int vfid, unsigned int gt, u64 count)
{
	struct xs_pool *pool = &pf->gt[gt].doorbells;
	u32 spare = pf->gt[gt].doorbells_spare;
	int err = 0;

	if (count > pool->hi)
		return -EINVAL;

	xs_pool_release(pool, vfid);
	if (count) {
		err = xs_fault_provision(pf->xs);
		if (!err && spare && xs_pool_used(pool) + count + spare > pool->hi)
			err = -EDQUOT;
		if (!err)
			err = xs_pool_take_lowest(pool, vfid, count);
	}
	xs_pf_push(pf, vfid);
	return err;
}

u64 xs_pf_ggtt_spare(const struct xs_pf *pf)
{
	return max_t(u64, pf->ggtt_spare, MIN_GGTT_SPARE);
}

u64 xs_pf_vram_spare(const struct xs_pf *pf)
{
	return max_t(u64, pf->vram_spare, MIN_VRAM_SPARE);
}

u32 xs_pf_contexts_spare(const struct xs_pf *pf, unsigned int gt)
{
	return max_t(u32, pf->gt[gt].contexts_spare, MIN_CONTEXTS_SPARE);
}

int xs_pf_set_ggtt_spare(struct xs_pf *pf, u64 size)
{
	if (size && size < MIN_GGTT_SPARE)
		return -EINVAL;
	pf->ggtt_spare = ALIGN(size, GGTT_ALIGN);
	return 0;
}

int xs_pf_set_vram_spare(struct xs_pf *pf, u64 size)
{
	if (size && size < MIN_VRAM_SPARE)
		return -EINVAL;
	pf->vram_spare = size;
	return 0;
}

int xs_pf_set_contexts_spare(struct xs_pf *pf, unsigned int gt, u64 count)
{
	if (count > pf->gt[gt].contexts.hi || (count && count < MIN_CONTEXTS_SPARE))
		return -EINVAL;
	pf->gt[gt].contexts_spare = count;
	return 0;
}

int xs_pf_set_doorbells_spare(struct xs_pf *pf, unsigned int gt, u64 count)
{
	if (count > pf->gt[gt].doorbells.hi)
		return -EINVAL;
	pf->gt[gt].doorbells_spare = count;
	return 0;
}

void xs_pf_set_exec_quantum(struct xs_pf *pf, unsigned int fn, unsigned int gt, u32 ms)
{
	pf->gt[gt].fn[fn].exec_quantum_ms = min_t(u32, ms, MAX_EXEC_QUANTUM_MS);
}

void xs_pf_set_preempt_timeout(struct xs_pf *pf, unsigned int fn, unsigned int gt, u32 us)
{
	pf->gt[gt].fn[fn].preempt_timeout_us = min_t(u32, us, MAX_PREEMPT_TIMEOUT_US);
}

/**
 * xs_pf_set_priority - change the priority of a single function
 * @pf: the PF
 * @fn: function number
 * @gt: GT number
 * @priority: enum xs_priority
 *
 * Return: 0, or -EIO as from the firmware, which lets only the PF choose.
 */
int xs_pf_set_priority(struct xs_pf *pf, unsigned int fn, unsigned int gt, u32 priority)
{
	if (priority > XS_PRIORITY_HIGH)
		return -EIO;
	if (fn != XS_PFID && priority != pf->gt[gt].fn[fn].priority)
		return -EIO;
	pf->gt[gt].fn[fn].priority = priority;
	return 0;
}

/**
 * xs_pf_set_sched_if_idle - choose whether idle functions keep their slice
 * @pf: the PF
 * @gt: GT number
 * @on: yes; and all functions get priority normal, else low
 */
void xs_pf_set_sched_if_idle(struct xs_pf *pf, unsigned int gt, bool on)
{
	unsigned int fn;

	pf->gt[gt].sched_if_idle = on;
	for (fn = 0; fn <= pf->total_vfs; fn++)
		pf->gt[gt].fn[fn].priority = on ? XS_PRIORITY_NORMAL : XS_PRIORITY_LOW;
}

/**
 * xs_pf_release_vf - take all resources from a VF, and reset its scheduling
 * @pf: the PF
 * @vfid: VF number
 *
 * The priority stays, it belongs to the policy of the GT.
 */
void xs_pf_release_vf(struct xs_pf *pf, unsigned int vfid)
{
	unsigned int gt;

	xs_pool_release(&pf->ggtt, vfid);
	pf->vram_quota[vfid] = 0;
	for_each_gt(pf->xs, gt) {
		struct xs_gt_fn *fn = &pf->gt[gt].fn[vfid];

		xs_pool_release(&pf->gt[gt].contexts, vfid);
		xs_pool_release(&pf->gt[gt].doorbells, vfid);
		fn->exec_quantum_ms = 0;
		fn->preempt_timeout_us = 0;
		memset(fn->threshold, 0, sizeof(fn->threshold));
	}
	xs_pf_push(pf, vfid);
}
