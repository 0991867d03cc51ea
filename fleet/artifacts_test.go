package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vmtb/flow"
)

// Shards as LAVA, Slurm and GitLab store them merge into a run with the plan and the counts of one
// run of all flows (check 13, with flows that need no lab).
func TestMergeArtifacts(t *testing.T) {
	l := &lab{t: t, dir: t.TempDir()}
	var err error
	if l.self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	toy := l.toyDir("dut")
	if err := os.MkdirAll(toy, 0o755); err != nil {
		t.Fatal(err)
	}
	vmtb := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), l.self, append([]string{"as-vmtb"}, args...)...)
		cmd.Env = append(os.Environ(), "TOY_DIR="+toy, "VMTB_STATE_DIR="+filepath.Join(toy, "state"))
		if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != flow.ExitFail {
			t.Fatalf("vmtb %v: %v\n%s", args, err, out)
		}
	}
	selection := []string{"test_toy::TestWeak", "test_toy::TestHealth", "test_toy::TestToy::*[4VF-toy13]"}
	run := func(dir string, more ...string) {
		vmtb(append(append([]string{"run", "--run-dir=" + dir}, more...), selection...)...)
	}
	whole := filepath.Join(l.dir, "whole")
	run(whole)
	const shards = 3
	for i := 1; i <= shards; i++ {
		shard := fmt.Sprintf("--shard=%d/%d", i, shards)
		run(filepath.Join(l.dir, "slurm", "4711", fmt.Sprint(i)), shard)
	}
	// The same directories, at the paths of the recipes for GitLab and LAVA.
	for i := 1; i <= shards; i++ {
		from := os.DirFS(filepath.Join(l.dir, "slurm", "4711", fmt.Sprint(i)))
		for _, to := range []string{fmt.Sprintf("gitlab/run-%d", i), fmt.Sprintf("lava/job-%d/vmtb-run", i)} {
			if err := os.CopyFS(filepath.Join(l.dir, to), from); err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := flow.OpenRun(whole)
	if err != nil {
		t.Fatal(err)
	}
	for engine, pattern := range map[string]string{
		"slurm": "slurm/4711/[0-9]*", "gitlab": "gitlab/run-*", "lava": "lava/*/vmtb-run",
	} {
		dirs, err := filepath.Glob(filepath.Join(l.dir, pattern))
		if err != nil || len(dirs) != shards {
			t.Fatalf("%s: %q, %v", engine, dirs, err)
		}
		all := filepath.Join(l.dir, "all-"+engine)
		vmtb(append([]string{"merge", "-o", all}, dirs...)...)
		got, err := flow.OpenRun(all)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Info.Plan) != len(want.Info.Plan) || !maps.Equal(counts(got), counts(want)) {
			t.Errorf(
				"%s: %d flows, %v; want %d, %v", engine, len(got.Info.Plan), counts(got), len(want.Info.Plan),
				counts(want),
			)
		}
	}
	if c := counts(want); c[flow.Fail] != 1 || c[flow.Pass] < 8 {
		t.Errorf("the whole run: %v", c)
	}
}
