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

// A Sharing is machines of this process, such as those of a run, which it keeps up so that other
// processes get at them as they get at machines of [Store.Start]. This process is the keeper of
// each. The journal of what they have changed on the host is the caller's.
type Sharing struct {
	keepers []*keeper
	sockets []net.Listener
	servers []*server

	mu   sync.Mutex
	left int // machines that have not ended
}

// Share makes machines known in the store, each by its name or, if there is one of that name, by
// the next free of vm0, vm1 and so on. scale multiplies every deadline.
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
			Err: errors.New("this machine is a run's, which cannot be moved"), Advice: "vmtb vm save keeps its state",
		}
	}
	srv := &server{operations: operations}
	h.keepers, h.sockets, h.servers = append(h.keepers, k), append(h.sockets, l), append(h.servers, srv)
	return nil
}

// Names are the machines' names in the store.
func (h *Sharing) Names() []string {
	var names []string
	for _, k := range h.keepers {
		names = append(names, k.record.Name)
	}
	return names
}

// Wait answers other processes until all machines have ended, because their guests shut down or
// somebody ended them, or until ctx ends. Who ends the last machine gets the answer from
// [Sharing.Close]: then the host is as it was.
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

// ended ends what the store knows of a machine, unless it is the last one.
func (h *Sharing) ended(i int, reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.keepers[i]
	k.reason = reason
	if h.left--; h.left > 0 {
		h.sockets[i].Close() // before the answer: nobody is to find the machine alive after it
		k.finish()
	}
}

// Close ends the sharing; failure is why the host could not be put back, or nil. It answers who
// ended the last machine, and takes the sockets away.
func (h *Sharing) Close(failure error) {
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i, k := range h.keepers {
		if failure != nil {
			k.result = &bench.InfraError{
				Op: "put the host back", Err: fmt.Errorf("%w: %w", ErrNotRestored, failure),
				Advice: "vmtb recover tries again",
			}
		}
		h.sockets[i].Close()
		k.finish()
		h.servers[i].finish(patience)
	}
}

// finish notes why the machine has ended, and lets those go on who wait for that.
func (k *keeper) finish() {
	k.once.Do(func() {
		if k.reason == nil {
			k.reason = errors.New("it was not shared")
		}
		_ = k.noteEnd(fmt.Errorf("it was kept after a failure: %w", k.reason), k.result) // its folder tells as much
		close(k.over)
	})
}
