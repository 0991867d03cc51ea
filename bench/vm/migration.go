package vm

import (
	"context"
	"errors"
	"time"

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
	// Downtime is how long the guest may stand still in the end, at most. 0 is 1 s, with VFs 10 s:
	// a driver that does not track what its device writes leaves all of the memory for the end
	// (QEMU's docs/devel/migration/vfio.rst).
	Downtime time.Duration
	Progress func(Migration) // told four times a second; may be nil
}

// ErrCancelled is matched by the error of a migration that was cancelled.
var ErrCancelled = errors.New("the migration was cancelled")

const progressEvery = 250 * time.Millisecond

// Migrate moves the state of m to another machine on this host, which was started with
// [ModeIncoming] from the description of a [VM.Twin].
//
// One step decides which of the two is the machine: the QEMU of to takes the order to run the
// guest. If m is paused, that step is the arrival of the whole state. If anything fails before it,
// or ctx ends, to is killed, and m goes on in its former state, with its disks. After it, to is the
// machine and owns the disks, whatever else fails; m can only be closed. [Migration.Moved] says
// which it is, also beside an error: the guest may run in to and not answer.
func (m *VM) Migrate(ctx context.Context, to *VM, o MigrateOptions) (Migration, error) {
	move := migrationRun{from: m, to: to, options: o, agent: m.AgentOpen()}
	return move.run(ctx)
}

// A migrationRun is one migration.
type migrationRun struct {
	from, to *VM
	options  MigrateOptions
	agent    bool  // the agent of from had its port open at the beginning
	was      State // of from at the beginning
	done     Migration
}

func (r *migrationRun) run(ctx context.Context) (Migration, error) {
	limit := r.from.states.limit(migrate)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, lateError{limit})
	defer cancel()
	noProof := func(context.Context) error { return nil } // tookOver proves it, with to
	err := r.from.states.transit(ctx, migrate, r.move, noProof)
	if err != nil || !r.done.Moved {
		return r.done, err
	}
	return r.done, r.tookOver(ctx)
}

// move makes to the machine, or leaves from as it was.
func (r *migrationRun) move(ctx context.Context) (err error) {
	if err := r.to.states.expect(ctx, migrate.Name, Restoring); err != nil {
		return err
	}
	if r.was, err = r.from.states.now(ctx); err != nil {
		return err
	}
	if err := r.from.mover.check(ctx, migrate.Name); err != nil {
		return err
	}
	if r.done, err = r.moveState(ctx); err == nil {
		r.done.Moved, err = r.handOver(ctx)
	}
	if !r.done.Moved {
		err = errors.Join(err, r.to.diagnosis.ofRefusal(ctx, r.to.proc), r.takeBack(ctx))
	}
	return err
}

// moveState returns when to has the state and stands still.
func (r *migrationRun) moveState(ctx context.Context) (Migration, error) {
	socket := "unix:" + r.to.Socket(migrateSocket)
	if err := r.to.mover.receive(ctx, socket); err != nil {
		return Migration{}, err
	}
	done, err := r.from.mover.send(ctx, socket, r.options)
	if err == nil {
		err = r.to.mover.arrived(ctx)
	}
	if err == nil {
		_, err = r.to.states.reach(ctx, migrate.Name, Paused) // it was started with -S
	}
	return done, err
}

// handOver is the point of no return of a migration: it makes to the machine, and reports whether
// it has.
func (r *migrationRun) handOver(ctx context.Context) (moved bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if r.was == Running {
		// vmtb needs an answer now, even if ctx ends.
		order, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.from.life.scaled(quitTime))
		defer cancel()
		err := r.to.qmp.Execute(order, "cont", nil, nil)
		if errors.As(err, new(*qmp.Error)) {
			return false, err // QEMU refuses: the guest does not run in to
		}
		// Without an answer the guest may run in to. It must not run in from then: both would write
		// to the disks.
	}
	r.to.takeDisks(r.from)
	open, opens := r.from.events.agentSeen()
	r.to.events.update(func() { r.to.events.agent, r.to.events.opens = open, opens }) // QEMU sends no event for it
	return true, nil
}

// tookOver proves that the machine goes on as to.
func (r *migrationRun) tookOver(ctx context.Context) error {
	if r.was != Running {
		return nil
	}
	bound, unbind := r.to.life.bind(ctx)
	defer unbind()
	_, err := r.to.states.reach(bound, migrate.Name, Running)
	if err == nil && r.agent { // a guest that had no agent is not asked
		err = r.to.guest.restored(bound)
	}
	t := migrate
	t.To = Running
	return r.to.states.fail(ctx, t, err)
}

// takeBack makes from the machine again after to has not taken over.
func (r *migrationRun) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime+r.from.life.scaled(quitTime))
	defer cancel()
	err := r.to.power.Kill(ctx) // to may hold the locks of the disks
	if r.from.life.over() {
		return err
	}
	return errors.Join(err, r.from.mover.settle(ctx), r.from.mover.takeUp(ctx, r.was))
}

// migrateSocket is the name of the socket on which a machine receives another machine's state.
const migrateSocket = "migrate"
