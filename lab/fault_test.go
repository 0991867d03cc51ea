//go:build lab

package lab_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/flow"
)

// TestFaults: a kernel that refuses is named as the cause, and the host is put back (vmtb lab run would end with 6).
func TestFaults(t *testing.T) {
	const quick = "xe_provisioning::TestSchedulingOnly::test_release[1VF]"
	for _, c := range []struct {
		fault, selection string
		code             int
		says             []string
	}{
		{"refuse_load=Y", quick, flow.ExitError, []string{"load module xe", "the kernel said"}},
		{"fail_provision=2", boot1VF, flow.ExitError, []string{"_quota", "ENOSPC"}},
		{"fail_provision=1", quick, flow.ExitError, []string{"write 1 to", "sriov_numvfs", "ENOSPC"}},
		{"refuse_numvfs=12", quick, flow.ExitError, []string{"sriov_numvfs", "ENOMEM"}},
		{"wedged=Y", quick, flow.ExitError, []string{"ECANCELED"}},
		{"hang_ms=3000", quick, flow.ExitPass, nil},
		{"fault_log=splat", quick, flow.ExitFail, []string{"WARNING: ", "(warning)", "(taint)"}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			dir := t.TempDir()
			var out bytes.Buffer
			cmd := exec.CommandContext(t.Context(), os.Getenv("VMTB"), "lab", "run", "--xe", c.fault, "--run-dir", dir, c.selection)
			cmd.Stdout = io.MultiWriter(&out, os.Stderr)
			cmd.Stderr = cmd.Stdout
			code := 0
			if err := cmd.Run(); err != nil {
				exit, ok := errors.AsType[*exec.ExitError](err)
				if !ok {
					t.Fatal(err)
				}
				code = exit.ExitCode()
			}
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, text := range c.says {
				if !strings.Contains(out.String(), text) {
					t.Errorf("the output does not say %q", text)
				}
			}
			if got := results(t, filepath.Join(dir, "run")); len(got) != 1 {
				t.Errorf("results %v, want one", got)
			}
		})
	}
}
