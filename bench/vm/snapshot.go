package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// A Snapshot is a state of a machine, kept in its disks: memory, devices (those of VFs too) and what the disks held.
type Snapshot struct {
	Tag  string
	Time time.Time // when it was made, by the host's clock
	Size int64     // bytes of the state without the disks'
}

// Errors about snapshots.
var (
	ErrNoSnapshot     = errors.New("no such snapshot")
	ErrSnapshotExists = errors.New("there is a snapshot of that name")
)

// SaveSnapshot saves the machine's state under a name of its own into its first disk. The machine stands still meanwhile
// and is then in the state it was in. All its writable disks must be qcow2, as overlays are. A machine that cannot be saved is a
// [*BlockedError]; too little space is an [bench.InfraError] before anything is done.
func (m *VM) SaveSnapshot(ctx context.Context, tag string) error {
	var before State
	return m.transit(ctx, save, func(ctx context.Context) (err error) {
		nodes, err := m.snapshotNodes()
		if err != nil {
			return err
		}
		old, err := m.Snapshots(ctx)
		if err != nil {
			return err
		}
		if hasTag(old, tag) {
			return fmt.Errorf("snapshot %q: %w", tag, ErrSnapshotExists)
		}
		if err := errors.Join(m.canMove(ctx, save.Name), m.room(save.Name, m.overlayFile(nodes[0]))); err != nil {
			return err
		}
		if before, err = m.State(ctx); err != nil {
			return err
		}
		return m.snapshotJob(ctx, "snapshot-save", tag, nodes)
	}, func(ctx context.Context) error {
		now, err := m.Snapshots(ctx)
		if err == nil && !hasTag(now, tag) {
			err = m.unproved(save, fmt.Errorf("QEMU says that %q is saved, and does not list it", tag))
		}
		return errors.Join(err, m.sameState(ctx, save, before))
	})
}

// LoadSnapshot takes the machine back to a snapshot. If it was running, it goes on from there, with an agent that answers and the
// right time; the processes that ran then run again and are known to the agent. If it was not, it stands there until [VM.Resume].
// When the state cannot be loaded whole (a VF that refuses it), the machine is stopped in [Restoring]: another snapshot may be
// loaded then, nothing else makes sense.
func (m *VM) LoadSnapshot(ctx context.Context, tag string) error {
	var before State
	return m.transit(ctx, load, func(ctx context.Context) (err error) {
		nodes, err := m.snapshotNodes()
		if err != nil {
			return err
		}
		all, err := m.Snapshots(ctx)
		if err != nil {
			return err
		}
		if !hasTag(all, tag) {
			return noSnapshot(tag, all)
		}
		if before, err = m.State(ctx); err != nil {
			return err
		}
		if err := m.snapshotJob(ctx, "snapshot-load", tag, nodes); err != nil {
			return m.loadFailed(ctx, before, err)
		}
		return nil
	}, func(ctx context.Context) error {
		if before == Restoring { // a failed load before this one
			before = Paused
		}
		if err := m.sameState(ctx, load, before); err != nil {
			return err
		}
		if m.loaded = before != Running; m.loaded {
			return nil
		}
		return m.restored(ctx)
	})
}

// loadFailed says what state a load that failed has left. QEMU stops the machine for it and leaves it so.
func (m *VM) loadFailed(ctx context.Context, before State, err error) error {
	seen, lost := m.State(ctx)
	if lost != nil || seen == before || seen == Off || seen == Gone {
		return err
	}
	return &StateError{
		Machine: m.spec.Name, Op: load.Name, Seen: seen, Want: []State{before},
		Err: fmt.Errorf("%w\n%s", err, m.tail("stderr.log", tailLines)),
	}
}

// DeleteSnapshot removes a snapshot.
func (m *VM) DeleteSnapshot(ctx context.Context, tag string) error {
	nodes, err := m.snapshotNodes()
	if err != nil {
		return err
	}
	all, err := m.Snapshots(ctx)
	if err != nil {
		return err
	}
	if !hasTag(all, tag) {
		return m.because("delete a snapshot", noSnapshot(tag, all))
	}
	args := map[string]any{"tag": tag, "devices": nodes}
	return m.because("delete snapshot "+tag, m.qmp.RunJob(ctx, "snapshot-delete", args))
}

// Snapshots lists the snapshots in the machine's first disk, oldest first.
func (m *VM) Snapshots(ctx context.Context) ([]Snapshot, error) {
	nodes, err := m.snapshotNodes()
	if err != nil {
		return nil, err
	}
	var reply []struct {
		Node  string `json:"node-name"`
		Image struct {
			Snapshots []struct {
				Name string
				Size int64 `json:"vm-state-size"`
				Sec  int64 `json:"date-sec"`
				NSec int64 `json:"date-nsec"`
			}
		}
	}
	if err := m.qmp.Execute(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &reply); err != nil {
		return nil, m.because("list snapshots", err)
	}
	var list []Snapshot
	for _, node := range reply {
		if node.Node != nodes[0] {
			continue
		}
		for _, s := range node.Image.Snapshots {
			list = append(list, Snapshot{Tag: s.Name, Time: time.Unix(s.Sec, s.NSec), Size: s.Size})
		}
	}
	slices.SortStableFunc(list, func(a, b Snapshot) int { return a.Time.Compare(b.Time) })
	return list, nil
}

func hasTag(list []Snapshot, tag string) bool {
	return slices.ContainsFunc(list, func(s Snapshot) bool { return s.Tag == tag })
}

func noSnapshot(tag string, there []Snapshot) error {
	tags := make([]string, len(there))
	for i, s := range there {
		tags[i] = s.Tag
	}
	return fmt.Errorf("snapshot %q: %w; there are: %s", tag, ErrNoSnapshot, cmp.Or(strings.Join(tags, ", "), "none"))
}

// snapshotNodes are the block nodes that a snapshot is of. The first one gets the state.
func (m *VM) snapshotNodes() ([]string, error) {
	var nodes []string
	for i, d := range m.spec.Disks {
		if d.Access == ReadOnly {
			continue
		}
		if d.Access == Direct && d.Format != "qcow2" {
			return nil, &bench.UsageError{
				Err:    fmt.Errorf("machine %s: disk%d is %s: only qcow2 holds snapshots", m, i, d.Format),
				Advice: "give it an overlay",
			}
		}
		nodes = append(nodes, diskNode(i))
	}
	if len(nodes) == 0 {
		return nil, &bench.UsageError{
			Err: fmt.Errorf("machine %s has no writable disk to hold a snapshot", m), Advice: "give it a small empty one",
		}
	}
	return nodes, nil
}

// overlayFile is the file of a block node.
func (m *VM) overlayFile(node string) string {
	for i, d := range m.spec.Disks {
		if diskNode(i) == node {
			if d.Access == Overlay {
				return m.overlayFiles[i]
			}
			return d.Image
		}
	}
	return ""
}

func (m *VM) snapshotJob(ctx context.Context, cmd, tag string, nodes []string) error {
	err := m.qmp.RunJob(ctx, cmd, map[string]any{"tag": tag, "vmstate": nodes[0], "devices": nodes})
	if failed := new(qmp.JobError); errors.As(err, &failed) {
		return m.guestError(cmd+" "+tag, err)
	}
	return err
}

// sameState is the proof that the machine is again in the state that it was in.
func (m *VM) sameState(ctx context.Context, t Transition, before State) error {
	_, err := m.reach(ctx, t.Name, before)
	return err
}

func (m *VM) unproved(t Transition, err error) error {
	return &bench.InfraError{Op: fmt.Sprintf("%s: %s", m, t.Name), Err: err}
}
