/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XS_PF_DEBUGFS_H_
#define _XS_PF_DEBUGFS_H_

#include <linux/bits.h>
#include <linux/fs.h>

#include "pf.h"

struct seq_file;

/* In which directories a file is, and when. */
#define XS_FILE_PF	BIT(0)	/* of the PF */
#define XS_FILE_VF	BIT(1)	/* of each VF */
#define XS_FILE_TILE	BIT(2)	/* one for the tile; else one for each GT */
#define XS_FILE_VRAM	BIT(3)	/* only on discrete devices */
#define XS_FILE_NEW	BIT(4)	/* not in the legacy layout */
#define XS_FILE_CONFIG	BIT(5)	/* the device has to be ready for a change */

/**
 * struct xs_file - a file of the PF's debugfs tree
 * @name: its name
 * @gt_name: in a GT's directory, if other than @name
 * @mode: its mode
 * @flags: XS_FILE_*
 * @fops: its operations
 * @max: numeric files: the largest value of the type
 * @index: numeric files: which one of several of a kind
 * @get: numeric files: read
 * @set: numeric files: write
 * @print: tables: what is read
 */
struct xs_file {
	const char *name;
	const char *gt_name;
	umode_t mode;
	unsigned int flags;
	const struct file_operations *fops;
	u64 max;
	unsigned int index;
	u64 (*get)(struct xs_pf *pf, unsigned int fn, unsigned int gt, unsigned int index);
	int (*set)(struct xs_pf *pf, unsigned int fn, unsigned int gt, unsigned int index,
		   u64 value);
	void (*print)(struct seq_file *m, struct xs_pf *pf, unsigned int gt);
};

/* The private data of a file: what it is about. */
struct xs_node {
	struct xs_pf *pf;
	const struct xs_file *file;
	unsigned int fn;
	unsigned int gt;
};

extern const struct xs_file xs_numeric_files[];
extern const struct xs_file xs_table_files[];
extern const struct xs_file xs_gt_control_files[];
extern const struct xs_file xs_vf_op_files[];
extern const struct xs_file xs_device_files[];
extern const struct xs_file xs_info_files[];

#endif
