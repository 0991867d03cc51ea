package vm

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"vmtb/bench/qga"
	"vmtb/bench/qmp"
)

// guest is what QEMU's events have told about the guest.
type guest struct {
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

func (g *guest) update(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
}

// watch is closed with the next event.
func (g *guest) watch() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// agentSeen says whether the agent has its port open, and how often it has opened it.
func (g *guest) agentSeen() (open bool, opens int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.agent, g.opens
}

func (g *guest) expectEnd() { g.update(func() { g.expected = true }) }

// watch follows QEMU's events until QEMU is gone, and then ends the machine's life with the reason.
func (m *VM) watch(ctx context.Context, events *qmp.Subscription) {
	defer events.Close()
	for {
		e, err := events.Next(ctx)
		if err != nil {
			break
		}
		m.event(e)
	}
	if m.proc.Gone(m.scaled(10 * time.Second)) {
		m.end(m.endError())
		return
	}
	m.end(infra(m.String()+": QEMU's monitor", m.qmp.Err()))
}

func (m *VM) event(e qmp.Event) {
	var data struct {
		ID, Reason string
		Open       bool
	}
	_ = json.Unmarshal(e.Data, &data) // an event without data, or with other data, leaves it empty
	g := &m.guest
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
	switch e.Name {
	case "GUEST_PANICKED", "GUEST_CRASHLOADED":
		m.end(m.panicError())
	case "STOP": // which does not say why
		go m.endIfBroken(m.life)
	}
}

// endIfBroken ends the life of a machine that QEMU has stopped because it cannot run it any further.
func (m *VM) endIfBroken(ctx context.Context) {
	var reply struct{ Status string }
	if err := m.qmp.Execute(ctx, "query-status", nil, &reply); err == nil && reply.Status == "internal-error" {
		m.end(m.brokenError())
	}
}

// until waits for what events tell about the guest.
func (m *VM) until(ctx context.Context, seen func(agentOpen bool, agentOpens int) bool) error {
	for {
		changed := m.guest.watch()
		if seen(m.guest.agentSeen()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// orderUntil gives the agent an order that it answers only if it refuses, and then waits for what shows that it obeys. What was
// seen before is no sign: QEMU tells up to a second late that a port was opened or closed (VSERPORT_CHANGE is rate-limited).
func orderUntil(ctx context.Context, begin func(ctx context.Context, mode string) (*qga.Order, error), mode string, obeyed func(context.Context) error) error {
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
