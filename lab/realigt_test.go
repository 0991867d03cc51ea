//go:build lab

package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmtb/bench/work"
	"vmtb/lab"
)

// realSRIOV has IGT's SR-IOV tests. A name without a subtest stands for all subtests of a program.
var realSRIOV = []string{
	"igt@sriov_basic",
	"igt@xe_sriov_admin",
	"igt@xe_sriov_auto_provisioning",
	"igt@xe_sriov_flr",
	"igt@xe_sriov_scheduling",
	"igt@xe_sriov_vfio",
}

// realExec has subtests that execute batches and that no flow runs. It leaves out
// xe_exec_store@long-shader-bb-check, which needs shaders.
var realExec = []string{
	"igt@xe_exec_store@basic-all",
	"igt@xe_exec_store@basic-cond-batch",
	"igt@xe_exec_store@cachelines",
	"igt@xe_exec_store@page-sized",
	"igt@xe_exec_store@persistent",
	"igt@xe_exec_store@mem-write-ordering-check",
	"igt@xe_spin_batch@spin-batch",
	"igt@xe_spin_batch@spin-basic-all",
	"igt@xe_spin_batch@spin-all",
	"igt@xe_spin_batch@spin-fixed-duration",
	"igt@xe_spin_batch@spin-timestamp-check",
	"igt@xe_spin_batch@spin-mem-copy",
}

// realTimed has subtests that fail or take minutes on a busy machine. "make lab-full" runs them.
var realTimed = []string{
	// The driver must create a VM and a queue, and destroy them, within 150 ms.
	"igt@xe_spin_batch@spin-fixed-duration-with-preempter",
	// The driver gives up (-EBUSY) if it cannot get a user's pages within 1 s while the test's
	// threads remap them.
	"igt@xe_exec_threads@threads-cm-userptr-invalidate",
	"igt@xe_exec_threads@threads-bal-mixed-userptr-invalidate",
	"igt@xe_exec_threads@threads-many-queues",
}

// flowTests returns the tests that flows run as workloads. It leaves out tests that the emulated
// GPU cannot run, and those in [realTimed].
func flowTests(t *testing.T) []string {
	t.Helper()
	var tests []string
	for _, typ := range work.TestTypes() {
		name, err := typ.Test("xe")
		if err != nil {
			t.Fatal(err)
		}
		if typ.NeedsOfGPU() == "" && !slices.Contains(realTimed, name) {
			tests = append(tests, name)
		}
	}
	return tests
}

// IGT's own tests pass unchanged on the PF: those of SR-IOV, and some that execute batches. The
// tests that flows run are in TestGuestIGT, and "make lab-full" runs them here, too.
func TestRealIGT(t *testing.T) {
	t.Parallel()
	d := startWith(t, lab.BuildOptions{Migration: true}, lab.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	defer cancel()
	tests := slices.Concat(realSRIOV, realExec)
	if full() {
		tests = slices.Concat(tests, flowTests(t), realTimed)
	}
	got := d.runIGT(ctx, t, "igt", 10*time.Minute, tests)
	checkIGT(t, got, tests)
	d.clean(t)
}

// TestGuestIGT: the tests that flows run pass on a VF in a guest. In "make lab-full" the tests of
// TestRealIGT pass there, too, and those that spin on reused queues: each of them takes as long as
// its twin on new queues.
func TestGuestIGT(t *testing.T) {
	t.Parallel()
	d := startWith(t, lab.BuildOptions{}, lab.Options{})
	tests := flowTests(t)
	if full() {
		tests = slices.Concat(tests, realExec)
	} else {
		tests = slices.DeleteFunc(tests, func(name string) bool { return strings.Contains(name, "@long-spin-reuse-") })
	}
	list, results := filepath.Join(d.dir, "guest.testlist"), filepath.Join(d.dir, "guest.json")
	if err := os.WriteFile(list, []byte(strings.Join(tests, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.says(t, 0, "", "vf", "enable", "1")
	d.says(
		t, 0, "", "vm", "start", "--vm-image", lab.GuestImage, "--vm-memory", strconv.Itoa(d.memory), "--timeout-scale",
		"5", "--warm", "--vf=1", "gpu",
	)
	d.says(t, 0, "", "vm", "cp", list, "gpu:/tmp/list")
	d.says(
		t, 0, "", append([]string{"vm", "exec", "gpu", "--"}, igtRunner(10*time.Minute, "/tmp/list", "/tmp/igt")...)...,
	)
	d.says(t, 0, "", "vm", "cp", "gpu:/tmp/igt/results.json", results)
	checkIGT(t, readIGT(t, results), tests)
	d.says(t, 0, "", "vm", "kill", "gpu")
	d.says(t, 0, "", "vf", "disable")
	d.clean(t)
}
