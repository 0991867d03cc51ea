package vm

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// A Roster is a list of the machines that are alive. [Options.Roster] adds each machine as soon as
// its QEMU answers. The zero value is empty.
type Roster struct {
	mu       sync.Mutex
	machines []*VM
}

// add adds m, and removes machines that are gone. A nil Roster ignores the call.
func (r *Roster) add(m *VM) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.machines = append(slices.DeleteFunc(r.machines, func(m *VM) bool { return m.proc.Gone(0) }), m)
}

// Alive returns the machines whose QEMU has not ended.
func (r *Roster) Alive() []*VM {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.machines), func(m *VM) bool { return m.proc.Gone(0) })
}

// CollectEvidence collects evidence of all machines that are alive, at once. It returns a line for
// each: its name, and its folder or the error.
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
