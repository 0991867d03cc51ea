package vm

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"vmtb/bench/qga"
	"vmtb/bench/qmp"
)

// guestEvents are what QEMU's events have told about the guest.
type guestEvents struct {
	mu       sync.Mutex
	stopped  bool          // its CPUs do not run, or it sleeps
	agent    bool          // its agent has its port open
	opens    int           // times the agent has opened its port
	resets   int           // times it has been reset
	shutdown string        // reason of the SHUTDOWN event: "guest-shutdown", "host-qmp-quit", ...
	expected bool          // its end has been asked for
	boot     string        // its boot id, when it went to sleep
	changed  chan struct{} // closed and renewed with every event
}

func (g *guestEvents) update(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
}

// watch returns a channel that the next event closes.
func (g *guestEvents) watch() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// agentSeen returns whether the agent has its port open, and how often it has opened the port.
func (g *guestEvents) agentSeen() (open bool, opens int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.agent, g.opens
}

// ending returns the reason of the SHUTDOWN event, and whether the end has been asked for.
func (g *guestEvents) ending() (reason string, expected bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shutdown, g.expected
}

// standsStill reports whether the guest's CPUs do not run, or the guest sleeps.
func (g *guestEvents) standsStill() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopped
}

// resetCount returns how often the guest has been reset.
func (g *guestEvents) resetCount() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.resets
}

// sleeper returns the boot id of the guest when it last went to sleep.
func (g *guestEvents) sleeper() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.boot
}

func (g *guestEvents) expectEnd() { g.update(func() { g.expected = true }) }

// watch reads QEMU's events until QEMU has ended. Then it ends the machine's life with the reason.
func (m *VM) watch(ctx context.Context, events *qmp.Subscription) {
	defer events.Close()
	for {
		e, err := events.Next(ctx)
		if err != nil {
			break
		}
		m.event(e)
	}
	if m.proc.Gone(m.life.scaled(10 * time.Second)) {
		m.life.end(m.diagnosis.ofEnd())
		return
	}
	m.life.end(infra(m.String()+": QEMU's monitor", m.qmp.Err()))
}

func (m *VM) event(e qmp.Event) {
	m.events.take(e)
	switch e.Name {
	case "GUEST_PANICKED", "GUEST_CRASHLOADED":
		m.life.end(m.diagnosis.ofPanic())
	case "STOP": // the event has no reason
		go m.endIfBroken(m.life.ctx)
	}
}

// take notes what an event tells about the guest.
func (g *guestEvents) take(e qmp.Event) {
	var data struct {
		ID, Reason string
		Open       bool
	}
	_ = json.Unmarshal(e.Data, &data) // an event without data, or with other data, leaves it empty
	g.update(func() {
		switch e.Name {
		case "VSERPORT_CHANGE":
			if data.ID == agentPort {
				if g.agent = data.Open; data.Open {
					g.opens++
				}
			}
		case "STOP", "SUSPEND":
			g.stopped = true
		case "RESUME", "WAKEUP":
			g.stopped = false
		case "RESET":
			g.resets++
		case "SHUTDOWN":
			g.shutdown = data.Reason
		}
	})
}

// endIfBroken ends the machine's life if QEMU has stopped the guest because of an internal error.
func (m *VM) endIfBroken(ctx context.Context) {
	var reply struct{ Status string }
	if err := m.qmp.Execute(ctx, "query-status", nil, &reply); err == nil && reply.Status == "internal-error" {
		m.life.end(m.diagnosis.ofBrokenGuest())
	}
}

// until waits until events make seen true.
func (g *guestEvents) until(ctx context.Context, seen func(agentOpen bool, agentOpens int) bool) error {
	for {
		changed := g.watch()
		if seen(g.agentSeen()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// orderUntil gives the agent an order that the agent answers only to refuse it. Then it waits for
// obeyed. What QEMU reported before the order proves nothing: QEMU reports up to a second late that
// a port was opened or closed (VSERPORT_CHANGE is rate-limited).
func orderUntil(
	ctx context.Context, begin func(ctx context.Context, mode string) (*qga.Order, error), mode string,
	obeyed func(context.Context) error,
) error {
	order, err := begin(ctx, mode)
	if err != nil {
		return err
	}
	ordering, stop := context.WithCancel(ctx)
	watching, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := order.Refusal(ordering); err != nil {
			refuse(err)
		}
	}()
	err = obeyed(watching)
	stop()
	<-ended
	if refusal := context.Cause(watching); err != nil && refusal != nil {
		return refusal
	}
	return err
}
