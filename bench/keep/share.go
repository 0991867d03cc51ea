package keep

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
)

// A Sharing makes machines of this process, such as those of a run, available to other processes,
// like machines of [Store.Start]. This process is the keeper of each machine. The caller owns the
// journal of their changes of the host.
type Sharing struct {
	keepers []*keeper
	sockets []net.Listener
	servers []*server

	mu   sync.Mutex
	left int // number of machines that have not ended
}

// Share adds machines to the store. Each keeps its name, or gets the first free one of vm0, vm1 and
// so on if the name is taken. scale multiplies every deadline.
func (s Store) Share(ctx context.Context, machines []*vm.VM, scale float64) (*Sharing, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	h := &Sharing{left: len(machines)}
	for _, m := range machines {
		if err := h.share(s, m, scale); err != nil {
			h.Close(err)
			return nil, err
		}
	}
	return h, nil
}

func (h *Sharing) share(s Store, m *vm.VM, scale float64) error {
	r := Record{Name: m.String(), Spec: m.Spec(), Scale: scale, Started: time.Now(), Keeper: os.Getpid()}
	if old, err := s.Get(r.Name); err == nil && old.Life() != Ended || CheckName(r.Name) != nil {
		r.Name = s.freeName()
	}
	r, err := s.create(r)
	if err != nil {
		return err
	}
	l, err := listen(r.Dir)
	if err != nil {
		return &bench.InfraError{Op: "make the keeper's socket", Err: err}
	}
	k := &keeper{record: r, machine: m, over: make(chan struct{}), moving: make(chan struct{}, 1)}
	operations := k.operations()
	operations["migrate"] = func(context.Context, *call) (any, error) {
		return nil, &bench.UsageError{
			Err:    errors.New("this machine belongs to a run, and cannot be moved"),
			Advice: "vmtb vm save keeps its state",
		}
	}
	srv := &server{operations: operations}
	h.keepers, h.sockets, h.servers = append(h.keepers, k), append(h.sockets, l), append(h.servers, srv)
	return nil
}

// Names returns the machines' names in the store.
func (h *Sharing) Names() []string {
	var names []string
	for _, k := range h.keepers {
		names = append(names, k.record.Name)
	}
	return names
}

// Wait answers other processes until all machines have ended or ctx ends. The client that ends the
// last machine gets its answer from [Sharing.Close], after the host is restored.
func (h *Sharing) Wait(ctx context.Context) {
	var all sync.WaitGroup
	for i, k := range h.keepers {
		ctx, leave := context.WithCancelCause(ctx)
		k.life, k.leave = ctx, leave
		h.servers[i].serve(h.sockets[i])
		all.Go(func() {
			reason := k.wait(ctx)
			err := k.get().Close(context.WithoutCancel(ctx))
			leave(nil)
			h.ended(i, errors.Join(reason, err))
		})
	}
	all.Wait()
}

// ended records that a machine has ended, unless it is the last one.
func (h *Sharing) ended(i int, reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.keepers[i]
	k.reason = reason
	if h.left--; h.left > 0 {
		h.sockets[i].Close() // before the answer: after it, no client may find the machine alive
		k.finish()
	}
}

// Close ends the sharing. failure is nil, or says why the host could not be restored. Close answers
// the client that ended the last machine, and removes the sockets.
func (h *Sharing) Close(failure error) {
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i, k := range h.keepers {
		if failure != nil {
			k.result = &bench.InfraError{
				Op: "restore the host", Err: fmt.Errorf("%w: %w", ErrNotRestored, failure),
				Advice: "vmtb recover tries again",
			}
		}
		h.sockets[i].Close()
		k.finish()
		h.servers[i].finish(patience)
	}
}

// finish records why the machine has ended, and wakes up those who wait for its end.
func (k *keeper) finish() {
	k.once.Do(func() {
		if k.reason == nil {
			k.reason = errors.New("it could not be shared")
		}
		// The machine's folder has the same information.
		_ = k.noteEnd(fmt.Errorf("it was kept after a failure: %w", k.reason), k.result)
		close(k.over)
	})
}
