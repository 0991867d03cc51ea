// SPDX-License-Identifier: GPL-2.0
/*
 * PF: what GuC does between PF and VFs on real hardware. Tells each VF its
 * configuration and share of GPU time, answers its hello, notices its resets.
 */

#include <linux/math64.h>

#include "mailbox.h"
#include "params.h"
#include "pf.h"

#define POLL_MS		100
#define PPM		1000000

static u32 gt_ids(const struct xs_pf *pf, unsigned int vfid, unsigned int gt)
{
	return (u32)pf->gt[gt].contexts.used[vfid].size << 16 |
	       (u32)pf->gt[gt].doorbells.used[vfid].size;
}

static u32 device_word(const struct xs_pf *pf)
{
	u32 flags = 0;

	if (pf->xs->legacy)
		flags |= XS_MBX_FLAG_LEGACY;
	if (xs_param_migration)
		flags |= XS_MBX_FLAG_MIGRATION;
	return (u32)pf->xs->model->devid << 16 | flags << 8 | pf->xs->num_gts;
}

/**
 * xs_pf_push - write a VF's configuration into its mailbox
 * @pf: the PF, locked
 * @vfid: VF number
 */
void xs_pf_push(struct xs_pf *pf, unsigned int vfid)
{
	u32 words[XS_MBX_WORDS] = {};
	unsigned int i;

	words[XS_MBX_MAGIC] = XS_MBX_MAGIC_VALUE;
	words[XS_MBX_DEVICE] = device_word(pf);
	words[XS_MBX_GGTT_START] = pf->ggtt.used[vfid].start >> 12;
	words[XS_MBX_GGTT_SIZE] = pf->ggtt.used[vfid].size >> 12;
	words[XS_MBX_VRAM] = pf->vram_quota[vfid] >> 21;
	words[XS_MBX_GT0_IDS] = gt_ids(pf, vfid, 0);
	words[XS_MBX_GT1_IDS] = gt_ids(pf, vfid, 1);
	words[XS_MBX_EPOCH] = (u32)pf->vf[vfid].resets << 16 | pf->vf[vfid].restores;
	words[XS_MBX_CHECK] = xs_mbx_checksum(words);

	for (i = XS_MBX_MAGIC; i <= XS_MBX_CHECK; i++)
		xs_mbx_write(pf->xs, vfid, i, words[i]);
}

void xs_pf_push_all(struct xs_pf *pf)
{
	unsigned int vfid;

	guard(mutex)(&pf->lock);

	for (vfid = 1; vfid <= pf->total_vfs; vfid++)
		xs_pf_push(pf, vfid);
}

/**
 * xs_pf_vf_was_reset - bring what the PF knows of a VF to its state after reset
 * @pf: the PF, locked
 * @vfid: VF number
 */
void xs_pf_vf_was_reset(struct xs_pf *pf, unsigned int vfid)
{
	struct xs_pf_vf *vf = &pf->vf[vfid];
	unsigned int gt, word;

	vf->version = 0;
	vf->resets++;
	xs_stream_clear(&vf->stream);
	xs_pf_vram_clear(pf, vfid);
	for_each_gt(pf->xs, gt) {
		struct xs_gt_fn *fn = &pf->gt[gt].fn[vfid];

		fn->run = XS_VF_READY;
		fn->transfer = XS_TRANSFER_NONE;
		fn->op_done = false;
		memset(fn->events, 0, sizeof(fn->events));
	}
	for (word = XS_MBX_FIRST_VF_WORD; word < XS_MBX_WORDS; word++)
		xs_mbx_write(pf->xs, vfid, word, 0);
	xs_mbx_write(pf->xs, vfid, XS_MBX_PF_VERSION, 0);
	xs_pf_push(pf, vfid);
	wake_up_all(&pf->transfer_wait);
}

/* A VF's driver says hello when it loads; the answer is the agreed version. */
static void answer_hello(struct xs_pf *pf, unsigned int vfid)
{
	struct xs_pf_vf *vf = &pf->vf[vfid];
	u32 hello = xs_mbx_read(pf->xs, vfid, XS_MBX_HELLO);

	if (!hello || vf->version)
		return;
	vf->version = XS_PF_ABI;
	xs_mbx_write(pf->xs, vfid, XS_MBX_PF_VERSION, vf->version);
}

static u32 fn_users(struct xs_pf *pf, unsigned int fn)
{
	return fn == XS_PFID ? pf->users : xs_mbx_read(pf->xs, fn, XS_MBX_BUSY) & 0xffff;
}

/* A VF that was restored does not work until its driver has said that it has recovered. */
static bool fn_recovered(struct xs_pf *pf, unsigned int fn)
{
	return fn == XS_PFID || xs_mbx_read(pf->xs, fn, XS_MBX_BUSY) >> 16 == pf->vf[fn].restores;
}

static bool fn_runs(const struct xs_pf *pf, unsigned int fn)
{
	enum xs_vf_run run = pf->gt[XS_MAIN_GT].fn[fn].run;

	return fn == XS_PFID || (fn <= pf->num_vfs && run != XS_VF_PAUSED && run != XS_VF_STOPPED);
}

/* An infinite quantum weighs as much as the longest finite one. */
static u64 fn_weight(const struct xs_pf *pf, unsigned int fn)
{
	u32 longest = 1, own = pf->gt[XS_MAIN_GT].fn[fn].exec_quantum_ms;
	unsigned int i;

	for (i = 0; i <= pf->num_vfs; i++)
		longest = max(longest, pf->gt[XS_MAIN_GT].fn[i].exec_quantum_ms);
	if (fn && fn == xs_fault_favour_vf)
		return 3 * (own ?: longest);
	return own ?: longest;
}

/**
 * xs_pf_gpu_share - share of GPU time that a function gets while it works
 * @pf: the PF, locked
 * @fn: function number
 *
 * Functions that work at once share by execution quantum. Those that are idle
 * give up their slice, unless the policy sched_if_idle keeps it for them.
 *
 * Return: parts per million, 0 if the function does not run.
 */
u32 xs_pf_gpu_share(struct xs_pf *pf, unsigned int fn)
{
	bool strict = pf->gt[XS_MAIN_GT].sched_if_idle;
	u64 own, sum = 0;
	unsigned int i;

	if (!fn_runs(pf, fn) || !fn_recovered(pf, fn))
		return 0;
	for (i = 0; i <= pf->num_vfs; i++)
		if (i == fn || (fn_runs(pf, i) && fn_recovered(pf, i) && (strict || fn_users(pf, i))))
			sum += fn_weight(pf, i);
	own = fn_weight(pf, fn);
	return div64_u64(own * PPM, sum);
}

static void add_kill(struct xs_pf *pf, unsigned int vfid, u32 kill)
{
	u32 kills = xs_mbx_read(pf->xs, vfid, XS_MBX_KILLS);

	xs_mbx_write(pf->xs, vfid, XS_MBX_KILLS,
		     ((kills & 0xffff0000) + (kill & 0xffff0000)) | ((kills + kill) & 0xffff));
}

/**
 * xs_pf_take_engine - take a VF from the engine
 * @pf: the PF, locked
 * @vfid: VF number
 *
 * A job that does not let itself be preempted in the VF's preemption timeout is
 * lost in a reset of the engine.
 */
void xs_pf_take_engine(struct xs_pf *pf, unsigned int vfid)
{
	struct xs_gt_fn *fn = &pf->gt[XS_MAIN_GT].fn[vfid];
	u32 job = xs_mbx_read(pf->xs, vfid, XS_MBX_JOB);

	if (!fn_users(pf, vfid) || !fn->preempt_timeout_us || job <= fn->preempt_timeout_us)
		return;
	fn->events[XS_THRESHOLD_ENGINE_RESET]++;
	add_kill(pf, vfid, 1 << 16);
	xs_info(pf->xs, "VF%u: engine reset: a job of %u us was not preempted within %u us\n",
		vfid, job, fn->preempt_timeout_us);
}

/**
 * xs_pf_lose_work - lose all work of a VF
 * @pf: the PF, locked
 * @vfid: VF number
 */
void xs_pf_lose_work(struct xs_pf *pf, unsigned int vfid)
{
	xs_info(pf->xs, "fault injected: VF%u loses its work\n", vfid);
	add_kill(pf, vfid, 1);
}

static void kill_work(struct xs_pf *pf)
{
	unsigned int vfid = xs_fault_kill_work;

	if (!vfid || vfid > pf->num_vfs || !fn_users(pf, vfid))
		return;
	xs_fault_kill_work = 0;
	xs_pf_lose_work(pf, vfid);
}

/**
 * xs_pf_service_poll - take note of all that VFs did
 * @pf: the PF, locked
 */
void xs_pf_service_poll(struct xs_pf *pf)
{
	u32 resets = xs_flr_events(pf->xs);
	unsigned int vfid;

	for (vfid = 1; vfid <= pf->num_vfs; vfid++) {
		if (resets & BIT(vfid - 1))
			xs_pf_vf_was_reset(pf, vfid);
		answer_hello(pf, vfid);
	}
	kill_work(pf);
	for (vfid = 1; vfid <= pf->num_vfs; vfid++)
		xs_mbx_write(pf->xs, vfid, XS_MBX_SHARE, xs_pf_gpu_share(pf, vfid));
}

static void service_work(struct work_struct *work)
{
	struct xs_pf *pf = container_of(to_delayed_work(work), struct xs_pf, service);

	mutex_lock(&pf->lock);
	xs_pf_service_poll(pf);
	mutex_unlock(&pf->lock);
	schedule_delayed_work(&pf->service, msecs_to_jiffies(POLL_MS));
}

void xs_pf_service_init(struct xs_pf *pf)
{
	INIT_DELAYED_WORK(&pf->service, service_work);
}

void xs_pf_service_start(struct xs_pf *pf)
{
	schedule_delayed_work(&pf->service, 0);
}

void xs_pf_service_stop(struct xs_pf *pf)
{
	cancel_delayed_work_sync(&pf->service);
}

int xs_pf_gpu_time_get(struct xs_pf *pf)
{
	guard(mutex)(&pf->lock);

	pf->users++;
	return 0;
}

void xs_pf_gpu_time_put(struct xs_pf *pf)
{
	guard(mutex)(&pf->lock);

	pf->users--;
}
