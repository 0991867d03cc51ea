package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// A Migration says how far the move of a machine's state has come, or how it went.
type Migration struct {
	Status    string        // QEMU's: "setup", "active", "device", "completed", "failed", "cancelled", ...
	Total     time.Duration // since the beginning
	Downtime  time.Duration // how long no guest ran
	RAM       int64         // bytes of memory moved
	Remaining int64         // bytes of memory still to move
	VF        int64         // bytes of VF state moved
	// Moved reports whether the other machine is the machine now: see [VM.Migrate].
	Moved bool
}

// MigrateOptions of [VM.Migrate].
type MigrateOptions struct {
	// Downtime is how long the guest may stand still in the end, at most. 0 is 1 s, with VFs 10 s: a driver that does not track
	// what its device writes leaves all of the memory for the end (QEMU's docs/devel/migration/vfio.rst).
	Downtime time.Duration
	Progress func(Migration) // told four times a second; may be nil
}

// ErrCancelled is matched by the error of a migration that was cancelled.
var ErrCancelled = errors.New("the migration was cancelled")

const progressEvery = 250 * time.Millisecond

// SaveState stops the machine and writes its state to a file; what its disks hold stays there, so the two belong together.
// The machine is paused then, and goes on with [VM.Resume], which makes the file worthless.
func (m *VM) SaveState(ctx context.Context, path string) (done Migration, err error) {
	var was State
	err = m.transit(ctx, saveFile, func(ctx context.Context) error {
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
		if was, err = m.State(ctx); err != nil {
			return err
		}
		if err := errors.Join(m.canMove(ctx, saveFile.Name), m.room(saveFile.Name, filepath.Dir(path))); err != nil {
			return err
		}
		if err := m.qmp.Execute(ctx, "stop", nil, nil); err != nil {
			return err
		}
		if done, err = m.send(ctx, "file:"+path, MigrateOptions{}); err != nil {
			err = errors.Join(err, m.recoverSource(ctx, was))
		}
		return err
	}, m.proveState(saveFile))
	return done, err
}

// LoadState takes a machine that was started with [ModeIncoming] to the state that [VM.SaveState] has written. Its disks
// must hold what they held then: see [VM.Again] and [VM.Twin]. The machine is paused then.
func (m *VM) LoadState(ctx context.Context, path string) error {
	return m.transit(ctx, loadFile, func(ctx context.Context) error {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if err := m.receive(ctx, "file:"+abs); err != nil {
			return err
		}
		m.loaded = true
		return m.arrived(ctx)
	}, m.proveState(loadFile))
}

// Migrate moves the running machine's state to another machine on this host, which was started with [ModeIncoming] from the
// description of a [VM.Twin].
//
// One step decides which of both is the machine: QEMU of to takes the order to run the guest (if m is paused: it has the whole
// state). Before, whatever fails or if ctx ends, to is killed, and m goes on in the state that it was in, with its disks. After, to
// is the machine and owns the disks, whatever else fails; m is good for nothing but [VM.Close]. [Migration.Moved] says which it
// is, also beside an error: the guest may not answer where it is now.
func (m *VM) Migrate(ctx context.Context, to *VM, o MigrateOptions) (done Migration, err error) {
	limit := m.limit(migrate)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, lateError{limit})
	defer cancel()
	agent := m.AgentOpen()
	var was State
	err = m.transit(ctx, migrate, func(ctx context.Context) error {
		if err := to.expect(ctx, migrate.Name, Restoring); err != nil {
			return err
		}
		if was, err = m.State(ctx); err != nil {
			return err
		}
		if err := m.canMove(ctx, migrate.Name); err != nil {
			return err
		}
		if done, err = m.moveState(ctx, to, o); err == nil {
			done.Moved, err = m.handOver(ctx, to, was)
		}
		if !done.Moved {
			err = errors.Join(err, to.refused(ctx), m.takeBack(ctx, to, was))
		}
		return err
	}, func(context.Context) error { return nil }) // what is to be shown is shown of to
	if err != nil || !done.Moved {
		return done, err
	}
	return done, to.tookOver(ctx, was, agent)
}

// moveState returns when to has the state, and stands still.
func (m *VM) moveState(ctx context.Context, to *VM, o MigrateOptions) (Migration, error) {
	socket := "unix:" + to.Socket(migrateSocket)
	if err := to.receive(ctx, socket); err != nil {
		return Migration{}, err
	}
	done, err := m.send(ctx, socket, o)
	if err == nil {
		err = to.arrived(ctx)
	}
	if err == nil {
		_, err = to.reach(ctx, migrate.Name, Paused) // it was started with -S
	}
	return done, err
}

// handOver is the point of no return of a migration: it makes to the machine, and reports whether it has.
func (m *VM) handOver(ctx context.Context, to *VM, was State) (moved bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if was == Running {
		order, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.scaled(quitTime)) // an answer is needed now
		defer cancel()
		err := to.qmp.Execute(order, "cont", nil, nil)
		if errors.As(err, new(*qmp.Error)) {
			return false, err // QEMU refuses: the guest does not run there
		}
		// Without an answer the guest may run there. It must not run here then: both would write to its disks.
	}
	to.takeDisks(m)
	open, opens := m.guest.agentSeen()
	to.guest.update(func() { to.guest.agent, to.guest.opens = open, opens }) // no event tells
	return true, nil
}

// tookOver is the proof that the machine lives on as m.
func (m *VM) tookOver(ctx context.Context, was State, agent bool) error {
	if was != Running {
		return nil
	}
	bound, unbind := m.bind(ctx)
	defer unbind()
	_, err := m.reach(bound, migrate.Name, Running)
	if err == nil && agent { // a guest that had none is not asked
		err = m.restored(bound)
	}
	t := migrate
	t.To = Running
	return m.transitError(ctx, t, err)
}

// takeBack makes m the machine again, whose state to has not taken over.
func (m *VM) takeBack(ctx context.Context, to *VM, was State) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime+m.scaled(quitTime))
	defer cancel()
	err := to.Kill(ctx) // it may hold the locks of the disks
	if m.life.Err() != nil {
		return err
	}
	return errors.Join(err, m.settle(ctx), m.recoverSource(ctx, was))
}

// settle ends a migration that may still go on: until then QEMU does not let the guest run.
func (m *VM) settle(ctx context.Context) error {
	events := m.qmp.Subscribe(isMigration)
	defer events.Close()
	now, err := m.migration(ctx)
	if err == nil && now.Status != "" && now.Status != "none" && now.Status != "completed" {
		_ = m.qmp.Execute(ctx, "migrate_cancel", nil, nil) // one that has ended by itself refuses
		_, err = m.follow(ctx, events, func(Migration) {}) // QEMU may not have been told to send events
	}
	if errors.Is(err, ErrCancelled) || errors.As(err, new(*bench.GuestError)) { // it has failed: settled, too
		return nil
	}
	return err
}

// migrateSocket is the name of the socket of a machine that takes over another's state.
const migrateSocket = "migrate"

// receive opens a machine for a state to come.
func (m *VM) receive(ctx context.Context, uri string) error {
	if err := m.migrationEvents(ctx); err != nil {
		return err
	}
	return m.qmp.Execute(ctx, "migrate-incoming", map[string]any{"uri": uri}, nil)
}

// migrationEvents makes QEMU tell by events how a migration goes.
func (m *VM) migrationEvents(ctx context.Context) error {
	on := []map[string]any{{"capability": "events", "state": true}}
	return m.qmp.Execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": on}, nil)
}

// send moves the state and returns when QEMU says that it has been moved. When ctx ends it is cancelled.
func (m *VM) send(ctx context.Context, uri string, o MigrateOptions) (Migration, error) {
	if err := m.migrationEvents(ctx); err != nil {
		return Migration{}, err
	}
	downtime := cmp.Or(o.Downtime, time.Second)
	if o.Downtime == 0 && len(m.spec.VFs) > 0 {
		downtime = 10 * time.Second
	}
	limits := map[string]any{"max-bandwidth": 0, "downtime-limit": m.scaled(downtime).Milliseconds()}
	if err := m.qmp.Execute(ctx, "migrate-set-parameters", limits, nil); err != nil {
		return Migration{}, err
	}
	events := m.qmp.Subscribe(isMigration)
	defer events.Close()
	if err := m.qmp.Execute(ctx, "migrate", map[string]any{"uri": uri}, nil); err != nil {
		return Migration{}, err
	}
	done, err := m.follow(ctx, events, o.Progress)
	if ctx.Err() != nil {
		return done, m.cancelMigration(ctx, events)
	}
	return done, err
}

func isMigration(e qmp.Event) bool { return e.Name == "MIGRATION" }

// arrived returns when the state has come in.
func (m *VM) arrived(ctx context.Context) error {
	events := m.qmp.Subscribe(isMigration)
	defer events.Close()
	_, err := m.follow(ctx, events, nil)
	return err
}

// follow waits for the end of a migration: events say when to look, and a clock when somebody wants to see its progress.
func (m *VM) follow(ctx context.Context, events *qmp.Subscription, progress func(Migration)) (Migration, error) {
	for {
		now, err := m.migration(ctx)
		if err != nil || now.Status == "completed" {
			return now, err
		}
		look := ctx
		if progress != nil {
			progress(now)
			var stop context.CancelFunc
			look, stop = context.WithTimeout(ctx, progressEvery)
			_, err = events.Next(look)
			stop()
		} else {
			_, err = events.Next(look)
		}
		if err != nil && (look == ctx || ctx.Err() != nil || errors.Is(err, qmp.ErrClosed)) {
			return now, err
		}
	}
}

// migration asks how far it is. One that has failed or was cancelled is an error.
func (m *VM) migration(ctx context.Context) (Migration, error) {
	var reply struct {
		Status   string
		Desc     string `json:"error-desc"`
		Total    int64  `json:"total-time"` // milliseconds, as the next
		Downtime int64
		RAM      struct{ Transferred, Remaining int64 }
		VFIO     struct{ Transferred int64 }
	}
	if err := m.qmp.Execute(ctx, "query-migrate", nil, &reply); err != nil {
		return Migration{}, err
	}
	now := Migration{
		Status: reply.Status,
		Total:  time.Duration(reply.Total) * time.Millisecond, Downtime: time.Duration(reply.Downtime) * time.Millisecond,
		RAM: reply.RAM.Transferred, Remaining: reply.RAM.Remaining, VF: reply.VFIO.Transferred,
	}
	switch reply.Status {
	case "failed":
		return now, m.guestError("move its state", fmt.Errorf("QEMU: %s", cmp.Or(reply.Desc, "it failed for a reason that QEMU does not give")))
	case "cancelled":
		return now, ErrCancelled
	}
	return now, nil
}

// cancelMigration ends a migration for good, whose ctx has ended.
func (m *VM) cancelMigration(ctx context.Context, events *qmp.Subscription) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.scaled(quitTime))
	defer cancel()
	err := m.qmp.Execute(clean, "migrate_cancel", nil, nil)
	if err == nil {
		_, err = m.follow(clean, events, nil)
	}
	if errors.Is(err, ErrCancelled) {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return errors.Join(context.Cause(ctx), err)
}

// recoverSource takes a machine whose state could not be moved back to the state that it was in.
func (m *VM) recoverSource(ctx context.Context, was State) error {
	if was != Running || m.life.Err() != nil {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.scaled(quitTime))
	defer cancel()
	if err := m.qmp.Execute(clean, "cont", nil, nil); err != nil {
		return fmt.Errorf("it does not go on: %w", err)
	}
	_, err := m.reach(clean, "go on after a failed migration", was)
	return err
}

// refused is what a QEMU has to say that ended instead of taking over a state, as it does when it cannot.
func (m *VM) refused(ctx context.Context) error {
	patience := time.Second
	if ctx.Err() != nil { // then it has not been QEMU that gave up
		patience = 0
	}
	if !m.proc.Gone(patience) {
		return nil
	}
	return &bench.InfraError{Op: m.String() + ": take over a state", Err: errors.New(m.proc.Exit().String()), Evidence: m.tail("stderr.log", tailLines)}
}
