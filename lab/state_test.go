//go:build lab

package lab_test

import (
	"testing"

	"vmtb/flow"
)

// testState: machines with VFs are saved and restored in every way, and a machine is migrated live
// from VF1 to VF2.
func (d *dut) testState(t *testing.T) {
	code, dir, err := d.runMoves(t.Context(), t, "--warm", "vm_state")
	if err != nil || code != flow.ExitPass {
		t.Errorf("exit code %d, %v", code, err)
	}
	got := results(t, dir)
	if len(got) != 4 {
		t.Errorf("%d results, want 4", len(got))
	}
	for id, result := range got {
		if result != flow.Pass {
			t.Errorf("%s: %s, want %s", id, result, flow.Pass)
		}
	}
	d.clean(t)
}
