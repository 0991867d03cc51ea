//go:build lab

package lab_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A matrix of two kernels of the DUT has a cell for each, with the releases that ran. When it is
// called again, nothing runs.
func TestMatrix(t *testing.T) {
	if !full() {
		t.Skip("make lab-full: TestKernels has the same kernels")
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "matrix")
	args := []string{"lab", "matrix", "--json", "--run-dir", dir}
	out := vmtbOutput(t, append(args, "--kernel=6.18,own", "--guest-kernel=7.2", boot1VF)...)
	var m struct {
		Cells []struct {
			KernelRelease string `json:"kernel_release"`
			GuestRelease  string `json:"guest_kernel_release"`
			ExitCode      *int   `json:"exit_code"`
		}
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil || len(m.Cells) != 2 {
		t.Fatalf("%v:\n%s", err, out)
	}
	for i, c := range m.Cells {
		host := []string{"6.18.", "7.3."}[i]
		if c.ExitCode == nil || *c.ExitCode != 0 || !strings.HasPrefix(c.KernelRelease, host) ||
			!strings.HasPrefix(c.GuestRelease, "7.2.") {
			t.Errorf("%+v, want a pass with DUT %s and guest 7.2", c, host)
		}
	}
	if again := vmtbOutput(t, args...); again != out {
		t.Errorf("called again, it printed\n%s\nnot\n%s", again, out)
	}
}

// git bisects over kernels of Debian's archive, as docs/kernels.md describes. Each commit of the
// repository names a kernel. Linux 6.18 gives VFs an infinite time slice by itself, and 7.2 gives 16 ms.
// TestBisectVerdict has the other results of a step.
func TestBisect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir, cmd.Stderr = dir, t.Output()
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t", "GIT_COMMITTER_NAME=t",
			"GIT_COMMITTER_EMAIL=t", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	git("init", "-q")
	for _, kernel := range []string{"6.18", "7.2", "7.3"} {
		if err := os.WriteFile(filepath.Join(dir, "kernel"), []byte(kernel), 0o644); err != nil {
			t.Fatal(err)
		}
		git("add", "kernel")
		git("commit", "-q", "-m", kernel)
	}
	git("bisect", "start", "HEAD", "HEAD~2")
	const test = `modprobe xe && echo 1 >/sys/bus/pci/devices/0000:00:02.0/sriov_numvfs && ` +
		`! vmtb vf list --json | grep -q "exec_quantum_ms.: 16,"`
	line := `exec ` + os.Getenv("VMTB") + ` lab bisect --kernel="$(cat kernel)" --build=true -- sh -c '` + test + `'`
	t.Log(git("bisect", "run", "sh", "-c", line))
	if log := git("bisect", "log"); !regexp.MustCompile(`# first bad commit: \[[0-9a-f]+\] 7\.2\n`).MatchString(log) {
		t.Errorf("git bisect log:\n%s\nwant that 7.2 is the first bad commit", log)
	}
}

// vmtbOutput runs the vmtb of this machine, which must succeed, and returns its standard output.
func vmtbOutput(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Getenv("VMTB"), args...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("vmtb %q: %v\n%s", args, err, out)
	}
	return string(out)
}
