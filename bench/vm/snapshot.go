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

// Snapshots saves, loads and lists the snapshots in a machine's disks.
type Snapshots struct {
	life   *life
	qmp    *qmp.Client
	states *states
	disks  *disks
	mover  *mover
	guest  *Guest
	logs   *logs
}

// A Snapshot is a state of a machine in its disks: memory, devices (VFs too) and the content of the
// disks.
type Snapshot struct {
	Tag  string
	Time time.Time // when it was made, by the host's clock
	Size int64     // bytes of the state without the disks'
}

// Errors about snapshots.
var (
	ErrNoSnapshot     = errors.New("no such snapshot")
	ErrSnapshotExists = errors.New("a snapshot of that name exists already")
)

// Save saves the machine's state under tag, which must be new, into its first disk. The machine
// stands still meanwhile, and then is in the same state as before. All its writable disks must be
// qcow2, as overlays are. If the machine cannot be saved, the error is a [*BlockedError]. If there
// is too little space, Save returns a [bench.InfraError] before it does anything.
func (s *Snapshots) Save(ctx context.Context, tag string) error {
	var before State
	return s.states.transit(ctx, save, func(ctx context.Context) (err error) {
		nodes, err := s.disks.nodes(s.life.name)
		if err != nil {
			return err
		}
		old, err := s.List(ctx)
		if err != nil {
			return err
		}
		if hasTag(old, tag) {
			return fmt.Errorf("snapshot %q: %w", tag, ErrSnapshotExists)
		}
		if err := errors.Join(
			s.mover.check(ctx, save.Name), s.mover.room(save.Name, s.disks.file(nodes[0])),
		); err != nil {
			return err
		}
		if before, err = s.states.now(ctx); err != nil {
			return err
		}
		return s.job(ctx, "snapshot-save", tag, nodes)
	}, func(ctx context.Context) error {
		now, err := s.List(ctx)
		if err == nil && !hasTag(now, tag) {
			err = s.unproved(save, fmt.Errorf("QEMU reported %q as saved, but does not list it", tag))
		}
		return errors.Join(err, s.sameState(ctx, save, before))
	})
}

// Load takes the machine back to a snapshot. A machine that was running runs again, with an agent
// that answers and the right time; the agent knows the processes that ran then. A machine that was
// not running stays paused until [Power.Resume]. If the state cannot be loaded whole (a VF refuses
// it), the machine is stopped in [Restoring]: load another snapshot then.
func (s *Snapshots) Load(ctx context.Context, tag string) error {
	var before State
	return s.states.transit(ctx, load, func(ctx context.Context) (err error) {
		nodes, err := s.disks.nodes(s.life.name)
		if err != nil {
			return err
		}
		all, err := s.List(ctx)
		if err != nil {
			return err
		}
		if !hasTag(all, tag) {
			return noSnapshot(tag, all)
		}
		if before, err = s.states.now(ctx); err != nil {
			return err
		}
		if err := s.job(ctx, "snapshot-load", tag, nodes); err != nil {
			return s.loadFailed(ctx, before, err)
		}
		return nil
	}, func(ctx context.Context) error {
		if before == Restoring { // a failed load before this one
			before = Paused
		}
		if err := s.sameState(ctx, load, before); err != nil {
			return err
		}
		if s.states.loaded = before != Running; s.states.loaded {
			return nil
		}
		return s.guest.restored(ctx)
	})
}

// loadFailed adds to err which state the failed load has left. QEMU stops the machine for a load,
// and after a failure does not let it run.
func (s *Snapshots) loadFailed(ctx context.Context, before State, err error) error {
	seen, lost := s.states.now(ctx)
	if lost != nil || seen == before || seen == Off || seen == Gone {
		return err
	}
	return &StateError{
		Machine: s.life.name, Op: load.Name, Seen: seen, Want: []State{before},
		Err: fmt.Errorf("%w\n%s", err, s.logs.tail("stderr.log", tailLines)),
	}
}

// Delete removes a snapshot.
func (s *Snapshots) Delete(ctx context.Context, tag string) error {
	nodes, err := s.disks.nodes(s.life.name)
	if err != nil {
		return err
	}
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	if !hasTag(all, tag) {
		return s.life.explain("delete a snapshot", noSnapshot(tag, all))
	}
	args := map[string]any{"tag": tag, "devices": nodes}
	return s.life.explain("delete snapshot "+tag, s.qmp.RunJob(ctx, "snapshot-delete", args))
}

// List returns the snapshots in the machine's first disk, oldest first.
func (s *Snapshots) List(ctx context.Context) ([]Snapshot, error) {
	nodes, err := s.disks.nodes(s.life.name)
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
	if err := s.qmp.Execute(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &reply); err != nil {
		return nil, s.life.explain("list snapshots", err)
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

func (s *Snapshots) job(ctx context.Context, cmd, tag string, nodes []string) error {
	err := s.qmp.RunJob(ctx, cmd, map[string]any{"tag": tag, "vmstate": nodes[0], "devices": nodes})
	if failed := new(qmp.JobError); errors.As(err, &failed) {
		return s.life.guestError(cmd+" "+tag, err)
	}
	return err
}

// sameState waits until the machine is in the state before again.
func (s *Snapshots) sameState(ctx context.Context, t Transition, before State) error {
	_, err := s.states.reach(ctx, t.Name, before)
	return err
}

func (s *Snapshots) unproved(t Transition, err error) error {
	return &bench.InfraError{Op: fmt.Sprintf("%s: %s", s.life, t.Name), Err: err}
}
