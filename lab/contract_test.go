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

// labRun runs "vmtb lab run" with args. Cases may fail.
func labRun(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Getenv("VMTB"), append([]string{"lab", "run"}, args...)...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != int(flow.ExitFail) {
		t.Errorf("vmtb lab run %q: %v", args, err)
	}
}

// oneGTRule is the rule about a GPU with one GT. All other rules run with two GTs.
const oneGTRule = "xe_contract::TestControl::test_fold_one_gt"

// The real driver keeps the contract on the emulated GPU, and no rule that held before is skipped.
// Rules about VFIO need xe-vfio-pci, which Debian does not build.
func TestRealContract(t *testing.T) {
	t.Parallel()
	got := contractResults(t, "--migration", "xe_contract")
	maps.Copy(got, contractResults(t, "--migration", "--gpu-property=gts=1", oneGTRule))
	checkSightings(t, "7.3.4 emulated ptl", got)
}

// The same holds with local memory, and for the drivers of other kernels.
func TestOtherContracts(t *testing.T) {
	if !full() {
		t.Skip("part of make lab-full")
	}
	checkSightings(t, "7.3.4 emulated bmg", contractResults(t, "--migration", "--gpu=bmg", "xe_contract"))
	checkSightings(t, "6.18.15 emulated ptl", contractResults(t, "--kernel=6.18", "xe_contract"))
	checkSightings(t, "7.2.13 emulated ptl", contractResults(t, "--kernel=7.2", "xe_contract"))
}

// contractResults runs rules and returns their results. It runs a rule again that has failed because of
// the race of xe in saving a VF.
func contractResults(t *testing.T, args ...string) map[string]flow.Result {
	t.Helper()
	got := map[string]flow.Result{}
	for range 3 {
		dir := t.TempDir()
		labRun(t, append([]string{"--run-dir", dir}, args...)...)
		args = slices.DeleteFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "--") })
		flags := len(args)
		for _, e := range ended(t, filepath.Join(dir, "run")) {
			id := e.ID.String()
			got[id] = e.Result
			if strings.Contains(e.Reason, contract.EarlyTrailer) {
				t.Logf("%s: %s: the rule is checked again", id, e.Reason)
				args = append(args, id)
			}
		}
		if len(args) == flags {
			break
		}
	}
	return got
}

// checkSightings compares results with the list of what was seen on a driver before.
func checkSightings(t *testing.T, driver string, got map[string]flow.Result) {
	t.Helper()
	sightings, err := contract.Sightings()
	i := slices.IndexFunc(sightings, func(s contract.Sighting) bool { return s.Driver == driver })
	if err != nil || i < 0 {
		t.Fatalf("no list of what was seen on %s: %v", driver, err)
	}
	var ran []string
	for id, result := range got {
		_, name, _ := strings.Cut(id[len("xe_contract::"):], "::test_")
		ran = append(ran, name)
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
	for _, name := range sightings[i].Rules {
		if !slices.Contains(ran, name) {
			t.Errorf("%s was not run, and was seen to hold on this driver before", name)
		}
	}
}
