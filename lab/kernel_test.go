//go:build lab

package lab_test

import (
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/imagebuild"
	"vmtb/lab"
)

// Another kernel of Debian's archive drives the PF, or the VF in a guest, and one flow passes. The
// PF's driver of 6.18 has the old layout of debugfs, that of 7.2 the present one.
func TestKernels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dut, guest string }{{"6.18", ""}, {"7.2", ""}, {"", "7.2"}} {
		t.Run("PF "+c.dut+" VF "+c.guest, func(t *testing.T) {
			t.Parallel()
			build := lab.BuildOptions{DUT: debian(t, c.dut), Guest: debian(t, c.guest)}
			flows := []string{"--warm", boot1VF} // TestBisect uses the saved states, too
			var o lab.Options
			if c.dut == "" {
				flows, o.Cmdline = flows[1:], []string{"vmtb_test=1"}
			}
			d := startWith(t, build, o)
			code, dir, err := d.run(t.Context(), flows...)
			if err != nil || code != flow.ExitPass || results(t, dir)[boot1VF] != flow.Pass {
				t.Errorf("exit code %d, %v: %v", code, err, results(t, dir))
			}
			facts := facts(t, dir)
			if want := "xe of Linux " + kernelOr(c.dut); !strings.HasPrefix(facts["driver"], want+".") {
				t.Errorf("the host's driver: %q, want %s", facts["driver"], want)
			}
			line := d.must(t.Context(), t, "cat /proc/cmdline")
			if strings.Contains(line, " vmtb_test=1") != (o.Cmdline != nil) {
				t.Errorf("the command line is %q, and %q was added", line, o.Cmdline)
			}
			if kernel := facts["vm0 kernel"]; !strings.HasPrefix(kernel, kernelOr(c.guest)+".") {
				t.Errorf("the guest's kernel: %q, want %s", kernel, kernelOr(c.guest))
			}
			d.clean(t)
		})
	}
}

// A flow catches a fault in the PF's driver: a VF gets one context less than the driver tells.
func TestPatchedDriver(t *testing.T) {
	t.Parallel()
	patch, err := imagebuild.ReadPatch("--patch", "testdata/fewer-contexts.patch")
	if err != nil {
		t.Fatal(err)
	}
	d := startWith(t, lab.BuildOptions{DUT: imagebuild.Side{Patch: patch}}, lab.Options{})
	const id = "xe_provisioning::TestSelfConfig::test_self_config[1VF-(P:AUTO S:INFINITE)]"
	code, dir, err := d.run(t.Context(), id)
	if err != nil || code != flow.ExitFail || results(t, dir)[id] != flow.Fail {
		t.Errorf("exit code %d, %v: %v", code, err, results(t, dir))
	}
	d.clean(t)
}

// debian returns a side with a kernel of Debian's archive.
func debian(t *testing.T, version string) imagebuild.Side {
	t.Helper()
	k, err := imagebuild.ParseKernel("--kernel", version)
	if err != nil {
		t.Fatal(err)
	}
	return imagebuild.Side{Kernel: k}
}

// kernelOr returns version, or that of the lab's own kernel.
func kernelOr(version string) string {
	if version == "" {
		return "7.3"
	}
	return version
}

// facts returns what a run recorded about its environment, and about its machines: "vm0 kernel".
func facts(t *testing.T, dir string) map[string]string {
	t.Helper()
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]string{"DUT": run.Info.DUT}
	for _, f := range run.Info.Environment {
		facts[f.Name] = f.Value
	}
	for _, e := range run.Facts {
		for _, f := range e.Facts {
			facts[e.Machine+" "+f.Name] = f.Value
		}
	}
	return facts
}
