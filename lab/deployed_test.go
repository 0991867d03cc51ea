//go:build lab

package lab_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/lab"
)

// TestDeployed: the example program runs its own flows, and one of them reboots the DUT. A release
// archive runs from the directory in which it was unpacked.
func TestDeployed(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "acme-vmtb")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir, build.Env = "../examples/private-flows", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), program, "list", "acme").CombinedOutput(); err != nil ||
		!strings.HasPrefix(string(out), "acme::TestClock") {
		t.Errorf("it lists %q, %v", out, err)
	}
	d := startWith(t, lab.BuildOptions{Migration: true}, lab.Options{MayReboot: true, Program: program})
	t.Run("over the shared set-up", func(t *testing.T) {
		code, dir, err := d.run(t.Context(), "--warm", "acme::TestClock")
		if err != nil || code != flow.ExitPass {
			t.Errorf("exit code %d, %v", code, err)
		}
		if got := results(t, dir); len(got) != 1 {
			t.Errorf("%v, want one result", got)
		}
		d.clean(t)
	})
	t.Run("reboot", d.testReboot)
	t.Run("unpacked", d.testDist)
}

// testDist: "make dist" gives the same archive each time. Its program runs from the directory in
// which it was unpacked, with the archive's files.
func (d *dut) testDist(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	archive := func() (string, []byte) {
		cmd := exec.CommandContext(ctx, "../dist.sh", "tar", "amd64")
		cmd.Stderr = d.out
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join("..", strings.TrimSpace(string(out)))
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return name, data
	}
	name, first := archive()
	if _, second := archive(); !bytes.Equal(first, second) {
		t.Error("two archives of the same commit differ")
	}
	if out, err := exec.CommandContext(ctx, "tar", "-C", d.dir, "-xzf", name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	home, dir := filepath.Join(d.dir, strings.TrimSuffix(filepath.Base(name), ".tar.gz")), d.nextDir()
	c := bench.Command{Dir: "/tmp", Argv: []string{
		filepath.Join(home, "vmtb"), "run", "-v", "--warm", "--run-dir", dir, "--vm-image", lab.GuestImage,
		"--vm-memory", strconv.Itoa(d.memory), "--timeout-scale", "5", boot1VF,
	}}
	r, err := d.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, r.Stdout)
	}
	allPass(t, results(t, dir))
	run, err := flow.OpenRun(dir)
	if err != nil ||
		!strings.Contains(
			strings.Join(run.Info.Notes, "\n"), "configuration: "+filepath.Join(home, "vmtb_config.json"),
		) {
		t.Errorf("it did not take the configuration that came with it: %q, %v", run.Info.Notes, err)
	}
	d.clean(t)
}

// testReboot: a case reboots the host, and goes on at its mark when the run is resumed.
func (d *dut) testReboot(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	_, dir, err := d.run(ctx, "acme::TestHostReboot")
	if err == nil {
		t.Fatal("the host did not reboot")
	}
	if err := d.Rebooted(ctx); err != nil {
		t.Fatal(err)
	}
	code, err := d.Vmtb(ctx, []string{"resume", dir}, d.out)
	if err != nil || code != flow.ExitPass {
		t.Errorf("resume: exit code %d, %v", code, err)
	}
	got := results(t, dir)
	if len(got) != 1 {
		t.Errorf("%v, want one result", got)
	}
	allPass(t, got)
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	boots, entered := map[string]bool{}, 0
	for _, e := range run.Entries {
		if e.BootID != "" {
			boots[e.BootID] = true
		}
		if e.Event == flow.Begin && e.Phase == flow.PhaseCase && e.Mark == "back" {
			entered++
		}
	}
	if len(boots) != 2 || entered != 1 {
		t.Errorf("%d boots of the host, want 2; entered %d times at its mark, want once", len(boots), entered)
	}
	d.clean(t)
}
