package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vmtb/bench"
	"vmtb/internal/prose"
)

// A Transition is a way of a machine from one state to another. docs/machine-states.md is made from
// these.
type Transition struct {
	Name  string
	From  []State       // where it may begin
	To    State         // where it has ended when its method returns nil
	Limit time.Duration // from its beginning to its proof, before scaling
	Moves bool          // Limit grows with the state to move, see states.limit
	How   string        // what is asked, and of whom
	Proof string        // what shows that it has ended
}

// The transitions.
var (
	powerOn = Transition{
		"Start, WaitReady",
		[]State{Off},
		Running, 3 * time.Minute, false, "QEMU with -S, then QMP cont",
		"the agent's port opens (VSERPORT_CHANGE) and guest-sync-delimited comes back",
	}
	pause = Transition{
		"Pause", []State{Running}, Paused, 30 * time.Second, false, "QMP stop", "query-status says paused",
	}
	resume = Transition{
		"Resume",
		[]State{Paused, Prelaunch, IOError},
		Running, 30 * time.Second, false, "QMP cont",
		"query-status says running; after a state was loaded, the agent answers and its clock is set",
	}
	reset = Transition{
		"Reset",
		[]State{Running},
		Running, 3 * time.Minute, false, "QMP system_reset",
		"the agent answers after a reset, with another boot id than before if it answered then",
	}
	reboot = Transition{
		"Reboot",
		[]State{Running},
		Running, 4 * time.Minute, false, "agent guest-shutdown, mode reboot",
		"the agent answers with another boot id than before",
	}
	suspend = Transition{
		"Suspend",
		[]State{Running},
		Suspended, time.Minute, false, "agent guest-suspend-ram",
		"query-status says suspended",
	}
	wake = Transition{
		"Wake",
		[]State{Suspended},
		Running, time.Minute, false, "QMP system_wakeup",
		"query-status says running, and the agent answers with the boot id from before",
	}
	hibernate = Transition{
		"Hibernate",
		[]State{Running},
		Off, 3 * time.Minute, true, "agent guest-suspend-disk",
		"QEMU has been reaped, with exit code 0",
	}
	quit = Transition{
		"Quit",
		[]State{Prelaunch, Running, Paused, Suspended, Restoring, Shutdown, Panicked, IOError},
		Off, quitTime, false,
		"QMP quit", "QEMU has been reaped, with exit code 0",
	}
	powerOff = Transition{
		"PowerOff", quit.From, Off, time.Minute + 30*time.Second + quitTime + killTime, false,
		"agent guest-shutdown, QMP system_powerdown, QMP quit, SIGKILL, as far as needed", "QEMU has been reaped",
	}
	kill = Transition{"Kill", quit.From, Gone, killTime, false, "SIGKILL", "QEMU has been reaped"}
	save = Transition{
		"SaveSnapshot",
		[]State{Running, Paused, Prelaunch},
		Saving, time.Minute, true, "QMP job snapshot-save",
		"the job has concluded without an error, the disks list the snapshot, query-status says the same as before",
	}
	load = Transition{
		"LoadSnapshot",
		[]State{Running, Paused, Prelaunch, Restoring},
		Restoring, time.Minute, true, "QMP job snapshot-load",
		"the job has concluded without an error and query-status says the same as before; if that is running, the " +
			"agent answers and its clock is set",
	}
	saveFile = Transition{
		"SaveState",
		[]State{Running, Paused},
		Paused, time.Minute, true, "QMP stop and migrate to file:",
		"query-migrate says completed",
	}
	loadFile = Transition{
		"LoadState",
		[]State{Restoring},
		Paused, time.Minute, true, "QMP migrate-incoming from file:",
		"query-migrate says completed, query-status says paused",
	}
	migrate = Transition{
		"Migrate",
		[]State{Running, Paused},
		Paused, 3 * time.Minute, true, "QMP migrate over a Unix socket",
		"query-migrate says completed on both sides; if the machine was running, it runs in the new QEMU, and an " +
			"agent that was up before answers and its clock is set",
	}
)

// Transitions returns all transitions.
func Transitions() []Transition {
	return []Transition{
		powerOn, pause, resume, reset, reboot, suspend, wake, hibernate, powerOff, quit, kill, save, load, saveFile,
		loadFile, migrate,
	}
}

// limit is how long a transition may take. Moving state is given a second for every 50 MiB of the
// guest's memory and of its VFs' state, a fifth of what a slow disk writes.
func (s *states) limit(t Transition) time.Duration {
	d := t.Limit
	if t.Moves {
		d += time.Duration(s.sizeMiB) * time.Second / 50
	}
	return s.life.scaled(d)
}

// stateMiB returns the most that the machine's state can take.
func (s Spec) stateMiB() int {
	size := s.MemoryMiB
	for _, v := range s.VFs {
		size += v.StateMiB
	}
	return size
}

// transit does the transition t: it checks the state, calls do, and calls prove, which waits for
// the proof. It ends with the limit of t, or with the machine's life. One transition runs at a
// time.
func (s *states) transit(ctx context.Context, t Transition, do, prove func(context.Context) error) error {
	limit := s.limit(t)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, lateError{limit})
	defer cancel()
	select {
	case s.moving <- struct{}{}:
		defer func() { <-s.moving }()
	case <-ctx.Done():
		return fmt.Errorf("%s: %s: another transition is in progress: %w", s.life, t.Name, context.Cause(ctx))
	}
	if err := s.expect(ctx, t.Name, t.From...); err != nil {
		return err
	}
	bound, unbind := ctx, func() {}
	if t.To != Off {
		bound, unbind = s.life.bind(ctx)
	}
	defer unbind()
	err := do(bound)
	if err == nil {
		err = prove(bound)
	}
	return s.fail(ctx, t, err)
}

// lateError is the cause of a context whose transition has missed its deadline.
type lateError struct{ limit time.Duration }

func (e lateError) Error() string        { return "not within " + prose.Exact(e.limit) }
func (e lateError) Is(target error) bool { return target == context.DeadlineExceeded }

// fail returns the error of t for err. If t missed its deadline, the error says which state was
// seen, and is a [bench.GuestError].
func (s *states) fail(ctx context.Context, t Transition, err error) error {
	if err == nil {
		return nil
	}
	if late := (lateError{}); errors.As(context.Cause(ctx), &late) && !s.life.over() {
		if at := new(StateError); !errors.As(err, &at) {
			look, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.life.scaled(stateTime))
			defer cancel()
			seen, lost := s.now(look)
			if lost != nil {
				seen = "silent"
			}
			if err = fmt.Errorf("%w: %w", late, err); seen != t.To { // otherwise only the proof is missing
				err = &StateError{Machine: s.life.name, Op: t.Name, Seen: seen, Want: []State{t.To}, Err: err}
			}
		}
		return &bench.GuestError{Machine: s.life.name, Op: t.Name, Err: err}
	}
	for _, kind := range []any{
		new(*StateError), new(*BlockedError), new(*bench.GuestError), new(*bench.HostError), new(*bench.InfraError),
		new(*bench.UsageError),
	} {
		if errors.As(err, kind) { // its type says whose fault it is
			return err
		}
	}
	return s.life.explain(t.Name, err)
}
