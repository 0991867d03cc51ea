package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/internal/fake/fakeqemu"
)

// A pair is a running machine and the target of its migration.
type pair struct {
	from, to *VM
	overlay  string
	log      string // the fakes write it
}

// migrants starts a pair. words are the fakes' abilities and faults.
func migrants(t *testing.T, words string) pair {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm") // short: sockets are in it
	must(t, err)
	kernel := filepath.Join(dir, "kernel")
	must(t, os.WriteFile(kernel, nil, 0o600))
	spec := Spec{
		Name: "vm0", QEMU: "/proc/self/exe", Accel: "kvm", Kernel: &Kernel{Image: kernel},
		Extra: []string{fakeqemu.Flag, words + " dir=" + dir},
	}
	o := Options{Dir: filepath.Join(dir, "logs"), SocketDir: filepath.Join(dir, "run"), Scale: 0.1}
	p := pair{overlay: filepath.Join(dir, "overlays", "disk0.qcow2"), log: filepath.Join(dir, fakeqemu.LogFile)}
	t.Cleanup(func() {
		for _, m := range []*VM{p.from, p.to} {
			if m != nil {
				must(t, m.Close(context.Background()))
				gone(t, m.PID())
			}
		}
		if left := names(t, filepath.Join(dir, "run")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
		must(t, os.RemoveAll(dir))
	})
	p.from, err = Start(t.Context(), spec, o)
	must(t, err)
	if strings.Contains(words, "agent") {
		must(t, p.from.WaitReady(t.Context()))
	}
	must(t, os.Mkdir(filepath.Dir(p.overlay), 0o700))
	must(t, os.WriteFile(p.overlay, []byte("disk"), 0o600))
	p.from.spec.Disks = []Disk{{Image: "/dev/null", Format: "raw"}}
	p.from.disks.files = []string{p.overlay}
	p.from.disks.own(filepath.Dir(p.overlay))
	o.Mode, o.Dir = ModeIncoming, filepath.Join(dir, "moved")
	p.to, err = Start(t.Context(), p.from.Twin("vm0"), o)
	must(t, err)
	return p
}

// commands returns the commands that the fakes have received.
func (p pair) commands(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(p.log)
	must(t, err)
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// migrationSteps returns all commands of a migration, as "ROLE:%s:COMMAND:N".
func migrationSteps(t *testing.T) (steps []string) {
	t.Helper()
	p := migrants(t, "agent")
	before := len(p.commands(t))
	done, err := p.from.Migrate(t.Context(), p.to, MigrateOptions{})
	if err != nil || !done.Moved {
		t.Fatalf("%+v, %v", done, err)
	}
	all := p.commands(t)
	p.check(t, "no fault", done.Moved, err)
	counts := map[string]int{}
	for i, line := range all {
		counts[line]++
		role, cmd, _ := strings.Cut(line, " ")
		if i >= before {
			steps = append(steps, fmt.Sprintf("%s:%%s:%s:%d", role, cmd, counts[line]))
		}
	}
	return steps
}

// TestMigrateFailsAnywhere: each command of a migration fails in each way. It is refused, QEMU
// crashes, or it is obeyed without an answer until the caller gives up. Each time exactly one of
// both machines survives, runs, and has the disk.
func TestMigrateFailsAnywhere(t *testing.T) {
	steps := migrationSteps(t)
	if len(steps) < 12 {
		t.Fatalf("a migration is only %q", steps)
	}
	for _, step := range steps {
		for _, kind := range []string{"refuse", "crash", "mute"} {
			fault := fmt.Sprintf(step, kind)
			t.Run(fault, func(t *testing.T) {
				t.Parallel()
				p := migrants(t, "agent "+fault)
				why := errors.New("enough")
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if kind == "mute" {
					go func() { // like a user's Ctrl-C
						fakeqemu.WaitFault(ctx, filepath.Dir(p.log))
						cancel(why)
					}()
				}
				done, err := p.from.Migrate(ctx, p.to, MigrateOptions{})
				p.check(t, fault, done.Moved, err)
			})
		}
	}
}

// Save does not wait for an event that never comes. QEMU reports a completed migration in its state
// finish-migrate, and sends no event at the end of that state.
func TestSaveStateUnheardOf(t *testing.T) {
	p := migrants(t, "lagging")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := p.from.StateFiles().Save(ctx, filepath.Join(filepath.Dir(p.log), "state"))
	must(t, err)
}

// check checks a pair after a migration with a fault.
func (p pair) check(t *testing.T, fault string, moved bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	machine, other, crashed := p.from, p.to, "from:crash"
	if moved {
		machine, other, crashed = p.to, p.from, "to:crash"
	} else if err == nil {
		t.Error("no error, and not moved")
	}
	overlay := func(when string) {
		t.Helper()
		if _, err := os.Stat(p.overlay); err != nil {
			t.Errorf("%s (moved %v, %v): the disk: %v", when, moved, err, err)
		}
	}
	running := func(m *VM, want bool, when string) {
		t.Helper()
		if s, err := m.State(ctx); (s == Running) != want {
			t.Errorf("%s (moved %v): the machine is %q, %v, want running: %v", when, moved, s, err, want)
		}
	}
	if strings.HasPrefix(fault, crashed) && fakeqemu.Faulted(filepath.Dir(p.log)) {
		if err == nil {
			t.Error("its QEMU crashed, and there is no error")
		}
		return
	}
	overlay("after the migration")
	running(machine, true, "after the migration")
	running(other, false, "the other one")
	if err := machine.guest.qga.Sync(ctx); err != nil {
		t.Errorf("the guest does not answer (moved %v): %v", moved, err)
	}
	must(t, other.Close(ctx))
	overlay("the other one is closed")
	running(machine, true, "the other one is closed")
	must(t, machine.Close(ctx))
	if _, err := os.Stat(filepath.Dir(p.overlay)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the disk is left: %v", err)
	}
}

// A guest without an agent is migrated, too, and without a question to its agent.
func TestMigrateWithoutAgent(t *testing.T) {
	p := migrants(t, "")
	start := time.Now()
	done, err := p.from.Migrate(t.Context(), p.to, MigrateOptions{})
	if err != nil || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	p.check(t, "", done.Moved, err)
}

// If the agent does not answer after the move, the error blames the machine that has moved.
func TestMigrateSilentAgent(t *testing.T) {
	p := migrants(t, "agent deaf-after-move")
	p.from.life.scale = 0.02
	done, err := p.from.Migrate(t.Context(), p.to, MigrateOptions{})
	if err == nil || !done.Moved || !strings.Contains(err.Error(), "the agent does not answer") ||
		strings.Contains(err.Error(), "want") {
		t.Errorf("%+v, %v", done, err)
	}
	if s, err := p.to.State(t.Context()); s != Running || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	if _, err := os.Stat(p.overlay); err != nil {
		t.Error(err)
	}
}
