package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
)

// Suspend has the guest sleep (suspend to RAM, S3). If the guest, its agent or its firmware cannot,
// the error matches [bench.ErrNotAvailable] and has the reason, and nothing has been tried.
func (p *Power) Suspend(ctx context.Context) error {
	return p.states.transit(ctx, suspend, func(ctx context.Context) error {
		if err := p.sleep.canSuspend(ctx); err != nil {
			return err
		}
		b, err := p.guest.boot(ctx)
		if err != nil {
			return err
		}
		p.events.update(func() { p.events.boot = b.id })
		return orderUntil(ctx, p.qga.BeginSuspend, "ram", p.states.prove(suspend))
	}, p.states.prove(suspend))
}

// Wake wakes a guest that sleeps, as its power button would.
func (p *Power) Wake(ctx context.Context) error {
	return p.states.transit(ctx, wake, p.states.order("system_wakeup"), func(ctx context.Context) error {
		if _, err := p.states.reach(ctx, wake.Name, Running); err != nil {
			return err
		}
		now, err := p.guest.awake(ctx)
		if err != nil {
			return fmt.Errorf("the agent does not answer: %w", err)
		}
		before := p.events.sleeper()
		if before != "" && now.id != before {
			return p.life.guestError(wake.Name, errors.New("the guest did not wake, it booted again"))
		}
		return nil
	})
}

// Hibernate has the guest write its memory to its swap space and switch off (suspend to disk, S4).
// When it returns, the machine is off. [VM.Again] wakes it. Where the guest cannot, it fails as
// [Power.Suspend] does.
func (p *Power) Hibernate(ctx context.Context) error {
	return p.states.transit(ctx, hibernate, func(ctx context.Context) error {
		if err := p.sleep.canHibernate(ctx); err != nil {
			return err
		}
		p.events.expectEnd()
		return orderUntil(ctx, p.qga.BeginSuspend, "disk", p.states.proveOff)
	}, p.states.proveOff)
}

// proveOff returns nil when QEMU has ended with exit code 0.
func (s *states) proveOff(ctx context.Context) error {
	select {
	case <-s.proc.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.proc.Exit() != (Exit{}) {
		return s.diagnosis.ofEnd()
	}
	return nil
}

// A sleepCheck finds out why a guest cannot sleep, before anything is tried.
type sleepCheck struct {
	life    *life
	qmp     *qmp.Client
	qga     *qga.Client
	machine string // QEMU's machine type
}

func (c sleepCheck) canSuspend(ctx context.Context) error {
	var machine struct {
		Wakes bool `json:"wakeup-suspend-support"`
	}
	if err := c.qmp.Execute(ctx, "query-current-machine", nil, &machine); err != nil {
		return err
	}
	if !machine.Wakes {
		return c.life.cannot(suspend.Name, "a guest of machine type %s cannot be woken", c.machine)
	}
	return c.canSleep(ctx, suspend.Name, "mem", "ram", "suspend.target", func() error {
		// With the firmware's S3 the kernel offers "deep"
		// (Documentation/admin-guide/pm/sleep-states.rst); without, its "mem" is s2idle, out of
		// which QEMU cannot wake it.
		modes, err := c.readFields(ctx, "/sys/power/mem_sleep")
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && slices.Contains(modes, "[deep]"):
			return nil
		case err != nil:
			return err
		case slices.Contains(modes, "deep"):
			return c.life.cannot(
				suspend.Name, "/sys/power/mem_sleep chooses s2idle over S3 (%s): write deep to it",
				strings.Join(modes, " "),
			)
		}
		return c.life.cannot(
			suspend.Name, "the firmware offers no S3: /sys/power/mem_sleep has only %s (is disable_s3 set?)",
			strings.Join(modes, " "),
		)
	})
}

func (c sleepCheck) canHibernate(ctx context.Context) error {
	return c.canSleep(ctx, hibernate.Name, "disk", "disk", "hibernate.target", func() error {
		modes, err := c.readFields(ctx, "/sys/power/disk")
		if err == nil && slices.Contains(modes, "[disabled]") {
			return c.life.cannot(hibernate.Name, "the kernel has hibernation disabled (nohibernate, or lockdown)")
		}
		swaps, err := c.qga.ReadFile(ctx, "/proc/swaps")
		if err == nil && len(strings.Split(strings.TrimSpace(string(swaps)), "\n")) < 2 {
			err = c.life.cannot(hibernate.Name, "the guest has no swap space to write its memory to")
		}
		return err
	})
}

// canSleep checks what every kind of sleep needs: the agent allows it, the kernel has it, systemd
// has not masked its target. Then it calls more.
func (c sleepCheck) canSleep(ctx context.Context, op, state, agentMode, target string, more func() error) error {
	info, err := c.qga.Info(ctx)
	if err != nil {
		return err
	}
	if err := info.Check("guest-suspend-" + agentMode); err != nil {
		return c.life.guestError(op, err)
	}
	states, err := c.readFields(ctx, "/sys/power/state")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !slices.Contains(states, state) {
		return c.life.cannot(
			op, "the guest's kernel has no %q in /sys/power/state (%s)", state, strings.Join(states, " "),
		)
	}
	r, err := c.qga.Exec(ctx, bench.Command{Argv: []string{"systemctl", "is-enabled", target}})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && strings.HasPrefix(string(r.Stdout), "masked") { // else there is no systemd, or no exec
		return c.life.cannot(op, "%s is %s: systemctl unmask %s", target, strings.TrimSpace(string(r.Stdout)), target)
	}
	return more()
}

func (c sleepCheck) readFields(ctx context.Context, name string) ([]string, error) {
	data, err := c.qga.ReadFile(ctx, name)
	return strings.Fields(string(data)), err
}
