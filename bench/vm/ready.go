package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vmtb/internal/prose"
)

// WaitReady returns when the guest can be used: its agent has opened its port and answered. It ends at once when QEMU
// ends or the guest panics, and otherwise at the latest after [Options.Boot] (scaled). After a reboot it may be
// called again.
func (m *VM) WaitReady(ctx context.Context) error { return m.WaitReadyWithin(ctx, m.BootLimit()) }

// BootLimit is how long [VM.WaitReady] waits.
func (m *VM) BootLimit() time.Duration { return m.scaled(m.opts.Boot) }

// WaitReadyWithin is [VM.WaitReady] with another limit, which is not scaled.
func (m *VM) WaitReadyWithin(ctx context.Context, limit time.Duration) error {
	asked := ctx
	ctx, cancel := m.bind(ctx)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, limit, errBoot)
	defer stop()

	err := m.waitAgent(ctx)
	if err == nil {
		if err = m.sync(ctx); err != nil {
			err = fmt.Errorf("the agent has its port open and does not answer: %w", err)
		}
	}
	switch {
	case err == nil:
		return nil
	case m.life.Err() != nil, !errors.Is(context.Cause(ctx), errBoot):
		return m.because("wait for the guest", err)
	}
	m.guest.mu.Lock()
	resets := m.guest.resets
	m.guest.mu.Unlock()
	err = fmt.Errorf("not ready within %s, %s seen: %w", prose.Exact(limit), prose.Count(resets, "reset"), err)
	return m.guestError("boot", m.withConsole(m.withEvidence(asked, err)))
}

var errBoot = fmt.Errorf("the agent did not come up: %w", context.DeadlineExceeded)

// waitAgent waits for the agent's port to open. Until then the console is searched for a panic: the pvpanic device
// only reports one when the guest has loaded the driver for it.
func (m *VM) waitAgent(ctx context.Context) error {
	look := time.NewTicker(250 * time.Millisecond)
	defer look.Stop()
	var seen consoleSearch
	for {
		changed := m.guest.watch()
		if open, _ := m.guest.agentSeen(); open {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-look.C:
			if seen.panicked(m.path("console.log")) {
				m.end(m.panicError())
			}
		}
	}
}
