package qga

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"vmtb/bench"
)

// A tap copies the output of a process to its writers, and removes its room after both have ended.
// It does not give up while the agent is silent, because the machine may be paused. It reports the
// silence to waiting callers.
type tap struct {
	p      *Process
	rings  []*ring
	stop   context.CancelFunc
	silent chan error // the silence, for a caller that waits

	// done is closed when the process has ended, its output has arrived and the room is removed. It
	// is also closed when the client abandons the process.
	done chan struct{}
	err  error // error of a writer or of the copying
}

// tapInto starts to copy p's output to the writers of cmd.
func (p *Process) tapInto(cmd bench.Command) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tap{p: p, stop: cancel, silent: make(chan error), done: make(chan struct{})}
	for use, w := range map[string]io.Writer{useStdout: cmd.Stdout, useStderr: cmd.Stderr} {
		if slices.Contains(p.room.uses, use) {
			t.rings = append(t.rings, newRing(p.client, p.room.path+"/"+use, t.writer(ctx, w)))
		}
	}
	p.tap = t
	go t.run(ctx)
}

// writer returns a function that writes data to w. If w fails, the process is killed and its
// further output dropped.
func (t *tap) writer(ctx context.Context, w io.Writer) func([]byte) {
	return func(data []byte) {
		if t.err != nil {
			return
		}
		if _, err := w.Write(data); err != nil {
			t.err = &bench.InfraError{Op: "pass on the output of " + t.p.name, Err: err}
			go func() { _, _ = t.p.Kill(ctx) }()
		}
	}
}

func (t *tap) run(ctx context.Context) {
	defer close(t.done)
	defer t.stop()
	err := t.pump(ctx)
	clean, cancel := t.p.client.cleanup(ctx)
	defer cancel()
	for _, r := range t.rings {
		r.close(clean)
	}
	if left := t.p.room.remove(ctx); err == nil {
		err = left
	}
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%s: its output: %w", t.p.name, err)
	}
}

// pump moves output until the end.
func (t *tap) pump(ctx context.Context) error {
	for active := time.Now(); ; {
		ended := t.p.ended() // if so, all output is in the files
		moved, err := t.step(ctx)
		if err == nil && !moved {
			if ended {
				return nil
			}
			err = t.p.poll(ctx)
		}
		switch {
		case isTimeout(err):
			t.tell(err)
		case err != nil:
			return t.causeOf(ctx, err)
		case moved || t.p.ended():
			active = time.Now()
			continue
		}
		if err := pause(ctx, active, t.p.done); err != nil {
			return err
		}
	}
}

// step moves one chunk of each stream.
func (t *tap) step(ctx context.Context) (moved bool, err error) {
	for _, r := range t.rings {
		m, err := r.step(ctx)
		if err != nil {
			return moved, err
		}
		moved = moved || m
	}
	return moved, nil
}

// causeOf returns the process's own error, if there is one, or else err.
func (t *tap) causeOf(ctx context.Context, err error) error {
	if t.p.poll(ctx) == nil && t.p.ended() && t.p.err != nil {
		return t.p.err
	}
	return err
}

func (t *tap) tell(err error) {
	select {
	case t.silent <- fmt.Errorf("%s: %w", t.p.name, err):
	default:
	}
}

// wait waits until everything has ended, or the agent does not answer.
func (t *tap) wait(ctx context.Context) error {
	if t.over() {
		return t.err
	}
	select {
	case <-t.done:
		return t.err
	case err := <-t.silent:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", t.p.name, context.Cause(ctx))
	}
}

func (t *tap) over() bool { return isClosed(t.done) }

// giveUp ends the tap, with time to remove the room. If a writer does not return, the room is not
// removed.
func (t *tap) giveUp(ctx context.Context) {
	t.stop()
	ctx, cancel := t.p.client.cleanup(ctx)
	defer cancel()
	select {
	case <-t.done:
	case <-ctx.Done():
	}
}
