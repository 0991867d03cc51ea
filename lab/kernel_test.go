//go:build lab

package lab_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
			// The state would be saved for this one test.
			d := startWith(t, build, lab.Options{Boot: true, Cmdline: []string{"vmtb_test=1"}})
			code, dir, err := d.run(t.Context(), boot1VF)
			if err != nil || code != flow.ExitPass || results(t, dir)[boot1VF] != flow.Pass {
				t.Errorf("exit code %d, %v: %v", code, err, results(t, dir))
			}
			facts := facts(t, dir)
			if want := "xe of Linux " + kernelOr(c.dut); !strings.HasPrefix(facts["driver"], want+".") {
				t.Errorf("the host's driver: %q, want %s", facts["driver"], want)
			}
			if line := d.must(t.Context(), t, "cat /proc/cmdline"); !strings.Contains(line, " vmtb_test=1") {
				t.Errorf("the command line %q does not have the added parameter", line)
			}
			up := regexp.MustCompile(`lab guest: up after .* s, Linux ` + regexp.QuoteMeta(kernelOr(c.guest)) + `\.`)
			if !up.MatchString(consoles(t, dir)) {
				t.Errorf("no guest's console has %s", up)
			}
			d.clean(t)
		})
	}
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

// facts returns what a run recorded about its environment.
func facts(t *testing.T, dir string) map[string]string {
	t.Helper()
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]string{}
	for _, f := range run.Info.Environment {
		facts[f.Name] = f.Value
	}
	return facts
}

// consoles returns the consoles of all machines of a run.
func consoles(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "console.log" {
			return err
		}
		data, err := os.ReadFile(path)
		all.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
