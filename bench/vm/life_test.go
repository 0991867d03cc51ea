package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/undo"
)

// startFake starts a machine whose QEMU is fakeQEMU. Its deadlines are the real ones, so that tests
// pass on a busy machine. A test that waits for a deadline shortens only that one.
func startFake(t *testing.T, can string, change ...func(*Spec, *Options)) (*VM, error) {
	t.Helper()
	return startFakeScaled(t, can, 1, change...)
}

func startFakeScaled(t *testing.T, can string, scale float64, change ...func(*Spec, *Options)) (*VM, error) {
	t.Helper()
	base, err := os.MkdirTemp("", "vm")
	must(t, err)
	kernel := filepath.Join(base, "kernel")
	must(t, os.WriteFile(kernel, nil, 0o600))
	s := Spec{
		Name: "vm0", QEMU: "/proc/self/exe", Accel: "kvm", Kernel: &Kernel{Image: kernel},
		Extra: []string{"-fake", can},
	}
	o := Options{Dir: filepath.Join(base, "logs"), SocketDir: filepath.Join(base, "run"), Scale: scale}
	for _, f := range change {
		f(&s, &o)
	}
	m, err := Start(t.Context(), s, o)
	t.Cleanup(func() {
		if m != nil {
			if err := m.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
			gone(t, m.PID())
		}
		if left := names(t, filepath.Join(base, "run")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
		must(t, os.RemoveAll(base))
	})
	return m, err
}

// bootFake starts a machine and waits until it is ready.
func bootFake(t *testing.T, can string) *VM {
	t.Helper()
	m, err := startFake(t, "agent "+can)
	must(t, err)
	must(t, m.WaitReady(t.Context()))
	return m
}

func TestPowerOff(t *testing.T) {
	for _, c := range []struct {
		can      string
		want     Step
		shutdown time.Duration // for the agent; half of it for the power button
		scale    float64
	}{
		{"shutdown acpi", StepAgent, time.Minute, 1},
		{"refuses-shutdown acpi", StepACPI, time.Minute, 1},
		{"acpi", StepACPI, 5 * time.Second, 1},
		{"", StepQuit, 200 * time.Millisecond, 1},
		{"ignores-quit", StepKill, 4 * time.Second, 0.05},
	} {
		can, want := c.can, c.want
		t.Run(can, func(t *testing.T) {
			t.Parallel()
			m := bootFake(t, can)
			m.power.shutdown, m.life.scale = c.shutdown, c.scale
			if step, err := m.Power().Off(t.Context()); step != want || err != nil {
				t.Errorf("%q, %v, want %q", step, err, want)
			}
			select {
			case <-m.Done():
			default:
				t.Error("not done")
			}
			if step, err := m.Power().Off(t.Context()); step != StepNone || err != nil {
				t.Errorf("once more: %q, %v", step, err)
			}
			if err := m.WriteFile(t.Context(), "/x", nil); !errors.Is(err, ErrOff) {
				t.Errorf("use of a machine that is off: %v, want ErrOff", err)
			}
		})
	}
}

// A guest whose agent never came up gets the power button only if it listens for it. If not, the
// user learns why.
func TestPowerOffWithoutAgent(t *testing.T) {
	for can, want := range map[string]Step{"acpi": StepQuit, "acpi button": StepACPI} {
		m, err := startFake(t, can)
		must(t, err)
		must(t, m.reachNow(t, Running))
		var refusals []string
		step, err := m.Power().OffAndTell(t.Context(), func(what string, refusal error) {
			if refusal != nil {
				refusals = append(refusals, what+": "+refusal.Error())
			}
		})
		if err != nil || step != want {
			t.Errorf("%s: %q, %v, want %q", can, step, err, want)
		}
		text := strings.Join(refusals, "; ")
		if !strings.Contains(text, "the agent has not opened its port") ||
			strings.Contains(text, "it has not booted") != (want == StepQuit) {
			t.Errorf("%s: left out %q", can, text)
		}
	}
}

func TestPowerOffWithoutTime(t *testing.T) {
	m := bootFake(t, "shutdown acpi")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if step, err := m.Power().Off(ctx); step != StepQuit || err != nil {
		t.Errorf("%q, %v, want %q", step, err, StepQuit)
	}
}

func TestPowerOffCrash(t *testing.T) {
	m := bootFake(t, "crash-at-shutdown")
	step, err := m.Power().Off(t.Context())
	if step != StepAgent || !errors.As(err, new(*bench.InfraError)) || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("%q, %v, want an InfraError that says exit code 3", step, err)
	}
}

func TestKill(t *testing.T) {
	m := bootFake(t, "")
	must(t, m.Power().Kill(t.Context()))
	if exit, err := m.Wait(t.Context()); exit.Signal != 9 || err != nil {
		t.Errorf("%v, %v, want signal 9", exit, err)
	}
	if s, err := m.State(t.Context()); s != Gone || err != nil {
		t.Errorf("state %q, %v, want gone", s, err)
	}
	if err := m.WaitReady(t.Context()); !errors.Is(err, ErrOff) {
		t.Errorf("WaitReady = %v, want ErrOff", err)
	}
	must(t, m.Close(t.Context()))
	must(t, m.Close(t.Context()))
}

func TestGuestEndsWhileBooting(t *testing.T) {
	// QEMU may end before or after its answer to the command that starts the guest.
	boot := func(can string) error {
		m, err := startFake(t, can)
		if err == nil {
			err = m.WaitReady(t.Context())
		}
		return err
	}
	for can, want := range map[string]error{"panics": ErrPanic, "resets": ErrReset} {
		if err := boot(can); !errors.As(err, new(*bench.GuestError)) || !errors.Is(err, want) {
			t.Errorf("%s: %T %v, want a GuestError that is %v", can, err, err, want)
		}
	}
	err := boot("crashes")
	if !errors.As(err, new(*bench.InfraError)) || !strings.Contains(err.Error(), "exit code 3") ||
		!strings.Contains(err.Error(), "Assertion failed") {
		t.Errorf("crash: %T %v, want an InfraError with the exit code and QEMU's words", err, err)
	}
	err = boot("breaks")
	if !errors.As(err, new(*bench.InfraError)) ||
		!strings.Contains(err.Error(), "has stopped the guest: internal error") ||
		!strings.Contains(err.Error(), "KVM internal error. Suberror: 1") {
		t.Errorf("internal error: %T %v, want an InfraError with QEMU's words", err, err)
	}
}

// If QEMU stops the probe guest and stays alive, the probe fails without a wait for its deadline.
func TestProbeBreaks(t *testing.T) {
	qemu := filepath.Join(t.TempDir(), "qemu")
	must(
		t,
		os.WriteFile(
			qemu,
			[]byte("#!/bin/sh\necho 'KVM internal error. Suberror: 1' >&2\necho 'extra data' >&2\nexec sleep 1000\n"),
			0o700,
		),
	)
	err := probe(t.Context(), qemu, "kvm", "host")
	if err == nil || !strings.HasSuffix(err.Error(), "KVM internal error. Suberror: 1") {
		t.Errorf("%v, want QEMU's words", err)
	}
}

func TestGuestEndsWhileAsked(t *testing.T) {
	_, err := bootFake(t, "panics-later").ReadFile(t.Context(), "/x")
	if !errors.As(err, new(*bench.GuestError)) || !errors.Is(err, ErrPanic) {
		t.Errorf("panic: %T %v, want a GuestError that is ErrPanic", err, err)
	}
	_, err = bootFake(t, "crashes-later").ReadFile(t.Context(), "/x")
	if !errors.As(err, new(*bench.InfraError)) || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("crash: %T %v, want an InfraError with the exit code", err, err)
	}
}

func TestNotReady(t *testing.T) {
	for _, c := range []struct {
		can, want string
		boot      time.Duration
	}{{"", "the agent did not come up", 300 * time.Millisecond}, {"agent deaf", "does not answer", 3 * time.Second}} {
		can, want := c.can, c.want
		m, err := startFake(t, can)
		must(t, err)
		m.opts.Boot = c.boot
		err = m.WaitReady(t.Context())
		if !errors.As(err, new(*bench.GuestError)) || !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %T %v, want a GuestError at the deadline with %q", can, err, err, want)
		}
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if err := m.WaitReady(ctx); !errors.Is(err, why) || errors.As(err, new(*bench.GuestError)) {
			t.Errorf("%q, cancelled: %T %v, want %v", can, err, err, why)
		}
	}
}

func TestStartOfBadQEMU(t *testing.T) {
	_, err := startFake(t, "refuses")
	if !errors.As(err, new(*bench.HostError)) || !strings.Contains(err.Error(), "another QEMU still has it") {
		t.Errorf("refuses: %T %v, want a HostError with advice", err, err)
	}
	_, err = startFakeScaled(t, "mute", 0.05) // 1.5 s, part of which passes before the greeting
	if !errors.As(err, new(*bench.InfraError)) || !strings.Contains(err.Error(), "greeting: no answer in ") {
		t.Errorf("mute: %T %v, want an InfraError at the deadline", err, err)
	}
}

func TestStartCancelled(t *testing.T) {
	base, err := os.MkdirTemp("", "vm") // short: the paths of sockets are limited
	must(t, err)
	defer os.RemoveAll(base)
	sockets := filepath.Join(base, "run")
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { cancel(why) })
	s := Spec{
		Name: "vm0", QEMU: "/proc/self/exe", Accel: "kvm", Kernel: &Kernel{Image: "/dev/null"},
		Extra: []string{"-fake", "mute"},
	}
	_, err = Start(ctx, s, Options{Dir: filepath.Join(base, "logs"), SocketDir: sockets})
	if !errors.Is(err, why) {
		t.Errorf("err = %v, want %v", err, why)
	}
	if left := names(t, sockets); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestJournal(t *testing.T) {
	base, err := os.MkdirTemp("", "vm")
	must(t, err)
	defer os.RemoveAll(base)
	log, err := undo.Open(filepath.Join(base, "undo.jsonl"))
	must(t, err)
	defer log.Close()
	o := Options{SocketDir: filepath.Join(base, "run"), Journal: log.Add}
	s := Spec{
		Name: "vm0", QEMU: "/proc/self/exe", Accel: "kvm", Kernel: &Kernel{Image: "/dev/null"},
		Extra: []string{"-fake", "agent"},
	}
	m, err := Start(t.Context(), s, o)
	must(t, err)
	var kinds []string
	for _, e := range log.Pending() {
		kinds = append(kinds, e.Record.Kind())
	}
	if got := strings.Join(kinds, " "); got != "path process" {
		t.Errorf("journal: %s, want path process", got)
	}
	must(t, log.Undo(t.Context(), undo.OS{})) // as another vmtb would do
	gone(t, m.PID())
	must(t, m.Close(t.Context()))

	full := errors.New("disk full")
	o.Journal = func(r undo.Record) error {
		if r.Kind() == "process" {
			return full
		}
		return nil
	}
	if _, err := Start(t.Context(), s, o); !errors.Is(err, full) {
		t.Errorf("err = %v, want %v", err, full)
	}
	if left := names(t, o.SocketDir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
