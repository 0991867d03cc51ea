// SPDX-License-Identifier: GPL-2.0
/*
 * PF debugfs: files that hold one number.
 */

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/limits.h>

#include "pf_debugfs.h"

#define GETTER(name, expr)									\
static u64 get_##name(struct xs_pf *pf, unsigned int fn, unsigned int gt, unsigned int index)	\
{												\
	return expr;										\
}

#define SETTER(name, expr)									\
static int set_##name(struct xs_pf *pf, unsigned int fn, unsigned int gt, unsigned int index,	\
		      u64 value)								\
{												\
	return expr;										\
}

GETTER(ggtt_quota, pf->ggtt.used[fn].size)
SETTER(ggtt_quota, xs_pf_set_ggtt(pf, fn, value))
GETTER(vram_quota, pf->vram_quota[fn])
SETTER(vram_quota, xs_pf_set_vram(pf, fn, value))
GETTER(contexts_quota, pf->gt[gt].contexts.used[fn].size)
SETTER(contexts_quota, xs_pf_set_contexts(pf, fn, gt, value))
GETTER(doorbells_quota, pf->gt[gt].doorbells.used[fn].size)
SETTER(doorbells_quota, xs_pf_set_doorbells(pf, fn, gt, value))

GETTER(ggtt_spare, xs_pf_ggtt_spare(pf))
SETTER(ggtt_spare, xs_pf_set_ggtt_spare(pf, value))
GETTER(vram_spare, xs_pf_vram_spare(pf))
SETTER(vram_spare, xs_pf_set_vram_spare(pf, value))
GETTER(contexts_spare, xs_pf_contexts_spare(pf, gt))
SETTER(contexts_spare, xs_pf_set_contexts_spare(pf, gt, value))
GETTER(doorbells_spare, pf->gt[gt].doorbells_spare)
SETTER(doorbells_spare, xs_pf_set_doorbells_spare(pf, gt, value))

GETTER(exec_quantum, pf->gt[gt].fn[fn].exec_quantum_ms)
SETTER(exec_quantum, (xs_pf_set_exec_quantum(pf, fn, gt, value), 0))
GETTER(preempt_timeout, pf->gt[gt].fn[fn].preempt_timeout_us)
SETTER(preempt_timeout, (xs_pf_set_preempt_timeout(pf, fn, gt, value), 0))
GETTER(priority, pf->gt[gt].fn[fn].priority)
SETTER(priority, xs_pf_set_priority(pf, fn, gt, value))
GETTER(threshold, pf->gt[gt].fn[fn].threshold[index])
SETTER(threshold, (pf->gt[gt].fn[fn].threshold[index] = value, 0))

GETTER(reset_engine, pf->gt[gt].reset_engine)
SETTER(reset_engine, (pf->gt[gt].reset_engine = value, 0))
GETTER(sched_if_idle, pf->gt[gt].sched_if_idle)
SETTER(sched_if_idle, (xs_pf_set_sched_if_idle(pf, gt, value), 0))
GETTER(sample_period, pf->gt[gt].sample_period_ms)
SETTER(sample_period, (pf->gt[gt].sample_period_ms = value, 0))

static int numeric_get(void *data, u64 *value)
{
	const struct xs_node *node = data;

	guard(mutex)(&node->pf->lock);

	*value = node->file->get(node->pf, node->fn, node->gt, node->file->index);
	return 0;
}

/* Any successful write, of whatever value, makes provisioning manual. */
static int numeric_set(void *data, u64 value)
{
	const struct xs_node *node = data;
	const struct xs_file *file = node->file;
	struct xs_pf *pf = node->pf;
	int err = 0;

	if (value > file->max)
		return -EOVERFLOW;

	guard(mutex)(&pf->lock);

	if (file->flags & XS_FILE_CONFIG)
		err = xs_pf_check_ready(pf);
	if (!err)
		err = file->set(pf, node->fn, node->gt, file->index, value);
	if (!err && !pf->xs->legacy)
		pf->custom = true;
	return err;
}

DEFINE_DEBUGFS_ATTRIBUTE(numeric_fops, numeric_get, numeric_set, "%llu\n");

#define NUMERIC(_name, _what, _max, _flags, ...)				\
	{									\
		.name = _name, .mode = 0644, .flags = _flags, .max = _max,	\
		.fops = &numeric_fops, .get = get_##_what, .set = set_##_what,	\
		##__VA_ARGS__							\
	}

#define CONFIG_FILE(_name, _what, _max, _flags, ...)				\
	NUMERIC(_name, _what, _max, (_flags) | XS_FILE_CONFIG, ##__VA_ARGS__)

#define THRESHOLD_FILE(_name, _index, _flags)					\
	NUMERIC("threshold_" _name, threshold, U32_MAX,				\
		XS_FILE_PF | XS_FILE_VF | (_flags), .index = _index)

const struct xs_file xs_numeric_files[] = {
	CONFIG_FILE("ggtt_quota", ggtt_quota, U64_MAX, XS_FILE_VF | XS_FILE_TILE),
	CONFIG_FILE("vram_quota", vram_quota, U64_MAX, XS_FILE_VF | XS_FILE_TILE | XS_FILE_VRAM,
		    .gt_name = "lmem_quota"),
	CONFIG_FILE("contexts_quota", contexts_quota, U32_MAX, XS_FILE_VF),
	CONFIG_FILE("doorbells_quota", doorbells_quota, U32_MAX, XS_FILE_VF),
	CONFIG_FILE("ggtt_spare", ggtt_spare, U64_MAX, XS_FILE_PF | XS_FILE_TILE),
	CONFIG_FILE("vram_spare", vram_spare, U64_MAX, XS_FILE_PF | XS_FILE_TILE | XS_FILE_VRAM,
		    .gt_name = "lmem_spare"),
	CONFIG_FILE("contexts_spare", contexts_spare, U32_MAX, XS_FILE_PF),
	CONFIG_FILE("doorbells_spare", doorbells_spare, U32_MAX, XS_FILE_PF),
	CONFIG_FILE("exec_quantum_ms", exec_quantum, U32_MAX, XS_FILE_PF | XS_FILE_VF),
	CONFIG_FILE("preempt_timeout_us", preempt_timeout, U32_MAX, XS_FILE_PF | XS_FILE_VF),
	CONFIG_FILE("sched_priority", priority, U32_MAX, XS_FILE_PF | XS_FILE_VF),
	NUMERIC("reset_engine", reset_engine, 1, XS_FILE_PF),
	NUMERIC("sched_if_idle", sched_if_idle, 1, XS_FILE_PF),
	NUMERIC("sample_period_ms", sample_period, U32_MAX, XS_FILE_PF),
	THRESHOLD_FILE("cat_error_count", XS_THRESHOLD_CAT_ERROR, 0),
	THRESHOLD_FILE("engine_reset_count", XS_THRESHOLD_ENGINE_RESET, 0),
	THRESHOLD_FILE("page_fault_count", XS_THRESHOLD_PAGE_FAULT, 0),
	THRESHOLD_FILE("guc_time_us", XS_THRESHOLD_GUC_TIME, 0),
	THRESHOLD_FILE("irq_time_us", XS_THRESHOLD_IRQ_TIME, 0),
	THRESHOLD_FILE("doorbell_time_us", XS_THRESHOLD_DOORBELL_TIME, 0),
	THRESHOLD_FILE("multi_lrc_count", XS_THRESHOLD_MULTI_LRC, XS_FILE_NEW),
	{}
};
