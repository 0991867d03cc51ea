//go:build integration

package work_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/work"
)

// An agentMachine is this host, reached through a real qemu-ga.
type agentMachine struct {
	*qga.Client
}

func (agentMachine) String() string { return "agent" }

func (m agentMachine) Start(ctx context.Context, c bench.Command) (bench.Process, error) {
	return m.Client.Start(ctx, c)
}

func (agentMachine) ReadDir(context.Context, string) ([]bench.DirEntry, error) {
	return nil, bench.ErrNotAvailable
}

// startAgent starts a qemu-ga in dir. stop kills it.
func startAgent(t *testing.T, dir string) (m bench.Machine, stop func()) {
	t.Helper()
	socket := filepath.Join(dir, "agent")
	_ = os.Remove(socket)
	cmd := exec.Command(
		"qemu-ga", "--method=unix-listen", "--path="+socket, "--statedir="+dir, "--pidfile="+filepath.Join(dir, "pid"),
	)
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs qemu-ga (Debian: qemu-guest-agent): %v", err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		c, err := qga.Dial(ctx, socket, qga.Options{})
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			if err := c.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			return agentMachine{c}, stop
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // a test's own polling
	}
}

// A workload survives the kill of its agent, and ends under the next agent.
func TestIntegrationAgentRestart(t *testing.T) {
	dir := t.TempDir()
	m, stop := startAgent(t, dir)
	go1 := filepath.Join(dir, "go")
	run, err := work.Start(
		t.Context(), m, work.Shell{Line: "while [ ! -e " + go1 + " ]; do sleep 0.02; done; echo through"},
		work.Options{Base: dir},
	)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if on, err := run.Running(t.Context()); err == nil {
		t.Errorf("no agent: %v", on)
	}
	m, _ = startAgent(t, dir)
	run = run.On(m)
	if on, err := run.Running(t.Context()); !on || err != nil {
		t.Fatalf("Running: %v, %v", on, err)
	}
	if err := os.WriteFile(go1, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := wait(t, run); string(r.Exit.Stdout) != "through\n" {
		t.Errorf("%+v", r)
	}
	if err := run.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestIntegrationAgent(t *testing.T) {
	m, _ := startAgent(t, t.TempDir())
	h := start(t, m, work.Shell{Line: "true"}).Handle()
	if h.Session != h.PID {
		t.Errorf("no session of its own: %+v", h)
	}
	const size = 20 << 20 // more than the agent's limit
	r := wait(t, start(t, m, work.Shell{Line: "head -c 20971520 /dev/zero"}))
	if len(r.Exit.Stdout) != size || r.Verdict != work.Pass {
		t.Errorf("%d bytes, %s", len(r.Exit.Stdout), r.Reason)
	}
	r = wait(t, start(t, m, work.IGT{Config: fakeIGT(t), Tests: []string{"igt@a@pass", "igt@b@skip"}}))
	if r.Verdict != work.Skip || r.IGT.Totals.String() != "1 pass, 1 skip" {
		t.Errorf("%+v", r)
	}
	r = wait(t, start(t, m, work.Wsim{Config: fakeIGT(t), Descriptor: work.NonPreemptible}))
	if r.Verdict != work.Pass || r.Wsim.Rate != 102.836 {
		t.Errorf("%+v", r)
	}
	run := start(t, m, work.IGT{Config: fakeIGT(t), Tests: []string{"igt@a@hang"}})
	if err := run.Kill(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if r := wait(t, run); r.Exit.Signal == 0 || len(members(t, run)) > 0 {
		t.Errorf("%+v, left %v", r, members(t, run))
	}
	if _, err := run.On(m).Running(t.Context()); err != nil {
		t.Error(err)
	}
	bad := work.IGT{Config: bench.IGTConfig{ToolDir: "/no/such"}, Tests: []string{"igt@a@b"}}
	var guest *bench.GuestError
	if _, err := work.Start(t.Context(), m, bad, work.Options{Base: t.TempDir()}); !errors.As(err, &guest) ||
		!strings.Contains(err.Error(), "igt_runner: not found") {
		t.Errorf("%v", err)
	}
}
