// SPDX-License-Identifier: GPL-2.0
/*
 * VF debugfs: gtN/vf.
 */

#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/string_helpers.h>

#include "mailbox.h"
#include "pf.h"
#include "vf.h"

/* GuC ABI of the stand-in: what VF migration asks for. */
#define GUC_ABI_WANTED	"1.27.0"

static void put_size(struct seq_file *m, const char *label, u64 size)
{
	char text[16];

	string_get_size(size, 1, STRING_UNITS_2, text, sizeof(text));
	seq_printf(m, "%s:\t%llu (%s)\n", label, size, text);
}

static void put_ggtt(struct seq_file *m, const struct xs_vf_config *c)
{
	seq_printf(m, "GGTT range:\t%#llx-%#llx\n", c->ggtt_start,
		   c->ggtt_start + c->ggtt_size - 1);
	put_size(m, "GGTT size", c->ggtt_size);
}

static void self_config(struct seq_file *m, struct xs_vf *vf, unsigned int gt)
{
	const struct xs_vf_config *c = &vf->config;
	bool legacy = vf->xs->legacy;

	guard(mutex)(&vf->lock);

	if (gt == XS_MAIN_GT || legacy)
		put_ggtt(m, c);
	if (legacy)
		seq_printf(m, "GGTT shift on last restore:\t%lld\n", vf->ggtt_shift);
	if (gt == XS_MAIN_GT && xs_is_discrete(vf->xs))
		put_size(m, "LMEM size", c->vram);
	seq_printf(m, "GuC contexts:\t%u\n", c->gt[gt].contexts);
	seq_printf(m, "GuC doorbells:\t%u\n", c->gt[gt].doorbells);
}

static int self_config_gt0_show(struct seq_file *m, void *unused)
{
	self_config(m, m->private, 0);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(self_config_gt0);

static int self_config_gt1_show(struct seq_file *m, void *unused)
{
	self_config(m, m->private, 1);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(self_config_gt1);

static int abi_versions_show(struct seq_file *m, void *unused)
{
	struct xs_vf *vf = m->private;

	guard(mutex)(&vf->lock);

	seq_puts(m, "GuC ABI:\n");
	seq_puts(m, "\tbase:\t1.0.0.*\n");
	seq_puts(m, "\twanted:\t" GUC_ABI_WANTED ".*\n");
	seq_puts(m, "\thandshake:\t0." GUC_ABI_WANTED "\n");
	seq_puts(m, "PF ABI:\n");
	seq_printf(m, "\tbase:\t%u.%u\n", XS_PF_ABI_MAJOR, XS_PF_ABI_MINOR);
	seq_printf(m, "\twanted:\t%u.%u\n", XS_PF_ABI_MAJOR, XS_PF_ABI_MINOR);
	seq_printf(m, "\thandshake:\t%u.%u\n", vf->pf_version >> 16, vf->pf_version & 0xffff);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(abi_versions);

void xs_vf_debugfs_register(struct xs_vf *vf)
{
	static const struct file_operations * const self_config_fops[] = {
		&self_config_gt0_fops, &self_config_gt1_fops,
	};
	unsigned int gt;

	for_each_gt(vf->xs, gt) {
		struct dentry *dir = debugfs_create_dir("vf", vf->xs->gt_dentry[gt]);

		debugfs_create_file("self_config", 0444, dir, vf, self_config_fops[gt]);
		debugfs_create_file("abi_versions", 0444, dir, vf, &abi_versions_fops);
		if (!vf->xs->legacy)
			debugfs_create_x8("resfix_stoppers", 0600, dir, &vf->resfix_stoppers[gt]);
	}
}
