//go:build lab

package lab_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"vmtb/bench/work"
)

// realSRIOV are IGT's tests of SR-IOV. A name without a subtest stands for all subtests of a
// program.
var realSRIOV = []string{
	"igt@sriov_basic",
	"igt@xe_sriov_admin",
	"igt@xe_sriov_auto_provisioning",
	"igt@xe_sriov_flr",
	"igt@xe_sriov_scheduling",
	"igt@xe_sriov_vfio",
}

// realExec are subtests that execute batches and that no flow runs. What is not in the list needs
// shaders: xe_exec_store@long-shader-bb-check.
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

// realTimed are subtests that fail or take minutes on a busy machine. "make lab-full" runs them.
var realTimed = []string{
	// It wants the driver to create a VM and a queue, and to destroy them, within 150 ms.
	"igt@xe_spin_batch@spin-fixed-duration-with-preempter",
	// The driver gives up (-EBUSY) if it cannot get a user's pages within 1 s while threads of the
	// test map them anew.
	"igt@xe_exec_threads@threads-cm-userptr-invalidate",
	"igt@xe_exec_threads@threads-bal-mixed-userptr-invalidate",
	"igt@xe_exec_threads@threads-many-queues",
}

// flowTests are the tests that flows run as workloads, as far as the emulated GPU can run them,
// without those in [realTimed].
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

// IGT's own tests, unmodified, pass on the PF with Debian's own xe: those of SR-IOV, those that
// execute batches and that flows run, and some more of these.
func TestRealIGT(t *testing.T) {
	t.Parallel()
	d := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	defer cancel()
	tests := slices.Concat(realSRIOV, flowTests(t), realExec)
	if full() {
		tests = append(tests, realTimed...)
	}
	got := d.runIGT(ctx, t, "igt", 10*time.Minute, tests)
	checkIGT(t, got, tests)
	d.clean(t)
}
