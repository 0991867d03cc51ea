//go:build lab

package lab_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/imagebuild"
	"vmtb/lab"
)

// With the discrete GPU, the real driver finds local memory on the PF and gives a VF a share of it.
// IGT's batches run on the VF in a guest and on the PF, there also in local memory, and no kernel
// complains.
func TestDiscrete(t *testing.T) {
	t.Parallel()
	d := startWith(t, lab.BuildOptions{GPU: lab.BMG}, lab.Options{Boot: true})
	const store = "test_basic::TestVmWorkload::test_store[1VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
	code, dir, err := d.run(t.Context(), store)
	if err != nil || code != flow.ExitPass || results(t, dir)[store] != flow.Pass {
		t.Fatalf("exit code %d, %v: %v", code, err, results(t, dir))
	}
	facts := facts(t, dir)
	if !strings.Contains(facts["pf"], "8086:e212") || !strings.Contains(facts["guc"], "70.54.0") {
		t.Errorf("PF %q, GuC %q", facts["pf"], facts["guc"])
	}
	if !strings.Contains(facts["DUT"], "GPU bmg") {
		t.Errorf("DUT %q does not say which GPU is emulated", facts["DUT"])
	}
	if log := d.must(t.Context(), t, `dmesg --level=emerg,alert,crit,err | grep 'xe ' || true`); log != "" {
		t.Errorf("the driver complains:\n%s", log)
	}
	tests := []string{"igt@xe_exec_store@basic-store", "igt@xe_exec_store@basic-all", "igt@xe_exec_basic@once-basic"}
	checkIGT(t, d.runIGT(t.Context(), t, "igt", 10*time.Minute, tests), tests)
	d.clean(t)
}

// movesLocalMemory writes a pattern into the local memory of a guest's VF, moves the running machine
// to another VF, and finds the pattern there. The pattern is in the middle of the quota, which the
// guest's driver does not use.
func (d *dut) movesLocalMemory(t *testing.T) {
	const (
		perPlace = `set -e; bar=$(sed -n 3p /sys/bus/pci/drivers/xe/0*/resource | cut -d" " -f1)
			for i in $(seq 32 4 96); do at=$((bar + (i << 20) + i * 64)); `
		write = "modprobe xe; " + perPlace + `devmem $at 32 $((0x5a000000 + i)); done`
		read  = perPlace + `[ $(devmem $at 32) = $(printf 0x%08X $((0x5a000000 + i))) ]; done; echo all there`
		store = "/usr/libexec/igt-gpu-tools/xe_exec_store --run-subtest basic-store"
	)
	guest := func(says, line string) {
		t.Helper()
		d.says(t, 0, says, "vm", "exec", "gpu", "--", "sh", "-c", line)
	}
	d.says(t, 0, "4096 MiB", "vf", "enable", "2")
	d.says(t, 0, "", "vf", "provision", "all", "--vram=128M")
	d.says(t, 0, "128 MiB", "vf", "list")
	d.says(
		t, 0, "", "vm", "start", "--vm-image", lab.GuestImage, "--vm-memory", strconv.Itoa(d.memory), "--timeout-scale",
		"5", "--warm", "--vf=1", "gpu",
	)
	guest("", write)
	guest("all there", read)
	d.says(t, 0, "", "vm", "migrate", "gpu", "--vf=2")
	guest("all there", read)
	guest("SUCCESS", store)
	d.says(t, 0, "", "vm", "kill", "gpu")
	d.says(t, 0, "", "vf", "disable")
}

// TestDiscreteFlows moves VFs of the discrete GPU, runs flows of each file on it, and IGT's tests of
// SR-IOV. The DUT's driver has a patch for the race in saving a VF (docs/kernels.md, "Faults of
// Linux"), which comes more often with local memory: the save takes longer.
func TestDiscreteFlows(t *testing.T) {
	if !full() {
		t.Skip("make lab-full")
	}
	t.Parallel()
	patch, err := imagebuild.ReadPatch("--patch", "testdata/save-order.patch")
	if err != nil {
		t.Fatal(err)
	}
	build := lab.BuildOptions{GPU: lab.BMG, Migration: true, DUT: imagebuild.Side{Patch: patch}}
	d := startWith(t, build, lab.Options{})
	t.Run("local memory", d.movesLocalMemory)
	args := slices.Concat([]string{"--warm", "--workload-scale", migrationScale}, discreteFlows)
	_, dir, err := d.run(t.Context(), args...)
	if err != nil {
		t.Error(err)
	}
	passOrNotHere(t, dir, results(t, dir))
	tests := append([]string{"igt@xe_sriov_vram"}, realSRIOV...)
	checkIGT(t, d.runIGT(t.Context(), t, "sriov", 10*time.Minute, tests), tests)
	d.clean(t)
}

var discreteFlows = slices.Concat(shapes, []string{
	"vm_state",
	"vm_robust::TestBusyLiveMigration",
	"test_migration::TestIdleMigration",
	"test_migration::test_2vm_pause_resume",
	"test_migration::TestBusyMigrationIgtExecThreads2",
	"xe_provisioning::TestSchedulingOnly",
	"xe_provisioning::TestSelfConfig",
})
