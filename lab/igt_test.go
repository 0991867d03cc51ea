//go:build lab

package lab_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
)

// igtTests are those of IGT's SR-IOV tests that need nothing that only silicon has. A name without a subtest stands for
// all subtests of a program. docs/lab.md says what keeps the others from running.
var igtTests = []string{
	"igt@sriov_basic",
	"igt@xe_sriov_admin",
	"igt@xe_sriov_auto_provisioning",
	"igt@xe_sriov_vfio",
	"igt@xe_sriov_vram",
	"igt@xe_sriov_flr@flr-basic",
}

// IGT's tests of SR-IOV, as Debian packages them, are strict users of the stand-ins that we have not written.
func TestIGT(t *testing.T) {
	t.Parallel()
	d := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	got := d.runIGT(ctx, t)
	for _, want := range igtTests {
		t.Run(want, func(t *testing.T) {
			names := slices.Sorted(maps.Keys(got))
			names = slices.DeleteFunc(names, func(name string) bool { return !isSubtest(name, want) })
			if len(names) == 0 {
				t.Fatal("igt_runner ran no subtest of it")
			}
			for _, name := range names {
				t.Run(name, got[name].check)
			}
		})
	}
	d.clean(t)
}

// isSubtest reports whether name is a subtest that the entry want of [igtTests] stands for. Names of dynamic subtests
// have one part more; when one of them fails, so does its subtest.
func isSubtest(name, want string) bool {
	return strings.Count(name, "@") == 2 && (name == want || strings.HasPrefix(name, want+"@"))
}

// An igtResult is one result of results.json.
type igtResult struct {
	Result        string `json:"result"`
	Out           string `json:"out"`
	Err           string `json:"err"`
	DmesgWarnings string `json:"dmesg-warnings"`
}

// runIGT has the real igt_runner run [igtTests] in the DUT and returns the results by name.
func (d *dut) runIGT(ctx context.Context, t *testing.T) map[string]igtResult {
	t.Helper()
	list, dir := filepath.Join(d.dir, "igt.testlist"), filepath.Join(d.dir, "igt")
	if err := os.WriteFile(list, []byte(strings.Join(igtTests, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := bench.Command{Argv: []string{"igt_runner", "--per-test-timeout", "120", "--test-list", list, "/usr/libexec/igt-gpu-tools", dir}}
	r, err := d.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var results struct {
		Tests map[string]igtResult `json:"tests"`
	}
	if err := json.Unmarshal(data, &results); err != nil {
		t.Fatal(err)
	}
	return results.Tests
}

func (r igtResult) check(t *testing.T) {
	if r.Result == "pass" || (r.Result == "dmesg-warn" && onlyClock(r.DmesgWarnings)) {
		return
	}
	t.Errorf("%s\nkernel: %s\n%s\n%s", r.Result, r.DmesgWarnings, bench.Tail([]byte(r.Out), 10), bench.Tail([]byte(r.Err), 30))
}

// onlyClock reports whether all that the kernel complained about is that the emulated machine had to wait for this one.
func onlyClock(warnings string) bool {
	if warnings == "" {
		return false
	}
	for line := range strings.Lines(warnings) {
		if strings.TrimSpace(line) != "" && !strings.Contains(line, "clocksource: Long readout interval") {
			return false
		}
	}
	return true
}
