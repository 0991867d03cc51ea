// SPDX-License-Identifier: GPL-2.0
/*
 * PF debugfs: the tree. The new layout, of kernels from 6.19, keeps all SR-IOV
 * files below sriov/ and has links from the GTs' directories; the legacy one
 * has the files themselves there.
 */

#include <linux/debugfs.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>

#include "pf_debugfs.h"

static bool file_exists(const struct xs_pf *pf, const struct xs_file *file)
{
	if ((file->flags & XS_FILE_VRAM) && !xs_is_discrete(pf->xs))
		return false;
	return !((file->flags & XS_FILE_NEW) && pf->xs->legacy);
}

static void create_file(struct xs_pf *pf, struct dentry *dir, const char *name,
			const struct xs_file *file, unsigned int fn, unsigned int gt)
{
	struct xs_node *node;

	node = drmm_kmalloc(&pf->xs->drm, sizeof(*node), GFP_KERNEL);
	if (!node)
		return;	/* as with debugfs in general: no file, no failure */
	*node = (struct xs_node) { .pf = pf, .file = file, .fn = fn, .gt = gt };
	debugfs_create_file(name, file->mode, dir, node, file->fops);
}

static void create_files(struct xs_pf *pf, struct dentry *dir, const struct xs_file *files,
			 unsigned int fn)
{
	for (; files->name; files++)
		create_file(pf, dir, files->name, files, fn, 0);
}

/* All tables of files that exist for each tile or GT. */
static const struct xs_file * const gt_files[] = {
	xs_numeric_files, xs_table_files, xs_gt_control_files,
};

static bool is_for(const struct xs_pf *pf, const struct xs_file *file, unsigned int fn)
{
	unsigned int kind = fn == XS_PFID ? XS_FILE_PF : XS_FILE_VF;

	return (file->flags & kind) && file_exists(pf, file);
}

static void fill_tile_dir(struct xs_pf *pf, struct dentry *dir, unsigned int fn)
{
	const struct xs_file *file;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(gt_files); i++)
		for (file = gt_files[i]; file->name; file++)
			if (is_for(pf, file, fn) && (file->flags & XS_FILE_TILE))
				create_file(pf, dir, file->name, file, fn, XS_MAIN_GT);
}

/* A tile's file seen from its main GT: a link, or in the old layout the file. */
static void create_tile_file_in_gt(struct xs_pf *pf, struct dentry *dir,
				   const struct xs_file *file, unsigned int fn)
{
	const char *name = file->gt_name ?: file->name;
	char target[40];

	if (pf->xs->legacy) {
		create_file(pf, dir, name, file, fn, XS_MAIN_GT);
		return;
	}
	snprintf(target, sizeof(target), "../%s", file->name);
	debugfs_create_symlink(name, dir, target);
}

static void fill_gt_dir(struct xs_pf *pf, struct dentry *dir, unsigned int fn, unsigned int gt)
{
	const struct xs_file *file;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(gt_files); i++) {
		for (file = gt_files[i]; file->name; file++) {
			if (!is_for(pf, file, fn))
				continue;
			if (!(file->flags & XS_FILE_TILE))
				create_file(pf, dir, file->name, file, fn, gt);
			else if (gt == XS_MAIN_GT)
				create_tile_file_in_gt(pf, dir, file, fn);
		}
	}
}

static void fn_name(char *name, size_t size, unsigned int fn)
{
	if (fn == XS_PFID)
		strscpy(name, "pf", size);
	else
		snprintf(name, size, "vf%u", fn);
}

/* sriov/<fn>/tile0 with its GTs, and the links to them from the GTs. */
static void create_fn_tile(struct xs_pf *pf, struct dentry *fn_dir, unsigned int fn)
{
	struct dentry *tile = debugfs_create_dir("tile0", fn_dir);
	char name[16], gt_name[16], target[64];
	unsigned int gt;

	fn_name(name, sizeof(name), fn);
	fill_tile_dir(pf, tile, fn);
	for_each_gt(pf->xs, gt) {
		snprintf(gt_name, sizeof(gt_name), "gt%u", gt);
		fill_gt_dir(pf, debugfs_create_dir(gt_name, tile), fn, gt);
		snprintf(target, sizeof(target), "../../sriov/%s/tile0/%s", name, gt_name);
		debugfs_create_symlink(name, pf->xs->gt_dentry[gt], target);
	}
}

static void register_new(struct xs_pf *pf)
{
	struct dentry *sriov = debugfs_create_dir("sriov", pf->xs->drm.debugfs_root);
	unsigned int fn;
	char name[16];

	create_files(pf, sriov, xs_device_files, XS_PFID);
	for (fn = 0; fn <= pf->total_vfs; fn++) {
		struct dentry *dir;

		fn_name(name, sizeof(name), fn);
		dir = debugfs_create_dir(name, sriov);
		create_files(pf, dir, fn == XS_PFID ? xs_info_files : xs_vf_op_files, fn);
		create_fn_tile(pf, dir, fn);
	}
}

static void register_legacy(struct xs_pf *pf)
{
	unsigned int fn, gt;
	char name[16];

	create_files(pf, debugfs_create_dir("pf", pf->xs->drm.debugfs_root), xs_info_files,
		     XS_PFID);
	for (fn = 0; fn <= pf->total_vfs; fn++) {
		fn_name(name, sizeof(name), fn);
		for_each_gt(pf->xs, gt)
			fill_gt_dir(pf, debugfs_create_dir(name, pf->xs->gt_dentry[gt]), fn, gt);
	}
}

void xs_pf_debugfs_register(struct xs_pf *pf)
{
	if (pf->xs->legacy)
		register_legacy(pf);
	else
		register_new(pf);
}
