package klog

import "testing"

// Levels of the kernel (include/linux/kern_levels.h).
const (
	critical = 2
	failure  = 3 // KERN_ERR
	warning  = 4
	notice   = 5
	info     = 6
)

// xeLines are lines of the xe driver of Linux 7.3, at the levels in its source, and their verdicts.
// On a console without levels the verdicts are the same.
var xeLines = []struct {
	level int
	text  string
	rule  string
	want  Action
}{
	// xe_gt.c, xe_guc_submit.c, xe_pagefault.c, xe_guc_ct.c, xe_mert.c
	{info, "[drm] Tile0: GT0: reset queued from guc_exec_queue_timedout_job [xe]", "gpu-reset", Warn},
	{info, "[drm] GT0: reset started", "gpu-reset", Warn},
	// the line with "started" was counted already
	{info, "[drm] GT0: reset done", "", Ignore},
	{info, "[drm] GT0: trying reset from guc_exec_queue_timedout_job [xe]", "gpu-reset", Warn}, // 6.12
	{info, "[drm] GT1: Engine reset: engine_class=rcs, logical_mask: 0x1, guc_id=5, state=0x2", "gpu-reset", Warn},
	{info, "[drm] GT0: Engine memory CAT error: class=rcs, logical_mask: 0x1, guc_id=3", "gpu-reset", Warn},
	{info, "[drm] GT0: Fault response: Unsuccessful -EINVAL", "gpu-reset", Warn},
	{
		notice, "[drm] GT0: Timedout job: seqno=4294967169, lrc_seqno=4294967169, guc_id=5, flags=0x1 in x [1]",
		"gpu-reset", Warn,
	},
	{warning, "[drm] GT0: Check job timeout: seqno=1, lrc_seqno=1, guc_id=1, not started", "gpu-reset", Warn},
	{failure, "[drm] *ERROR* GT0: reset failed (-ETIMEDOUT)", "gpu-reset", Warn},
	{failure, "[drm] *ERROR* Tile0: GT0: Timed out wait for G2H, fence 8, action 0a, done no", "gpu-reset", Warn},
	{failure, "[drm] *ERROR* GT0: GuC Crash dump notification", "gpu-reset", Warn},
	{critical, "[drm] *ERROR* CRITICAL: Xe has declared device 0000:03:00.0 as wedged.", "wedged", Fail},

	// xe_gt_sriov_pf_control.c, xe_gt_sriov_pf_config.c, xe_pci_sriov.c,
	// xe_gt_sriov_pf_migration.c, xe_sriov_packet.c
	{notice, "[drm] GT0: PF: VF1 FLR failed!", "vf-trouble", Warn},
	{notice, "[drm] GT0: PF: VF2 FLR didn't finish in 6000 ms (-ETIMEDOUT)", "vf-trouble", Warn},
	{notice, "[drm] GT0: PF: VF1 RESTORE didn't finish in 20000 ms (-ETIMEDOUT)", "vf-trouble", Warn},
	{notice, "[drm] GT0: PF: Failed to provision VF1 with 4294967296 (4.00 GiB) VRAM (-ENOSPC)", "vf-trouble", Warn},
	{notice, "[drm] GT0: PF: Failed to bulk provision VF1..VF4 with GGTT", "vf-trouble", Warn},
	{notice, "[drm] GT0: PF: Failed to push VF1 4 config KLVs (-EIO)", "vf-trouble", Warn},
	{notice, "[drm] PF: Failed to enable 4 VFs (-ENOMEM)", "vf-trouble", Warn},
	{notice, "[drm] PF: Failed to resize VF BAR 2 to 512M (-ENOSPC)", "vf-trouble", Warn},
	{notice, "[drm] GT0: PF: VF1 unprovisioning failed with error (-EIO)", "vf-trouble", Warn},
	{notice, "[drm] PF: VF1 failed to negotiate ABI 1.9 (-EPERM)", "vf-trouble", Warn},
	{warning, "[drm] PF: Aborting migration, devid mismatch 0xe20b!=0xe20c", "vf-trouble", Warn},
	{failure, "[drm] *ERROR* GT0: PF: VF1 control command PAUSE failed (-EIO)", "vf-trouble", Warn},
	{failure, "[drm] *ERROR* GT0: VF: migration recovery failed (-EIO)", "vf-trouble", Warn},
	{failure, "[drm] *ERROR* GT0: PF: VF1 save is still in progress!", "drm-error", Warn},

	// lines of a healthy driver
	{info, "[drm] GT0: PF: VF1 FLR", "", Ignore},
	{info, "[drm] PF: VF1 paused!", "", Ignore},
	{info, "[drm] PF: Enabled 2 of 24 VFs", "", Ignore},
	{info, "[drm] PF: Disabled 2 VFs", "", Ignore},
	{info, "[drm] GT0: PF: VF1..VF4 provisioned with 1073741824 (1.00 GiB) GGTT", "", Ignore},
	{info, "[drm] GT0: PF: VF1 provisioned with 8 contexts", "", Ignore},
	{info, "[drm] GT0: PF: Using non-profile provisioning (GGTT 1 vs 2)", "", Ignore},
	{info, "[drm] GT0: PF: Failed to enable engine activity function stats (-EOPNOTSUPP)", "", Ignore},
	{notice, "[drm] GT0: VF: migration recovery ended", "", Ignore},
	{notice, "[drm] VF: migration disabled: missing support", "", Ignore},
	{notice, "[drm] PF: migration disabled: GuC too old", "", Ignore},
	{info, "[drm] Xe device coredump has been created", "", Ignore},
}

func TestXe(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range xeLines {
		for _, level := range []int{c.level, UnknownLevel} {
			text := "xe 0000:03:00.0: " + c.text
			if rule, got := rules.Judge(Message{Source: Guest, Level: level, Text: text}); got != c.want ||
				rule != c.rule {
				t.Errorf("level %d, %q: %s by %q, want %s by %q", level, text, got, rule, c.want, c.rule)
			}
		}
	}
}

// On a console without levels, the text alone shows that a driver failed to start in the guest
// (call_driver_probe in drivers/base/dd.c; before Linux 6.10 the driver's name comes first).
func TestProbeFailedInGuest(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Action{
		"xe 0000:00:04.0: probe with driver xe failed with error -71":      Warn,
		"i915 0000:00:04.0: probe with driver i915 failed with error -5":   Warn,
		"i915: probe of 0000:00:04.0 failed with error -110":               Warn,
		"e1000 0000:00:05.0: probe with driver e1000 failed with error -5": Ignore,
		"xe 0000:00:04.0: probe with driver xe rejects match -19":          Ignore,
	} {
		for _, line := range []string{"[    3.123456] " + text, "login: [    3.123456][   T77] " + text} {
			for _, m := range ParseConsole(line) {
				if rule, got := rules.Judge(m); got != want {
					t.Errorf("%q: %s by %q, want %s", line, got, rule, want)
				}
			}
		}
	}
}

// Kernel lines outside of drivers get the same verdict with and without their level.
func TestKernelLines(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		level int
		text  string
		rule  string
		want  Action
	}{
		{failure, "BUG kmalloc-512 (Tainted: G    B      OE     ): Poison overwritten", "oops", Fail},
		{failure, "BUG task_struct (Not tainted): Redzone overwritten", "oops", Fail},
		{failure, "BUG: Bad page state in process kworker/0:1  pfn:1234", "oops", Fail},
		{warning, "divide error: 0000 [#1] PREEMPT SMP NOPTI", "oops", Fail},
		{0, "PANIC: double fault, error_code: 0x0", "oops", Fail},
		{failure, "INFO: task a b:812 blocked for more than 120 seconds.", "hang", Fail},
		{failure, "INFO: task vmtb:812 blocked in I/O wait for more than 241 seconds.", "hang", Fail},
		{failure, "list_del corruption. prev->next should be ffff8, but was ffff9", "corruption", Fail},
		{failure, "list_add corruption. next->prev should be prev (ffff8), but was 0", "corruption", Fail},
		{warning, "refcount_t: underflow; use-after-free.", "corruption", Fail},
		{
			failure, "Out of memory: Killed process 4711 (qemu-system-x86) total-vm:8392kB, anon-rss:4194304kB",
			"out-of-memory", Warn,
		},
		{failure, "Memory cgroup out of memory: Killed process 12 (xe_exec) total-vm:1kB", "out-of-memory", Warn},
		{
			warning, "vmtb: page allocation failure: order:9, mode:0xcc0(GFP_KERNEL), nodemask=(null)", "out-of-memory",
			Warn,
		},
		{info, "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", "memory-leak", Warn},
		{failure, "[drm:xe_guc_ct_send [xe]] *ERROR* no", "drm-error", Warn},
		{failure, "i915 0000:00:02.0: [drm] *ERROR* GPU HANG", "drm-error", Warn},

		{info, "systemd[1]: Started a service that has no BUG: in it.", "", Ignore},
		{info, "[IGT] xe_exec_reset: starting subtest gt-reset", "", Ignore},
		{0, "reboot: Power down", "power-off", Ignore}, // kernel/reboot.c uses this level
		{0, "reboot: Restarting system", "power-off", Ignore},
		{warning, "Kernel command line: BUG kmalloc", "", Ignore},
		{info, "debug printing BUG foo bar", "", Ignore},
		{info, "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on", "", Ignore},
	} {
		for _, level := range []int{c.level, UnknownLevel} {
			if rule, got := rules.Judge(Message{Source: Host, Level: level, Text: c.text}); got != c.want ||
				rule != c.rule {
				t.Errorf("level %d, %q: %s by %q, want %s by %q", level, c.text, got, rule, c.want, c.rule)
			}
		}
	}
}
