package vm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"vmtb/bench/qmp"
	"vmtb/bench/vm/guard"
)

// A State is what a machine is doing, as QEMU says it.
//
//	           Start                  Resume
//	Off ----------------> Prelaunch ---------> Running <--------------------------+
//	 ^ ^       with Incoming: Restoring ------>  | | |                            |
//	 | |                                         | | | Pause          Resume      |
//	 | | PowerOff, Quit, Hibernate,              | | +-------> Paused ------------+
//	 | | the guest shuts down                    | |             ^ a migration away
//	 | +-----------------------------------------+ | Suspend               Wake   |
//	 |                                             +---------> Suspended ---------+
//	 | Again                                       | a full disk           Resume |
//	 +-------------------------------------------- | --------> IOError -----------+
//	                                               |
//	   Saving, Restoring: while state is written or read; then as before
//	   Shutdown:          the guest is off and QEMU still there, with -no-shutdown only
//	   Panicked:          the guest's kernel has; QEMU has stopped it. Only PowerOff, Quit and Kill lead out
//	   Gone:              QEMU was killed or has crashed, from any state
//
// Reboot and Reset lead from Running through another boot of the guest back to it. [Transitions]
// has every way with its deadline and its proof, and one function (states.transit) goes them all.
type State string

// The states of a machine.
const (
	Off       State = "off"       // QEMU has ended in order
	Prelaunch State = "prelaunch" // QEMU is there, the guest has not begun
	Running   State = "running"
	Paused    State = "paused"
	Suspended State = "suspended" // the guest sleeps (S3)
	Saving    State = "saving"
	Restoring State = "restoring"
	Shutdown  State = "shutdown"
	Panicked  State = "panicked"
	IOError   State = "io-error" // a disk of the host is full or broken; QEMU has stopped the guest
	Gone      State = "gone"
)

// runStates are QEMU's run states (qapi/run-state.json, RunState). Those left out are states of
// debugging and replication, which keep QEMU's names.
var runStates = map[string]State{
	"prelaunch":      Prelaunch,
	"running":        Running,
	"paused":         Paused,
	"postmigrate":    Paused, // its state has gone elsewhere; "cont" takes it back
	"suspended":      Suspended,
	"save-vm":        Saving,
	"finish-migrate": Saving,
	"restore-vm":     Restoring,
	"inmigrate":      Restoring,
	"shutdown":       Shutdown,
	"guest-panicked": Panicked,
	"io-error":       IOError,
}

// states takes a machine from one [State] to another, one transition at a time.
type states struct {
	life      *life
	qmp       *qmp.Client
	proc      *guard.Process
	events    *guestEvents
	diagnosis *diagnosis
	sizeMiB   int           // the most that the machine's state can take
	moving    chan struct{} // holds a token while a transition goes on
	loaded    bool          // a state was loaded, and the guest has not run since; of transitions
}

// now asks QEMU for the machine's state.
func (s *states) now(ctx context.Context) (State, error) {
	if s.proc.Gone(0) {
		return s.last(), nil
	}
	var reply struct{ Status string }
	if err := s.qmp.Execute(ctx, "query-status", nil, &reply); err != nil {
		if s.proc.Gone(0) {
			return s.last(), nil
		}
		return "", fmt.Errorf("%s: %w", s.life, err)
	}
	if s, ok := runStates[reply.Status]; ok {
		return s, nil
	}
	return State(reply.Status), nil
}

func (s *states) last() State {
	if s.proc.Exit() == (Exit{}) {
		return Off
	}
	return Gone
}

// A StateError says that a machine is not in the state that something needs, or did not get there.
type StateError struct {
	Machine string
	Op      string // "suspend"
	Seen    State
	Want    []State
	Err     error // why, if that is known: the deadline, the guest's refusal
}

func (e *StateError) Error() string {
	want := make([]string, len(e.Want))
	for i, s := range e.Want {
		want[i] = string(s)
	}
	text := fmt.Sprintf("%s: %s: the machine is %s, want %s", e.Machine, e.Op, e.Seen, strings.Join(want, " or "))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *StateError) Unwrap() error { return e.Err }

// expect returns nil if the machine's state is one of want. Otherwise it returns a [*StateError],
// or the reason why the machine has ended.
func (s *states) expect(ctx context.Context, op string, want ...State) error {
	seen, err := s.now(ctx)
	switch {
	case err != nil || slices.Contains(want, seen):
		return err
	case seen == Off || seen == Gone: // the reason is known a moment later
		return s.life.explain(op, qmp.ErrClosed)
	}
	return &StateError{Machine: s.life.name, Op: op, Seen: seen, Want: want, Err: s.life.reason()}
}

// unheardEvery is how often vmtb asks QEMU for a change that QEMU sends no event for.
const unheardEvery = 10 * time.Millisecond

// reach waits for one of the states want, and returns it.
func (s *states) reach(ctx context.Context, op string, want ...State) (State, error) {
	for {
		changed := s.events.watch() // before asking: a change in between is not missed
		seen, err := s.now(ctx)
		if err != nil || slices.Contains(want, seen) {
			return seen, err
		}
		var unheard <-chan time.Time
		if seen == Saving { // QEMU says that a migration has completed before it ends this state, and then no more
			unheard = time.After(unheardEvery)
		}
		select {
		case <-changed:
		case <-unheard:
		case <-s.proc.Done():
			return seen, s.life.reason()
		case <-ctx.Done():
			return seen, &StateError{Machine: s.life.name, Op: op, Seen: seen, Want: want, Err: context.Cause(ctx)}
		}
	}
}
