package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vmtb/internal/prose"
)

// WaitReady returns when the guest can be used: its agent has opened its port and answered. It ends
// at once when QEMU ends or the guest panics, and otherwise at the latest after [Options.Boot]
// (scaled). After a reboot it may be called again.
func (m *VM) WaitReady(ctx context.Context) error { return m.WaitReadyWithin(ctx, m.BootLimit()) }

// BootLimit is how long [VM.WaitReady] waits.
func (m *VM) BootLimit() time.Duration { return m.life.scaled(m.opts.Boot) }

// WaitReadyWithin is [VM.WaitReady] with another limit, which is not scaled.
func (m *VM) WaitReadyWithin(ctx context.Context, limit time.Duration) error {
	asked := ctx
	ctx, cancel := m.life.bind(ctx)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, limit, errBoot)
	defer stop()

	err := m.guest.waitOpen(ctx)
	if err == nil {
		if err = m.guest.sync(ctx); err != nil {
			err = fmt.Errorf("the agent has opened its port but does not answer: %w", err)
		}
	}
	switch {
	case err == nil:
		return nil
	case m.life.over(), !errors.Is(context.Cause(ctx), errBoot):
		return m.life.explain("wait for the guest", err)
	}
	resets := prose.Count(m.events.resetCount(), "reset")
	err = fmt.Errorf("not ready within %s, %s seen: %w", prose.Exact(limit), resets, err)
	return m.life.guestError("boot", m.logs.withConsole(m.evidence.addTo(asked, err)))
}

var errBoot = fmt.Errorf("the agent did not come up: %w", context.DeadlineExceeded)
