//go:build lab

package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vmtb/flow"
)

// TestProvisioning: guests get exactly what the host gives, with 1 and 2 VFs. With VMTB_LAB_FULL it
// also tests 4 VFs and every vGPU profile.
func TestProvisioning(t *testing.T) {
	t.Parallel()
	least, selection := 7, []string{
		"-k", "not 4VF", "xe_provisioning::TestSchedulingOnly", "xe_provisioning::TestSelfConfig[*P:AUTO*]",
	}
	if full() {
		least, selection = 15, []string{"xe_provisioning"}
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(
		t.Context(), os.Getenv("VMTB"),
		append([]string{"lab", "run", "--warm", "-v", "--run-dir", dir}, selection...)...,
	)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Errorf("vmtb lab run: %v", err)
	}
	got := results(t, filepath.Join(dir, "run"))
	if len(got) < least {
		t.Errorf("only %d results", len(got))
	}
	for id, result := range got {
		if result != flow.Pass {
			t.Errorf("%s: %s", id, result)
		}
	}
}
