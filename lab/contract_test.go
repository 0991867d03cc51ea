//go:build lab

package lab_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench/xe/contract"
	"vmtb/flow"
)

// labRun runs "vmtb lab run" with args.
func labRun(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Getenv("VMTB"), append([]string{"lab", "run"}, args...)...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Errorf("vmtb lab run %q: %v", args, err)
	}
}

// oneGTRule is the rule about a GPU with one GT. All other rules run with two GTs.
const oneGTRule = "xe_contract::TestControl::test_fold_one_gt"

// The real driver keeps the contract on the emulated GPU, and no rule that held before is skipped.
// Rules about VFIO need xe-vfio-pci, which Debian does not build.
func TestRealContract(t *testing.T) {
	t.Parallel()
	dir, one := t.TempDir(), t.TempDir()
	labRun(t, "--migration", "--run-dir", dir, "xe_contract")
	labRun(t, "--gpu-property=gts=1", "--run-dir", one, oneGTRule)
	got := results(t, filepath.Join(dir, "run"))
	maps.Copy(got, results(t, filepath.Join(one, "run")))
	sightings, err := contract.Sightings()
	i := slices.IndexFunc(sightings, func(s contract.Sighting) bool { return s.Driver == "7.3.4 emulated ptl" })
	if err != nil || i < 0 {
		t.Fatalf("no list of what was seen on the emulated GPU: %v", err)
	}
	for id, result := range got {
		_, name, _ := strings.Cut(id[len("xe_contract::"):], "::test_")
		seen := slices.Contains(sightings[i].Rules, name)
		switch {
		case result == flow.Pass && !seen:
			t.Errorf("%s passes: list it in bench/xe/contract/seen", name)
		case result == flow.Skip && seen:
			t.Errorf("%s is skipped, and was seen to hold on this driver before", name)
		case result != flow.Pass && result != flow.Skip:
			t.Errorf("%s: %s", name, result)
		}
	}
}
