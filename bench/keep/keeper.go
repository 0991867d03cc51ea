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
	leave  context.CancelCauseFunc // ends the keeper, and why
	told   atomic.Bool             // to end
	over   chan struct{}           // closed when the machine has ended and the host is as it was

	mu      sync.Mutex
	machine *vm.VM // changes with a migration

	commands running

	moving sync.Mutex // held during one
	moves  int        // migrations begun
}

// errTold is why a keeper ends that was told to.
var errTold = errors.New("it was told to end")

var emptyObject = json.RawMessage("{}")

// Run is the keeper of the machine whose folder [Store.Start] has made: it starts the machine and does what clients ask
// for until the machine ends, a client ends it, or ctx ends; then it puts the host back. started gets what [Store.Start] waits
// for: whether the machine has started.
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
	k := &keeper{record: r, over: make(chan struct{})}
	if k.undo, err = openUndo(filepath.Join(dir, UndoFile)); err != nil {
		return nil, &bench.InfraError{Op: "open the journal of host changes", Err: err}
	}
	return k, r.write()
}

func (k *keeper) run(ctx context.Context, tell *json.Encoder) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	k.leave = leave
	l, err := listen(k.record.Dir)
	if err != nil {
		return k.end(&bench.InfraError{Op: "make the keeper's socket", Err: err})
	}
	if err := k.start(ctx); err != nil {
		l.Close()
		return k.end(err)
	}
	server := &server{operations: k.operations()}
	go server.serve(l)                            // until l is closed
	_ = tell.Encode(message{Result: emptyObject}) // who started us may have gone
	err = k.end(k.wait(ctx))
	close(k.over)
	// Requests end with the machine; the one that has ended it has an answer to give.
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l.Close()
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

// wait returns why the keeper is to end.
func (k *keeper) wait(ctx context.Context) error {
	for {
		m := k.get()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-m.Done():
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

// end puts the host back, and writes down why the machine has ended. It returns reason, unless that was as told.
func (k *keeper) end(reason error) error {
	ctx := context.Background()
	var err error
	if m := k.get(); m != nil {
		err = m.Close(ctx)
	}
	err = errors.Join(err, k.undo.Undo(ctx), k.undo.Close())
	if err != nil {
		return errors.Join(reason, &bench.InfraError{Op: "put the host back", Err: err, Advice: "vmtb recover tries again"})
	}
	if err := k.noteEnd(reason); err != nil {
		return err
	}
	if errors.Is(reason, errTold) {
		return nil
	}
	return reason
}

func (k *keeper) noteEnd(reason error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.record.Ended, k.record.Reason = time.Now(), reason.Error()
	return k.record.write()
}
