//go:build integration

package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/internal/procfs"
)

// diskSpec returns guestSpec with an empty disk that can hold snapshots.
func diskSpec(t *testing.T) Spec {
	t.Helper()
	image := filepath.Join(t.TempDir(), "empty.img")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 64<<20))
	s := guestSpec(t)
	s.Disks = []Disk{{Image: image, Format: "raw"}}
	return s
}

// bootID returns the boot id of the running guest.
func bootID(t *testing.T, m *VM) string {
	t.Helper()
	data, err := m.ReadFile(t.Context(), procfs.BootIDFile)
	must(t, err)
	return strings.TrimSpace(string(data))
}

// wantState fails the test unless the machine is in this state.
func wantState(t *testing.T, m *VM, want State) {
	t.Helper()
	if s, err := m.State(t.Context()); s != want || err != nil {
		t.Fatalf("state %q, %v, want %q", s, err, want)
	}
}

// wantStateError fails the test unless err is a StateError with this state.
func wantStateError(t *testing.T, err error, seen State) {
	t.Helper()
	if at := new(StateError); !errors.As(err, &at) || at.Seen != seen {
		t.Errorf("%T %v, want a StateError with %s", err, err, seen)
	}
}

func TestIntegrationStates(t *testing.T) {
	t.Parallel()
	m := newPlace(t).boot(t, guestSpec(t))
	ctx := t.Context()
	first := bootID(t, m)

	t.Run("pause", func(t *testing.T) {
		wantStateError(t, m.Power().Resume(ctx), Running)
		must(t, m.Power().Pause(ctx))
		wantState(t, m, Paused)
		// The call fails at once. In this state the agent would never answer.
		wantStateError(t, second(m.ReadFile(ctx, procfs.BootIDFile)), Paused)
		wantStateError(t, m.Power().Pause(ctx), Paused)
		wantStateError(t, m.Power().Reboot(ctx), Paused)
		must(t, m.Power().Resume(ctx))
		if got := bootID(t, m); got != first {
			t.Errorf("another boot: %s, %s", first, got)
		}
	})
	t.Run("suspend", func(t *testing.T) {
		wantStateError(t, m.Power().Wake(ctx), Running)
		must(t, m.Power().Suspend(ctx))
		wantState(t, m, Suspended)
		wantStateError(t, second(m.ReadFile(ctx, procfs.BootIDFile)), Suspended)
		must(t, m.Power().Wake(ctx))
		if got := bootID(t, m); got != first {
			t.Errorf("another boot: %s, %s", first, got)
		}
	})
	t.Run("reboot", func(t *testing.T) {
		must(t, m.Power().Reboot(ctx))
		if got := bootID(t, m); got == first {
			t.Error("the same boot")
		}
	})
	t.Run("reset", func(t *testing.T) {
		_, err := m.Agent().Start(ctx, bench.Shell("sleep 0.5; kill -STOP $(pidof qemu-ga)"))
		must(t, err)
		for err == nil { // until the guest stops answering
			short, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err = m.ReadFile(short, procfs.BootIDFile)
			cancel()
		}
		must(t, m.Power().Reset(ctx))
		if got := bootID(t, m); got == first {
			t.Error("the same boot")
		}
	})
	t.Run("quit", func(t *testing.T) {
		must(t, m.Power().Quit(ctx))
		wantState(t, m, Off)
		if err := m.Power().Pause(ctx); !errors.Is(err, ErrOff) {
			t.Errorf("%v, want ErrOff", err)
		}
	})
}

// An impossible sleep is refused before it is tried, with the reason.
func TestIntegrationCannotSleep(t *testing.T) {
	t.Parallel()
	s := guestSpec(t)
	s.Extra = []string{"-global", "ICH9-LPC.disable_s3=1"}
	m := newPlace(t).boot(t, s)
	for what, err := range map[string]error{
		"disable_s3": m.Power().Suspend(t.Context()),
		"no swap":    m.Power().Hibernate(t.Context()),
	} {
		if !errors.Is(err, bench.ErrNotAvailable) || !errors.As(err, new(*bench.GuestError)) {
			t.Errorf("%T %v, want a GuestError that is ErrNotAvailable", err, err)
		}
		t.Log(err)
		if !strings.Contains(err.Error(), strings.Fields(what)[len(strings.Fields(what))-1]) {
			t.Errorf("%v, want the reason %s", err, what)
		}
	}
	wantState(t, m, Running)
}

func TestIntegrationSnapshot(t *testing.T) {
	t.Parallel()
	m := newPlace(t).boot(t, diskSpec(t))
	ctx := t.Context()
	p, err := m.Agent().Start(ctx, bench.Shell("while [ ! -e /tmp/stop ]; do sleep 0.1; done; cat /tmp/word; exit 7"))
	must(t, err)
	must(t, m.WriteFile(ctx, "/tmp/word", []byte("before")))
	must(t, m.Snapshots().Save(ctx, "one"))
	wantState(t, m, Running)
	if err := m.Snapshots().Save(ctx, "one"); !errors.Is(err, ErrSnapshotExists) {
		t.Errorf("saved twice: %v", err)
	}
	must(t, m.WriteFile(ctx, "/tmp/word", []byte("after")))
	must(t, m.Power().Pause(ctx))
	must(t, m.Snapshots().Save(ctx, "two"))
	wantState(t, m, Paused)
	list, err := m.Snapshots().List(ctx)
	if err != nil || len(list) != 2 || list[0].Tag != "one" || list[1].Tag != "two" || list[0].Size < 1<<20 {
		t.Errorf("%+v, %v", list, err)
	}

	err = m.Snapshots().Load(ctx, "three")
	if !errors.Is(err, ErrNoSnapshot) || !strings.Contains(err.Error(), "one, two") {
		t.Errorf("%v, want ErrNoSnapshot and what there is", err)
	}
	wantState(t, m, Paused)
	must(t, m.Snapshots().Load(ctx, "one")) // Load keeps a paused machine paused
	wantState(t, m, Paused)
	must(t, m.Power().Resume(ctx))
	must(t, m.Snapshots().Load(ctx, "one"))
	wantState(t, m, Running)
	now, err := m.Agent().Time(ctx)
	if off := time.Since(now).Abs(); err != nil || off > clockSlack {
		t.Errorf("the guest's clock is off by %v, %v", off, err)
	}
	must(t, m.WriteFile(ctx, "/tmp/stop", nil)) // a process from before the snapshot is still known
	if r, err := p.Wait(ctx); err != nil || r.ExitCode != 7 || string(r.Stdout) != "before" {
		t.Errorf("%+v, %v, want the process of the time of the snapshot", r, err)
	}

	must(t, m.Snapshots().Delete(ctx, "one"))
	if err := m.Snapshots().Delete(ctx, "one"); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("%v, want ErrNoSnapshot", err)
	}
	// Off and on again keep the disks.
	if step, err := m.Power().Off(ctx); step != StepAgent || err != nil {
		t.Fatalf("%q, %v", step, err)
	}
	again, err := m.Again(ctx, ModePaused)
	must(t, err)
	defer func() { must(t, again.Close(context.Background())) }()
	wantState(t, again, Prelaunch)
	must(t, again.Snapshots().Load(ctx, "two"))
	must(t, again.Power().Resume(ctx))
	data, err := again.ReadFile(ctx, "/tmp/word")
	if string(data) != "after" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
}

func TestIntegrationStateFile(t *testing.T) {
	t.Parallel()
	m := newPlace(t).boot(t, diskSpec(t))
	ctx := t.Context()
	before := bootID(t, m)
	file := filepath.Join(t.TempDir(), "state")
	done, err := m.StateFiles().Save(ctx, file)
	must(t, err)
	wantState(t, m, Paused)
	if info, err := os.Stat(file); err != nil || info.Size() < 1<<20 || done.RAM < 1<<20 {
		t.Errorf("%v, %v, %+v", info, err, done)
	}
	must(t, m.Power().Quit(ctx))
	again, err := m.Again(ctx, ModeIncoming)
	must(t, err)
	defer func() { must(t, again.Close(context.Background())) }()
	wantState(t, again, Restoring)
	must(t, again.StateFiles().Load(ctx, file))
	wantState(t, again, Paused)
	must(t, again.Power().Resume(ctx))
	if got := bootID(t, again); got != before {
		t.Errorf("another boot: %s, %s", before, got)
	}
}

func TestIntegrationMigrate(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	m := p.boot(t, diskSpec(t))
	ctx := t.Context()
	before := bootID(t, m)
	start := func(name string) *VM {
		o := p.Options
		o.Mode, o.Dir = ModeIncoming, o.Dir+name
		to, err := Start(ctx, m.Twin(name), o)
		must(t, err)
		t.Cleanup(func() { must(t, to.Close(context.Background())) })
		return to
	}

	t.Run("cancel", func(t *testing.T) {
		to := start("cancelled")
		short, cancel := context.WithCancelCause(ctx)
		why := errors.New("enough")
		_, err := m.Migrate(short, to, MigrateOptions{Progress: func(Migration) { cancel(why) }})
		if !errors.Is(err, why) || !errors.Is(err, ErrCancelled) {
			t.Errorf("%v, want that it was cancelled", err)
		}
		wantState(t, m, Running)
		if got := bootID(t, m); got != before {
			t.Errorf("another boot: %s, %s", before, got)
		}
	})
	t.Run("refused", func(t *testing.T) {
		s := m.Twin("other")
		s.MemoryMiB *= 2
		o := p.Options
		o.Mode, o.Dir = ModeIncoming, o.Dir+"-other"
		to, err := Start(ctx, s, o)
		must(t, err)
		defer func() { must(t, to.Close(context.Background())) }()
		_, err = m.Migrate(ctx, to, MigrateOptions{})
		if err == nil || !strings.Contains(err.Error(), "pc.ram") {
			t.Errorf("%v, want QEMU's reason", err)
		}
		wantState(t, m, Running)
	})
	to := start("vm1")
	seen := 0
	done, err := m.Migrate(ctx, to, MigrateOptions{Progress: func(Migration) { seen++ }})
	must(t, err)
	t.Logf("%+v, %d times asked", done, seen)
	wantState(t, m, Paused)
	wantState(t, to, Running)
	if got := bootID(t, to); got != before {
		t.Errorf("another boot: %s, %s", before, got)
	}
	if done.Total == 0 || done.RAM < 1<<20 || seen == 0 {
		t.Errorf("%+v, %d times asked", done, seen)
	}
	must(t, m.Close(ctx))
	sh(t, to, "echo there >/tmp/x && sync")
	must(t, to.Snapshots().Save(ctx, "there")) // the disk belongs to this machine now
}

// A guest that hibernates goes on at the same place when its machine is started again.
func TestIntegrationHibernate(t *testing.T) {
	t.Parallel()
	s := diskSpec(t)
	must(t, os.Truncate(s.Disks[0].Image, 512<<20))
	m := newPlace(t).boot(t, s)
	ctx := t.Context()
	before := bootID(t, m)
	sh(t, m, "busybox mkswap /dev/vda && busybox swapon /dev/vda && echo kept >/tmp/word")
	must(t, m.Power().Hibernate(ctx))
	wantState(t, m, Off)
	again, err := m.Again(ctx, ModeRun)
	must(t, err)
	defer func() { must(t, again.Close(context.Background())) }()
	must(t, again.WaitReady(ctx))
	if got := bootID(t, again); got != before {
		t.Errorf("another boot: %s, %s", before, got)
	}
	if data, err := again.ReadFile(ctx, "/tmp/word"); string(data) != "kept\n" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
}

// A full disk is reported before the save begins, or the save fails without harm.
func TestIntegrationFullDisk(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	must(t, unix.Mount("vmtb-test", p.WorkDir, "tmpfs", 0, "size=20m")) // needs root, as make test has
	t.Cleanup(func() { must(t, unix.Unmount(p.WorkDir, 0)) })
	m := p.boot(t, diskSpec(t))
	ctx := t.Context()
	err := m.Snapshots().Save(ctx, "x")
	if !errors.Is(err, unix.ENOSPC) || !errors.As(err, new(*bench.InfraError)) {
		t.Errorf("%T %v, want an InfraError that is ENOSPC", err, err)
	}
	wantState(t, m, Running)

	err = m.snapshots.job(ctx, "snapshot-save", "x", []string{diskNode(0)}) // as if space ran out after the check
	if err == nil {
		t.Error("a state of 100 MiB is saved in 20 MiB")
	}
	t.Log(err)
	wantState(t, m, Running)
	if list, err := m.Snapshots().List(ctx); len(list) != 0 || err != nil {
		t.Errorf("%v, %v, want no snapshot", list, err)
	}
	file := filepath.Join(p.WorkDir, "state")
	if _, err := m.StateFiles().Save(ctx, file); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%T %v, want ENOSPC", err, err)
	}
	if _, err := m.mover.send(ctx, "file:"+file, MigrateOptions{}); err == nil {
		t.Error("a state of 100 MiB is written to 20 MiB")
	} else {
		t.Log(err)
	}
	must(t, os.Remove(file))
	if _, err := m.ReadFile(ctx, procfs.BootIDFile); err != nil {
		t.Errorf("the guest does not go on: %v", err)
	}
}
