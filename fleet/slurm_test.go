//go:build slurm

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"vmtb/flow"
)

// The recipe for Slurm runs with Debian's packages, with three nodes in namespaces. No flow is lost
// if a node is killed during its shard: Slurm queues the task again, vmtb resumes the run on
// another node, and the merged report has all flows (check 18). The test needs root. apt-get
// downloads 4 MB the first time and installs nothing. "make fleet-slurm" runs the test.
func TestSlurm(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	debs, dir := filepath.Join(cache, "vmtb", "slurm"), t.TempDir()
	command := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	packages := []string{"slurmctld", "slurmd", "slurm-client", "munge"}
	for _, d := range []string{filepath.Join(debs, "partial"), filepath.Join(dir, "mnt"), filepath.Join(dir, "out")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(debs, "slurmctld_*.deb")); len(files) == 0 {
		command("apt-get", append([]string{
			"install", "-y", "--download-only", "--no-install-recommends", "-o", "Debug::NoLocking=1",
			"-o", "Dir::Cache::archives=" + debs,
		}, packages...)...)
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		command("dpkg", "-x", f, filepath.Join(dir, "root"))
	}
	if err := os.CopyFS(filepath.Join(dir, "recipe"), os.DirFS("../examples/fleet/slurm")); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"slurm.sh", "lab.sh"} {
		command("cp", filepath.Join("testdata", f), dir)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := command("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
		"--propagation", "private", "sh", filepath.Join(dir, "slurm.sh"), dir, self)
	t.Log(out)
	if !regexp.MustCompile(`killed dut2 in shard [1-6]`).MatchString(out) {
		t.Error("no node was killed")
	}
	run, err := flow.OpenRun(filepath.Join(dir, "out", "all"))
	if err != nil {
		t.Fatal(err)
	}
	c := counts(run)
	if len(run.Info.Plan) != 72 || c[flow.Pass]+c[flow.Fail]+c[flow.Incomplete] != 72 || c[flow.Fail] != 1 ||
		c[flow.Incomplete] > 1 {
		t.Errorf("%d flows: %v", len(run.Info.Plan), c)
	}
}
