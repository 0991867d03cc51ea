package host

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vmtb/bench"
)

// These files tell which sleep modes the kernel has
// (Documentation/admin-guide/pm/sleep-states.rst).
const (
	powerState = "/sys/power/state"     // "freeze mem disk"
	memSleep   = "/sys/power/mem_sleep" // the meaning of "mem": "[s2idle] deep"
	powerDisk  = "/sys/power/disk"      // "[platform] shutdown ...", or "[disabled]"
	// Major:minor of the partition for the image; "0:0" if there is none.
	diskResume = "/sys/power/resume"

	rtcName = "rtc0"
	// Exists only if the clock can wake the machine.
	rtcWake = "/sys/class/rtc/" + rtcName + "/wakealarm"
)

// CheckSuspend returns nil if the host can probably sleep in this mode and be woken. It checks
// without trying. Otherwise it returns a [bench.HostError] that matches [bench.ErrNotAvailable] and
// names what is missing.
func (h *Host) CheckSuspend(ctx context.Context, mode SleepMode) error {
	reason := h.cannotSleep(mode)
	if reason == "" {
		reason = h.cannotWake(ctx)
	}
	if reason == "" {
		return nil
	}
	return &bench.HostError{Op: "suspend", Noun: string(mode), Err: bench.ErrNotAvailable, Advice: reason}
}

// cannotSleep returns why the host cannot sleep in this mode, or "" if it can.
func (h *Host) cannotSleep(mode SleepMode) string {
	states := h.text(powerState)
	switch {
	case mode != SleepMem && mode != SleepDisk && mode != SleepFreeze:
		return "the modes are mem, disk and freeze"
	case states == "":
		return powerState + " is empty: the kernel cannot suspend"
	case mode == SleepDisk:
		return h.cannotHibernate(strings.Fields(states))
	case !slices.Contains(strings.Fields(states), string(mode)):
		return fmt.Sprintf("%s has only %q", powerState, states)
	}
	if kinds := h.text(memSleep); mode == SleepMem && kinds != "" && !strings.Contains(kinds, "deep") {
		return fmt.Sprintf(
			"%s has only %q: the firmware has no S3, and mem would be the same as freeze", memSleep, kinds,
		)
	}
	return ""
}

func (h *Host) cannotHibernate(states []string) string {
	switch how := h.text(powerDisk); {
	case strings.Contains(how, "[disabled]"):
		return powerDisk + ` is "[disabled]": by lockdown (secure boot) or nohibernate`
	case how == "" || !slices.Contains(states, string(SleepDisk)):
		return fmt.Sprintf("%s has only %q", powerState, strings.Join(states, " "))
	case strings.Count(h.text("/proc/swaps"), "\n") == 0: // the first line is the heading
		return "there is no swap space for the hibernation image"
	}
	if resume := h.text(diskResume); resume == "" || resume == "0:0" {
		return "the kernel has no device to resume from, so the host would not wake: set resume= on its command line"
	}
	return ""
}

func (h *Host) cannotWake(ctx context.Context) string {
	if _, err := h.System.Stat(rtcWake); err != nil {
		return "no clock can wake the machine: there is no " + rtcWake
	}
	if _, err := h.Exec(ctx, bench.Command{Argv: []string{"rtcwake", "--version"}}); err != nil {
		return fmt.Sprintf("the program rtcwake does not run (install util-linux): %v", err)
	}
	return ""
}
