// SPDX-License-Identifier: GPL-2.0
/*
 * PF debugfs: files that print tables.
 */

#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/string_helpers.h>

#include "pf_debugfs.h"

const char * const xs_threshold_names[XS_NUM_THRESHOLDS] = {
	[XS_THRESHOLD_CAT_ERROR] = "cat_error_count",
	[XS_THRESHOLD_ENGINE_RESET] = "engine_reset_count",
	[XS_THRESHOLD_PAGE_FAULT] = "page_fault_count",
	[XS_THRESHOLD_GUC_TIME] = "guc_time_us",
	[XS_THRESHOLD_IRQ_TIME] = "irq_time_us",
	[XS_THRESHOLD_DOORBELL_TIME] = "doorbell_time_us",
	[XS_THRESHOLD_MULTI_LRC] = "multi_lrc_count",
};

static void put_size(struct seq_file *m, u64 size)
{
	char text[16];

	string_get_size(size, 1, STRING_UNITS_2, text, sizeof(text));
	seq_printf(m, "\t(%s)\n", text);
}

static void put_total(struct seq_file *m, const char *label, u64 size)
{
	seq_printf(m, "%s:\t%llu", label, size);
	put_size(m, size);
}

static void print_ggtt_available(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	u64 cursor = 0, total = 0, spare = xs_pf_ggtt_spare(pf);
	struct xs_range hole;

	while (xs_pool_next_hole(&pf->ggtt, &cursor, &hole)) {
		seq_printf(m, "range:\t%#llx-%#llx", hole.start, hole.start + hole.size - 1);
		put_size(m, hole.size);
		total += hole.size;
	}
	put_total(m, "total", total);
	put_total(m, "spare", spare);
	put_total(m, "avail", total > spare ? total - spare : 0);
}

static void print_ggtt_provisioned(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	unsigned int vfid;

	for (vfid = 1; vfid <= pf->total_vfs; vfid++) {
		const struct xs_range *r = &pf->ggtt.used[vfid];

		if (!r->size)
			continue;
		seq_printf(m, "VF%u:\t%#llx-%#llx", vfid, r->start, r->start + r->size - 1);
		put_size(m, r->size);
	}
}

static void print_vram_provisioned(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	unsigned int vfid;

	for (vfid = 1; vfid <= pf->total_vfs; vfid++) {
		if (!pf->vram_quota[vfid])
			continue;
		seq_printf(m, "VF%u:\t%llu", vfid, pf->vram_quota[vfid]);
		put_size(m, pf->vram_quota[vfid]);
	}
}

static void print_ids(struct seq_file *m, struct xs_pf *pf, const struct xs_pool *pool)
{
	unsigned int vfid;

	for (vfid = 1; vfid <= pf->total_vfs; vfid++) {
		const struct xs_range *r = &pool->used[vfid];

		if (r->size)
			seq_printf(m, "VF%u:\t%llu-%llu\t(%llu)\n", vfid, r->start,
				   r->start + r->size - 1, r->size);
	}
}

static void print_contexts_provisioned(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	print_ids(m, pf, &pf->gt[gt].contexts);
}

static void print_doorbells_provisioned(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	print_ids(m, pf, &pf->gt[gt].doorbells);
}

static void print_runtime_registers(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	const u32 media_offset = 0x380000;
	unsigned int i;

	/* The values mean nothing here; they are made of the addresses. */
	for (i = 0; i < pf->xs->model->num_runtime_regs; i++) {
		u32 reg = pf->xs->model->runtime_regs[i];

		seq_printf(m, "reg[%#x] = %#x\n", gt == XS_MAIN_GT ? reg : reg + media_offset,
			   reg * 0x01000193);
	}
}

static void print_events_of(struct seq_file *m, struct xs_pf *pf, unsigned int vfid,
			    const u32 *events)
{
	unsigned int i, n = pf->xs->legacy ? XS_THRESHOLD_MULTI_LRC : XS_NUM_THRESHOLDS;

	if (!memchr_inv(events, 0, n * sizeof(*events)))
		return;
	seq_printf(m, "VF%u:\t", vfid);
	for (i = 0; i < n; i++)
		seq_printf(m, "%s:%u ", xs_threshold_names[i], events[i]);
	seq_putc(m, '\n');
}

static void print_adverse_events(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	unsigned int vfid;

	for (vfid = 1; vfid <= pf->total_vfs; vfid++)
		print_events_of(m, pf, vfid, pf->gt[gt].fn[vfid].events);
}

static void print_vfs(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	seq_printf(m, "total: %u\nsupported: %u\nenabled: %u\n", pf->hw_vfs, pf->total_vfs,
		   pf->num_vfs);
}

static void print_versions(struct seq_file *m, struct xs_pf *pf, unsigned int gt)
{
	unsigned int vfid;

	xs_pf_service_poll(pf);
	seq_puts(m, "base:\t1.0\nlatest:\t1.0\n");
	for (vfid = 1; vfid <= pf->total_vfs; vfid++) {
		u32 version = pf->vf[vfid].version;

		if (version)
			seq_printf(m, "VF%u:\t%u.%u\n", vfid, version >> 16, version & 0xffff);
	}
}

static int table_show(struct seq_file *m, void *unused)
{
	const struct xs_node *node = m->private;

	guard(mutex)(&node->pf->lock);

	node->file->print(m, node->pf, node->gt);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(table);

#define TABLE(_name, _print, _flags, ...)						\
	{										\
		.name = _name, .mode = 0444, .flags = XS_FILE_PF | (_flags),		\
		.fops = &table_fops, .print = print_##_print, ##__VA_ARGS__		\
	}

const struct xs_file xs_table_files[] = {
	TABLE("ggtt_available", ggtt_available, XS_FILE_TILE),
	TABLE("ggtt_provisioned", ggtt_provisioned, XS_FILE_TILE),
	TABLE("vram_provisioned", vram_provisioned, XS_FILE_TILE | XS_FILE_VRAM,
	      .gt_name = "lmem_provisioned"),
	TABLE("contexts_provisioned", contexts_provisioned, 0),
	TABLE("doorbells_provisioned", doorbells_provisioned, 0),
	TABLE("runtime_registers", runtime_registers, 0),
	TABLE("adverse_events", adverse_events, 0),
	{}
};

/* Below sriov/pf, in the legacy layout below pf. */
const struct xs_file xs_info_files[] = {
	TABLE("vfs", vfs, 0),
	TABLE("versions", versions, 0),
	{}
};
