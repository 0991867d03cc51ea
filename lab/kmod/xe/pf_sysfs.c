// SPDX-License-Identifier: GPL-2.0
/*
 * PF: sysfs directory sriov_admin. Nothing here leaves automatic provisioning.
 */

#include <linux/kobject.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "params.h"
#include "pf.h"

/* Index and function number of .bulk_profile, which is about all functions. */
#define BULK	XS_NUM_FNS

/**
 * struct xs_admin_fn - a directory sriov_admin/<function>
 * @kobj: the directory
 * @pf: the PF, which outlives the directory's files
 * @fn: function number, or BULK
 */
struct xs_admin_fn {
	struct kobject kobj;
	struct xs_pf *pf;
	unsigned int fn;
};

struct admin_attr {
	struct attribute attr;
	ssize_t (*show)(struct xs_pf *pf, unsigned int fn, char *buf);
	int (*store)(struct xs_pf *pf, unsigned int fn, const char *buf);
};

static ssize_t admin_show(struct kobject *kobj, struct attribute *attr, char *buf)
{
	struct xs_admin_fn *dir = container_of(kobj, struct xs_admin_fn, kobj);
	struct admin_attr *a = container_of(attr, struct admin_attr, attr);

	if (!a->show)
		return -EPERM;

	guard(mutex)(&dir->pf->lock);

	return a->show(dir->pf, dir->fn, buf);
}

static ssize_t admin_store(struct kobject *kobj, struct attribute *attr, const char *buf,
			   size_t count)
{
	struct xs_admin_fn *dir = container_of(kobj, struct xs_admin_fn, kobj);
	struct admin_attr *a = container_of(attr, struct admin_attr, attr);
	int err;

	if (!a->store)
		return -EPERM;
	err = xs_pf_check_ready(dir->pf);
	if (!err)
		err = a->store(dir->pf, dir->fn, buf);
	return err ?: count;
}

static const struct sysfs_ops admin_sysfs_ops = {
	.show = admin_show,
	.store = admin_store,
};

static void admin_fn_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct xs_admin_fn, kobj));
}

/* Shows a number that is the same on all GTs. */
static ssize_t show_common(struct xs_pf *pf, char *buf, const u32 *values)
{
	if (pf->xs->num_gts > 1 && values[0] != values[1])
		return -EUCLEAN;
	return sysfs_emit(buf, "%u\n", values[0]);
}

static int store_on_all_gts(struct xs_pf *pf, unsigned int fn, const char *buf,
			    void (*set)(struct xs_pf *pf, unsigned int fn, unsigned int gt, u32 v))
{
	unsigned int first = fn == BULK ? 0 : fn, last = fn == BULK ? pf->total_vfs : fn;
	unsigned int gt;
	u32 value;
	int err;

	err = kstrtou32(buf, 0, &value);
	if (err)
		return err;

	guard(mutex)(&pf->lock);

	for (fn = first; fn <= last; fn++)
		for_each_gt(pf->xs, gt)
			set(pf, fn, gt, value);
	return 0;
}

static ssize_t exec_quantum_show(struct xs_pf *pf, unsigned int fn, char *buf)
{
	const u32 values[] = { pf->gt[0].fn[fn].exec_quantum_ms, pf->gt[1].fn[fn].exec_quantum_ms };

	return show_common(pf, buf, values);
}

static int exec_quantum_store(struct xs_pf *pf, unsigned int fn, const char *buf)
{
	return store_on_all_gts(pf, fn, buf, xs_pf_set_exec_quantum);
}

static ssize_t preempt_timeout_show(struct xs_pf *pf, unsigned int fn, char *buf)
{
	const u32 values[] = {
		pf->gt[0].fn[fn].preempt_timeout_us, pf->gt[1].fn[fn].preempt_timeout_us
	};

	return show_common(pf, buf, values);
}

static int preempt_timeout_store(struct xs_pf *pf, unsigned int fn, const char *buf)
{
	return store_on_all_gts(pf, fn, buf, xs_pf_set_preempt_timeout);
}

static const char * const priority_names[] = {
	[XS_PRIORITY_LOW] = "low", [XS_PRIORITY_NORMAL] = "normal", [XS_PRIORITY_HIGH] = "high",
};

static ssize_t priority_show(struct xs_pf *pf, unsigned int fn, char *buf)
{
	unsigned int i, num = fn == XS_PFID ? XS_PRIORITY_HIGH : XS_PRIORITY_NORMAL;
	u32 priority = pf->gt[XS_MAIN_GT].fn[fn].priority;
	int len = 0;

	if (pf->xs->num_gts > 1 && pf->gt[1].fn[fn].priority != priority)
		return -EUCLEAN;
	for (i = 0; i <= num; i++)
		len += sysfs_emit_at(buf, len, i == priority ? "%s[%s]" : "%s%s", i ? " " : "",
				     priority_names[i]);
	return len + sysfs_emit_at(buf, len, "\n");
}

static int priority_store(struct xs_pf *pf, unsigned int fn, const char *buf)
{
	int priority = sysfs_match_string(priority_names, buf);
	unsigned int gt;
	int err = 0;

	if (priority < 0)
		return -EINVAL;

	guard(mutex)(&pf->lock);

	for_each_gt(pf->xs, gt)
		err = xs_pf_set_priority(pf, fn, gt, priority) ?: err;
	return err;
}

static int bulk_priority_store(struct xs_pf *pf, unsigned int fn, const char *buf)
{
	int priority = __sysfs_match_string(priority_names, XS_PRIORITY_HIGH, buf);
	unsigned int gt;

	if (priority < 0)
		return -EINVAL;

	guard(mutex)(&pf->lock);

	for_each_gt(pf->xs, gt)
		xs_pf_set_sched_if_idle(pf, gt, priority == XS_PRIORITY_NORMAL);
	return 0;
}

static ssize_t vram_quota_show(struct xs_pf *pf, unsigned int fn, char *buf)
{
	return sysfs_emit(buf, "%llu\n", pf->vram_quota[fn]);
}

/* What is set here is kept by automatic provisioning. */
static int vram_quota_store(struct xs_pf *pf, unsigned int fn, const char *buf)
{
	unsigned int first = fn == BULK ? 1 : fn, last = fn == BULK ? pf->total_vfs : fn;
	bool preset = false;
	int err, first_err = 0;
	u64 size;

	err = kstrtou64(buf, 0, &size);
	if (err)
		return err;

	guard(mutex)(&pf->lock);

	for (fn = first; fn <= last; fn++) {
		err = xs_pf_set_vram(pf, fn, size);
		first_err = first_err ?: err;
	}
	for (fn = 1; fn <= pf->total_vfs; fn++)
		preset |= pf->vram_quota[fn];
	if (!pf->num_vfs)
		pf->vram_preset = preset;
	return first_err;
}

static int stop_store(struct xs_pf *pf, unsigned int fn, const char *buf)
{
	bool yes;
	int err;

	err = kstrtobool(buf, &yes);
	if (err)
		return err;
	return yes ? xs_pf_vf_stop(pf, fn) : 0;
}

#define ADMIN_ATTR(var, _name, _mode, _show, _store)					\
	static struct admin_attr var = {						\
		.attr = { .name = _name, .mode = _mode }, .show = _show, .store = _store,	\
	}

ADMIN_ATTR(attr_exec_quantum, "exec_quantum_ms", 0644, exec_quantum_show, exec_quantum_store);
ADMIN_ATTR(attr_preempt_timeout, "preempt_timeout_us", 0644, preempt_timeout_show,
	   preempt_timeout_store);
ADMIN_ATTR(attr_pf_priority, "sched_priority", 0644, priority_show, priority_store);
ADMIN_ATTR(attr_vf_priority, "sched_priority", 0444, priority_show, NULL);
ADMIN_ATTR(attr_vram_quota, "vram_quota", 0644, vram_quota_show, vram_quota_store);
ADMIN_ATTR(attr_stop, "stop", 0200, NULL, stop_store);
ADMIN_ATTR(attr_bulk_exec_quantum, "exec_quantum_ms", 0200, NULL, exec_quantum_store);
ADMIN_ATTR(attr_bulk_preempt_timeout, "preempt_timeout_us", 0200, NULL, preempt_timeout_store);
ADMIN_ATTR(attr_bulk_priority, "sched_priority", 0200, NULL, bulk_priority_store);
ADMIN_ATTR(attr_bulk_vram_quota, "vram_quota", 0200, NULL, vram_quota_store);

static umode_t admin_visible(struct kobject *kobj, struct attribute *attr, int index)
{
	struct xs_admin_fn *dir = container_of(kobj, struct xs_admin_fn, kobj);

	if (strcmp(attr->name, "vram_quota"))
		return attr->mode;
	return xs_param_vram_quota && xs_is_discrete(dir->pf->xs) ? attr->mode : 0;
}

static struct attribute *pf_profile_attrs[] = {
	&attr_exec_quantum.attr, &attr_preempt_timeout.attr, &attr_pf_priority.attr, NULL
};

static struct attribute *vf_profile_attrs[] = {
	&attr_exec_quantum.attr, &attr_preempt_timeout.attr, &attr_vf_priority.attr,
	&attr_vram_quota.attr, NULL
};

static struct attribute *vf_attrs[] = { &attr_stop.attr, NULL };

static struct attribute *bulk_attrs[] = {
	&attr_bulk_exec_quantum.attr, &attr_bulk_preempt_timeout.attr, &attr_bulk_priority.attr,
	&attr_bulk_vram_quota.attr, NULL
};

static const struct attribute_group pf_profile_group = {
	.name = "profile", .attrs = pf_profile_attrs,
};

static const struct attribute_group vf_profile_group = {
	.name = "profile", .attrs = vf_profile_attrs, .is_visible = admin_visible,
};

static const struct attribute_group vf_group = { .attrs = vf_attrs };

static const struct attribute_group bulk_group = {
	.attrs = bulk_attrs, .is_visible = admin_visible,
};

static const struct attribute_group *pf_groups[] = { &pf_profile_group, NULL };
static const struct attribute_group *vf_groups[] = { &vf_group, &vf_profile_group, NULL };
static const struct attribute_group *bulk_groups[] = { &bulk_group, NULL };

#define ADMIN_KTYPE(var, groups)							\
	static const struct kobj_type var = {						\
		.release = admin_fn_release, .sysfs_ops = &admin_sysfs_ops,		\
		.default_groups = groups,						\
	}

ADMIN_KTYPE(pf_ktype, pf_groups);
ADMIN_KTYPE(vf_ktype, vf_groups);
ADMIN_KTYPE(bulk_ktype, bulk_groups);

static int add_fn(struct xs_pf *pf, unsigned int fn)
{
	const struct kobj_type *ktype = fn == BULK ? &bulk_ktype :
					fn == XS_PFID ? &pf_ktype : &vf_ktype;
	struct xs_admin_fn *dir;
	int err;

	dir = kzalloc(sizeof(*dir), GFP_KERNEL);
	if (!dir)
		return -ENOMEM;
	dir->pf = pf;
	dir->fn = fn;
	pf->admin_fn[fn] = dir;

	if (fn == BULK)
		err = kobject_init_and_add(&dir->kobj, ktype, pf->admin_kobj, ".bulk_profile");
	else if (fn == XS_PFID)
		err = kobject_init_and_add(&dir->kobj, ktype, pf->admin_kobj, "pf");
	else
		err = kobject_init_and_add(&dir->kobj, ktype, pf->admin_kobj, "vf%u", fn);
	return err;
}

/**
 * xs_pf_sysfs_register - add sriov_admin
 * @pf: the PF
 *
 * Return: 0 or a negative errno.
 */
int xs_pf_sysfs_register(struct xs_pf *pf)
{
	struct kobject *parent = &pf->xs->pdev->dev.kobj;
	unsigned int fn;
	int err;

	pf->admin_kobj = kobject_create_and_add("sriov_admin", parent);
	if (!pf->admin_kobj)
		return -ENOMEM;

	err = add_fn(pf, BULK);
	for (fn = 0; !err && fn <= pf->total_vfs; fn++)
		err = add_fn(pf, fn);
	if (!err)
		err = sysfs_create_link(&pf->admin_fn[XS_PFID]->kobj, parent, "device");
	if (err)
		xs_pf_sysfs_unregister(pf);
	return err;
}

/**
 * xs_pf_sysfs_unregister - remove sriov_admin
 * @pf: the PF, of which nothing is used by sysfs any more afterwards
 */
void xs_pf_sysfs_unregister(struct xs_pf *pf)
{
	unsigned int fn;

	for (fn = 0; fn < ARRAY_SIZE(pf->admin_fn); fn++) {
		if (!pf->admin_fn[fn])
			continue;
		/* Waits for writers, who may hold pf->lock. */
		kobject_del(&pf->admin_fn[fn]->kobj);
		kobject_put(&pf->admin_fn[fn]->kobj);
		pf->admin_fn[fn] = NULL;
	}
	kobject_put(pf->admin_kobj);
	pf->admin_kobj = NULL;
}

void xs_pf_sysfs_link_vfs(struct xs_pf *pf, unsigned int num_vfs)
{
	unsigned int vfid;

	for (vfid = 1; pf->admin_kobj && vfid <= num_vfs; vfid++) {
		struct pci_dev *vf = xs_pf_get_vf_pdev(pf, vfid);

		if (!vf)
			continue;
		if (sysfs_create_link(&pf->admin_fn[vfid]->kobj, &vf->dev.kobj, "device"))
			xs_warn(pf->xs, "no link to VF%u in sriov_admin\n", vfid);
		pci_dev_put(vf);
	}
}

void xs_pf_sysfs_unlink_vfs(struct xs_pf *pf, unsigned int num_vfs)
{
	unsigned int vfid;

	for (vfid = 1; pf->admin_kobj && vfid <= num_vfs; vfid++)
		sysfs_remove_link(&pf->admin_fn[vfid]->kobj, "device");
}
