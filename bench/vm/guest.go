package vm

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"vmtb/bench"
	"vmtb/bench/qga"
	"vmtb/bench/qmp"
)

// A Guest is the system in a machine, reached through its agent. It is a [bench.Machine].
type Guest struct {
	life      *life
	events    *guestEvents
	states    *states
	logs      *logs
	evidence  *Evidence
	diagnosis *diagnosis
	qga       *qga.Client
	line      *agentLine  // what qga talks over
	alarmed   atomic.Bool // evidence of a silent agent has been taken
}

var _ bench.Machine = (*Guest)(nil)

// String returns the machine's name.
func (g *Guest) String() string { return g.life.name }

// Exec implements [bench.Machine] through the guest's agent.
func (g *Guest) Exec(ctx context.Context, c bench.Command) (r bench.Result, err error) {
	err = g.call(ctx, func(ctx context.Context) error {
		r, err = g.qga.Exec(ctx, c)
		return err
	})
	return r, err
}

// Start implements [bench.Machine] through the guest's agent.
func (g *Guest) Start(ctx context.Context, c bench.Command) (bench.Process, error) {
	p := guestProcess{guest: g}
	err := g.call(ctx, func(ctx context.Context) (err error) {
		p.Process, err = g.qga.Start(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// A guestProcess is a process in the guest. Its errors are judged as those of the guest's other
// methods.
type guestProcess struct {
	*qga.Process
	guest *Guest
}

func (p guestProcess) Signal(ctx context.Context, sig int) error {
	return p.guest.call(ctx, func(ctx context.Context) error { return p.Process.Signal(ctx, sig) })
}

func (p guestProcess) Wait(ctx context.Context) (r bench.Result, err error) {
	err = p.guest.call(ctx, func(ctx context.Context) error {
		r, err = p.Process.Wait(ctx)
		return err
	})
	return r, err
}

func (p guestProcess) Kill(ctx context.Context) (r bench.Result, err error) {
	err = p.guest.call(ctx, func(ctx context.Context) error {
		r, err = p.Process.Kill(ctx)
		return err
	})
	return r, err
}

// ReadFile implements [bench.Machine] through the guest's agent.
func (g *Guest) ReadFile(ctx context.Context, name string) (data []byte, err error) {
	err = g.call(ctx, func(ctx context.Context) error {
		data, err = g.qga.ReadFile(ctx, name)
		return err
	})
	return data, err
}

// WriteFile implements [bench.Machine] through the guest's agent.
func (g *Guest) WriteFile(ctx context.Context, name string, data []byte) error {
	return g.call(ctx, func(ctx context.Context) error { return g.qga.WriteFile(ctx, name, data) })
}

// ReadFileTo writes a whole file of the guest to w, of any size, in constant memory.
func (g *Guest) ReadFileTo(ctx context.Context, name string, w io.Writer) error {
	return g.call(ctx, func(ctx context.Context) error { return g.qga.ReadFileTo(ctx, name, w) })
}

// WriteFileFrom replaces the content of a file of the guest with all of r, of any size, in constant
// memory.
func (g *Guest) WriteFileFrom(ctx context.Context, name string, r io.Reader) error {
	return g.call(ctx, func(ctx context.Context) error { return g.qga.WriteFileFrom(ctx, name, r) })
}

// call calls do, which talks to the agent. It ends with the machine's life.
func (g *Guest) call(ctx context.Context, do func(context.Context) error) error {
	bound, cancel := g.life.bind(ctx)
	defer cancel()
	if err := g.canAnswer(bound); err != nil {
		return err
	}
	err := do(bound)
	switch alive := ctx.Err() == nil && !g.life.over() && !errors.Is(err, qmp.ErrClosed); {
	case err == nil:
		return nil
	case alive && errors.As(err, new(*bench.InfraError)): // not the guest's fault
		return err
	case alive:
		return g.life.guestError("", g.silent(ctx, err))
	}
	return g.life.explain("ask the guest", err)
}

// canAnswer returns nil unless the guest stands still and cannot answer. While its state is saved
// or loaded it stands still too, but soon goes on.
func (g *Guest) canAnswer(ctx context.Context) error {
	if !g.events.standsStill() {
		return nil
	}
	return g.states.expect(ctx, "ask the guest", Running, Saving, Restoring)
}

// silent adds evidence to err if the agent did not answer in time. It does so once per machine.
func (g *Guest) silent(ctx context.Context, err error) error {
	if !errors.As(err, new(*qmp.TimeoutError)) || !g.alarmed.CompareAndSwap(false, true) {
		return err
	}
	return g.evidence.addTo(ctx, err)
}

// waitOpen waits for the agent's port to open. Until then the console is searched for a panic: the
// pvpanic device only reports one when the guest has loaded the driver for it.
func (g *Guest) waitOpen(ctx context.Context) error {
	look := time.NewTicker(250 * time.Millisecond)
	defer look.Stop()
	var seen consoleSearch
	for {
		changed := g.events.watch()
		if open, _ := g.events.agentSeen(); open {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-look.C:
			if seen.panicked(g.logs.path("console.log")) {
				g.life.end(g.diagnosis.ofPanic())
			}
		}
	}
}

// awake returns when the agent answers after a sleep. The sleep closes the agent's port and opens
// it again. QEMU reports that late, perhaps after the agent has answered.
func (g *Guest) awake(ctx context.Context) (boot, error) {
	for {
		if err := g.waitOpen(ctx); err != nil {
			return boot{}, err
		}
		if now, err := g.answer(ctx); !errors.Is(err, errNoAgent) {
			return now, err
		}
	}
}
