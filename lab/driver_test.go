//go:build lab

package lab_test

import (
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/lab"
)

// xe in the DUT and in the guest is from Debian's kernel package. The PF's driver enables a VF, and
// QEMU passes it on by VFIO. The guest's driver probes the VF, also after a sleep, and no kernel
// complains.
func TestRealDriver(t *testing.T) {
	t.Parallel()
	d := startWith(t, lab.BuildOptions{}, lab.Options{})
	code, dir, err := d.run(t.Context(), boot1VF)
	if err != nil || code != flow.ExitPass {
		t.Fatalf("exit code %d, %v: %v", code, err, results(t, dir))
	}
	if got := results(t, dir); len(got) != 1 || got[boot1VF] != flow.Pass {
		t.Errorf("results: %v", got)
	}
	facts := facts(t, dir)
	driver := facts["driver"]
	if !strings.HasPrefix(driver, "xe of Linux 7.3.") || !strings.Contains(driver, "(Debian 7.3.") {
		t.Errorf("the host's driver: %q, want xe of Linux 7.3 and the version of Debian's package", driver)
	}
	if !strings.Contains(driver, "/kernel/drivers/gpu/drm/xe/xe.ko") || strings.Contains(driver, "taints") {
		t.Errorf("the host's driver: %q, want the kernel package's own, which taints nothing", driver)
	}
	if !strings.Contains(facts["pf"], "8086:b080") || !strings.Contains(facts["guc"], "70.54.0") {
		t.Errorf("PF %q, GuC %q", facts["pf"], facts["guc"])
	}
	if !strings.Contains(facts["DUT"], "GPU ptl") {
		t.Errorf("DUT %q does not say which GPU is emulated", facts["DUT"])
	}
	log, err := d.Exec(t.Context(), bench.Shell("dmesg"))
	if err != nil || !strings.Contains(string(log.Stdout), "[drm] Running in SR-IOV PF mode") {
		t.Errorf("the driver did not come up as PF (%v):\n%s", err, log.Stdout)
	}
	const sleep = "vm_robust::TestSleep::test_guest_s3[1VF-(P:AUTO S:INFINITE)]"
	if code, dir, err := d.run(t.Context(), sleep); err != nil || code != flow.ExitPass ||
		results(t, dir)[sleep] != flow.Pass {
		t.Errorf("%s: exit code %d, %v: %v", sleep, code, err, results(t, dir))
	}
	d.clean(t)
}
