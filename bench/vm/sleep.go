package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"vmtb/bench"
)

// Suspend has the guest sleep (suspend to RAM, S3). A guest, an agent or a firmware that cannot is an error matching
// [bench.ErrNotAvailable] with the reason; then nothing has been tried.
func (m *VM) Suspend(ctx context.Context) error {
	return m.transit(ctx, suspend, func(ctx context.Context) error {
		if err := m.canSuspend(ctx); err != nil {
			return err
		}
		b, err := m.boot(ctx)
		if err != nil {
			return err
		}
		m.guest.update(func() { m.guest.boot = b.id })
		return orderUntil(ctx, m.qga.BeginSuspend, "ram", m.proveState(suspend))
	}, m.proveState(suspend))
}

// Wake wakes a guest that sleeps, as its power button would.
func (m *VM) Wake(ctx context.Context) error {
	return m.transit(ctx, wake, m.order("system_wakeup"), func(ctx context.Context) error {
		if _, err := m.reach(ctx, wake.Name, Running); err != nil {
			return err
		}
		now, err := m.awake(ctx)
		if err != nil {
			return fmt.Errorf("the agent does not answer: %w", err)
		}
		m.guest.mu.Lock()
		before := m.guest.boot
		m.guest.mu.Unlock()
		if before != "" && now.id != before {
			return m.guestError(wake.Name, errors.New("it did not wake, it booted anew"))
		}
		return nil
	})
}

// awake has the agent answer. Its port closes and opens again with the guest's sleep, of which QEMU tells late: perhaps when it has
// answered already.
func (m *VM) awake(ctx context.Context) (boot, error) {
	for {
		if err := m.waitAgent(ctx); err != nil {
			return boot{}, err
		}
		if now, err := m.answer(ctx); !errors.Is(err, errNoAgent) {
			return now, err
		}
	}
}

// Hibernate has the guest write its memory to its swap space and switch off (suspend to disk, S4). When it returns, the machine
// is off. [VM.Again] wakes it. Where the guest cannot, it fails as [VM.Suspend] does.
func (m *VM) Hibernate(ctx context.Context) error {
	return m.transit(ctx, hibernate, func(ctx context.Context) error {
		if err := m.canHibernate(ctx); err != nil {
			return err
		}
		m.guest.expectEnd()
		return orderUntil(ctx, m.qga.BeginSuspend, "disk", m.proveOff)
	}, m.proveOff)
}

// proveOff is the proof that QEMU has ended in order.
func (m *VM) proveOff(ctx context.Context) error {
	select {
	case <-m.proc.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if m.proc.Exit() != (Exit{}) {
		return m.endError()
	}
	return nil
}

// cannot is the error for what a guest cannot do, and why.
func (m *VM) cannot(op, format string, args ...any) error {
	return m.guestError(op, fmt.Errorf("%w: %w", bench.ErrNotAvailable, fmt.Errorf(format, args...)))
}

func (m *VM) canSuspend(ctx context.Context) error {
	var machine struct {
		Wakes bool `json:"wakeup-suspend-support"`
	}
	if err := m.qmp.Execute(ctx, "query-current-machine", nil, &machine); err != nil {
		return err
	}
	if !machine.Wakes {
		return m.cannot(suspend.Name, "machine type %s cannot be woken", m.spec.Machine)
	}
	return m.canSleep(ctx, suspend.Name, "mem", "ram", "suspend.target", func() error {
		// With the firmware's S3 the kernel offers "deep" (Documentation/admin-guide/pm/sleep-states.rst); without, its
		// "mem" is s2idle, out of which QEMU cannot wake it.
		modes, err := m.readFields(ctx, "/sys/power/mem_sleep")
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && slices.Contains(modes, "[deep]"):
			return nil
		case err != nil:
			return err
		case slices.Contains(modes, "deep"):
			return m.cannot(suspend.Name, "/sys/power/mem_sleep chooses s2idle over S3 (%s): write deep to it", strings.Join(modes, " "))
		}
		return m.cannot(suspend.Name, "the firmware offers no S3: /sys/power/mem_sleep has only %s (is disable_s3 set?)", strings.Join(modes, " "))
	})
}

func (m *VM) canHibernate(ctx context.Context) error {
	return m.canSleep(ctx, hibernate.Name, "disk", "disk", "hibernate.target", func() error {
		modes, err := m.readFields(ctx, "/sys/power/disk")
		if err == nil && slices.Contains(modes, "[disabled]") {
			return m.cannot(hibernate.Name, "the kernel has hibernation disabled (nohibernate, or lockdown)")
		}
		swaps, err := m.qga.ReadFile(ctx, "/proc/swaps")
		if err == nil && len(strings.Split(strings.TrimSpace(string(swaps)), "\n")) < 2 {
			err = m.cannot(hibernate.Name, "the guest has no swap space to write its memory to")
		}
		return err
	})
}

// canSleep looks for what keeps every kind of sleep from working: the agent's rules, the kernel's abilities, a masked target of
// systemd. more looks for the rest.
func (m *VM) canSleep(ctx context.Context, op, state, agentMode, target string, more func() error) error {
	info, err := m.qga.Info(ctx)
	if err != nil {
		return err
	}
	if err := info.Check("guest-suspend-" + agentMode); err != nil {
		return m.guestError(op, err)
	}
	states, err := m.readFields(ctx, "/sys/power/state")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !slices.Contains(states, state) {
		return m.cannot(op, "the guest's kernel has no %q in /sys/power/state (%s)", state, strings.Join(states, " "))
	}
	r, err := m.qga.Exec(ctx, bench.Command{Argv: []string{"systemctl", "is-enabled", target}})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && strings.HasPrefix(string(r.Stdout), "masked") { // else there is no systemd, or no exec
		return m.cannot(op, "%s is %s: systemctl unmask %s", target, strings.TrimSpace(string(r.Stdout)), target)
	}
	return more()
}

func (m *VM) readFields(ctx context.Context, name string) ([]string, error) {
	data, err := m.qga.ReadFile(ctx, name)
	return strings.Fields(string(data)), err
}
