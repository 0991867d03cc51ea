package vm

import "context"

// Pause stops the guest's CPUs.
func (p *Power) Pause(ctx context.Context) error {
	return p.states.transit(ctx, pause, p.states.order("stop"), p.states.prove(pause))
}

// Resume lets the guest's CPUs run: after [Power.Pause], for the first time ([ModePaused]), or
// after the cause of an I/O error has been removed. If a state was loaded, Resume returns when the
// agent answers and the guest's clock is right. A guest that slept when it was saved or paused
// still sleeps: Resume returns a [*StateError], and [Power.Wake] is the next step.
func (p *Power) Resume(ctx context.Context) error {
	return p.states.transit(ctx, resume, p.states.order("cont"), func(ctx context.Context) error {
		s, err := p.states.reach(ctx, resume.Name, Running, Suspended)
		if err == nil && s != Running {
			err = &StateError{Machine: p.life.name, Op: resume.Name, Seen: s, Want: []State{Running}}
		}
		if err != nil || !p.states.loaded {
			return err
		}
		p.states.loaded = false
		return p.guest.restored(ctx)
	})
}

// order returns the action of a transition that begins with one command without arguments.
func (s *states) order(cmd string) func(context.Context) error {
	return func(ctx context.Context) error { return s.qmp.Execute(ctx, cmd, nil, nil) }
}

// prove returns the proof of a transition that needs no more than QEMU's state.
func (s *states) prove(t Transition) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.reach(ctx, t.Name, t.To)
		return err
	}
}
