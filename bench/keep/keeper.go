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

// An Undo is the journal of a keeper's changes of the host.
type Undo interface {
	Add(undo.Record) error
	Undo(ctx context.Context) error
	Close() error
}

// A keeper holds one machine, and answers requests for it.
type keeper struct {
	record       Record
	undo         Undo
	life         context.Context         // ends when the keeper must end
	leave        context.CancelCauseFunc // ends life, with the reason
	endRequested atomic.Bool             // a client or a signal asked the keeper to end
	// Closed after the machine has ended and the keeper has tried to restore the host.
	over   chan struct{}
	result error     // error of restoring the host; valid after over
	reason error     // why a shared machine has ended; see [Sharing]
	once   sync.Once // of finish

	mu      sync.Mutex
	machine *vm.VM // replaced by a migration

	commands running

	moving chan struct{} // holds a token during a migration, a shutdown or the keeper's end
	moves  int           // number of migrations begun
}

// errEndRequested is the reason for the end of a keeper that was asked to end.
var errEndRequested = errors.New("a command ended it")

var emptyObject = json.RawMessage("{}")

// Run is the keeper of a machine whose folder [Store.Start] has made. It starts the machine and
// answers requests until the machine ends, a client ends it, or ctx ends. Then it restores the
// host. It writes to started whether the machine has started; [Store.Start] waits for that.
func Run(ctx context.Context, dir string, openUndo func(path string) (Undo, error), started io.Writer) error {
	tell := json.NewEncoder(started)
	k, err := open(dir, openUndo)
	if err == nil {
		err = k.run(ctx, tell)
	}
	if err != nil {
		// Once the machine has started, nobody reads this.
		_ = tell.Encode(message{Error: wireError(err)})
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
	_ = tell.Encode(message{Result: emptyObject}) // the process that started us may have ended
	err = k.end(k.wait(ctx))
	l.Close() // before the answer: after it, no client may find the machine alive
	close(k.over)
	// Requests end with the machine. The request that ended it still needs its answer.
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

// bind returns a context that also ends when the keeper must end.
func (k *keeper) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(k.life, func() { cancel(context.Cause(k.life)) })
	return ctx, func() { stop(); cancel(nil) }
}

// move waits until no other goroutine moves or ends the machine.
func (k *keeper) move(ctx context.Context) (release func(), err error) {
	select {
	case k.moving <- struct{}{}:
		return func() { <-k.moving }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wait waits until the keeper must end, and returns the reason.
func (k *keeper) wait(ctx context.Context) error {
	for {
		m := k.get()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-m.Done():
			// A migration or a shutdown in progress may be the cause: wait for it.
			release, err := k.move(ctx)
			if err != nil {
				return err
			}
			release()
			if k.get() != m {
				continue // the machine has migrated
			}
			return k.ending(m)
		}
	}
}

// ending returns the reason why a machine has ended.
func (k *keeper) ending(m *vm.VM) error {
	exit, err := m.Wait(context.Background())
	switch {
	case k.endRequested.Load():
		return errEndRequested
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

// endTime limits the time to restore the host, before scaling: a write to sysfs may never return.
// It is a variable for tests.
var endTime = 2 * time.Minute

// ErrNotRestored is the error if a machine has ended and the host could not be restored.
var ErrNotRestored = errors.New("the host is not restored")

// end restores the host, and records why the machine has ended. It returns reason, or nil if the
// keeper was asked to end.
func (k *keeper) end(reason error) error {
	waiting, stop := k.endContext()
	defer stop()
	_, err := k.move(waiting) // running operations end with k.life
	if m := k.get(); m != nil {
		err = errors.Join(err, m.Close(waiting)) // Close has its own deadline
	}
	ctx, cancel := k.endContext()
	defer cancel()
	notRestored := errors.Join(k.undo.Undo(ctx), k.undo.Close())
	switch {
	case notRestored != nil:
		notRestored = errors.Join(err, notRestored)
		k.result = &bench.InfraError{
			Op: "restore the host", Err: fmt.Errorf("%w: %w", ErrNotRestored, notRestored),
			Advice: "vmtb recover tries again",
		}
	case err != nil:
		k.result = &bench.InfraError{Op: "end the machine", Err: err}
	}
	if err := errors.Join(k.result, k.noteEnd(reason, notRestored)); err != nil {
		return errors.Join(reason, err)
	}
	if errors.Is(reason, errEndRequested) {
		return nil
	}
	return reason
}

func (k *keeper) endContext() (context.Context, context.CancelFunc) {
	limit := k.scaled(endTime)
	return context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("not done within %s", prose.Exact(limit)))
}

func (k *keeper) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * max(k.record.Scale, 1))
}

// noteEnd records why the machine has ended and, if the host was not restored, why not.
func (k *keeper) noteEnd(reason, notRestored error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.record.Ended, k.record.Reason = time.Now(), reason.Error()
	if notRestored != nil {
		k.record.NotRestored = notRestored.Error()
	}
	return k.record.write()
}
