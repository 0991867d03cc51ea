// SPDX-License-Identifier: GPL-2.0
/*
 * PF: automatic provisioning with fair shares. The caller holds the PF's lock.
 */

#include <linux/align.h>
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/sizes.h>

#include "params.h"
#include "pf.h"


/* The profile of a resource keeps shares the same while the PF's own use varies. */
static u64 profile_ggtt(unsigned int n)
{
	return n > 56 ? 56 * (u64)SZ_1M : rounddown_pow_of_two(0xe0000000 / n);
}

static u64 fair_ggtt(struct xs_pf *pf, unsigned int n)
{
	u64 hole = xs_pool_largest_hole(&pf->ggtt);
	u64 spare = xs_pf_ggtt_spare(pf);
	u64 estimate = hole > spare ? ALIGN_DOWN(div_u64(hole - spare, n), SZ_4K) : 0;

	return pf->xs->legacy ? estimate : min(estimate, profile_ggtt(n));
}

static u64 profile_vram(struct xs_pf *pf, unsigned int n)
{
	u64 usable = ALIGN_DOWN(pf->xs->model->vram - SZ_128M, SZ_1G);

	return rounddown_pow_of_two(div_u64(usable, n + 1));
}

static u64 fair_vram(struct xs_pf *pf, unsigned int n)
{
	u64 left = xs_pf_vram_free(pf);
	u64 spare = xs_pf_vram_spare(pf);
	u64 estimate;

	if (left <= spare)
		return 0;
	estimate = ALIGN_DOWN(div_u64(ALIGN_DOWN(left - spare, SZ_2M), n), SZ_2M);
	return xs_param_vram_quota ? min(estimate, profile_vram(pf, n)) : estimate;
}

/* The most that each of @n VFs can have of a pool in which @spare ids stay. */
static u64 estimate_ids(const struct xs_pool *pool, unsigned int n, u32 spare)
{
	u64 taken = xs_pool_used(pool) + spare;
	u64 left = taken < pool->hi ? pool->hi - taken : 0;

	return div_u64(min(left, xs_pool_largest_hole(pool)), n);
}

static u64 fair_contexts(struct xs_pf *pf, unsigned int gt, unsigned int n)
{
	const struct xs_pool *pool = &pf->gt[gt].contexts;
	u64 estimate = estimate_ids(pool, n, xs_pf_contexts_spare(pf, gt));

	return pf->xs->legacy ? estimate : min(estimate, (u64)rounddown_pow_of_two(65535 / n));
}

static u64 fair_doorbells(struct xs_pf *pf, unsigned int gt, unsigned int n)
{
	const struct xs_pool *pool = &pf->gt[gt].doorbells;
	u64 estimate = estimate_ids(pool, n, pf->gt[gt].doorbells_spare);

	return pf->xs->legacy ? estimate : min(estimate, (u64)rounddown_pow_of_two(256 / (n + 1)));
}

static bool vf_is_empty(struct xs_pf *pf, unsigned int gt, unsigned int vfid)
{
	if (gt == XS_MAIN_GT && pf->ggtt.used[vfid].size)
		return false;
	if (gt == XS_MAIN_GT && pf->vram_quota[vfid] && !pf->vram_preset)
		return false;
	return !pf->gt[gt].contexts.used[vfid].size && !pf->gt[gt].doorbells.used[vfid].size;
}

static bool vfs_are_empty(struct xs_pf *pf, unsigned int gt, unsigned int n)
{
	unsigned int vfid;

	for (vfid = 1; vfid <= n; vfid++)
		if (!vf_is_empty(pf, gt, vfid))
			return false;
	return true;
}

static int give_ggtt(struct xs_pf *pf, unsigned int n)
{
	u64 share = fair_ggtt(pf, n);
	unsigned int vfid;
	int err = share ? 0 : -ENOSPC;

	for (vfid = 1; !err && vfid <= n; vfid++)
		err = xs_pf_set_ggtt(pf, vfid, share);
	return err;
}

static int give_vram(struct xs_pf *pf, unsigned int n)
{
	u64 share = fair_vram(pf, n);
	unsigned int vfid;
	int err = share ? 0 : -ENOSPC;

	for (vfid = 1; !err && vfid <= n; vfid++)
		err = xs_pf_set_vram(pf, vfid, share);
	return err;
}

static int give_contexts(struct xs_pf *pf, unsigned int gt, unsigned int n)
{
	u64 share = fair_contexts(pf, gt, n);
	unsigned int vfid;
	int err = share ? 0 : -ENOSPC;

	for (vfid = 1; !err && vfid <= n; vfid++)
		err = xs_pf_set_contexts(pf, vfid, gt, share);
	return err;
}

static int give_doorbells(struct xs_pf *pf, unsigned int gt, unsigned int n)
{
	u64 share = fair_doorbells(pf, gt, n);
	unsigned int vfid;
	int err = share ? 0 : -ENOSPC;

	for (vfid = 1; !err && vfid <= n; vfid++)
		err = xs_pf_set_doorbells(pf, vfid, gt, share);
	return err;
}

static int give_fair_shares(struct xs_pf *pf, unsigned int gt, unsigned int n)
{
	int err = 0;

	if (gt == XS_MAIN_GT)
		err = give_ggtt(pf, n);
	if (!err && gt == XS_MAIN_GT && xs_is_discrete(pf->xs) && !pf->vram_preset)
		err = give_vram(pf, n);
	if (!err)
		err = give_contexts(pf, gt, n);
	if (!err)
		err = give_doorbells(pf, gt, n);
	return err;
}

static int provision_gt(struct xs_pf *pf, unsigned int gt, unsigned int n)
{
	if (vfs_are_empty(pf, gt, n))
		return give_fair_shares(pf, gt, n);
	if (pf->xs->legacy)	/* what was set by hand wins */
		return 0;
	if (xs_param_vram_quota)	/* 7.1 does not look */
		return give_fair_shares(pf, gt, n);
	return -EUCLEAN;
}

/**
 * xs_pf_auto_provision - give VFs their fair shares, unless the user does that
 * @pf: the PF
 * @num_vfs: number of VFs that will be enabled
 *
 * Return: 0; -EUCLEAN if a VF has something already; -ENOSPC; or an injected
 * error. After an error the VFs have nothing.
 */
int xs_pf_auto_provision(struct xs_pf *pf, unsigned int num_vfs)
{
	unsigned int gt;
	int err = 0;

	if (pf->custom)
		return 0;
	for_each_gt(pf->xs, gt) {
		err = provision_gt(pf, gt, num_vfs);
		if (err)
			break;
	}
	if (err)
		xs_pf_auto_release(pf, num_vfs);
	return err;
}

/**
 * xs_pf_auto_release - take back what VFs were given automatically
 * @pf: the PF
 * @num_vfs: number of VFs that were enabled
 */
void xs_pf_auto_release(struct xs_pf *pf, unsigned int num_vfs)
{
	unsigned int vfid;

	if (pf->custom)
		return;
	for (vfid = 1; vfid <= num_vfs; vfid++)
		xs_pf_release_vf(pf, vfid);
	pf->vram_preset = false;
}

/**
 * xs_pf_restore_auto - go back to automatic provisioning
 * @pf: the PF
 *
 * Return: 0, or -EBUSY if VFs are enabled.
 */
int xs_pf_restore_auto(struct xs_pf *pf)
{
	unsigned int vfid;

	if (!pf->custom)
		return 0;
	if (pf->num_vfs)
		return -EBUSY;
	for (vfid = 1; vfid <= pf->total_vfs; vfid++)
		xs_pf_release_vf(pf, vfid);
	pf->vram_preset = false;
	pf->custom = false;
	return 0;
}
