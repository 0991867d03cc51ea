//go:build lab

package lab_test

import (
	"strings"
	"testing"
	"time"

	"vmtb/flow"
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
