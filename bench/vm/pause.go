package vm

import "context"

// Pause stops the guest's CPUs.
func (m *VM) Pause(ctx context.Context) error {
	return m.transit(ctx, pause, m.order("stop"), m.proveState(pause))
}

// Resume lets the guest's CPUs run: after [VM.Pause], for the first time ([ModePaused]), or after the cause of an I/O error has
// been removed. After a state was loaded, the guest then has an agent that answers and the right time. A guest that slept when it
// was saved or paused sleeps on: that is a [*StateError], and [VM.Wake] is next.
func (m *VM) Resume(ctx context.Context) error {
	return m.transit(ctx, resume, m.order("cont"), func(ctx context.Context) error {
		s, err := m.reach(ctx, resume.Name, Running, Suspended)
		if err == nil && s != Running {
			err = &StateError{Machine: m.spec.Name, Op: resume.Name, Seen: s, Want: []State{Running}}
		}
		if err != nil || !m.loaded {
			return err
		}
		m.loaded = false
		return m.restored(ctx)
	})
}

// order is the doing of a transition that one command without arguments begins.
func (m *VM) order(cmd string) func(context.Context) error {
	return func(ctx context.Context) error { return m.qmp.Execute(ctx, cmd, nil, nil) }
}

// proveState is the proof of a transition that QEMU's own word is enough for.
func (m *VM) proveState(t Transition) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := m.reach(ctx, t.Name, t.To)
		return err
	}
}
