package vm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"vmtb/internal/procfs"
	"vmtb/internal/prose"
)

// Reboot has the guest's agent reboot it. When it returns, the agent answers from the new boot.
func (p *Power) Reboot(ctx context.Context) error {
	var before boot
	return p.states.transit(ctx, reboot, func(ctx context.Context) (err error) {
		if before, err = p.guest.boot(ctx); err != nil {
			return err
		}
		goesDown := func(open bool, opens int) bool { return !open || opens > before.opens }
		return orderUntil(ctx, p.qga.BeginShutdown, "reboot", func(ctx context.Context) error {
			return p.events.until(ctx, goesDown)
		})
	}, func(ctx context.Context) error { return p.guest.bootedAfter(ctx, before) })
}

// Reset presses the reset button, which works on a guest that hangs, too. When it returns, the
// agent answers from the new boot.
func (p *Power) Reset(ctx context.Context) error {
	var before boot
	return p.states.transit(ctx, reset, func(ctx context.Context) error {
		// a working agent answers in milliseconds, even under emulation
		short, cancel := context.WithTimeout(ctx, stateTime)
		defer cancel()
		var err error
		// otherwise the agent hangs; then bootedAfter sees the reset by the port alone
		if before, err = p.guest.boot(short); err != nil && ctx.Err() != nil {
			return err
		}
		return p.qmp.Execute(ctx, "system_reset", nil, nil)
	}, func(ctx context.Context) error { return p.guest.bootedAfter(ctx, before) })
}

// A boot is one boot of a guest: its id, "" if the id is not known, and how often agents had opened
// their port by then.
type boot struct {
	id    string
	opens int
}

// boot asks the guest which boot this is.
func (g *Guest) boot(ctx context.Context) (b boot, err error) {
	var open bool
	if open, b.opens = g.events.agentSeen(); !open {
		return b, errNoAgent
	}
	data, err := g.qga.ReadFile(ctx, procfs.BootIDFile)
	if err == nil {
		b.id = strings.TrimSpace(string(data))
	}
	return b, err
}

var errNoAgent = errors.New("the agent has not opened its port")

// bootedAfter returns when the agent answers from a boot after before.
func (g *Guest) bootedAfter(ctx context.Context, before boot) error {
	for {
		changed := g.events.watch()
		if open, opens := g.events.agentSeen(); open && opens > before.opens {
			now, err := g.answer(ctx)
			if err == nil && now.id != before.id {
				return nil
			}
			if err != nil && !errors.Is(err, errNoAgent) {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			_, opens := g.events.agentSeen()
			return fmt.Errorf(
				"the guest has not booted again (agent starts seen: %d): %w", opens-before.opens,
				context.Cause(ctx),
			)
		}
	}
}

// answer makes the agent answer, and returns the boot. It returns errNoAgent when the agent closes
// its port meanwhile, as it does when the guest goes down or to sleep: then the question may be
// lost.
func (g *Guest) answer(ctx context.Context) (b boot, err error) {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, before := g.events.agentSeen()
	go func() {
		if g.events.until(asking, func(open bool, opens int) bool { return !open || opens != before }) == nil {
			cancel(errNoAgent)
		}
	}()
	if err = g.sync(asking); err == nil {
		b, err = g.boot(asking)
	}
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(asking), errNoAgent) {
		err = errNoAgent
	}
	return b, err
}

// clockSlack is how far a guest's clock may be off the host's after a restore.
const clockSlack = 10 * time.Second

// restored makes a guest usable that runs from a loaded state. Its agent may be in the middle of an
// answer, and its clock has stood still.
func (g *Guest) restored(ctx context.Context) error {
	if err := g.sync(ctx); err != nil {
		return fmt.Errorf("the agent does not answer after the restore: %w", err)
	}
	g.events.update(func() { g.events.agent = true }) // it was open in the state, and QEMU sends no event for it
	err := g.qga.SetTime(ctx, time.Now())
	if err == nil {
		return nil
	}
	// The agent sets the clock, then the hardware's by hwclock(8), which many small guests do not
	// have.
	now, asked := g.qga.Time(ctx)
	if asked != nil {
		return fmt.Errorf("set the guest's clock: %w", errors.Join(err, asked))
	}
	if off := time.Since(now).Abs(); off > clockSlack {
		return fmt.Errorf("set the guest's clock: it is off by %s: %w", prose.Duration(off), err)
	}
	return nil
}
