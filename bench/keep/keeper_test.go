package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/bench/vm"
	"vmtb/bench/vm/guard"
	"vmtb/internal/fake/fakeqemu"
)

func TestMain(m *testing.M) {
	if code, ran := guard.Run(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := fakeqemu.Play(os.Args); ran {
		os.Exit(code)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector, a guard would end a second late
	os.Exit(m.Run())
}

// A journal is the undo journal of a keeper. Its changes are undone on this host.
type journal struct {
	*undo.Log
	fail error // returned by Undo
	hang bool  // Undo blocks until its context ends
}

func (j *journal) Undo(ctx context.Context) error {
	if j.hang {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if j.fail != nil {
		return j.fail
	}
	return j.Log.Undo(ctx, undo.OS{})
}

// A kept is a machine with its keeper. The keeper runs in this process.
type kept struct {
	store  Store
	record Record
	client *Client
	words  string // directory of the fake's log
	ended  chan error
}

func (k kept) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-k.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the keeper does not end")
		return nil
	}
}

// keepMachine starts a machine and its keeper.
func keepMachine(t *testing.T, words string, j *journal) kept {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	kernel := filepath.Join(dir, "kernel")
	if err := os.WriteFile(kernel, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := Store{Dir: filepath.Join(dir, "machines")}
	r := record("vm0")
	r.Spec = vm.Spec{
		Name: "vm0", QEMU: "/proc/self/exe", Accel: "kvm", Kernel: &vm.Kernel{Image: kernel},
		Extra: []string{fakeqemu.Flag, words + " dir=" + dir}, VNC: vm.VNC{Mode: vm.VNCOff},
	}
	r.Scale = 0.1
	if r, err = s.create(r); err != nil {
		t.Fatal(err)
	}
	k := kept{store: s, record: r, client: r.client(), words: dir, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	started, tell := io.Pipe()
	go func() {
		err := Run(ctx, r.Dir, func(path string) (Undo, error) {
			var err error
			j.Log, err = undo.Open(path)
			return j, err
		}, tell)
		tell.Close()
		k.ended <- err
	}()
	if err := receive(started, Output{}, nil); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, started) }()
	if strings.Contains(words, "agent") {
		if err := k.client.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func (k kept) now(t *testing.T) Record {
	t.Helper()
	r, err := k.store.Get("vm0")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A machine that has ended without an undo of its changes of the host is not reported as "done".
// The client, the record and the list of machines report the changes.
func TestNotRestored(t *testing.T) {
	for name, end := range map[string]func(c *Client) error{
		"kill": func(c *Client) error { return c.Kill(t.Context(), nil) },
		"off":  func(c *Client) error { _, err := c.PowerOff(t.Context(), nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			busy := &journal{fail: errors.New("device or resource busy")}
			k := keepMachine(t, "agent", busy)
			err := end(k.client)
			if !errors.Is(err, ErrNotRestored) || !errors.As(err, new(*bench.InfraError)) {
				t.Errorf("%T %v, want an InfraError that matches ErrNotRestored", err, err)
			}
			wantError(t, err, "device or resource busy", "vmtb recover")
			if err := k.wait(t); !errors.Is(err, ErrNotRestored) {
				t.Errorf("the keeper ends with %v", err)
			}
			r := k.now(t)
			if r.Life() != Died || r.Ended.IsZero() {
				t.Errorf("%+v, life %v", r, r.Life())
			}
			_, err = k.store.Open("vm0")
			wantError(
				t, err, "a command ended it", "the host is not restored: device or resource busy", "vmtb recover",
			)
			_, err = k.store.create(record("vm0"))
			wantError(t, err, "vmtb recover")

			log, err := undo.Open(filepath.Join(r.Dir, UndoFile)) // as vmtb recover does
			if err == nil {
				err = errors.Join(log.Undo(t.Context(), undo.OS{}), log.Close())
			}
			if err != nil || r.Life() != Ended || strings.Contains(r.End(), "not restored") {
				t.Errorf("recovered: %v, life %v: %s", err, r.Life(), r.End())
			}
			create(t, k.store, "vm0")
		})
	}
}

// A keeper ends although its undo hangs.
func TestUndoHangs(t *testing.T) {
	defer func(d time.Duration) { endTime = d }(endTime)
	endTime = 200 * time.Millisecond
	k := keepMachine(t, "agent", &journal{hang: true})
	var said []string
	err := k.client.Kill(t.Context(), func(s string) { said = append(said, s) })
	if !errors.Is(err, ErrNotRestored) || strings.Join(said, ";") != "restoring the host" {
		t.Errorf("%v, progress %q", err, said)
	}
	wantError(t, err, "not done within 200 ms")
	wantError(t, k.wait(t), "not done within 200 ms")
}

// A failed shutdown order is not named as the reason for a later end.
func TestToldIsForgotten(t *testing.T) {
	k := keepMachine(t, "agent", &journal{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.client.PowerOff(gone, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	info, err := k.client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(info.State.QEMU)
	if err == nil {
		err = p.Kill() // as the OOM killer would
	}
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, k.wait(t), "QEMU")
	if r := k.now(t); r.Life() != Ended || !strings.Contains(r.Reason, "KILL") {
		t.Errorf("life %v, reason %q", r.Life(), r.Reason)
	}
}

// A kill interrupts a shutdown that the guest ignores, and does not wait for its deadline.
func TestKillDuringOff(t *testing.T) {
	k := keepMachine(t, "agent stubborn", &journal{})
	off := make(chan error, 1)
	go func() {
		_, err := k.client.PowerOff(t.Context(), nil)
		off <- err
	}()
	fakeqemu.WaitFault(t.Context(), k.words)
	start := time.Now()
	if err := k.client.Kill(t.Context(), nil); err != nil || time.Since(start) > 4*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if err := errors.Join(<-off, k.wait(t)); err != nil {
		t.Error(err)
	}
}

// A machine whose guest never booted is off soon, and its end explains why the guest was not asked.
func TestOffWithoutGuest(t *testing.T) {
	k := keepMachine(t, "", &journal{})
	start := time.Now()
	off, err := k.client.PowerOff(t.Context(), nil)
	if err != nil || off.How != vm.StepQuit || time.Since(start) > 2*time.Second {
		t.Errorf("%+v, %v, after %v", off, err, time.Since(start))
	}
	text := strings.Join(off.LeftOut, "; ")
	if !strings.Contains(text, "the agent has not opened its port") ||
		!strings.Contains(text, "no agent has answered yet") {
		t.Errorf("left out: %q", text)
	}
	if err := k.wait(t); err != nil {
		t.Error(err)
	}
}

func TestMigrate(t *testing.T) {
	k := keepMachine(t, "agent", &journal{})
	_, err := k.client.Migrate(t.Context(), nil, nil)
	if err != nil {
		t.Error(err)
	}
	k.check(t, "", err)
}

// A shutdown during a migration ends the machine, whether it is at the source or the target.
func TestOffDuringMigration(t *testing.T) {
	k := keepMachine(t, "agent from:mute:migrate:1", &journal{})
	ctx, cancel := context.WithCancel(t.Context())
	migrated := make(chan error, 1)
	go func() {
		_, err := k.client.Migrate(ctx, nil, nil)
		migrated <- err
	}()
	fakeqemu.WaitFault(ctx, k.words)
	off := make(chan error, 1)
	go func() {
		_, err := k.client.PowerOff(t.Context(), nil)
		off <- err
	}()
	cancel()
	if err := <-migrated; err == nil {
		t.Error("migrated, and was cancelled")
	}
	if err := errors.Join(<-off, k.wait(t)); err != nil {
		t.Error(err)
	}
	if r := k.now(t); r.Life() != Ended || r.Reason != errEndRequested.Error() {
		t.Errorf("life %v, %q", r.Life(), r.Reason)
	}
}

// TestMigrateFailsAnywhere: after a migration with a fault, the keeper keeps the machine that
// survived.
func TestMigrateFailsAnywhere(t *testing.T) {
	for _, step := range []string{
		"from:%s:query-migrate:1", "to:%s:migrate-incoming:1", "from:%s:migrate:1", "from:%s:query-migrate:2",
		"to:%s:query-migrate:1",
		"to:%s:query-status:2", "to:%s:cont:1", "to:%s:query-status:3",
	} {
		for _, kind := range []string{"refuse", "crash", "mute"} {
			fault := fmt.Sprintf(step, kind)
			t.Run(fault, func(t *testing.T) {
				t.Parallel()
				k := keepMachine(t, "agent "+fault, &journal{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if kind == "mute" {
					go func() {
						fakeqemu.WaitFault(ctx, k.words)
						cancel()
					}()
				}
				_, err := k.client.Migrate(ctx, nil, nil)
				k.check(t, fault, err)
			})
		}
	}
}

// check checks a machine after a migration with a fault. The client has gone, but the keeper may
// still be at work.
func (k kept) check(t *testing.T, fault string, migrateErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	info, err := k.client.Info(ctx)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for err == nil && info.State.State != vm.Running && ctx.Err() == nil {
		<-tick.C
		info, err = k.client.Info(ctx)
	}
	crashed := strings.Contains(fault, ":crash:")
	if err != nil && crashed { // the crashed QEMU may have been the machine: then the keeper has restored the host
		if k.wait(t) == nil || k.now(t).Life() != Ended {
			t.Errorf("%v; life %v, %q", err, k.now(t).Life(), k.now(t).Reason)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v (the migration: %v)", err, migrateErr)
	}
	moved := strings.Contains(info.State.Logs, "moved-")
	if migrateErr == nil && !moved {
		t.Error("not moved, and no error")
	}
	if migrateErr != nil && moved && ctx.Err() == nil && !errors.Is(migrateErr, context.Canceled) {
		wantError(t, migrateErr, "has moved and runs in its new QEMU")
	}
	var reply json.RawMessage
	if reply, err = k.client.QMP(ctx, "query-status", nil); err != nil || !strings.Contains(string(reply), "running") {
		t.Errorf("moved %v: %s, %v", moved, reply, err)
	}
	if err := k.client.WaitReady(ctx); err != nil {
		t.Errorf("moved %v: the guest: %v", moved, err)
	}
	if err := k.client.Kill(ctx, nil); err != nil {
		t.Error(err)
	}
	if err := k.wait(t); err != nil {
		t.Error(err)
	}
	if left, err := undo.Peek(filepath.Join(k.record.Dir, UndoFile)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
