// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters: which device is imitated, and which faults are injected.
 */

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/module.h>
#include <linux/string.h>

#include "device.h"
#include "params.h"

char *xs_param_device = "bmg";
module_param_named(device, xs_param_device, charp, 0400);
MODULE_PARM_DESC(device, "GPU to imitate: bmg (8086:e20b, discrete) or ptl (8086:b080, integrated) [bmg]");

uint xs_param_gts = 2;
module_param_named(gts, xs_param_gts, uint, 0400);
MODULE_PARM_DESC(gts, "number of GTs: 1 (main) or 2 (main and media) [2]");

char *xs_param_layout = "new";
module_param_named(layout, xs_param_layout, charp, 0400);
MODULE_PARM_DESC(layout, "interface: new (kernel 7.0: sriov_admin, sriov/ tree) or legacy (6.18: flat per-GT files) [new]");

uint xs_param_total_vfs = 7;
module_param_named(total_vfs, xs_param_total_vfs, uint, 0400);
MODULE_PARM_DESC(total_vfs, "number of VFs of the imitated hardware, 1 to 8 [7]");

uint xs_param_max_vfs = UINT_MAX;
module_param_named(max_vfs, xs_param_max_vfs, uint, 0400);
MODULE_PARM_DESC(max_vfs, "as in xe: limit of VFs, 0 = no SR-IOV [unlimited]");

bool xs_param_vram_quota;
module_param_named(vram_quota, xs_param_vram_quota, bool, 0400);
MODULE_PARM_DESC(vram_quota, "offer vram_quota in sriov_admin and the 7.1 rules for VRAM [N]");

bool xs_param_migration = true;
module_param_named(migration, xs_param_migration, bool, 0400);
MODULE_PARM_DESC(migration, "VFs can be saved and restored [Y]");

uint xs_param_state_kib = 16;
module_param_named(state_kib, xs_param_state_kib, uint, 0400);
MODULE_PARM_DESC(state_kib, "size of the saved GuC state of each GT, in KiB, at the most 1024 [16]");

bool xs_fault_refuse_load;
module_param_named(refuse_load, xs_fault_refuse_load, bool, 0600);
MODULE_PARM_DESC(refuse_load, "fault: the module refuses to load [N]");

bool xs_fault_wedged;
module_param_named(wedged, xs_fault_wedged, bool, 0600);
MODULE_PARM_DESC(wedged, "fault: the device is wedged, configuration gives ECANCELED [N]");

uint xs_fault_favour_vf;
module_param_named(favour_vf, xs_fault_favour_vf, uint, 0600);
MODULE_PARM_DESC(favour_vf, "fault: this VF weighs three times what its execution quantum says; 0 = off [0]");

bool xs_fault_lose_state;
module_param_named(lose_state, xs_fault_lose_state, bool, 0600);
MODULE_PARM_DESC(lose_state, "fault: VFs that are restored have lost their work [N]");

uint xs_fault_kill_work;
module_param_named(kill_work, xs_fault_kill_work, uint, 0600);
MODULE_PARM_DESC(kill_work, "fault: this VF loses its work, once, as soon as it has some; 0 = off [0]");

static uint fail_provision;
module_param(fail_provision, uint, 0600);
MODULE_PARM_DESC(fail_provision, "fault: the n-th quota allocation from now on fails, once; counts down to 0 = off [0]");

static uint fail_errno = ENOSPC;
module_param(fail_errno, uint, 0600);
MODULE_PARM_DESC(fail_errno, "fault: errno of fail_provision [28, ENOSPC]");

static uint refuse_numvfs;
module_param(refuse_numvfs, uint, 0600);
MODULE_PARM_DESC(refuse_numvfs, "fault: enabling VFs fails with this errno; 0 = off [0]");

static uint hang_ms;
module_param(hang_ms, uint, 0600);
MODULE_PARM_DESC(hang_ms, "fault: enabling VFs hangs for so many milliseconds [0]");

static char *fault_log = "";
module_param(fault_log, charp, 0600);
MODULE_PARM_DESC(fault_log, "fault: enabling VFs logs a warning (warn), an error (err) or a kernel warning with a stack (splat) []");

/**
 * xs_params_check - refuse parameters that make no device
 *
 * Return: 0, or -EINVAL after saying which parameter is wrong.
 */
int xs_params_check(void)
{
	if (!xs_model_by_name(xs_param_device)) {
		pr_err("xe: lab stand-in: unknown device=%s\n", xs_param_device);
		return -EINVAL;
	}
	if (xs_param_gts < 1 || xs_param_gts > XS_MAX_GTS) {
		pr_err("xe: lab stand-in: gts=%u is not 1 or 2\n", xs_param_gts);
		return -EINVAL;
	}
	if (xs_param_total_vfs < 1 || xs_param_total_vfs > XS_MAX_VFS) {
		pr_err("xe: lab stand-in: total_vfs=%u is not 1 to %u\n", xs_param_total_vfs,
		       XS_MAX_VFS);
		return -EINVAL;
	}
	if (strcmp(xs_param_layout, "new") && strcmp(xs_param_layout, "legacy")) {
		pr_err("xe: lab stand-in: unknown layout=%s\n", xs_param_layout);
		return -EINVAL;
	}
	if (xs_param_state_kib > 1024) {
		pr_err("xe: lab stand-in: state_kib=%u is more than 1024\n", xs_param_state_kib);
		return -EINVAL;
	}
	return 0;
}

bool xs_params_legacy(void)
{
	return !strcmp(xs_param_layout, "legacy");
}

/**
 * xs_fault_provision - the fault point of every quota allocation
 * @xs: the PF; its lock serialises the countdown
 *
 * Return: 0, or the injected error.
 */
int xs_fault_provision(struct xs_device *xs)
{
	if (!fail_provision || --fail_provision)
		return 0;
	xs_info(xs, "fault injected: provisioning fails with errno %u\n", fail_errno);
	return -(int)min_t(uint, fail_errno, MAX_ERRNO);
}

static void fault_log_emit(struct xs_device *xs, const char *kind)
{
	if (sysfs_streq(kind, "warn"))
		xs_warn(xs, "fault injected: a warning\n");
	else if (sysfs_streq(kind, "err"))
		xs_err(xs, "fault injected: an error\n");
	else if (sysfs_streq(kind, "splat"))
		dev_WARN(&xs->pdev->dev, "lab stand-in: fault injected: a kernel warning\n");
}

/**
 * xs_fault_enable_vfs - the fault point of enabling VFs
 * @xs: the PF
 *
 * Return: 0, or the injected error.
 */
int xs_fault_enable_vfs(struct xs_device *xs)
{
	kernel_param_lock(THIS_MODULE);
	fault_log_emit(xs, fault_log);
	kernel_param_unlock(THIS_MODULE);

	if (hang_ms) {
		xs_info(xs, "fault injected: hangs for %u ms\n", hang_ms);
		msleep(hang_ms);
	}
	if (!refuse_numvfs)
		return 0;
	xs_info(xs, "fault injected: VFs refused with errno %u\n", refuse_numvfs);
	return -(int)min_t(uint, refuse_numvfs, MAX_ERRNO);
}
