//go:build lab

package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench/xe/contract"
	"vmtb/flow"
)

// TestContract: the stand-ins keep the contract of xe on both devices and in both layouts. With VMTB_LAB_FULL set (make
// lab-full) that is every shape that they have, and between them every rule has been checked.
func TestContract(t *testing.T) {
	t.Parallel()
	shapes := []string{"device=bmg", "device=ptl", "device=bmg layout=legacy", "device=ptl layout=legacy"}
	if full() {
		shapes = append(shapes, "device=bmg gts=1 vram_quota=1", "device=ptl gts=1 migration=N total_vfs=1", "device=bmg gts=1 layout=legacy")
	}
	passed := map[string]bool{}
	for _, params := range shapes {
		t.Run(params, func(t *testing.T) { keepsContract(t, params, passed) })
	}
	if !full() {
		return
	}
	for _, s := range contract.Sections() {
		for _, r := range s.Rules {
			if !passed["test_"+r.ID] && r.ID != "fair_12" && r.ID != "fair_24" && !onlyReal(r) { // the emulated device has 8 VFs at most
				t.Errorf("rule %s was checked on no device", r.ID)
			}
		}
	}
}

// onlyReal reports whether a rule is not for stand-ins.
func onlyReal(r contract.Rule) bool {
	return slices.ContainsFunc(r.Needs, func(n contract.Need) bool { return n.Name == "a driver that is no stand-in" })
}

func keepsContract(t *testing.T, params string, passed map[string]bool) {
	dir := t.TempDir()
	args := []string{"lab", "run", "--xe", params, "--run-dir", dir, "xe_contract"}
	for _, s := range contract.Sections() {
		for _, r := range s.Rules {
			if r.Crashes != "" { // the stand-in survives it
				args = append(args, "xe_contract::"+s.Name+"::test_"+r.ID)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Getenv("VMTB"), args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Errorf("vmtb lab run --xe %q xe_contract: %v", params, err)
	}
	for id, result := range results(t, filepath.Join(dir, "run")) {
		switch result {
		case flow.Pass:
			_, rule, _ := strings.Cut(id[len("xe_contract::"):], "::")
			passed[rule] = true
		case flow.Skip: // the device lacks what the rule is about
		default:
			t.Errorf("%s: %s", id, result)
		}
	}
}
