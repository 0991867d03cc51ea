package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/bench/vm"
	"vmtb/internal/prose"
)

// An Undo is the journal of what a keeper changes on the host.
type Undo interface {
	Add(undo.Record) error
	Undo(ctx context.Context) error
	Close() error
}

// A keeper is the process of one machine.
type keeper struct {
	record Record
	undo   Undo
	life   context.Context         // ends when the keeper is to end
	leave  context.CancelCauseFunc // ends the keeper, and why
	told   atomic.Bool             // to end
	over   chan struct{}           // closed when the machine has ended and the keeper has tried to put the host back
	result error                   // of putting the host back; valid after over
	reason error                   // why a shared machine has ended; see [Sharing]
	once   sync.Once               // of finish

	mu      sync.Mutex
	machine *vm.VM // changes with a migration

	commands running

	moving chan struct{} // holds a token while a migration, a shutdown or the keeper's end goes on
	moves  int           // migrations begun
}

// errTold is why a keeper ends that was told to.
var errTold = errors.New("it was told to end")

var emptyObject = json.RawMessage("{}")

// Run is the keeper of the machine whose folder [Store.Start] has made: it starts the machine and
// does what clients ask for until the machine ends, a client ends it, or ctx ends; then it puts the
// host back. started gets what [Store.Start] waits for: whether the machine has started.
func Run(ctx context.Context, dir string, openUndo func(path string) (Undo, error), started io.Writer) error {
	tell := json.NewEncoder(started)
	k, err := open(dir, openUndo)
	if err == nil {
		err = k.run(ctx, tell)
	}
	if err != nil {
		_ = tell.Encode(message{Error: wireError(err)}) // nobody listens any more once the machine has started
	}
	return err
}

func open(dir string, openUndo func(path string) (Undo, error)) (*keeper, error) {
	r, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	r.Keeper = os.Getpid()
	k := &keeper{record: r, over: make(chan struct{}), moving: make(chan struct{}, 1)}
	if k.undo, err = openUndo(filepath.Join(dir, UndoFile)); err != nil {
		return nil, &bench.InfraError{Op: "open the journal of host changes", Err: err}
	}
	return k, r.write()
}

func (k *keeper) run(ctx context.Context, tell *json.Encoder) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	k.life, k.leave = ctx, leave
	l, err := listen(k.record.Dir)
	if err != nil {
		return k.end(&bench.InfraError{Op: "make the keeper's socket", Err: err})
	}
	if err := k.start(ctx); err != nil {
		l.Close()
		return k.end(err)
	}
	server := &server{operations: k.operations()}
	server.serve(l)                               // until l is closed
	_ = tell.Encode(message{Result: emptyObject}) // who started us may have gone
	err = k.end(k.wait(ctx))
	l.Close() // before the answer: nobody is to find the machine alive after it
	close(k.over)
	// Requests end with the machine; the one that has ended it has an answer to give.
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	server.finish(patience)
	return err
}

func (k *keeper) start(ctx context.Context) error {
	m, err := vm.Start(ctx, k.record.Spec, vm.Options{Dir: k.record.Dir, Scale: k.record.Scale, Journal: k.undo.Add})
	if err == nil {
		k.machine = m
	}
	return err
}

// bind makes ctx end when the keeper is to end, too.
func (k *keeper) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(k.life, func() { cancel(context.Cause(k.life)) })
	return ctx, func() { stop(); cancel(nil) }
}

// move waits until nothing else moves or ends the machine.
func (k *keeper) move(ctx context.Context) (release func(), err error) {
	select {
	case k.moving <- struct{}{}:
		return func() { <-k.moving }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wait returns why the keeper is to end.
func (k *keeper) wait(ctx context.Context) error {
	for {
		m := k.get()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-m.Done():
			// A migration, or a shutdown, that goes on knows better what this is.
			release, err := k.move(ctx)
			if err != nil {
				return err
			}
			release()
			if k.get() != m {
				continue // it has moved
			}
			return k.ending(m)
		}
	}
}

// ending is why a machine that is gone has ended.
func (k *keeper) ending(m *vm.VM) error {
	exit, err := m.Wait(context.Background())
	switch {
	case k.told.Load():
		return errTold
	case err != nil:
		return err
	case exit == (vm.Exit{}):
		return errors.New("the guest has shut down")
	}
	return fmt.Errorf("QEMU has ended: %v", exit)
}

func (k *keeper) get() *vm.VM {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.machine
}

// endTime is what the keeper gives the host to be put back, scaled: a write to sysfs may never
// return. It is a variable for tests.
var endTime = 2 * time.Minute

// ErrNotRestored is matched by the error for a machine that has ended and has left the host
// changed.
var ErrNotRestored = errors.New("the host is not as it was")

// end puts the host back, and writes down why the machine has ended. It returns reason, unless that
// was as told.
func (k *keeper) end(reason error) error {
	waiting, stop := k.endContext()
	defer stop()
	_, err := k.move(waiting) // what goes on ends with k.life
	if m := k.get(); m != nil {
		err = errors.Join(err, m.Close(waiting)) // which has time of its own
	}
	ctx, cancel := k.endContext()
	defer cancel()
	notRestored := errors.Join(k.undo.Undo(ctx), k.undo.Close())
	switch {
	case notRestored != nil:
		notRestored = errors.Join(err, notRestored)
		k.result = &bench.InfraError{
			Op: "put the host back", Err: fmt.Errorf("%w: %w", ErrNotRestored, notRestored),
			Advice: "vmtb recover tries again",
		}
	case err != nil:
		k.result = &bench.InfraError{Op: "end the machine", Err: err}
	}
	if err := errors.Join(k.result, k.noteEnd(reason, notRestored)); err != nil {
		return errors.Join(reason, err)
	}
	if errors.Is(reason, errTold) {
		return nil
	}
	return reason
}

func (k *keeper) endContext() (context.Context, context.CancelFunc) {
	limit := k.scaled(endTime)
	return context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("not within %s", prose.Exact(limit)))
}

func (k *keeper) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * max(k.record.Scale, 1))
}

// noteEnd records why the machine has ended, and why the host was not put back if it was not.
func (k *keeper) noteEnd(reason, notRestored error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.record.Ended, k.record.Reason = time.Now(), reason.Error()
	if notRestored != nil {
		k.record.NotRestored = notRestored.Error()
	}
	return k.record.write()
}
