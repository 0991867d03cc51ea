package vm

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// A Roster knows the machines that are alive, for whoever has to do with all of them:
// [Options.Roster] enters each machine as soon as its QEMU can be talked to. The zero value is
// empty.
type Roster struct {
	mu       sync.Mutex
	machines []*VM
}

// add enters m, and forgets those that are gone. A nil Roster knows none.
func (r *Roster) add(m *VM) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.machines = append(slices.DeleteFunc(r.machines, func(m *VM) bool { return m.proc.Gone(0) }), m)
}

// Alive are the machines whose QEMU has not ended.
func (r *Roster) Alive() []*VM {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.machines), func(m *VM) bool { return m.proc.Gone(0) })
}

// CollectEvidence takes evidence of all that are alive, at once, and returns a line for each: its
// name and its folder, or why there is none.
func (r *Roster) CollectEvidence(ctx context.Context, o EvidenceOptions) []string {
	machines := r.Alive()
	lines := make([]string, len(machines))
	var wg sync.WaitGroup
	for i, m := range machines {
		wg.Go(func() {
			dir, err := m.evidence.Collect(ctx, o)
			if err != nil {
				dir = err.Error()
			}
			lines[i] = fmt.Sprintf("%s: %s", m, dir)
		})
	}
	wg.Wait()
	return lines
}
