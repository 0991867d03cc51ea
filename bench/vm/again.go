package vm

import (
	"context"
	"fmt"
	"slices"
)

// A Mode is what a machine does after its start.
type Mode int

// The modes.
const (
	ModeRun      Mode = iota // its guest runs
	ModePaused               // its guest waits for [Power.Resume], or [Snapshots.Load]
	ModeIncoming             // it waits for a state: [StateFiles.Load], [VM.Migrate]
)

// Again starts a machine that is off once more, with its disks as they are. A guest that hibernated
// goes on from its disk. Again closes m: the new machine has the folder of m, and owns the
// overlays. After an error the overlays are removed.
func (m *VM) Again(ctx context.Context, mode Mode) (*VM, error) {
	if !m.proc.Gone(0) {
		return nil, m.states.expect(ctx, "start again", Off, Gone)
	}
	o := m.opts
	o.Mode = mode
	n := newVM(m.spec, o)
	n.takeDisks(m)
	if err := m.Close(ctx); err != nil {
		_ = n.Close(ctx)
		return nil, fmt.Errorf("%s: start again: %w", m, err)
	}
	return n.started(ctx)
}

// Twin returns the description of a machine that can receive the state of m. It differs from m in
// its name and its VFs, and has the disks of m. It may be started with [ModeIncoming] while m runs,
// otherwise only when m is off.
func (m *VM) Twin(name string, vfs ...VF) Spec {
	s := m.spec
	s.Name, s.VFs = name, vfs
	s.Disks = slices.Clone(s.Disks)
	for i, file := range m.disks.files {
		if file != "" {
			s.Disks[i].Image, s.Disks[i].Format, s.Disks[i].Access = file, "qcow2", Direct
		}
	}
	return s
}

// takeDisks makes m the owner of the overlays of from. m must not run yet, or must hold these
// overlays open already.
func (m *VM) takeDisks(from *VM) {
	m.disks.files = from.disks.files
	if dir := from.disks.dir.take(); dir != "" {
		from.proc.KeepDirs()
		m.disks.own(dir)
	}
}
