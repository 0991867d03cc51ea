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
	t.Parallel()
	const (
		quick  = "xe_provisioning::TestSchedulingOnly::test_release[1VF]"
		enable = "xe_contract::TestPci::test_numvfs_same" // enables a VF in a case with a deadline of a minute
	)
	for _, c := range []struct {
		fault, selection string
		code             int
		says             []string
		logs             string // what the kernel of the DUT says
		scale            string // of the deadlines, "" is the lab's
	}{
		{fault: "refuse_load=Y", selection: quick, code: flow.ExitError, says: []string{"load module xe", "the kernel said"}, logs: "fault injected: refuses to load"},
		{fault: "fail_provision=2", selection: boot1VF, code: flow.ExitError, says: []string{"_quota", "ENOSPC"}, logs: "fault injected: provisioning fails with errno 28"},
		{fault: "fail_provision=1 fail_errno=5", selection: quick, code: flow.ExitError, says: []string{"write 1 to", "sriov_numvfs", "EIO"}, logs: "fault injected: provisioning fails with errno 5"},
		{fault: "refuse_numvfs=12", selection: quick, code: flow.ExitError, says: []string{"sriov_numvfs", "ENOMEM"}, logs: "fault injected: VFs refused with errno 12"},
		{fault: "wedged=Y", selection: quick, code: flow.ExitError, says: []string{"ECANCELED"}},
		{fault: "hang_ms=3000", selection: quick, code: flow.ExitPass, logs: "fault injected: hangs for 3000 ms"},
		{fault: "hang_ms=40000", selection: enable, code: flow.ExitFail, says: []string{"sriov_numvfs", "missed its deadline", "the kernel has not returned from this write"}, logs: "fault injected: hangs for 40000 ms", scale: "0.25"},
		{fault: "fault_log=warn", selection: quick, code: flow.ExitPass, logs: "fault injected: a warning"},
		{fault: "fault_log=err", selection: quick, code: flow.ExitPass, says: []string{"DMESG-WARN", "an error"}, logs: "fault injected: an error"},
		{fault: "fault_log=splat", selection: quick, code: flow.ExitFail, says: []string{"WARNING: ", "(warning)", "(taint)"}, logs: "fault injected: a kernel warning"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			dir := t.TempDir()
			var out bytes.Buffer
			args := []string{"lab", "run", "--xe", c.fault, "--run-dir", dir}
			if c.scale != "" {
				args = append(args, "--timeout-scale", c.scale)
			}
			cmd := exec.CommandContext(t.Context(), os.Getenv("VMTB"), append(args, c.selection)...)
			cmd.Stdout = io.MultiWriter(&out, t.Output())
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
			console, err := os.ReadFile(filepath.Join(dir, "dut", "console.log"))
			if err != nil || !strings.Contains(string(console), c.logs) {
				t.Errorf("the DUT's console does not say %q: %v", c.logs, err)
			}
			if got := results(t, filepath.Join(dir, "run")); len(got) != 1 {
				t.Errorf("results %v, want one", got)
			}
		})
	}
}
