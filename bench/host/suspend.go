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

// A SleepMode is a way for the host to sleep, by the name that rtcwake(8) gives it.
type SleepMode string

// The sleep modes.
const (
	SleepMem    SleepMode = "mem"    // suspend to RAM, ACPI S3 ("deep")
	SleepDisk   SleepMode = "disk"   // hibernation, ACPI S4
	SleepFreeze SleepMode = "freeze" // suspend to idle, s2idle: no firmware has a part in it
)

// A Suspend is one sleep of the host.
type Suspend struct {
	Mode    SleepMode
	For     time.Duration // until the RTC's alarm; 10 s when 0; whole seconds
	Timeout time.Duration // for going to sleep and coming back, on top of For; 2 minutes when 0

	// PFs are devices that must be there afterwards, with their VFs and all drivers as before.
	PFs []*pci.Device
	// Check, unless nil, looks afterwards for what else must have survived: machines, clocks.
	Check func(ctx context.Context) error
}

// Slept is the proof that the host slept.
type Slept struct {
	// Clock is how much CLOCK_BOOTTIME, which goes on in sleep, gained on CLOCK_MONOTONIC, which
	// does not. In s2idle the latter stops only where the idle driver can stop it (tick_freeze), so
	// it may be 0 there.
	Clock time.Duration
	// Counted is how many successful suspends the kernel counted (/sys/power/suspend_stats/success,
	// since Linux 5.4). It does not count hibernation.
	Counted int
}

// ErrDidNotSleep is the error for a host that came back without having slept.
var ErrDidNotSleep = errors.New("the host did not sleep")

const (
	defaultSleep   = 10 * time.Second
	defaultSuspend = 2 * time.Minute
	suspendGrace   = 2 * time.Second // for rtcwake to be seen to end after its time
	leastSleep     = time.Second     // by the clock; clocks jump by microseconds for other reasons
)

// Suspend puts the host to sleep, has the RTC wake it, and proves that it slept and that what s
// names is as before. What the host cannot do is an error matching [bench.ErrNotAvailable] that
// says why, before anything is tried: see [Host.CheckSuspend]. All errors are [bench.HostError]s,
// but for those of s.Check, which come as they are. mem_sleep is set to "deep" for [SleepMem] where
// it is not, recorded in log.
//
// The timeouts of vmtb stand still while the host sleeps: they go by CLOCK_MONOTONIC. A host that
// does not wake up takes vmtb with it; whoever runs it from another machine has to notice.
func (h *Host) Suspend(ctx context.Context, log undo.Journal, s Suspend) (Slept, error) {
	s.For = cmp.Or(s.For, defaultSleep).Round(time.Second)
	if s.For < time.Second {
		return Slept{}, &bench.UsageError{Err: fmt.Errorf("suspend for %s: want a second or more", prose.Exact(s.For))}
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

// sleep sleeps, and looks whether it did.
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

// rtcwake runs the program of that name. It is bounded also when the program hangs in the kernel,
// where no signal ends it.
func (h *Host) rtcwake(ctx context.Context, s Suspend) error {
	limit := s.For + cmp.Or(s.Timeout, defaultSuspend)
	late := fmt.Errorf("not back within %s: %w", prose.Exact(limit), context.DeadlineExceeded)
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
		return fmt.Errorf("%s: it hangs in the kernel: %w", c, context.Cause(ctx))
	}
}

// suspendError adds what the kernel has noted about the suspend that failed last.
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

// A sleepClock is a [System] that knows how long it has slept since boot: CLOCK_BOOTTIME less
// CLOCK_MONOTONIC.
type sleepClock interface {
	SleptSinceBoot() (time.Duration, error)
}

// SleptSinceBoot is how long the system has slept since boot.
func (OS) SleptSinceBoot() (time.Duration, error) {
	var awake, all unix.Timespec
	err := errors.Join(unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake), unix.ClockGettime(unix.CLOCK_BOOTTIME, &all))
	return time.Duration(all.Nano() - awake.Nano()), err
}

const suspendStats = "/sys/power/suspend_stats/"

// sleepMarks are the two things by which sleep shows: the clock, and the kernel's count, 0 where it
// has none.
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

// selectDeep makes "mem" mean suspend to RAM: mem_sleep reads "[s2idle] deep".
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

// text is what a file has, without white space around it; "" if it cannot be read.
func (h *Host) text(path string) string {
	data, err := h.System.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
