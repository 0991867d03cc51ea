//go:build integration

package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// within fails the test if the code until the returned function's call takes longer than limit.
func within(t *testing.T, limit time.Duration) func() {
	t.Helper()
	begin := time.Now()
	return func() {
		t.Helper()
		if took := time.Since(begin); took > limit {
			t.Errorf("took %v, want at most %v", took, limit)
		}
	}
}

func TestIntegrationProbe(t *testing.T) {
	t.Parallel()
	if err := probe(t.Context(), "qemu-system-x86_64", "tcg", "max"); err != nil {
		t.Errorf("the probe guest does not run under emulation: %v", err)
	}
	a, err := ProbeAccel(t.Context(), "qemu-system-x86_64")
	t.Logf("%+v, %v", a, err)
	if err != nil || a.Name != "kvm" && a.Name != "tcg" || (a.Name == "tcg") != (a.Reason != "") {
		t.Errorf("ProbeAccel = %+v, %v", a, err)
	}
}

func TestIntegrationStartFails(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.qcow2")
	must(t, os.WriteFile(bad, []byte("QFI\xfb\x00\x00\x00\x09"), 0o600))
	host, usage := func(err error) bool { return errors.As(err, new(*bench.HostError)) }, func(err error) bool {
		return errors.As(err, new(*bench.UsageError))
	}
	for name, c := range map[string]struct {
		change func(*Spec)
		kind   func(error) bool
		want   string
	}{
		"missing image": {
			func(s *Spec) { s.Disks = []Disk{{Image: "/none.img"}} }, usage, "stat /none.img: no such file",
		},
		"missing kernel": {func(s *Spec) { s.Kernel.Image = "/none" }, usage, "stat /none: no such file"},
		"bad image":      {func(s *Spec) { s.Disks = []Disk{{Image: bad}} }, usage, "Unsupported qcow2 version 9"},
		"wrong format": {
			func(s *Spec) { s.Disks = []Disk{{Image: s.Kernel.Image, Format: "qcow2"}} }, usage, "not in qcow2 format",
		},
		"missing VF": {
			func(s *Spec) { s.VFs = []VF{{Host: "0000:ff:1f.7"}} }, host,
			"attach VF 0000:ff:1f.7: vfio /sys/bus/pci/devices/0000:ff:1f.7: no such host device: No such file or " +
				"directory (there is no such PCI function",
		},
		"bad VF address": {func(s *Spec) { s.VFs = []VF{{Host: "zz"}} }, usage, "vf0: address"},
		"bad option": {
			func(s *Spec) { s.Extra = []string{"-nonsense"} }, usage,
			"QEMU refuses -nonsense: qemu-system-x86_64: -nonsense: invalid option",
		},
		"bad device": {func(s *Spec) { s.Devices = []string{"nonsense"} }, usage, "QEMU refuses -device nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			s := guestSpec(t)
			c.change(&s)
			defer within(t, 10*time.Second)()
			m, err := Start(t.Context(), s, p.Options)
			if err == nil {
				m.Close(context.Background())
				t.Fatal("it started")
			}
			if !c.kind(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%T %v\nwant %q", err, err, c.want)
			}
			p.clean(t)
		})
	}
}

func TestIntegrationPowerOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		guest string // shell line in the guest, before Off
		vm    func(*VM)
		want  Step
	}{
		"agent refuses": {"printf '#!/bin/sh\nexit 1\n' >/sbin/shutdown; " + powerButton, nil, StepACPI},
		"agent ignores": {"printf '#!/bin/sh\n' >/sbin/shutdown; " + powerButton, nil, StepACPI},
		"agent hangs": {
			powerButton + "; setsid sh -c 'sleep 0.5; killall -STOP qemu-ga' </dev/null >/dev/null 2>&1 &", waitASecond,
			StepACPI,
		},
		"agent gone": {
			powerButton +
				"; mv /usr/sbin/qemu-ga /root; setsid sh -c 'sleep 0.5; killall -9 qemu-ga' </dev/null >/dev/null " +
				"2>&1 &", waitASecond, StepACPI,
		},
		"all ignored":  {"printf '#!/bin/sh\n' >/sbin/shutdown", nil, StepQuit},
		"paused":       {"true", func(m *VM) { must(t, m.QMP().Execute(t.Context(), "stop", nil, nil)) }, StepQuit},
		"QEMU stopped": {"true", func(m *VM) { must(t, unix.Kill(m.PID(), unix.SIGSTOP)) }, StepKill},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.Shutdown = 6 * time.Second
			m := p.boot(t, guestSpec(t))
			m.life.scale = 1
			sh(t, m, c.guest)
			if c.vm != nil {
				c.vm(m)
			}
			begin := time.Now()
			step, err := m.Power().Off(t.Context())
			if step != c.want || err != nil {
				t.Errorf("%q, %v, want %q", step, err, c.want)
			}
			t.Logf("%q after %v", step, time.Since(begin).Round(time.Millisecond))
		})
	}
}

// waitASecond waits for a command that the guest runs in the background, after the agent's answer.
func waitASecond(*VM) { time.Sleep(2 * time.Second) }

// powerButton is a shell line: with it, the guest powers off when its power button is pressed.
const powerButton = `modprobe -a evdev button && for e in /dev/input/event*; do
	setsid sh -c "head -c 1 $e && poweroff -f" </dev/null >/dev/null 2>&1 &
done
until [ "$(ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c '> /dev/input/event')" -ge \
	"$(ls /dev/input/event* | wc -l)" ]; do :; done`

func TestIntegrationPowerOffInAHurry(t *testing.T) {
	t.Parallel()
	m := newPlace(t).boot(t, guestSpec(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if step, err := m.Power().Off(ctx); step != StepQuit || err != nil {
		t.Errorf("%q, %v, want %q", step, err, StepQuit)
	}
}

// wantPanic checks the error of a wait that a panic ended.
func wantPanic(t *testing.T, err error) {
	t.Helper()
	if !errors.As(err, new(*bench.GuestError)) || !errors.Is(err, ErrPanic) ||
		!strings.Contains(err.Error(), "panicked: Kernel panic - not syncing: ") {
		t.Errorf("%T %v\nwant a GuestError with the panic on the console", err, err)
	}
}

func TestIntegrationPanic(t *testing.T) {
	t.Parallel()
	m := newPlace(t).boot(t, guestSpec(t))
	sh(t, m, "modprobe pvpanic-pci")
	done := within(t, 20*time.Second)
	_, err := m.Exec(t.Context(), bench.Shell("sleep 1; echo c >/proc/sysrq-trigger; sleep 300"))
	wantPanic(t, err)
	done()
	if s, err := m.State(t.Context()); s != Panicked || err != nil {
		t.Errorf("state = %v, %v", s, err)
	}
	wantPanic(t, m.WaitReady(t.Context()))
	if step, err := m.Power().Off(t.Context()); step != StepQuit || err != nil {
		t.Errorf("power off = %q, %v, want %q", step, err, StepQuit)
	}
}

// A panic is found even before the guest has the driver for the pvpanic device.
func TestIntegrationEarlyPanic(t *testing.T) {
	t.Parallel()
	for name, noReboot := range map[string]bool{"stays": false, "ends QEMU": true} {
		t.Run(name, func(t *testing.T) {
			s := guestSpec(t)
			s.Kernel.Initrd, s.NoReboot = "", noReboot
			if !noReboot {
				s.Kernel.Cmdline = strings.Replace(s.Kernel.Cmdline, "panic=-1", "panic=0", 1)
			}
			m := newPlace(t).run(t, s)
			defer within(t, time.Minute)()
			wantPanic(t, m.WaitReady(t.Context()))
		})
	}
}

func TestIntegrationNotReady(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.Boot = 100 * time.Millisecond
	err := p.run(t, guestSpec(t)).WaitReady(t.Context())
	if !errors.As(err, new(*bench.GuestError)) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%T %v, want a GuestError about the deadline", err, err)
	}
	p = newPlace(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := p.run(t, guestSpec(t)).WaitReady(ctx); errors.As(err, new(*bench.GuestError)) ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%T %v, want the caller's own deadline, nobody's fault", err, err)
	}
}

// A silent agent delays neither its callers nor the end of the machine for long.
func TestIntegrationAgentHangs(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.Scale = 0.2
	m := p.boot(t, guestSpec(t))
	sh(t, m, "setsid sh -c 'sleep 1; killall -STOP qemu-ga' </dev/null >/dev/null 2>&1 &")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	defer within(t, time.Minute)()
	if _, err := m.Exec(ctx, bench.Shell("sleep 300")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%T %v, want the deadline", err, err)
	}
}

func TestIntegrationShutdownByItself(t *testing.T) {
	t.Parallel()
	m := newPlace(t).boot(t, guestSpec(t))
	defer within(t, 20*time.Second)()
	_, err := m.Exec(t.Context(), bench.Shell("poweroff -f; sleep 300"))
	if !errors.As(err, new(*bench.GuestError)) || !errors.Is(err, ErrShutdown) {
		t.Errorf("%T %v, want a GuestError that is ErrShutdown", err, err)
	}
}

func TestIntegrationReset(t *testing.T) {
	t.Parallel()
	s := guestSpec(t)
	s.NoReboot = true
	m := newPlace(t).boot(t, s)
	defer within(t, 20*time.Second)()
	_, err := m.Exec(t.Context(), bench.Shell("reboot -f; sleep 300"))
	if !errors.As(err, new(*bench.GuestError)) || !errors.Is(err, ErrReset) {
		t.Errorf("%T %v, want a GuestError that is ErrReset", err, err)
	}
}

// parentOf returns the parent of a process.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "\nPPid:")
	parent, err := strconv.Atoi(strings.Fields(rest)[0])
	must(t, err)
	return parent
}

// A wait ends when QEMU or its guard is killed.
func TestIntegrationKilled(t *testing.T) {
	t.Parallel()
	kill := map[string]func(*VM) int{
		"QEMU":  func(m *VM) int { return m.PID() },
		"guard": func(m *VM) int { return parentOf(t, m.PID()) },
	}
	for name, victim := range kill {
		t.Run(name+" while booting", func(t *testing.T) {
			m := newPlace(t).run(t, guestSpec(t))
			pid := victim(m)
			time.AfterFunc(500*time.Millisecond, func() { unix.Kill(pid, unix.SIGKILL) })
			defer within(t, 5*time.Second)()
			wantKilled(t, m.WaitReady(t.Context()))
		})
		t.Run(name+" during a command", func(t *testing.T) {
			m := newPlace(t).boot(t, guestSpec(t))
			pid := victim(m)
			time.AfterFunc(500*time.Millisecond, func() { unix.Kill(pid, unix.SIGKILL) })
			defer within(t, 5*time.Second)()
			_, err := m.Exec(t.Context(), bench.Shell("sleep 300"))
			wantKilled(t, err)
		})
	}
}

// press returns a function that presses a button of a machine.
func press(do func(*Power, context.Context) error) func(*VM, context.Context) error {
	return func(m *VM, ctx context.Context) error { return do(m.Power(), ctx) }
}

// If QEMU is killed in any stable state of a machine, the next operation reports it, and Close
// cleans up everything.
func TestIntegrationKilledInEachState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state State
		mode  Mode
		enter func(*VM, context.Context) error // leads from mode's first state to state; nil: it is the first one
		next  func(*VM, context.Context) error
	}{
		{Prelaunch, ModePaused, nil, press((*Power).Resume)},
		{
			Restoring, ModeIncoming, nil,
			func(m *VM, ctx context.Context) error { return m.StateFiles().Load(ctx, "/nowhere") },
		},
		{Running, ModeRun, nil, press((*Power).Reboot)},
		{Paused, ModeRun, press((*Power).Pause), press((*Power).Resume)},
		{Suspended, ModeRun, press((*Power).Suspend), press((*Power).Wake)},
	} {
		t.Run(string(c.state), func(t *testing.T) {
			p := newPlace(t)
			p.Mode = c.mode
			m := p.run(t, guestSpec(t))
			if c.mode == ModeRun {
				must(t, m.WaitReady(t.Context()))
			}
			if c.enter != nil {
				must(t, c.enter(m, t.Context()))
			}
			wantState(t, m, c.state)
			must(t, unix.Kill(m.PID(), unix.SIGKILL))
			<-m.Done()
			wantState(t, m, Gone)
			defer within(t, 5*time.Second)()
			wantKilled(t, c.next(m, t.Context()))
		})
	}
	for name, do := range map[string]func(context.Context, *VM) error{
		"saving":    func(ctx context.Context, m *VM) error { return m.Snapshots().Save(ctx, "x") },
		"restoring": func(ctx context.Context, m *VM) error { return m.Snapshots().Load(ctx, "there") },
	} {
		t.Run("while "+name, func(t *testing.T) {
			m := newPlace(t).boot(t, diskSpec(t))
			must(t, m.Snapshots().Save(t.Context(), "there"))
			jobs := m.qmp.Subscribe(func(e qmp.Event) bool { return e.Name == "JOB_STATUS_CHANGE" })
			go func() {
				_, _ = jobs.Next(context.Background()) // the job has begun
				jobs.Close()
				_ = unix.Kill(m.PID(), unix.SIGKILL)
			}()
			defer within(t, 20*time.Second)()
			wantKilled(t, do(t.Context(), m))
		})
	}
}

func wantKilled(t *testing.T, err error) {
	t.Helper()
	if !errors.As(err, new(*bench.InfraError)) || !strings.Contains(err.Error(), "killed") ||
		!strings.Contains(err.Error(), "console.log:") {
		t.Errorf("%T %v\nwant an InfraError that says killed, with evidence", err, err)
	}
}

// If a vmtb that boots a machine is killed, it leaves no process and no file.
func TestIntegrationKilledVmtb(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	spec, err := json.Marshal(guestSpec(t))
	must(t, err)
	cmd := exec.Command("/proc/self/exe", victimWord, p.WorkDir, p.SocketDir, string(spec))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var qemu int
	_, err = fmt.Fscanln(out, &qemu)
	must(t, err)
	if len(names(t, p.SocketDir)) != 1 {
		t.Errorf("%q before, want the private directory", names(t, p.SocketDir))
	}
	must(t, cmd.Process.Kill())
	cmd.Wait()
	gone(t, qemu)
	eventually(t, "directories removed", func() bool { return len(names(t, p.SocketDir)) == 0 })
	p.clean(t)
}
