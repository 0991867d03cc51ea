package contract

import (
	"context"
	"fmt"
	"slices"
	"syscall"
)

const (
	bulk           = "A/.bulk_profile/"
	pfQuantum      = "A/pf/profile/exec_quantum_ms"
	pfPriority     = "A/pf/profile/sched_priority"
	vfPriority     = "A/vf1/profile/sched_priority"
	lastPriority   = "A/vf{TOTAL}/profile/sched_priority"
	low, vfLow     = "[low] normal high", "[low] normal"
	normal, vfNorm = "low [normal] high", "low [normal]"
	high           = "low normal [high]"
)

var adminWords = []Rule{
	{
		ID: "admin_files", Doc: "The files of sriov_admin.",
		Steps: []Step{
			mode(0o200, under(bulk, "exec_quantum_ms", "preempt_timeout_us", "sched_priority")...),
			mode(0o644, under("A/pf/profile/", "exec_quantum_ms", "preempt_timeout_us", "sched_priority")...),
			mode(0o200, "A/vf1/stop", "A/vf{TOTAL}/stop"),
			mode(0o644, under("A/vf1/profile/", "exec_quantum_ms", "preempt_timeout_us")...),
			mode(0o444, vfPriority, lastPriority),
			absent("A/pf/stop", "A/vf{TOTAL+1}", "A/pf/profile/vram_quota"),
		},
	},
	{
		ID: "admin_links", Doc: "device links to the PF and, while VFs are enabled, to VFs.",
		Steps: []Step{
			link("../../../{PF}", "A/pf/device"), absent("A/vf1/device"), write(numvfs, "1"),
			link("../../../{VF1}", "A/vf1/device"), write(numvfs, "0"), absent("A/vf1/device"),
		},
	},
	{
		ID: "admin_links_others", Doc: "VFs that are not enabled have no link device.", Needs: []Need{vfs(2)},
		Steps: []Step{write(numvfs, "1"), absent("A/vf2/device")},
	},
	{
		ID: "admin_defaults", Doc: "In sriov_admin nothing is set at first.",
		Steps: []Step{
			read(
				"0", pfQuantum, vf1Quantum, "A/vf{TOTAL}/profile/exec_quantum_ms", "A/pf/profile/preempt_timeout_us",
				"A/vf{TOTAL}/profile/preempt_timeout_us",
			),
			read(low, pfPriority), read(vfLow, vfPriority, lastPriority),
		},
	},
	{
		ID: "admin_modes",
		Doc: "sysfs applies file modes: a VF's priority cannot be written, .bulk_profile and stop cannot be read: " +
			"EACCES.",
		Steps: []Step{
			refuse(syscall.EACCES, vfPriority, "low"),
			unreadable(syscall.EACCES, under(bulk, "exec_quantum_ms", "preempt_timeout_us", "sched_priority")...),
			unreadable(syscall.EACCES, "A/vf1/stop"),
		},
	},
	{
		ID: "admin_gts_differ", Doc: "Reading a value that differs between GTs is EUCLEAN; writing it makes the GTs " +
			"equal.",
		Needs: []Need{twoGTs},
		Steps: []Step{
			write("G0/vf1/exec_quantum_ms", "10"), unreadable(syscall.EUCLEAN, vf1Quantum),
			become(vf1Quantum, "11", "11"), read("11", "G/vf1/exec_quantum_ms"),
			write("G1/pf/preempt_timeout_us", "10"), unreadable(syscall.EUCLEAN, "A/pf/profile/preempt_timeout_us"),
			write("G1/pf/sched_priority", "1"), unreadable(syscall.EUCLEAN, pfPriority),
		},
	},
	{
		ID: "admin_bulk", Doc: ".bulk_profile sets the PF and all VFs.",
		Steps: []Step{
			write(bulk+"exec_quantum_ms", "12"),
			read("12", pfQuantum, vf1Quantum, "A/vf{TOTAL}/profile/exec_quantum_ms"),
			read("12", "G/pf/exec_quantum_ms", "G/vf1/exec_quantum_ms"),
			write(bulk+"preempt_timeout_us", "100000001"),
			read("100000000", "A/pf/profile/preempt_timeout_us", "A/vf{TOTAL}/profile/preempt_timeout_us"),
			refuse(syscall.EINVAL, bulk+"exec_quantum_ms", "x", "-1"),
			refuse(syscall.ERANGE, bulk+"preempt_timeout_us", "4294967296"), read("12", pfQuantum),
		},
	},
	{
		ID: "admin_priority", Doc: "The PF's priority can be set to each of the words that reading it lists.",
		Steps: []Step{
			become(pfPriority, normal, "normal", "normal\n"), read("1", "G/pf/sched_priority"),
			become(pfPriority, high, "high"),
			refuse(syscall.EINVAL, pfPriority, "High", "x", "1", "[low]", "\n", "low "),
			read(high, pfPriority), read(vfLow, vfPriority), become(pfPriority, low, "low"),
		},
	},
	{
		ID: "admin_bulk_priority",
		Doc: "The priority of VFs can only be set for all together, to low or normal: it is the GT's sched_if_idle. " +
			"It also sets the PF's.",
		Steps: []Step{
			write(pfPriority, "high"), refuse(syscall.EINVAL, bulk+"sched_priority", "high", "x", "NORMAL"),
			read(high, pfPriority), write(bulk+"sched_priority", "normal"), read(normal, pfPriority),
			read(vfNorm, vfPriority, lastPriority), read("1", "G/pf/sched_if_idle", "G/vf1/sched_priority"),
			write(bulk+"sched_priority", "low\n"), read(low, pfPriority), read(vfLow, vfPriority),
			read("0", "G/pf/sched_if_idle"),
		},
	},
	{
		ID: "admin_stop", Doc: "stop is a boolean; true stops the VF on all GTs.",
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EINVAL, "A/vf1/stop", "x", "2", "\n"), write("A/vf1/stop", "0"),
			write("G/vf1/control", "pause"), write("A/vf1/stop", "1"), refuse(syscall.ESTALE, "G/vf1/control", "stop"),
		},
	},
	{
		ID: "admin_stop_twice", Doc: "The errno of stop is combined from the GTs as for the operations in debugfs.",
		Needs: []Need{twoGTs},
		Steps: []Step{write(numvfs, "1"), write("A/vf1/stop", "1"), refuse(syscall.EUCLEAN, "A/vf1/stop", "1")},
	},
	{
		ID: "admin_vram", Doc: "vram_quota is rounded up to 2 MiB, and the files in debugfs have the same value.",
		Needs: []Need{vramQuota},
		Steps: []Step{
			mode(0o644, "A/vf1/profile/vram_quota"), mode(0o200, bulk+"vram_quota"),
			become("A/vf1/profile/vram_quota", "2097152", "1", "2097152"), read("2097152", "T/vf1/vram_quota"),
			refuse(syscall.EINVAL, "A/vf1/profile/vram_quota", "x", "-1"),
			refuse(syscall.ERANGE, "A/vf1/profile/vram_quota", "18446744073709551616"),
			become("A/vf1/profile/vram_quota", "0", "0"),
			write(bulk+"vram_quota", "2097153"),
			read("4194304", "A/vf1/profile/vram_quota", "A/vf{TOTAL}/profile/vram_quota"),
			write(numvfs, "1"), read("4194304", "T/vf1/vram_quota"), write(numvfs, "0"), read("0", "T/vf1/vram_quota"),
		},
	},
}

func adminRules() []Rule {
	rules := slices.Clone(adminWords)
	for _, q := range []struct{ id, file, most string }{
		{"admin_exec_quantum", "exec_quantum_ms", "100000"},
		{"admin_preempt_timeout", "preempt_timeout_us", "100000000"},
	} {
		rules = append(
			rules, numberInSysfs("A/vf1/profile/"+q.file, "vf1", q.file, q.id+"_vf", q.most),
			numberInSysfs("A/pf/profile/"+q.file, "pf", q.file, q.id+"_pf", q.most),
		)
	}
	for i := range rules {
		rules[i].Needs = append([]Need{admin}, rules[i].Needs...)
	}
	return rules
}

func numberInSysfs(f, fn, name, id, most string) Rule {
	return Rule{
		ID: id,
		Doc: "A 32-bit number for all GTs; a larger number becomes " + most +
			". Other text is EINVAL, a number of more than 32 bits ERANGE.",
		Steps: []Step{
			become(f, "10", "10", "0xa\n", "+10", "012"), read("10", "G/"+fn+"/"+name),
			become(f, most, "4294967295", most), refuse(syscall.ERANGE, f, "4294967296", "18446744073709551616"),
			refuse(syscall.EINVAL, f, "x", "-1", "1 ", " 1", "1.5", "\n", "08"), read(most, f), become(f, "0", "0"),
		},
		Check: func(_ context.Context, p *Probe) error {
			for n := 2; n <= p.Total; n++ {
				if err := p.Reads(fmt.Sprintf("A/vf%d/profile/%s", n, name), "0\n"); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
