package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"
)

// WaitReady returns when the guest can be used: its agent has opened its port and answered. It ends at once when QEMU
// ends or the guest panics, and otherwise at the latest after [Options.Boot] (scaled). After a reboot it may be
// called again.
func (m *VM) WaitReady(ctx context.Context) error {
	limit := m.scaled(m.opts.Boot)
	ctx, cancel := m.bind(ctx)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, limit, errBoot)
	defer stop()

	err := m.waitAgent(ctx)
	if err == nil {
		if err = m.qga.Sync(ctx); err != nil {
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
	return m.guestError("boot", m.withConsole(fmt.Errorf("not ready within %v, %d resets seen: %w", limit, resets, err)))
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

// A consoleSearch looks for a panic in a console that grows.
type consoleSearch struct {
	offset int64
	found  bool
}

var panicRE = regexp.MustCompile(`(?m)^(?:\[[^]]*\] ?)*(Kernel panic - not syncing.*)`)

// panicked reports a panic when the console has one and has stopped growing: the trace follows the line.
func (s *consoleSearch) panicked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, s.offset, 1<<20))
	if err != nil {
		return false
	}
	end := len(data)
	for end > 0 && data[end-1] != '\n' { // the last line may be half written
		end--
	}
	s.offset += int64(end)
	still := s.found && end == 0
	s.found = s.found || panicRE.Match(data[:end])
	return still
}
