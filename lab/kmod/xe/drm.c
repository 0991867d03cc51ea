// SPDX-License-Identifier: GPL-2.0
/*
 * DRM driver: a node that user space can open, and the queries with which it
 * learns what device it has. Nothing can be executed or allocated.
 */

#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <uapi/drm/xe_drm.h>

#include "device.h"
#include "pf.h"
#include "vf.h"

#define SYSMEM_SIZE	(4ull << 30)

static u64 local_memory_size(const struct xs_device *xs)
{
	return xs->mode == XS_MODE_VF ? xs_vf_vram(xs->vf) : xs->model->vram;
}

static size_t fill_config(struct xs_device *xs, void *buf)
{
	struct drm_xe_query_config *c = buf;

	c->num_params = DRM_XE_QUERY_CONFIG_MAX_EXEC_QUEUE_PRIORITY + 1;
	c->info[DRM_XE_QUERY_CONFIG_REV_AND_DEVICE_ID] =
		(u32)xs->pdev->revision << 16 | xs->model->devid;
	c->info[DRM_XE_QUERY_CONFIG_FLAGS] =
		xs_is_discrete(xs) ? DRM_XE_QUERY_CONFIG_FLAG_HAS_VRAM : 0;
	c->info[DRM_XE_QUERY_CONFIG_MIN_ALIGNMENT] = xs_is_discrete(xs) ? SZ_64K : SZ_4K;
	c->info[DRM_XE_QUERY_CONFIG_VA_BITS] = 48;
	c->info[DRM_XE_QUERY_CONFIG_MAX_EXEC_QUEUE_PRIORITY] = 2;
	return struct_size(c, info, c->num_params);
}

static size_t fill_gt_list(struct xs_device *xs, void *buf)
{
	struct drm_xe_query_gt_list *list = buf;
	unsigned int gt;

	list->num_gt = xs->num_gts;
	for (gt = 0; gt < xs->num_gts; gt++) {
		struct drm_xe_gt *g = &list->gt_list[gt];

		g->type = gt ? DRM_XE_QUERY_GT_TYPE_MEDIA : DRM_XE_QUERY_GT_TYPE_MAIN;
		g->gt_id = gt;
		g->reference_clock = 19200000;
		g->near_mem_regions = xs_is_discrete(xs) ? BIT(1) : BIT(0);
		g->far_mem_regions = xs_is_discrete(xs) ? BIT(0) : 0;
	}
	return struct_size(list, gt_list, list->num_gt);
}

static size_t fill_engines(struct xs_device *xs, void *buf)
{
	static const struct drm_xe_engine_class_instance engines[] = {
		{ .engine_class = DRM_XE_ENGINE_CLASS_RENDER },
		{ .engine_class = DRM_XE_ENGINE_CLASS_COPY },
		{ .engine_class = DRM_XE_ENGINE_CLASS_COMPUTE },
		{ .engine_class = DRM_XE_ENGINE_CLASS_VIDEO_DECODE, .gt_id = 1 },
		{ .engine_class = DRM_XE_ENGINE_CLASS_VIDEO_ENHANCE, .gt_id = 1 },
	};
	struct drm_xe_query_engines *q = buf;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(engines); i++)
		if (engines[i].gt_id < xs->num_gts)
			q->engines[q->num_engines++].instance = engines[i];
	return struct_size(q, engines, q->num_engines);
}

static size_t fill_mem_regions(struct xs_device *xs, void *buf)
{
	struct drm_xe_query_mem_regions *q = buf;
	struct drm_xe_mem_region *r = &q->mem_regions[q->num_mem_regions++];

	r->mem_class = DRM_XE_MEM_REGION_CLASS_SYSMEM;
	r->min_page_size = SZ_4K;
	r->total_size = SYSMEM_SIZE;

	if (xs_is_discrete(xs)) {
		r = &q->mem_regions[q->num_mem_regions++];
		r->mem_class = DRM_XE_MEM_REGION_CLASS_VRAM;
		r->instance = 1;
		r->min_page_size = SZ_64K;
		r->total_size = local_memory_size(xs);
		r->cpu_visible_size = r->total_size;
	}
	return struct_size(q, mem_regions, q->num_mem_regions);
}

static int xs_device_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct xs_device *xs = container_of(drm, struct xs_device, drm);
	struct drm_xe_device_query *query = data;
	u64 buf[64] = {};
	size_t size;

	switch (query->query) {
	case DRM_XE_DEVICE_QUERY_CONFIG:
		size = fill_config(xs, buf);
		break;
	case DRM_XE_DEVICE_QUERY_GT_LIST:
		size = fill_gt_list(xs, buf);
		break;
	case DRM_XE_DEVICE_QUERY_ENGINES:
		size = fill_engines(xs, buf);
		break;
	case DRM_XE_DEVICE_QUERY_MEM_REGIONS:
		size = fill_mem_regions(xs, buf);
		break;
	default:
		return -EINVAL;
	}

	if (!query->size) {
		query->size = size;
		return 0;
	}
	if (query->size != size)
		return -EINVAL;
	return copy_to_user(u64_to_user_ptr(query->data), buf, size) ? -EFAULT : 0;
}

static const struct drm_ioctl_desc xs_ioctls[] = {
	DRM_IOCTL_DEF_DRV(XE_DEVICE_QUERY, xs_device_query_ioctl, DRM_RENDER_ALLOW),
};

DEFINE_DRM_GEM_FOPS(xs_drm_fops);

/* The name is what user space knows the driver by, so it has to be "xe". */
const struct drm_driver xs_drm_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER,
	.fops = &xs_drm_fops,
	.ioctls = xs_ioctls,
	.num_ioctls = ARRAY_SIZE(xs_ioctls),
	.name = "xe",
	.desc = "xe lab stand-in (no GPU)",
	.date = "20261123",
	.major = 1,
	.minor = 1,
};
