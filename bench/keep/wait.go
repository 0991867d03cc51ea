package keep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"vmtb/bench"
)

// execArgs are the arguments of the operation "exec".
type execArgs struct {
	ID      string `json:"id,omitempty"` // for "signal"; "" means that there is none
	Command bench.Command
}

// signalArgs are the arguments of the operation "signal".
type signalArgs struct {
	ID     string
	Signal int
}

// running holds the commands that have an ID.
type running struct {
	mu   sync.Mutex
	byID map[string]bench.Process
}

// note registers p as id, until the returned function is called.
func (k *keeper) note(id string, p bench.Process) (forget func()) {
	if id == "" {
		return func() {}
	}
	k.commands.mu.Lock()
	defer k.commands.mu.Unlock()
	if k.commands.byID == nil {
		k.commands.byID = map[string]bench.Process{}
	}
	k.commands.byID[id] = p
	return func() {
		k.commands.mu.Lock()
		defer k.commands.mu.Unlock()
		delete(k.commands.byID, id)
	}
}

func (k *keeper) signal(ctx context.Context, _ *call, a signalArgs) (any, error) {
	k.commands.mu.Lock()
	p := k.commands.byID[a.ID]
	k.commands.mu.Unlock()
	if p == nil {
		return nil, &bench.UsageError{Err: fmt.Errorf("no command %q is running", a.ID)}
	}
	err := p.Signal(ctx, a.Signal)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return nil, err
}

// Signal sends a signal to the command that [Client.ExecAs] runs as id, but not to its descendants.
func (c *Client) Signal(ctx context.Context, id string, signal int) error {
	return c.do(ctx, "signal", signalArgs{id, signal}, nil, Output{}, nil)
}

func (k *keeper) ready(ctx context.Context, _ *call, limit time.Duration) (any, error) {
	m := k.get()
	if limit <= 0 {
		limit = m.BootLimit()
	}
	return nil, m.WaitReadyWithin(ctx, limit)
}

// WaitReadyWithin is [Client.WaitReady] with its own limit instead of the machine's.
func (c *Client) WaitReadyWithin(ctx context.Context, limit time.Duration) error {
	return c.do(ctx, "ready", limit, nil, Output{}, nil)
}

// untilEnd answers when the machine has ended and the host is restored.
func (k *keeper) untilEnd(ctx context.Context, _ *call) (any, error) {
	select {
	case <-k.over:
		return nil, nil //nolint:nilnil // the record says why
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// WaitEnd waits until the named machine has ended for any reason, and returns its record. If the
// machine ended earlier, that is no error. If its keeper died, that is an error.
func (s Store) WaitEnd(ctx context.Context, name string) (Record, error) {
	r, err := s.Get(name)
	if err != nil {
		return r, err
	}
	if r.Life() == Living {
		err = r.client().do(ctx, "end", nil, nil, Output{}, nil)
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
	}
	again, getErr := s.Get(name)
	switch {
	case getErr != nil:
		return r, getErr
	case again.Life() == Died:
		return again, again.gone(s, Died)
	case !again.Ended.IsZero() || again.Life() == Ended:
		return again, nil
	}
	return again, err
}

// Remove removes the folder of a machine that has ended, with its logs. It fails if the machine is
// alive or its keeper died.
func (s Store) Remove(ctx context.Context, name string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := s.Get(name)
	if err != nil {
		return err
	}
	switch r.Life() {
	case Living:
		return &bench.UsageError{
			Err: fmt.Errorf("machine %s has not ended", name), Advice: s.ending() + " " + name + " ends it",
		}
	case Died:
		return r.gone(s, Died)
	}
	return s.failed("remove the folder of machine "+name, os.RemoveAll(r.Dir))
}
