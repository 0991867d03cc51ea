package contract_test

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vmtb/bench/pci"
	"vmtb/bench/xe/contract"
	"vmtb/internal/fake/fakehost"
)

// A mutation is a kernel that breaks one promise: a write of value (any value if "") to a file, or
// a read of it, gives a wrong result. file is the end of the path.
type mutation struct {
	rule  string // the rule that must fail
	file  string
	value string
	errno syscall.Errno       // instead of the kernel's; 0 is success without effect
	edit  func(string) string // changes the text that a read returns
}

// A mutant is a fake host with a mutation.
type mutant struct {
	fake
	m    mutation
	hits int
}

func (f *mutant) WriteFile(p string, data []byte) error {
	if f.m.rule != "" && f.m.edit == nil && strings.HasSuffix(p, f.m.file) &&
		(f.m.value == "" || f.m.value == string(data)) {
		f.hits++
		if f.m.errno != 0 {
			return f.m.errno
		}
		return nil
	}
	return f.fake.WriteFile(p, data)
}

func (f *mutant) ReadFile(p string) ([]byte, error) {
	b, err := f.fake.ReadFile(p)
	if f.m.edit != nil && err == nil && strings.HasSuffix(p, f.m.file) {
		f.hits++
		return []byte(f.m.edit(string(b))), nil
	}
	return b, err
}

func replace(old, changed string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, changed, 1) }
}

// TestMutations: if a kernel breaks a promise, the rule about it fails.
func TestMutations(t *testing.T) {
	const EIO, EINVAL = syscall.EIO, syscall.EINVAL
	for _, m := range []mutation{
		{rule: "pf_files", file: "/sriov_vf_total_msix", edit: replace("0", "8")},
		{rule: "numvfs_parse", file: "/sriov_numvfs", value: "65536", errno: syscall.ERANGE},
		{rule: "numvfs_range", file: "/sriov_numvfs", value: "65535", errno: EINVAL},
		{rule: "numvfs_base", file: "/sriov_numvfs", value: "0x1\n", errno: EINVAL},
		{rule: "numvfs_change", file: "/sriov_numvfs", value: "x", errno: syscall.EBUSY},
		{rule: "numvfs_unbound", file: "/sriov_numvfs", value: "1", errno: syscall.ENODEV},
		{rule: "vf_msix", file: "/sriov_vf_msix_count", value: "-1", errno: syscall.EOPNOTSUPP},
		{rule: "vf_device", file: "/sriov_vf_device", edit: strings.ToUpper},
		{rule: "vf_address", file: "/sriov_stride", edit: replace("1", "2")},
		{rule: "vf_reset", file: "/reset", value: "0"},
		{rule: "autoprobe_parse", file: "/sriov_drivers_autoprobe", value: "o"},
		{rule: "override_text", file: "/driver_override", value: "xe\nvfio-pci\n", errno: EINVAL},
		{rule: "probe_unknown", file: "/drivers_probe", value: "x"},
		{rule: "bind_bound", file: "/xe/bind", errno: syscall.ENODEV},
		{rule: "autoprobe_on", file: "/sriov_drivers_autoprobe", value: "1"},
		{rule: "autoprobe_off", file: "/xe/bind", value: "0000:03:00.1"},
		{rule: "vfio_needs_override", file: "/xe-vfio-pci/bind", value: "0000:03:00.1"},
		{rule: "vfio_bind", file: "/drivers_probe", errno: 0},
		{rule: "nodes", file: "/name", edit: replace("unique", "uniq")},
		{rule: "sriov_info", file: "/sriov_info", edit: replace("PF", "pf")},
		{rule: "vfs_text", file: "/pf/vfs", edit: replace("enabled: 1", "enabled: 2")},
		{rule: "versions", file: "/versions", edit: replace("\t", " ")},
		{rule: "restore_parse", file: "/restore_auto_provisioning", value: "2"},
		{rule: "restore_releases", file: "/restore_auto_provisioning", value: "1"},
		{rule: "restore_busy", file: "/restore_auto_provisioning", value: "1"},
		{rule: "custom_switch", file: "/vf1/tile0/vram_quota"},
		{rule: "number_parse", file: "/exec_quantum_ms", value: " 1"},
		{rule: "number_base", file: "/exec_quantum_ms", value: "010", errno: EINVAL},
		{rule: "number_length", file: "/exec_quantum_ms", value: "0000000000000000000000x"},
		{rule: "thresholds", file: "/threshold_guc_time_us", value: "4294967296", errno: syscall.ERANGE},
		{rule: "sched_if_idle", file: "/gt0/sched_if_idle", value: "1"},
		{rule: "pf_priority", file: "/pf/tile0/gt1/sched_priority", value: "2", errno: EIO},
		{rule: "priority_refused", file: "/vf1/tile0/gt0/sched_priority", value: "1"},
		{rule: "exec_quantum_vf1", file: "/exec_quantum_ms", edit: replace("100000", "100001")},
		{rule: "preempt_timeout_pf", file: "/preempt_timeout_us", value: "4294967296", errno: syscall.ERANGE},
		{rule: "ggtt_rounding", file: "/ggtt_quota", edit: replace("8192", "4097")},
		{rule: "ggtt_too_much", file: "/ggtt_quota", value: "4294967296", errno: syscall.EDQUOT},
		{rule: "ggtt_place", file: "/ggtt_provisioned", edit: replace("VF1:\t0xf", "VF1:\t0xe")},
		{rule: "vram_rounding", file: "/vram_quota", edit: replace("4194304", "2097153")},
		{rule: "contexts_range", file: "/contexts_quota", value: "65536", errno: syscall.EDQUOT},
		// This kernel keeps the old quota, too.
		{rule: "contexts_spare_kept", file: "/contexts_quota", value: "65280", errno: syscall.EDQUOT},
		{rule: "contexts_gap", file: "/contexts_quota", value: "33000", errno: syscall.EDQUOT},
		{rule: "contexts_place", file: "/contexts_provisioned", edit: replace("65534", "65535")},
		{rule: "doorbells_place", file: "/doorbells_provisioned", edit: replace("VF1:\t0-", "VF1:\t1-")},
		{rule: "ggtt_spare", file: "/ggtt_spare", value: "67108863"},
		{rule: "vram_spare", file: "/vram_spare", edit: replace("134217729", "136314880")},
		{rule: "contexts_spare", file: "/contexts_spare", value: "255"},
		{rule: "size_text", file: "/ggtt_provisioned", edit: replace("1.84", "1.85")},
		{rule: "ggtt_available", file: "/ggtt_available", edit: replace("avail", "available")},
		{rule: "ids_text", file: "/contexts_provisioned", edit: replace("VF2", "VF1:\t0-0\t(0)\nVF2")},
		{rule: "runtime_registers", file: "/gt0/runtime_registers", edit: replace("0x9134", "0x9135")},
		{rule: "control_states", file: "/control", value: "pause\n", errno: EINVAL},
		{rule: "control_words", file: "/control", value: "clear", errno: EINVAL},
		{rule: "control_length", file: "/control", value: strings.Repeat("x", 32)},
		{rule: "control_flr", file: "/reset", value: "1"},
		{rule: "operation_bool", file: "/pause", value: "yes"},
		{rule: "operation_all_gts", file: "/vf1/stop", value: "1"},
		{rule: "fold_two_gts", file: "/vf1/pause", value: "1", errno: syscall.ESTALE},
		{rule: "admin_modes", file: "/vf1/profile/sched_priority", value: "low", errno: syscall.EPERM},
		{rule: "admin_gts_differ", file: "/vf1/profile/exec_quantum_ms", value: "11"},
		{rule: "admin_bulk", file: "/.bulk_profile/exec_quantum_ms", value: "12"},
		{rule: "admin_priority", file: "/pf/profile/sched_priority", value: "High"},
		{rule: "admin_bulk_priority", file: "/.bulk_profile/sched_priority", value: "high"},
		{rule: "admin_stop", file: "/vf1/stop", value: "1"},
		{rule: "admin_exec_quantum_vf", file: "/vf1/profile/exec_quantum_ms", value: "4294967296", errno: EINVAL},
		{rule: "auto_release", file: "/vf1/tile0/ggtt_quota", edit: replace("0", "4096")},
		{rule: "custom_nothing", file: "/vf1/tile0/gt0/exec_quantum_ms", value: "0"}, // the mode stays automatic
		{rule: "fair_4", file: "/vf4/tile0/ggtt_quota", edit: replace("536870912", "536866816")},
		{rule: "fair_2", file: "/vram_provisioned", edit: replace("VF2:", "VF3:")},
		{rule: "fair_nothing", file: "/sriov_numvfs", value: "1", errno: syscall.EDQUOT},
		{rule: "size", file: "/migration_size", edit: replace("\n", " bytes\n")},
		{rule: "save_states", file: "/vf1/save", value: "1", errno: syscall.EBUSY},
		{rule: "restore_states", file: "/vf1/restore", value: "1", errno: syscall.EBUSY},
		{rule: "vf_nodes", file: "/sriov_info", edit: replace("VF", "PF")},
		{rule: "self_config", file: "/gt0/vf/self_config", edit: replace("LMEM", "VRAM")},
		{rule: "self_config", file: "/gt1/vf/self_config", edit: replace("GuC", "GGTT size:\t1\nGuC")},
		{rule: "self_config_reload", file: "/xe/unbind"},
		{rule: "abi_versions", file: "/abi_versions", edit: replace("handshake:\t1.0", "handshake:\t0.0")},
		{rule: "vf_handshake", file: "/pf/versions", edit: replace("VF1:\t1.0\n", "")},
		{rule: "vf_empty", file: "/gt0/exec_quantum_ms", value: "0"}, // the VF gets its fair share
		{rule: "vf_incomplete", file: "/drivers/xe/bind"},            // the bind succeeds
		{rule: "stoppers_text", file: "/resfix_stoppers", edit: replace("0x", "")},
		{rule: "recovery", file: "/gt0/vf/self_config", edit: func(string) string { return "GGTT range:\t0x0-0x0\n" }},
		{rule: "recovery_stages", file: "/resfix_stoppers", value: "0xf"},
		{rule: "recovery_stages", file: "/resfix_stoppers", value: "0xe"},
		{rule: "recovery_stages", file: "/resfix_stoppers", value: "0xc"},
		{rule: "recovery_stages", file: "/gt1/vf/resfix_stoppers", value: "0x8"},
	} {
		t.Run(m.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { noticed(t, m) })
		})
	}
}

func noticed(t *testing.T, m mutation) {
	o := device(fakehost.BMG(), func(*fakehost.Options) {})
	kernel := &mutant{fake: fake{fakehost.New(o)}}
	p, err := contract.NewProbe(kernel, &journal{}, pci.Address("0000:03:00.0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	kernel.m = m
	r := ruleNamed(t, m.rule)
	if reason := p.Unmet(r); reason != "" {
		t.Fatal(reason)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // some rules wait for an event in vain
	defer cancel()
	if err := r.Run(ctx, p); err == nil {
		t.Errorf("not noticed (%d times changed): %+v", kernel.hits, m)
	}
	if kernel.hits == 0 {
		t.Error("the rule never came to the file")
	}
}

func ruleNamed(t *testing.T, id string) contract.Rule {
	t.Helper()
	for _, s := range contract.Sections() {
		if i := slices.IndexFunc(s.Rules, func(r contract.Rule) bool { return r.ID == id }); i >= 0 {
			return s.Rules[i]
		}
	}
	t.Fatalf("no rule %s", id)
	return contract.Rule{}
}
