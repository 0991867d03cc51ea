package vm

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"vmtb/bench/qmp"
)

// guest is what QEMU's events have told about the guest.
type guest struct {
	mu       sync.Mutex
	agent    bool          // its agent has its port open
	resets   int           // times it has been reset
	shutdown string        // reason of the SHUTDOWN event: "guest-shutdown", "host-qmp-quit", ...
	expected bool          // its end has been asked for
	changed  chan struct{} // closed and renewed with every change
}

func (g *guest) update(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
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
	if m.proc.gone(m.scaled(10 * time.Second)) {
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
	switch e.Name {
	case "VSERPORT_CHANGE":
		if data.ID == agentPort {
			m.guest.update(func() { m.guest.agent = data.Open })
		}
	case "RESET":
		m.guest.update(func() { m.guest.resets++ })
	case "SHUTDOWN":
		m.guest.update(func() { m.guest.shutdown = data.Reason })
	case "GUEST_PANICKED", "GUEST_CRASHLOADED":
		m.end(m.panicError())
	}
}
