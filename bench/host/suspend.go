package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/pci"
	"vmtb/bench/undo"
	"vmtb/internal/prose"
)

// A SleepMode is a way for the host to sleep. Its value is the name that rtcwake(8) uses.
type SleepMode string

// These are the sleep modes.
const (
	SleepMem    SleepMode = "mem"    // suspend to RAM, ACPI S3 ("deep")
	SleepDisk   SleepMode = "disk"   // hibernation, ACPI S4
	SleepFreeze SleepMode = "freeze" // suspend to idle, s2idle, without the firmware
)

// A Suspend is one sleep of the host.
type Suspend struct {
	Mode    SleepMode
	For     time.Duration // until the RTC's alarm, in whole seconds; 0 means 10 s
	Timeout time.Duration // for entering and leaving sleep, added to For; 0 means 2 minutes

	// PFs are the devices that must still exist after the sleep, with the same VFs and drivers.
	PFs []*pci.Device
	// Check, unless nil, runs after the sleep and checks what else must have survived, such as
	// machines and clocks.
	Check func(ctx context.Context) error
}

// Slept holds the measurements that prove that the host slept.
type Slept struct {
	// Clock is how much CLOCK_BOOTTIME, which runs during sleep, gained on CLOCK_MONOTONIC, which
	// stops. In s2idle CLOCK_MONOTONIC stops only if the idle driver can stop it (tick_freeze), so
	// Clock may be 0.
	Clock time.Duration
	// Counted is how many successful suspends the kernel counted (/sys/power/suspend_stats/success,
	// since Linux 5.4). The kernel does not count hibernation there.
	Counted int
}

// ErrDidNotSleep is the error if the host came back without having slept.
var ErrDidNotSleep = errors.New("the host did not sleep")

const (
	defaultSleep   = 10 * time.Second
	defaultSuspend = 2 * time.Minute
	suspendGrace   = 2 * time.Second // time for rtcwake to end after the kernel woke up
	// Smallest gain of the clock that counts as sleep; clocks jump by microseconds anyway.
	leastSleep = time.Second
)

// Suspend puts the host to sleep, has the RTC wake it, and proves that it slept. Then it checks the
// devices in s.PFs and calls s.Check. If the host cannot sleep in s.Mode, Suspend tries nothing and
// returns an error that matches [bench.ErrNotAvailable]: see [Host.CheckSuspend]. Errors of s.Check
// are returned unchanged; all others are [bench.HostError]s. For [SleepMem] it sets mem_sleep to
// "deep" if necessary, and records that in log.
//
// vmtb's timeouts use CLOCK_MONOTONIC, so they do not run while the host sleeps. If the host does
// not wake up, vmtb cannot report it: whoever runs vmtb from another machine needs a timeout.
func (h *Host) Suspend(ctx context.Context, log undo.Journal, s Suspend) (Slept, error) {
	s.For = cmp.Or(s.For, defaultSleep).Round(time.Second)
	if s.For < time.Second {
		return Slept{}, &bench.UsageError{Err: fmt.Errorf("suspend for %s: want 1 s or more", prose.Exact(s.For))}
	}
	if err := h.CheckSuspend(ctx, s.Mode); err != nil {
		return Slept{}, err
	}
	before, err := BindingsOf(s.PFs...)
	if err != nil {
		return Slept{}, err
	}
	if s.Mode == SleepMem {
		if err := h.selectDeep(ctx, log); err != nil {
			return Slept{}, err
		}
	}
	slept, err := h.sleep(ctx, s)
	if err != nil {
		return slept, err
	}
	after, err := BindingsOf(s.PFs...)
	if err == nil {
		err = after.Same(before)
	}
	if err == nil && s.Check != nil {
		err = s.Check(ctx)
	}
	return slept, err
}

// sleep puts the host to sleep, and checks that it slept.
func (h *Host) sleep(ctx context.Context, s Suspend) (slept Slept, err error) {
	clock, count, err := h.sleepMarks()
	if err != nil {
		return slept, err
	}
	if err := h.rtcwake(ctx, s); err != nil {
		return slept, h.suspendError(s.Mode, err)
	}
	clock2, count2, err := h.sleepMarks()
	if err != nil {
		return slept, err
	}
	slept = Slept{Clock: clock2 - clock, Counted: count2 - count}
	if slept.Clock < leastSleep && slept.Counted <= 0 {
		return slept, h.suspendError(s.Mode, ErrDidNotSleep)
	}
	return slept, nil
}

// rtcwake runs the program rtcwake. It also returns in time if the program hangs in the kernel,
// where no signal ends it.
func (h *Host) rtcwake(ctx context.Context, s Suspend) error {
	limit := s.For + cmp.Or(s.Timeout, defaultSuspend)
	late := fmt.Errorf("the host did not wake within %s: %w", prose.Exact(limit), context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	seconds := strconv.Itoa(int(s.For / time.Second))
	argv := []string{"rtcwake", "-d", rtcName, "-m", string(s.Mode), "-s", seconds}
	c := bench.Command{Argv: argv, Grace: time.Second}
	done := make(chan error, 1)
	go func() {
		r, err := h.Exec(ctx, c)
		if err == nil {
			err = r.Err(c)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(suspendGrace)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return fmt.Errorf("%s: the program hangs in the kernel: %w", c, context.Cause(ctx))
	}
}

// suspendError adds the kernel's record of the last failed suspend to err.
func (h *Host) suspendError(mode SleepMode, err error) error {
	var noted []string
	for _, name := range []string{"last_failed_dev", "last_failed_step", "last_failed_errno"} {
		if text := h.text(suspendStats + name); text != "" && text != "0" {
			noted = append(noted, name+" "+text)
		}
	}
	if len(noted) > 0 {
		err = fmt.Errorf("%w; %s has %s", err, suspendStats, strings.Join(noted, ", "))
	}
	return &bench.HostError{Op: "suspend", Noun: string(mode), Err: err, Advice: "the kernel log has more"}
}

// A sleepClock is a [System] that can measure how long it has slept since boot: CLOCK_BOOTTIME
// minus CLOCK_MONOTONIC.
type sleepClock interface {
	SleptSinceBoot() (time.Duration, error)
}

// SleptSinceBoot returns how long the system has slept since boot.
func (OS) SleptSinceBoot() (time.Duration, error) {
	var awake, all unix.Timespec
	err := errors.Join(unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake), unix.ClockGettime(unix.CLOCK_BOOTTIME, &all))
	return time.Duration(all.Nano() - awake.Nano()), err
}

const suspendStats = "/sys/power/suspend_stats/"

// sleepMarks returns the two values that show sleep: the clock's gain, and the kernel's count (0 if
// the kernel has none).
func (h *Host) sleepMarks() (clock time.Duration, count int, err error) {
	if c, ok := h.System.(sleepClock); ok {
		if clock, err = c.SleptSinceBoot(); err != nil {
			return 0, 0, &bench.HostError{Op: "read the clocks", Err: err}
		}
	}
	if text := h.text(suspendStats + "success"); text != "" {
		if count, err = strconv.Atoi(text); err != nil {
			return 0, 0, &bench.HostError{Op: "read", Noun: suspendStats + "success", Err: err}
		}
	}
	return clock, count, nil
}

// selectDeep makes "mem" mean suspend to RAM. mem_sleep reads "[s2idle] deep", for example.
func (h *Host) selectDeep(ctx context.Context, log undo.Journal) error {
	now := h.text(memSleep)
	if now == "" || strings.Contains(now, "[deep]") { // kernels before 4.10 know no other
		return nil
	}
	words := strings.Fields(now)
	chosen := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "[") })
	w := undo.Write{Path: memSleep, Old: now}
	if chosen >= 0 {
		w.Restore = strings.Trim(words[chosen], "[]")
	}
	w.New = strings.Replace(strings.NewReplacer("[", "", "]", "").Replace(now), "deep", "[deep]", 1)
	return h.Tree(log).Change(ctx, w, "deep")
}

// text returns the trimmed content of a file, or "" if the file cannot be read.
func (h *Host) text(path string) string {
	data, err := h.System.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
